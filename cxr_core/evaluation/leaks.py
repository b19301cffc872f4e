"""Films and patients in two splits, or twice in one: what was learned must not be tested on itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from cxr_core.data.check import check
from cxr_core.data.index import Index, Problem
from cxr_core.data.pixels import Pixels
from cxr_core.evaluation import tables

ACROSS = frozenset({"patient_in_two_splits", "same_film", "near_duplicate"})
"""Codes of `cxr data check` that tell of a leak."""


def in_tables(folder: Path) -> tuple[Problem, ...]:
    """Return what the tables of a model folder share; counts, never names.

    Raises:
        ModelError: a table cannot be read.
    """
    each = {split: tables.read_labels(folder, split) for split in tables.splits_in(folder)}
    problems = []
    for split, table in each.items():
        if twice := int(table["file"].duplicated().sum()):
            problems.append(Problem("film_twice", split, f"{twice} films are listed more than once"))
    for (one, mine), (other, yours) in combinations(each.items(), 2):
        for code, column, what in (
            ("patient_in_two_splits", "patient", "patients"),
            ("same_film", "file", "films"),
        ):
            if shared := len(set(mine[column]) & set(yours[column])):
                problems.append(Problem(code, f"{one} and {other}", f"{shared} {what} are in both"))
    return tuple(problems)


def same_bytes(sha256: Sequence[str]) -> tuple[Problem, ...]:
    """Return whether some films of one split are the same file."""
    again = len(sha256) - len(set(sha256))
    text = f"{again} films are copies of others, byte by byte: they count more than once"
    return (Problem("same_film", "this split", text),) if again else ()


def in_films(index: Index, pixels: Pixels) -> tuple[Problem, ...]:
    """Return the leaks between splits that the films themselves show: see `cxr_core.data.check`."""
    return tuple(each for each in check(index, pixels).index.problems if each.code in ACROSS)
