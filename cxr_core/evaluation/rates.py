"""Shares and their differences with intervals that know several films belong to one patient. Pure.

A bootstrap of a share that is 0 or 1 never leaves it and calls it certain, which is what small subgroups
often show. So limits are Wilson's score limits on the effective number of films: films over the design effect
that the patients cause (Korn and Graubard 1998). Differences combine them (Newcombe 1998, method 10; Zou and
Donner 2008), with the correlation of shares that have patients in common.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from cxr_core.evaluation.bootstrap import Interval

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEVEL = 0.05
_STEPS = 30
"""Halvings of the level at which a difference is told from nothing."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of films, and what its intervals are made of.

    Attributes:
        count, of: films with the flag, and all.
        patients: with at least one of them.
        effective: films that independent patients would need to say as much; at most `of`.
        influence: (P,) of each patient of the whole table on the share; 0 of those without such a film.
    """

    count: int
    of: int
    patients: int
    effective: float
    influence: Floats

    @property
    def value(self) -> float:
        """In [0, 1]; NaN of no films."""
        return self.count / self.of if self.of else float("nan")

    def limits(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the two-sided limits at this level; (0, 1) of fewer than two patients."""
        if self.patients < 2:
            return 0.0, 1.0
        z2 = float(stdtrit(self.patients - 1, level / 2)) ** 2  # few patients: Student's t
        p, n = self.value, self.effective
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
        return min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half))  # rounded beyond p at 0 and 1

    @property
    def interval(self) -> Interval:
        """Return the share with its 95 % limits, all NaN of no films."""
        return Interval(self.value, *self.limits()) if self.of else Interval(*(float("nan"),) * 3)


def share(flags: Flags, among: Flags, patients: NDArray[np.int64]) -> Share:
    """Return the share of flagged films among some.

    At 0 and at 1 the films cannot tell how alike those of a patient are: each patient then counts once.

    Args:
        flags: (N,) of the films counted.
        among: (N,) of the films they are a share of; the others are left out.
        patients: (N,) number of each film's patient, from 0 without gaps.
    """
    size = int(patients.max()) + 1 if len(patients) else 0
    of = np.bincount(patients[among], minlength=size).astype(np.float64)
    hit = np.bincount(patients[among & flags], minlength=size).astype(np.float64)
    films, count, clusters = int(of.sum()), int(hit.sum()), int((of > 0).sum())
    if clusters < 2:
        return Share(count, films, clusters, float(clusters), np.zeros(size))
    p = count / films
    influence = (hit - p * of) / films
    spread = clusters / (clusters - 1) * float(influence @ influence)
    effective = p * (1 - p) / spread if spread else float(clusters)
    return Share(count, films, clusters, min(effective, float(films)), influence)


@dataclass(frozen=True, slots=True)
class Difference:
    """One share minus another.

    Attributes:
        interval: with its 95 % limits.
        level: the level at which the limits touch 0: a two-sided p-value that agrees with the interval.
    """

    interval: Interval
    level: float

    @property
    def marked(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.level < LEVEL


def difference(one: Share, other: Share) -> Difference:
    """Return one share minus another of the same table; NaN where either has no films."""
    value = one.value - other.value
    if math.isnan(value):
        return Difference(Interval(value, value, value), float("nan"))
    r = _correlation(one, other)
    low, high = 0.0, 1.0  # levels; the interval at a lower level is wider
    for _ in range(_STEPS):
        middle = (low + high) / 2
        below, above = _limits(one, other, r, middle)
        low, high = (middle, high) if below <= 0 <= above else (low, middle)
    return Difference(Interval(value, *_limits(one, other, r, LEVEL)), low)


def _limits(one: Share, other: Share, r: float, level: float) -> tuple[float, float]:
    (low1, high1), (low2, high2) = one.limits(level), other.limits(level)
    p1, p2 = one.value, other.value
    below = (p1 - low1) ** 2 + (high2 - p2) ** 2 - 2 * r * (p1 - low1) * (high2 - p2)
    above = (high1 - p1) ** 2 + (p2 - low2) ** 2 - 2 * r * (high1 - p1) * (p2 - low2)
    return p1 - p2 - math.sqrt(max(below, 0.0)), p1 - p2 + math.sqrt(max(above, 0.0))


def _correlation(one: Share, other: Share) -> float:
    """Return how far the two go together because patients have films in both."""
    norm = float(np.linalg.norm(one.influence) * np.linalg.norm(other.influence))
    return float(one.influence @ other.influence) / norm if norm else 0.0
