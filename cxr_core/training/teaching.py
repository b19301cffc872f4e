"""Distillation (Hinton 2015, arXiv:1503.02531): the networks of a finished run soften text-mined labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.special import expit

from cxr_core.data.cache import alone
from cxr_core.errors import ModelError, RecipeError
from cxr_core.inference.manifest import Task
from cxr_core.training.members import load_member
from cxr_core.training.networks import Classifier
from cxr_core.training.progress import KEPT
from cxr_core.training.recipes import COPY, FILMS, Loss, TrainingRecipe, read_recipe
from cxr_core.training.sampling import FilmSet
from cxr_core.training.served import head_logits, pool

Floats = NDArray[np.float32]
BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """Whom a member learns from.

    Attributes:
        name: what a run notes: the run, its members and the first digits of their weights' SHA-256.
        members: networks that have not seen the fold that the member leaves out.
    """

    name: str
    members: tuple[Classifier, ...]


def teacher_of(recipe: TrainingRecipe, fold: int, folder: Path, runs: Path) -> Teacher | None:
    """Return the networks that a member learns from beside its labels, None without a teacher.

    Args:
        recipe: `fit.teacher` names the run.
        fold: that the member leaves out: of the run's members those teach that left it out too; -1: those
            that the run would serve.
        folder: the member's run, for the films that it learns from.
        runs: folder of all runs.

    Raises:
        RecipeError: there is no such run, it has not finished, learned from other films, labels or splits,
            sees films in another way, answers with one of several classes, has seen the fold, or knows no
            label that it could teach.
    """
    name = recipe.fit.teacher
    if not name:
        return None
    own = runs / name
    if not (own / COPY).is_file():
        raise RecipeError(f"teacher {name}: there is no such run; train it first")
    theirs = read_recipe(own / COPY)
    for wrong, message in (
        (theirs.task is Task.MULTICLASS, "answers which one of several, not each by itself"),
        (theirs.fit.loss is Loss.VICREG, "answers nothing"),
        (theirs.preprocessing != recipe.preprocessing, "sees films by another preprocessing table"),
        (theirs.labels != recipe.labels, "has learned other labels"),
        (not _same_films(own, folder), "has learned from other films, labels or splits"),
        (not taught_labels(recipe), "knows none of the labels that it could teach"),
    ):
        if wrong:
            raise RecipeError(f"teacher {name}: {message}")
    numbers = [k for k, member in enumerate(theirs.members) if member.fold == fold] if fold >= 0 else []
    if fold >= 0 and not numbers:
        raise RecipeError(
            f"teacher {name}: each of its members has seen fold {fold}, which a member leaves out"
        )
    digest = hashlib.sha256()
    members = []
    for number in numbers or theirs.served:
        try:
            members.append(load_member(own, theirs, number))
        except ModelError as exc:
            raise RecipeError(f"teacher {exc}") from exc
        digest.update((own / f"member-{number}" / KEPT).read_bytes())
    said = ", ".join(map(str, numbers or theirs.served))
    return Teacher(f"the run {name}, members {said}, weights {digest.hexdigest()[:12]}", tuple(members))


def taught_labels(recipe: TrainingRecipe) -> list[str]:
    """Return what is taught: labels that are not tied to the films' source."""
    return [label for label in recipe.labels if label not in {*recipe.blind, *recipe.films.known_within}]


def softened(recipe: TrainingRecipe, teacher: Teacher, films: FilmSet, cache: Path) -> FilmSet:
    """Return the films with the teacher's probabilities mixed into what is known; unknown stays unknown.

    Args:
        recipe: says how large the teacher's share is.
        teacher: of `teacher_of`.
        films: of train.
        cache: where the answers are kept, so that a resumed run need not ask again.
    """
    share = recipe.fit.taught
    taught = [recipe.labels.index(label) for label in taught_labels(recipe)]
    told, truth = expit(_answers(teacher, films, cache)), films.truth.copy()
    truth[:, taught] = (1 - share) * truth[:, taught] + share * told[:, taught]
    return replace(films, truth=truth)


def _same_films(one: Path, other: Path) -> bool:
    """Say whether two runs noted the same films; True where one noted none."""
    noted = [(run / FILMS).read_text(encoding="utf-8") for run in (one, other) if (run / FILMS).is_file()]
    return len(set(noted)) < 2


def _answers(teacher: Teacher, films: FilmSet, cache: Path) -> Floats:
    """Return (N, L) mean logits of the teacher's members, asked once and then kept in the cache."""
    digest = hashlib.sha256(teacher.name.encode() + films.digest())
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


def _asked(teacher: Teacher, films: FilmSet) -> Floats:
    console = Console(stderr=True)
    starts = range(0, len(films), BATCH)
    parts = []
    for start in track(starts, "asking the teacher", console=console, disable=not console.is_terminal):
        shown = films.inputs(np.arange(start, min(start + BATCH, len(films)))).numpy()
        parts.append(np.mean([head_logits(each, pool(each, shown)) for each in teacher.members], axis=0))
    logits: Floats = np.concatenate(parts).astype(np.float32)
    return logits
