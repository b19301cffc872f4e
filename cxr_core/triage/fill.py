"""The search behind `budget`: which films each finding of one tier may call positive. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Curve:
    """One finding's films from the highest probability down; `position` of them are positive so far."""

    def __init__(self, scores: Floats, truth: Floats, weight: float) -> None:
        self.order = np.argsort(-scores, kind="stable")
        self.sorted = scores[self.order]
        hits = (truth == 1.0)[self.order]
        self.gains = hits * (weight / max(int(hits.sum()), 1))
        self.tie_ends = np.append(self.sorted[1:] < self.sorted[:-1], True)
        self.position = 0

    def best_step(self, taken: Flags, room: int) -> tuple[float, int]:
        """Return (gain per added film, new position) of the best step that adds at most `room` films."""
        rest = slice(self.position, None)
        cost = np.cumsum(~taken[self.order[rest]])
        gain = np.cumsum(self.gains[rest])
        ratio = np.where(self.tie_ends[rest] & (cost <= room), gain / np.maximum(cost, 1e-6), 0.0)
        if not ratio.size:
            return 0.0, self.position
        best = int(np.argmax(ratio))
        return float(ratio[best]), self.position + best + 1

    def longest(self, taken: Flags, room: int) -> int:
        """Return the last position that adds at most `room` films and ends on a film with the finding."""
        cost = np.cumsum(~taken[self.order])
        hits = np.cumsum(self.gains)
        fits = np.flatnonzero(self.tie_ends & (cost <= room))
        if not fits.size or hits[fits[-1]] == 0.0:
            return 0
        return int(fits[np.searchsorted(hits[fits], hits[fits[-1]])]) + 1

    def gain(self) -> float:
        """Return the sensitivity so far times the finding's weight."""
        return float(self.gains[: self.position].sum())

    def advance_within(self, films: int) -> None:
        """Move to the last position with at most this many films that does not cut a tie."""
        ends = np.flatnonzero(self.tie_ends[:films]) + 1
        self.position = int(ends[-1]) if ends.size else 0

    def threshold(self) -> float:
        """Return a threshold halfway to the next film, so that rounding changes nobody's answer."""
        lower = self.sorted[self.position] if self.position < len(self.sorted) else 0.0
        if self.position == 0:
            # Nothing may be positive; at probability 1 only a threshold out of reach ("not assessed") can.
            return (
                float((lower + 1.0) / 2) if lower < np.nextafter(1.0, 0.0) else float(np.nextafter(1.0, 2.0))
            )
        upper = self.sorted[self.position - 1]
        middle = (upper + lower) / 2
        return float(middle if lower < middle else upper)


class Stage:
    """The findings of one tier sharing its budget."""

    def __init__(self, scores: Floats, truth: Floats, taken: Flags, budget: float) -> None:
        self.curves = [Curve(s, t, 1.0 / scores.shape[1]) for s, t in zip(scores.T, truth.T, strict=True)]
        self.taken = taken.copy()
        self.films = len(taken)
        self.budget = budget
        self.room = int(budget * self.films + 1e-9)

    def fill(self, few: Sequence[bool], small_share: float) -> list[float]:
        """Choose every finding's threshold; those with few positives first, by their fixed share."""
        quota = int(min(small_share, self.budget / max(len(self.curves), 1)) * self.films + 1e-9)
        for curve, is_few in zip(self.curves, few, strict=True):
            if is_few:
                curve.advance_within(quota)
                self._take(curve)
        self._fill_steady([curve for curve, is_few in zip(self.curves, few, strict=True) if not is_few])
        return [curve.threshold() for curve in self.curves]

    def _fill_steady(self, steady: Sequence[Curve]) -> None:
        """Try the greedy way from nothing, then from each finding at its most sensitive; keep the best."""
        start, room = self.taken.copy(), self.room
        best, positions = -1.0, [0] * len(steady)
        for first in (None, *steady):
            self.taken, self.room = start.copy(), room
            for curve in steady:
                curve.position = 0
            if first is not None:
                first.position = first.longest(self.taken, self.room)
                self._take(first)
            self._greedily(steady)
            if (gain := sum(curve.gain() for curve in steady)) > best + 1e-12:
                best, positions = gain, [curve.position for curve in steady]
        self.taken, self.room = start, room
        for curve, position in zip(steady, positions, strict=True):
            curve.position = position
            self._take(curve)

    def _greedily(self, steady: Sequence[Curve]) -> None:
        while steady:
            steps = [curve.best_step(self.taken, self.room) for curve in steady]
            best = max(range(len(steady)), key=lambda i: steps[i][0])
            if steps[best][0] <= 0.0:
                break
            steady[best].position = steps[best][1]
            self._take(steady[best])

    def _take(self, curve: Curve) -> None:
        positive = curve.order[: curve.position]
        self.room -= int(np.count_nonzero(~self.taken[positive]))
        self.taken[positive] = True
