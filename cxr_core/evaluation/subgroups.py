"""Who the films are of: groups by sex, decade of age, view, and two of these together. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Flags = NDArray[np.bool_]

OLDEST = 90
"""Years from which all are one group."""


class By(StrEnum):
    """What films are grouped by."""

    SEX = "sex"
    AGE = "age"
    VIEW = "view"
    SEX_AGE = "sex and age"
    SEX_VIEW = "sex and view"
    AGE_VIEW = "age and view"

    @property
    def parts(self) -> tuple[By, ...]:
        """The one or two facts that it is made of; the first has the lines of a table."""
        return _PARTS.get(self, (self,))


_PARTS = {
    By.SEX_AGE: (By.AGE, By.SEX),
    By.SEX_VIEW: (By.SEX, By.VIEW),
    By.AGE_VIEW: (By.AGE, By.VIEW),
}
SINGLE = (By.SEX, By.AGE, By.VIEW)


@dataclass(frozen=True, slots=True)
class Subgroup:
    """Some films of a table; every film is in exactly one group of a kind.

    Attributes:
        kind: what was grouped by.
        names: for people, of each of the kind's parts.
        mask: (N,) its films.
        known: whether the table says all of it; else the group is of films that do not say.
    """

    kind: By
    names: tuple[str, ...]
    mask: Flags
    known: bool = True

    @property
    def name(self) -> str:
        """All of it: "60–69 years, women"."""
        return ", ".join(self.names)


def subgroups(table: pd.DataFrame, by: By) -> tuple[Subgroup, ...]:
    """Return the groups that have films, in the order of their parts, those unknown last.

    Args:
        table: rows with `sex` (F, M), `age` in years and `view`; what else stands there is unknown.
        by: what to group by.
    """
    first, *rest = (_single(table, part) for part in by.parts)
    if not rest:
        return first
    return tuple(
        Subgroup(by, one.names + other.names, one.mask & other.mask, one.known and other.known)
        for one in first
        for other in rest[0]
        if (one.mask & other.mask).any()
    )


def _single(table: pd.DataFrame, by: By) -> tuple[Subgroup, ...]:
    named = {By.SEX: _sexes, By.AGE: _decades, By.VIEW: _views}[by](table)
    rest = ~np.logical_or.reduce([mask for _, mask in named], axis=0, initial=False)
    rest = np.broadcast_to(rest, len(table))
    groups = [Subgroup(by, (name,), mask) for name, mask in named if mask.any()]
    if rest.any():
        groups.append(Subgroup(by, (f"{by} unknown",), rest, known=False))
    return tuple(groups)


def _sexes(table: pd.DataFrame) -> list[tuple[str, Flags]]:
    return [(name, (table["sex"] == letter).to_numpy()) for letter, name in (("F", "women"), ("M", "men"))]


def _views(table: pd.DataFrame) -> list[tuple[str, Flags]]:
    return [(view, (table["view"] == view).to_numpy()) for view in ("AP", "PA")]


def _decades(table: pd.DataFrame) -> list[tuple[str, Flags]]:
    years = table["age"].to_numpy(dtype=np.float64)
    groups = [(f"{d}–{d + 9} years", (years >= d) & (years < d + 10)) for d in range(0, OLDEST, 10)]
    return [*groups, (f"{OLDEST} years and over", years >= OLDEST)]
