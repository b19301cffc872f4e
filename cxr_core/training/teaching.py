"""Distillation (Hinton 2015, arXiv:1503.02531): a finished model's answers soften text-mined labels."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from cxr_core.data.cache import alone
from cxr_core.errors import ModelError, RecipeError
from cxr_core.inference import registry
from cxr_core.inference.manifest import Task
from cxr_core.inference.runtime import Classifier
from cxr_core.training.recipes import TrainingRecipe
from cxr_core.training.sampling import FilmSet

Floats = NDArray[np.float32]
BATCH = 64


def teacher_of(recipe: TrainingRecipe, models: Path | None) -> Classifier | None:
    """Return the model that a recipe's members learn from beside their labels, None without one.

    Raises:
        RecipeError: there is no such model, it cannot be loaded, answers with one of several classes, sees
            films in another way or knows none of the labels that it could teach.
    """
    name = recipe.fit.teacher
    if not name:
        return None
    if models is None:
        raise RecipeError(f"teacher {name}: no folder of models was named")
    try:
        teacher = registry.load(models / name)
    except ModelError as exc:
        raise RecipeError(f"teacher {name}: {exc}") from exc
    if teacher.manifest.model.task is Task.MULTICLASS:
        raise RecipeError(f"teacher {name}: answers which one of several, not each by itself")
    if teacher.manifest.preprocessing != recipe.preprocessing:
        raise RecipeError(f"teacher {name}: sees films by another preprocessing table")
    if not shared_labels(recipe, teacher):
        raise RecipeError(f"teacher {name}: knows none of the labels that it could teach")
    return teacher


def named(teacher: Classifier) -> str:
    """Return what a run notes of its teacher: id, version and the first digits of its network's SHA-256."""
    model = teacher.manifest
    return f"{model.id} {model.version}, network {model.files[registry.NETWORK][:12]}"


def shared_labels(recipe: TrainingRecipe, teacher: Classifier) -> list[str]:
    """Return what is taught: labels of both that neither ties to the films' source."""
    apart = {*recipe.blind, *recipe.films.known_within, *teacher.manifest.data.known_within}
    return [label for label in recipe.labels if label in teacher.manifest.labels and label not in apart]


def softened(recipe: TrainingRecipe, teacher: Classifier, films: FilmSet, cache: Path) -> FilmSet:
    """Return the films with the teacher's probabilities mixed into what is known; unknown stays unknown.

    Args:
        recipe: says how large the teacher's share is.
        teacher: of `teacher_of`.
        films: of train.
        cache: where the answers are kept, so that a resumed run need not ask again.
    """
    shared, taught = shared_labels(recipe, teacher), recipe.fit.taught
    told = teacher.calibration.probability(_answers(teacher, films, cache))
    ours = [recipe.labels.index(label) for label in shared]
    theirs = [teacher.manifest.labels.index(label) for label in shared]
    truth = films.truth.copy()
    truth[:, ours] = (1 - taught) * truth[:, ours] + taught * told[:, theirs]
    return replace(films, truth=truth)


def _answers(teacher: Classifier, films: FilmSet, cache: Path) -> Floats:
    """Return (N, L) mean logits of the teacher's members, asked once and then kept in the cache."""
    digest = hashlib.sha256(teacher.manifest.files[registry.NETWORK].encode())
    store = films.store
    digest.update(str(store.filename).encode() if isinstance(store, np.memmap) else store.tobytes())
    digest.update(films.rows.tobytes())
    path = cache / f"answers-{digest.hexdigest()[:16]}.npy"
    cache.mkdir(parents=True, exist_ok=True)
    with alone(path.with_suffix(".lock")):
        if not path.is_file():
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.save(file, _asked(teacher, films))
            part.replace(path)
    answers: Floats = np.load(path, allow_pickle=False)
    return answers


def _asked(teacher: Classifier, films: FilmSet) -> Floats:
    console = Console(stderr=True)
    starts = range(0, len(films), BATCH)
    parts = [
        teacher.run(films.inputs(np.arange(start, min(start + BATCH, len(films)))).numpy()).logits
        for start in track(starts, "asking the teacher", console=console, disable=not console.is_terminal)
    ]
    logits: Floats = np.concatenate(parts).mean(axis=1)
    return logits
