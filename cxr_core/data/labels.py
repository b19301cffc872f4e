"""What people write beside a film, as columns of truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.data.index import Problem
from cxr_core.domain import ABNORMAL, FINDINGS

_NORMAL = frozenset(
    {"normal", "nofinding", "nofindings", "healthy", "noabnormality", "noabnormalityvisible", "clear"}
)
_OTHER_NAMES = {
    "infiltrate": "Infiltration",
    "pleuraleffusion": "Effusion",
    "oedema": "Edema",
    "pulmonaryedema": "Edema",
    "lungmass": "Mass",
    "lungnodule": "Nodule",
    "hiatalhernia": "Hernia",
}
_ALIKE = 0.8
"""Ratio of difflib from which a word is taken for a misspelt label: Effsion, Cardiomegalie."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """The columns of truth and what was wrong with the words."""

    labels: tuple[str, ...]
    truth: NDArray[np.float32]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What one word says: a label, normal, abnormal; `doubtful` if it is only like the label."""

    label: str = ""
    normal: bool = False
    abnormal: bool = False
    doubtful: bool = False
    known: bool = True


def key(word: str) -> str:
    """Return the word by which spellings are compared: letters and digits, in lower case."""
    return re.sub(r"[^0-9a-z]", "", word.lower())


def is_normal(word: str) -> bool:
    """Return whether the word says that nothing was found."""
    return key(word) in _NORMAL


def known_label(word: str, declared: Sequence[str] = ()) -> str:
    """Return the label's own spelling, "" if it is none that is known."""
    names = {key(name): name for name in (*FINDINGS, ABNORMAL, *declared)}
    return names.get(key(word)) or _OTHER_NAMES.get(key(word), "")


def labelled(said: pd.Series, declared: Sequence[str], where: str, *, complete: bool = False) -> Labelled:
    """Return the truth in words such as "Effusion|Mass" or "No Finding".

    A film's words say all that is known of it: what they do not name is absent. A word that is
    only like a label's name is not believed either way: for its films that label is unknown.

    Args:
        said: (N,) text; words parted by |, ; or commas. Empty: nothing is known of the film.
        declared: labels that the data set itself declares; words beyond them are unknown. If there
            are none, a word that is like no known label is a label of the data set's own.
        where: for the problems.
        complete: name all 14 findings even if no film has them.
    """
    numbers, written = pd.factorize(said.fillna("").astype(str))
    combined = [tuple(word.strip() for word in re.split(r"[|;,]", text) if word.strip()) for text in written]
    counts = np.bincount(numbers, minlength=len(combined))
    words = sorted({word for each in combined for word in each})
    meanings = {word: _meaning(word, declared) for word in words}
    used = {meaning.label for meaning in meanings.values() if meaning.label}
    labels = [name for name in FINDINGS if complete or name in used]
    labels += [name for name in declared if name not in labels and name != ABNORMAL]
    labels += sorted(used - set(labels) - {ABNORMAL})
    stated = any(meaning.normal or meaning.abnormal or meaning.label for meaning in meanings.values())
    columns = (*labels, ABNORMAL) if stated else tuple(labels)
    rows = [_row([meanings[word] for word in each], columns) for each in combined]
    truth = np.array(rows, dtype=np.float32).reshape(len(combined), len(columns))[numbers]
    problems = list(_about_words(meanings, combined, counts, where))
    problems += _about_films(meanings, combined, counts, where)
    return Labelled(columns, truth, tuple(problems))


def _meaning(word: str, declared: Sequence[str]) -> _Meaning:
    if is_normal(word):
        return _Meaning(normal=True)
    name = known_label(word, declared)
    if name == ABNORMAL:
        return _Meaning(abnormal=True)
    if name and (not declared or name in declared):
        return _Meaning(label=name)
    believed = declared or FINDINGS
    names = {key(each): each for each in believed} | ({} if declared else _OTHER_NAMES)
    alike = get_close_matches(key(word), [*names, *_NORMAL], n=1, cutoff=_ALIKE)
    if alike:
        return _Meaning(label=names.get(alike[0], ""), doubtful=True, known=False)
    return _Meaning(known=False) if declared else _Meaning(label=word, known=False)


def _row(said: list[_Meaning], columns: Sequence[str]) -> list[float]:
    """Return the truth of one film; contradictions and doubts are unknown."""
    if not said:
        return [np.nan] * len(columns)
    row = dict.fromkeys(columns, 0.0)
    for each in said:
        if each.label:
            row[each.label] = np.nan if each.doubtful else max(row[each.label], 1.0)
    found = any(each.abnormal or (each.label and not each.doubtful) for each in said)
    unclear = any(not each.known and (each.doubtful or not each.label) for each in said)
    normal = any(each.normal for each in said)
    if ABNORMAL in row:
        row[ABNORMAL] = np.nan if (found and normal) or (unclear and not found) else float(found)
    if not found and not normal and unclear and not any(each.label for each in said):
        row = dict.fromkeys(columns, np.nan)
    if any(each.abnormal for each in said) and not any(each.label for each in said):
        row = dict.fromkeys(columns, np.nan) | {ABNORMAL: np.nan if normal else 1.0}
    return [row[name] for name in columns]


def _about_words(
    meanings: dict[str, _Meaning], combined: list[tuple[str, ...]], counts: NDArray[np.int64], where: str
) -> list[Problem]:
    """Return what is to be said of words that are no known label."""
    problems = []
    for word, meaning in meanings.items():
        if meaning.known:
            continue
        films = sum(int(n) for each, n in zip(combined, counts, strict=True) if word in each)
        if meaning.label and not meaning.doubtful:
            text = f"{word!r} ({films} films) is none of the findings known here: a label of the data's own"
            problems.append(Problem("new_label", where, text))
            continue
        meant = f"; if {meaning.label} is meant, write it so: until then it is unknown on them"
        text = f"{word!r} ({films} films) is no label that is known" + (meant if meaning.label else "")
        problems.append(Problem("unknown_label", where, text))
    return problems


def _about_films(
    meanings: dict[str, _Meaning], combined: list[tuple[str, ...]], counts: NDArray[np.int64], where: str
) -> list[Problem]:
    """Return how many films say nothing, or contradict themselves."""
    silent = sum(int(n) for each, n in zip(combined, counts, strict=True) if not each)
    torn = sum(
        int(n)
        for each, n in zip(combined, counts, strict=True)
        if any(meanings[word].normal for word in each)
        and any(meanings[word].label or meanings[word].abnormal for word in each)
    )
    problems = []
    if silent:
        problems.append(
            Problem("no_label", where, f"{silent} films say nothing: every label is unknown there")
        )
    return problems + contradictory(torn, where)


def contradictory(films: int, where: str) -> list[Problem]:
    """Return what is to be said of films that are called normal and something else."""
    text = f"{films} films are called normal and something else: whether abnormal is unknown there"
    return [Problem("contradictory_labels", where, text)] if films else []
