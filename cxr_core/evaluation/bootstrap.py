"""Areas under the ROC curve with intervals that know several films belong to one patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]


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
    weights = np.ones(len(scores)) if weights is None else weights
    return np.array([_auc(scores[:, k], truth[:, k], weights) for k in range(scores.shape[1])])


def auc_intervals(
    scores: Floats, truth: Floats, patients: NDArray[np.int64], *, resamples: int = 2000, seed: int = 0
) -> tuple[list[Interval], Floats]:
    """Return an interval per column, and the (resamples, L) AUCs behind them.

    Whole patients are drawn with replacement (the cluster bootstrap; Field and Welsh 2007), so that
    a patient with thirty films counts once. The same seed draws the same patients, which pairs two
    models scored on the same films.
    """
    names, index = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = np.empty((resamples, scores.shape[1]))
    for k in range(resamples):
        counts = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        draws[k] = column_aucs(scores, truth, counts[index].astype(np.float64))
    values = column_aucs(scores, truth)
    return [interval(v, draws[:, i]) for i, v in enumerate(values)], draws


def interval(value: float, draws: Floats) -> Interval:
    """Return `value` with the 2.5th and 97.5th percentile of the draws that could be computed."""
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(known):
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(known, (2.5, 97.5))
    return Interval(float(value), float(low), float(high))


def _auc(scores: Floats, truth: Floats, weights: Floats) -> float:
    """Return the weighted Mann-Whitney probability that a positive outranks a negative, ties half."""
    known = ~np.isnan(truth) & (weights > 0)
    ranks = rankdata(scores[known], method="dense").astype(np.int64) - 1
    positive = np.bincount(ranks, weights[known] * (truth[known] == 1))
    negative = np.bincount(ranks, weights[known] * (truth[known] == 0), minlength=len(positive))
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)
