"""Areas and other figures with intervals that know several films belong to one patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Figure = Callable[[Floats, Floats, Floats], Floats]
"""(N, L) scores, (N, L) truth with NaN where unknown, (N,) weights → (L,) figures, NaN where none."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % limits; all NaN when it cannot be computed."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def column_aucs(scores: Floats, truth: Floats, weights: Floats | None = None) -> Floats:
    """Return the ROC AUC of each column, NaN where a class is absent.

    Args:
        scores: (N, L), higher = more likely.
        truth: (N, L), 1, 0 or NaN (unknown: left out).
        weights: (N,) whole numbers, how often each film counts; 1 each when None.
    """
    return _aucs_of_ranks(_ranks(scores), truth, np.ones(len(scores)) if weights is None else weights)


def column_aps(scores: Floats, truth: Floats, weights: Floats | None = None) -> Floats:
    """Return the average precision of each column, NaN without a positive; arguments as `column_aucs`."""
    return _aps_of_ranks(_ranks(scores), truth, np.ones(len(scores)) if weights is None else weights)


def intervals(
    figure: Figure,
    scores: Floats,
    truth: Floats,
    patients: NDArray[np.generic],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[list[Interval], Floats]:
    """Return an interval per column, and the (resamples, L) figures behind them.

    Whole patients are drawn with replacement (the cluster bootstrap; Field and Welsh 2007), so that
    a patient with thirty films counts once. The same seed draws the same patients, which pairs two
    models scored on the same films.
    """
    if figure in _OF_RANKS:  # only the order counts: sort once, not for every resample
        scores, figure = _ranks(scores), _OF_RANKS[figure]
    names, index = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = np.empty((resamples, scores.shape[1]))
    for k in range(resamples):
        counts = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        draws[k] = figure(scores, truth, counts[index].astype(np.float64))
    values = figure(scores, truth, np.ones(len(scores)))
    return [interval(v, draws[:, i]) for i, v in enumerate(values)], draws


def interval(value: float, draws: Floats) -> Interval:
    """Return `value` with the 2.5th and 97.5th percentile of the draws that could be computed."""
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(known):
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(known, (2.5, 97.5))
    return Interval(float(value), float(low), float(high))


def _ranks(scores: Floats) -> Floats:
    """Return (N, L) whole numbers from 0 in the order of each column, the same for ties."""
    ranks: Floats = rankdata(scores, method="dense", axis=0).astype(np.float64) - 1
    return ranks


def _aucs_of_ranks(ranks: Floats, truth: Floats, weights: Floats) -> Floats:
    return np.array([_auc(ranks[:, k], truth[:, k], weights) for k in range(ranks.shape[1])])


def _aps_of_ranks(ranks: Floats, truth: Floats, weights: Floats) -> Floats:
    return np.array([_ap(ranks[:, k], truth[:, k], weights) for k in range(ranks.shape[1])])


_OF_RANKS: dict[Figure, Figure] = {column_aucs: _aucs_of_ranks, column_aps: _aps_of_ranks}


def _auc(ranks: Floats, truth: Floats, weights: Floats) -> float:
    """Return the weighted Mann-Whitney probability that a positive outranks a negative, ties half."""
    positive, negative = _by_rank(ranks, truth, weights)
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)


def _ap(ranks: Floats, truth: Floats, weights: Floats) -> float:
    """Return the mean precision over the positives, at each one's own score; no interpolation."""
    positive, negative = (side[::-1] for side in _by_rank(ranks, truth, weights))
    if not positive.sum():
        return float("nan")
    found = np.cumsum(positive)
    precision = found / np.maximum(found + np.cumsum(negative), 1e-12)
    return float((positive * precision).sum() / positive.sum())


def _by_rank(ranks: Floats, truth: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return weights of positives and of negatives at each rank, lowest first."""
    known = ~np.isnan(truth) & (weights > 0)
    places = ranks[known].astype(np.int64)
    positive: Floats = np.bincount(places, weights[known] * (truth[known] == 1)).astype(np.float64)
    negative = np.bincount(places, weights[known] * (truth[known] == 0), minlength=len(positive))
    return positive, negative.astype(np.float64)
