"""What a run needs before its first step: the recipe as it will be followed, and the films."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import tomlkit

from cxr_core.data.cache import network_inputs
from cxr_core.data.index import Index, Problem
from cxr_core.data.readers import read
from cxr_core.data.selection import choose
from cxr_core.data.ties import FEWEST, Tie, source_tie
from cxr_core.errors import RecipeError
from cxr_core.training.recipes import COPY, FILMS, Adapted, Phase, TrainingRecipe, parse_recipe, read_recipe
from cxr_core.training.sampling import FilmSet
from cxr_core.training.starts import CACHE as CACHE
from cxr_core.training.starts import own_start


def data_root(data: Path) -> Path:
    """Return the folder of films: `nih/` of a folder that has one, else the folder itself."""
    return data / "nih" if (data / "nih").is_dir() else data


def adapted(path: Path, *, epochs: int = 0, label: str = "") -> str:
    """Return the recipe's text with other epochs, or with another single label and so another name.

    The phases share the epochs as before, none has less than one, and no member has a number of its own; the
    card says how many they are. Where title and summary name the label they name the other one.
    What was asked for stands under `adapted`, so that the card can name the command.

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
        text["title"] = _renamed(recipe.title, recipe.labels[0], label)
        text["card"]["summary"] = _renamed(recipe.card.summary, recipe.labels[0], label)
    if epochs:
        for table, phase in zip(text["fit"]["phases"], shorter(recipe, epochs), strict=True):
            table["epochs"] = phase.epochs
        for member in text.get("members", ()):
            member.pop("epochs", None)
    longest = max(map(recipe.epochs_of, range(len(recipe.members))))
    if 0 < epochs < longest:
        text["card"]["budget"] = f"{recipe.card.budget} Budget: {epochs} of {longest} epochs.".strip()
    elif epochs > longest and recipe.card.budget:
        text["card"]["budget"] = f"Budget: {epochs} epochs where the recipe has {longest}."
    asked = {"label": label} if label else {}
    if asked or epochs:
        text["adapted"] = {"of": recipe.name, **asked, **({"epochs": epochs} if epochs else {})}
    return tomlkit.dumps(text)


def _renamed(sentence: str, before: str, after: str) -> str:
    """Return a recipe's sentence with one label's name for another's, small within the sentence."""

    def name(found: re.Match[str]) -> str:
        word = after.replace("_", " ")
        return word if found.start() == 0 else word.lower()

    return re.sub(re.escape(before.replace("_", " ")), name, sentence, flags=re.IGNORECASE)


def with_starts(text: str, recipe: TrainingRecipe, starts: Collection[str]) -> str:
    """Return a recipe's text that says from what members began where it was given with --init.

    Args:
        text: of the recipe.
        recipe: the same.
        starts: of each member, as `starts.begin` words it.
    """
    own, each = own_start(recipe), list(dict.fromkeys(starts))
    if all(start == own or start.startswith(f"{own},") for start in each):
        return text
    table = tomlkit.parse(text)
    table.setdefault("adapted", tomlkit.table())["init"] = " and ".join(each)
    return tomlkit.dumps(table)


def shorter(recipe: TrainingRecipe, epochs: int) -> tuple[Phase, ...]:
    """Return the phases with this many epochs in all, but at least one each."""
    share = epochs / recipe.fit.epochs
    phases = [replace(phase, epochs=max(1, round(phase.epochs * share))) for phase in recipe.fit.phases]
    rest = max(1, epochs - sum(phase.epochs for phase in phases[:-1]))
    return (*phases[:-1], replace(phases[-1], epochs=rest))


def name_in(text: str) -> str:
    """Return the name that a recipe's text gives itself."""
    return str(tomlkit.parse(text)["name"])


def settle(text: str, index: Index, runs: Path) -> tuple[TrainingRecipe, Path]:
    """Write recipe and films into the run folder, or see that the run there was begun with the same.

    The same recipe is what trains the same, whatever its remarks, title and card; with which options it came
    about does not count. Which films a run learned from is not known if it began before they were noted.

    Raises:
        RecipeError: another recipe, or other films, began it.
    """
    name = name_in(text)
    folder = runs / name
    copy, begun = folder / COPY, any(folder.glob("member-*"))
    if copy.exists() and not _same(copy, text):
        raise RecipeError(f"the run {name} was begun by another recipe; --anew discards it, without --member")
    recipe = parse_recipe(text, name)
    if begun and not learned_from(folder, recipe, index):
        raise RecipeError(
            f"the run {name} was begun with other films, labels or splits; --anew discards it, "
            "without --member, --runs DIR keeps both"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _put(copy, text)
    if not begun:
        _put(folder / FILMS, f"{_films_in(recipe, index)}\n")
    return recipe, folder


def _put(path: Path, text: str) -> None:
    """Write what is not there yet, in one step: processes that share a run read one another's files."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def learned_from(folder: Path, recipe: TrainingRecipe, index: Index) -> bool:
    """Say whether a run was begun with these films of train and val; True where it noted none."""
    noted = folder / FILMS
    return not noted.is_file() or noted.read_text(encoding="utf-8").strip() == _films_in(recipe, index)


def _films_in(recipe: TrainingRecipe, index: Index) -> str:
    """Return the SHA-256 of name, patient, split and truth of the films of train and val, in any order."""
    table = index.table.loc[index.table["split"] != "test", ["file", "patient", "split", *recipe.labels]]
    text = table.sort_values(["file", "patient"]).to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _same(copy: Path, text: str) -> bool:
    if copy.read_text(encoding="utf-8") == text:
        return True
    try:
        held = read_recipe(copy)
    except RecipeError:
        return False
    asked = parse_recipe(text, held.name)
    return replace(held, title="", card=asked.card, adapted=Adapted()) == replace(
        asked, title="", adapted=Adapted()
    )


def chosen(text: str, data: Path) -> tuple[str, Index]:
    """Return the films that a recipe asks for, and its text as it will be followed.

    Labels that have too few films are gone from it, and so is what it says of sources that a data set with
    sources of its own does not have. A label that was put in by --label and is told by the source of the
    films is held to the source that most of its films come from; of other labels it is noted.

    Raises:
        DataError: the films or labels are not there.
        RecipeError: no label is left, the recipe is wrong, or within that source too few films are without
            the label.
    """
    small_films = parse_recipe(text, "recipe").films.small_films
    everything = read(data_root(data), small_films=small_films)
    text, lacking = _of_own_sources(text, everything)
    text, recipe, index = _frequent(text, everything.noted(lacking))
    told = _told_by_source(index, recipe)
    if recipe.adapted.label in told:
        held = held_within(text, index, told[recipe.adapted.label])
        text, recipe, index = _frequent(held, everything.noted(lacking))
        within = recipe.films.known_within[recipe.adapted.label]
        told = {recipe.adapted.label: told[recipe.adapted.label]}
        did = f"so it is known within {within} only"
    else:
        did = "known_within would hold it to one source"
    index = index.noted(
        [
            Problem("tied_to_source", label, f"the source of a film tells it (AUC {tie.auc:.2f}); {did}")
            for label, tie in told.items()
        ]
    )
    return text, index


def _of_own_sources(text: str, everything: Index) -> tuple[str, list[Problem]]:
    """Return a recipe's text that holds no label to a source of another data set, and what went."""
    recipe = parse_recipe(text, "recipe")
    sources = set(everything.table["source"]) - {""}
    foreign = {
        label: of
        for label, of in recipe.films.known_within.items()
        if sources and of not in sources and label in everything.labels
    }
    if not foreign:
        return text, []
    table = tomlkit.parse(text)
    _untie(table, foreign)
    return tomlkit.dumps(table), [
        Problem(
            "foreign_source", label, f"no film is of {of!r}, which the recipe knows it within: known on all"
        )
        for label, of in foreign.items()
    ]


def _frequent(text: str, everything: Index) -> tuple[str, TrainingRecipe, Index]:
    """Return a recipe without the labels that are too rare, and the films that it then asks for.

    Raises:
        RecipeError: no label is left.
    """
    rare: list[Problem] = []
    while True:
        recipe = parse_recipe(text, "recipe")
        index = choose(everything, recipe.films, recipe.labels)
        lacking = [label for label in recipe.labels if label not in index.labels]
        if len(lacking) == len(recipe.labels):
            raise RecipeError(f"every label has fewer than {recipe.films.min_count} training films")
        if not lacking:
            said = {each.where for each in index.problems if each.code == "rare_label"}
            return text, recipe, index.noted([each for each in rare if each.where not in said])
        rare += [each for each in index.problems if each.code == "rare_label" and each.where in lacking]
        text = without_labels(text, lacking)


def _told_by_source(index: Index, recipe: TrainingRecipe) -> dict[str, Tie]:
    """Return the labels that the source tells, of those that no source is named for."""
    held = recipe.films.known_within
    free = [label for label in recipe.labels if label in index.labels and label not in held]
    found = {label: source_tie(index, label) for label in free}
    return {label: tie for label, tie in found.items() if tie is not None and tie.strong}


def held_within(text: str, index: Index, tie: Tie) -> str:
    """Return a recipe's text with the label of a tie known only within the source that has most of its films.

    Raises:
        RecipeError: too few of that source's training films are known to be without the label.
    """
    train = index.of("train")
    truth, sources = train.truth([tie.label])[:, 0], train.table["source"].to_numpy(dtype=str)
    names, counts = np.unique(sources[(truth == 1) & (sources != "")], return_counts=True)
    source = str(names[counts.argmax()])
    without = int((truth[sources == source] == 0).sum())
    if without < FEWEST:
        raise RecipeError(
            f"{tie.label}: the source of a film tells it (AUC {tie.auc:.2f}), and within {source}, where "
            f"most of its films are, {without} training films are without it: the source would be learned. "
            "Bring films without it from there"
        )
    table = tomlkit.parse(text)
    films = table.setdefault("films", tomlkit.table())
    films["known_within"] = {**films.get("known_within", {}), tie.label: source}
    return tomlkit.dumps(table)


def without_labels(text: str, lacking: Collection[str]) -> str:
    """Return a recipe's text without these labels, wherever it names them."""
    table = tomlkit.parse(text)
    table["labels"] = [label for label in table["labels"] if label not in lacking]
    _untie(table, lacking)
    return tomlkit.dumps(table)


def _untie(table: tomlkit.TOMLDocument, labels: Collection[str]) -> None:
    """Take from a recipe's text, in place, what it says of these labels and a source of films."""
    if "blind" in table:
        table["blind"] = [label for label in table["blind"] if label not in labels]
    for label in labels:
        table.get("films", {}).get("known_within", {}).pop(label, None)


def films_of(recipe: TrainingRecipe, index: Index, runs: Path) -> tuple[FilmSet, FilmSet, list[Problem]]:
    """Return the films of train and val as the network sees them, decoded once, and those left out."""
    (train, lost), (val, more) = (
        film_set(recipe, index.of(split), runs / CACHE) for split in ("train", "val")
    )
    return train, val, [*lost, *more]


def film_set(recipe: TrainingRecipe, index: Index, cache: Path) -> tuple[FilmSet, list[Problem]]:
    """Return films of an index as the network sees them, and those left out: they cannot be read."""
    if not len(index):
        side = recipe.preprocessing.network_px
        empty = np.zeros((0, 1, side, side), dtype=np.float32)
        return of_index(recipe, index, empty), []
    readable, store = network_inputs(index, recipe.preprocessing, cache)
    return of_index(recipe, readable, store), list(readable.problems[len(index.problems) :])


def of_index(
    recipe: TrainingRecipe, index: Index, store: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> FilmSet:
    """Return the film set of an index and the inputs in its order."""
    side_px = index.table["side_px"].to_numpy(dtype=np.int64)
    patients = index.table["patient"].to_numpy(dtype=str)
    return FilmSet(store, np.arange(len(index)), index.truth(recipe.labels), side_px, patients)
