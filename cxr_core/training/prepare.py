"""What a run needs before its first step: the recipe as it will be followed, and the films."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import tomlkit

from cxr_core.data.cache import network_inputs
from cxr_core.data.index import Index
from cxr_core.data.readers import read
from cxr_core.data.selection import choose
from cxr_core.errors import RecipeError
from cxr_core.training.recipes import COPY, Phase, TrainingRecipe, parse_recipe, read_recipe
from cxr_core.training.sampling import FilmSet

CACHE = "cache"
"""Folder beside the run folders for films as the network sees them."""


def data_root(data: Path) -> Path:
    """Return the folder of films: `nih/` of a folder that has one, else the folder itself."""
    return data / "nih" if (data / "nih").is_dir() else data


def adapted(path: Path, *, epochs: int = 0, label: str = "") -> str:
    """Return the recipe's text with other epochs, or with another single label and so another name.

    The phases share the epochs as before, none has less than one; the card says it where they are fewer.

    Raises:
        RecipeError: it cannot be read, or has more than one label to replace.
    """
    recipe = read_recipe(path)
    text = tomlkit.parse(path.read_text(encoding="utf-8"))
    if label and len(recipe.labels) != 1:
        raise RecipeError(f"{recipe.name}: has {len(recipe.labels)} labels; --label is for recipes of one")
    if label:
        text["labels"] = [label]
        text["name"] = f"{recipe.name}-{label.lower()}"
    if epochs:
        for table, phase in zip(text["fit"]["phases"], shorter(recipe, epochs), strict=True):
            table["epochs"] = phase.epochs
    if 0 < epochs < recipe.fit.epochs:
        text["card"]["budget"] = (
            f"{recipe.card.budget} Budget: {epochs} of {recipe.fit.epochs} epochs.".strip()
        )
    return tomlkit.dumps(text)


def shorter(recipe: TrainingRecipe, epochs: int) -> tuple[Phase, ...]:
    """Return the phases with this many epochs in all, but at least one each."""
    share = epochs / recipe.fit.epochs
    phases = [replace(phase, epochs=max(1, round(phase.epochs * share))) for phase in recipe.fit.phases]
    rest = max(1, epochs - sum(phase.epochs for phase in phases[:-1]))
    return (*phases[:-1], replace(phases[-1], epochs=rest))


def name_in(text: str) -> str:
    """Return the name that a recipe's text gives itself."""
    return str(tomlkit.parse(text)["name"])


def settle(text: str, runs: Path) -> tuple[TrainingRecipe, Path]:
    """Write the recipe's copy into its run folder, or see that the same recipe began the run there.

    Raises:
        RecipeError: another recipe began it.
    """
    name = name_in(text)
    folder = runs / name
    copy = folder / COPY
    if copy.exists() and copy.read_text(encoding="utf-8") != text:
        raise RecipeError(f"the run {name} was begun by another recipe; --anew discards it")
    folder.mkdir(parents=True, exist_ok=True)
    copy.write_text(text, encoding="utf-8")
    return read_recipe(copy), folder


def chosen(text: str, data: Path) -> tuple[str, Index]:
    """Return the films that a recipe asks for, and its text without the labels that have too few of them.

    Raises:
        DataError: the films or labels are not there.
        RecipeError: no label is left, or the recipe is wrong.
    """
    recipe = parse_recipe(text, "recipe")
    index = choose(read(data_root(data), small_films=recipe.films.small_films), recipe.films, recipe.labels)
    lacking = {label for label in recipe.labels if label not in index.labels}
    if lacking == {*recipe.labels}:
        raise RecipeError(f"every label has fewer than {recipe.films.min_count} training films")
    return (without_labels(text, lacking) if lacking else text), index


def without_labels(text: str, lacking: Collection[str]) -> str:
    """Return a recipe's text without these labels, wherever it names them."""
    table = tomlkit.parse(text)
    for key in ("labels", "blind"):
        if key in table:
            table[key] = [label for label in table[key] if label not in lacking]
    for label in lacking:
        table.get("films", {}).get("known_within", {}).pop(label, None)
    return tomlkit.dumps(table)


def films_of(recipe: TrainingRecipe, index: Index, runs: Path) -> tuple[FilmSet, FilmSet]:
    """Return the films of train and val as the network sees them, decoded once."""
    train, val = (film_set(recipe, index.of(split), runs / CACHE) for split in ("train", "val"))
    return train, val


def film_set(recipe: TrainingRecipe, index: Index, cache: Path) -> FilmSet:
    """Return films of an index as the network sees them; those that cannot be read are left out."""
    if not len(index):
        side = recipe.preprocessing.network_px
        empty = np.zeros((0, 1, side, side), dtype=np.float32)
        return of_index(recipe, index, empty)
    return of_index(recipe, *network_inputs(index, recipe.preprocessing, cache))


def of_index(
    recipe: TrainingRecipe, index: Index, store: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> FilmSet:
    """Return the film set of an index and the inputs in its order."""
    side_px = index.table["side_px"].to_numpy(dtype=np.int64)
    patients = index.table["patient"].to_numpy(dtype=str)
    return FilmSet(store, np.arange(len(index)), index.truth(recipe.labels), side_px, patients)
