"""Areas and other figures with intervals that know several films belong to one patient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Figure = Callable[[Floats, Floats, Floats], Floats]
"""(N, L) scores, (N, L) truth with NaN where unknown, (N,) weights → (L,) figures, NaN where none."""

BLOCK = 128
"""Resamples at a time: what is summed stays in the processor's cache."""
THREADS = 2
FEWEST = 2
"""Patients: drawing one again and again says nothing of how far an area may be off."""
EXACT = 2**24
"""Whole numbers up to here are exact in float32."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % limits; all NaN when it cannot be computed."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """Patients drawn with replacement, again and again.

    Attributes:
        index: (N,) number of the patient of each film.
        counts: (P, 1 + R) how often each patient was drawn; the first column is everyone once.
    """

    index: NDArray[np.int64]
    counts: NDArray[np.int16]

    def blocks(self) -> Iterator[slice]:
        """Yield the columns of `counts` in parts."""
        for start in range(0, self.counts.shape[1], BLOCK):
            yield slice(start, min(start + BLOCK, self.counts.shape[1]))


@dataclass(frozen=True, slots=True, eq=False)
class Areas:
    """Areas under the ROC (`auc`) and the precision–recall curve (`ap`) of L columns, and (R, L) draws."""

    auc: list[Interval]
    ap: list[Interval]
    auc_draws: Floats
    ap_draws: Floats


def column_aucs(scores: Floats, truth: Floats, weights: Floats | None = None) -> Floats:
    """Return the ROC AUC of each column, NaN where a class is absent.

    Args:
        scores: (N, L), higher = more likely; films with NaN are left out.
        truth: (N, L), 1, 0 or NaN (unknown: left out).
        weights: (N,) how often each film counts; 1 each when None.
    """
    found: Floats = _areas_of(scores, truth, weights)[0]
    return found


def column_aps(scores: Floats, truth: Floats, weights: Floats | None = None) -> Floats:
    """Return the average precision of each column, NaN without a positive; arguments as `column_aucs`."""
    found: Floats = _areas_of(scores, truth, weights)[1]
    return found


def drawn(patients: NDArray[np.generic], *, resamples: int = 2000, seed: int = 0) -> Resamples:
    """Return resamples of whole patients (the cluster bootstrap; Field and Welsh 2007).

    So a patient with thirty films counts once. The same seed draws the same patients, which pairs two
    models scored on the same films.
    """
    names, index = np.unique(patients, return_inverse=True)
    counts = np.ones((1 + resamples, len(names)), dtype=np.int16)
    rng = np.random.default_rng(seed)
    for row in counts[1:]:
        row[:] = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
    return Resamples(index.astype(np.int64), np.ascontiguousarray(counts.T))


def areas(scores: Floats, truth: Floats, resamples: Resamples) -> Areas:
    """Return both areas of each column with intervals, NaN of one patient; scores and truth as `column_aucs`.

    Each column is sorted once. Only the places between its positives matter, so what is summed anew for
    every resample is the films of each patient in each of those places: a sparse matrix.
    """
    counts = resamples.counts
    largest = int(np.bincount(resamples.index).max(initial=0)) * len(counts)
    dtype = np.float32 if largest < EXACT else np.float64
    columns = [
        _places(scores[:, k], truth[:, k], resamples.index, len(counts), dtype)
        for k in range(scores.shape[1])
    ]
    found = np.empty((2, counts.shape[1], len(columns)))

    def one(job: tuple[slice, int]) -> None:
        block, k = job
        found[:, block, k] = _summed(columns[k], counts[:, block].astype(dtype))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, product(resamples.blocks(), range(len(columns)))))
    if len(counts) < FEWEST:
        found[:] = np.nan
    (auc, auc_draws), (ap, ap_draws) = ((each[0], each[1:]) for each in found)
    return Areas(limits(auc, auc_draws), limits(ap, ap_draws), auc_draws, ap_draws)


def roc_limits(scores: Floats, truth: Floats, resamples: Resamples, at: Floats) -> tuple[Floats, Floats]:
    """Return (K,) limits of the sensitivity at each share of false alarms: a 95 % band, point by point.

    Args:
        scores: (N,), higher = more likely; films with NaN are left out.
        truth: (N,) 1, 0 or NaN.
        resamples: of the patients.
        at: (K,) shares of the films without the finding, in [0, 1].

    Both are NaN of one patient, and where no resample has films with and without.
    """
    counts = resamples.counts
    places = _places(scores, truth, resamples.index, len(counts), np.float64)
    draws = np.full((counts.shape[1] - 1, len(at)), np.nan)
    if places is not None and len(counts) >= FEWEST:
        for row, times in zip(draws, counts.T[1:].astype(np.float64), strict=True):
            called = np.cumsum((places.positive @ times)[::-1])  # from the highest score down
            below = np.cumsum(places.below @ times)
            if called[-1] and below[-1]:
                alarms = (below[-1] - below[:-1])[::-1] / below[-1]
                place = np.searchsorted(alarms, at, side="right")
                row[:] = np.concatenate([[0.0], called / called[-1]])[place]
    known = draws[~np.isnan(draws).any(axis=1)]
    if not len(known):
        return np.full(len(at), np.nan), np.full(len(at), np.nan)
    low, high = np.percentile(known, (2.5, 97.5), axis=0)
    return low, high


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

    `column_aucs` and `column_aps` are fast (see `areas`); any other figure is asked once a resample, with
    the weights of `drawn`.
    """
    again = drawn(patients, resamples=resamples, seed=seed)
    if figure in (column_aucs, column_aps):
        both = areas(scores, truth, again)
        return (both.auc, both.auc_draws) if figure is column_aucs else (both.ap, both.ap_draws)
    rows = [figure(scores, truth, times[again.index].astype(np.float64)) for times in again.counts.T]
    draws = np.array(rows[1:]).reshape(resamples, scores.shape[1])
    return limits(rows[0] if len(again.counts) >= FEWEST else np.full(scores.shape[1], np.nan), draws), draws


def limits(values: Sequence[float] | Floats, draws: Floats) -> list[Interval]:
    """Return the interval of each of (L,) values from (R, L) draws."""
    return [interval(float(value), draws[:, k]) for k, value in enumerate(values)]


def interval(value: float, draws: Floats) -> Interval:
    """Return `value` with the 2.5th and 97.5th percentile of the draws that could be computed."""
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(known):
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(known, (2.5, 97.5))
    return Interval(float(value), float(low), float(high))


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Films of each patient by their place among a column's G distinct scores of positives, lowest first.

    Attributes:
        positive: (G, P) positives at each of these scores.
        below: (G + 1, P) negatives from the score before up to, without, this one; last those above.
        tied: (G, P) negatives at this very score; None where there are none.
    """

    positive: csr_array
    below: csr_array
    tied: csr_array | None


def _places(
    scores: Floats, truth: Floats, index: NDArray[np.int64], patients: int, dtype: type[np.floating]
) -> _Places | None:
    """Return the places of one column's films; None without positives."""
    known = ~(np.isnan(truth) | np.isnan(scores))
    present, absent = known & (truth == 1), known & (truth == 0)
    levels = np.unique(scores[present])
    if not len(levels):
        return None

    def table(rows: NDArray[np.int64], whose: NDArray[np.int64], height: int) -> csr_array:
        return csr_array((np.ones(len(rows), dtype), (rows, whose)), shape=(height, patients))

    under, over = (np.searchsorted(levels, scores[absent], side) for side in ("left", "right"))
    same = under < over
    return _Places(
        positive=table(np.searchsorted(levels, scores[present]), index[present], len(levels)),
        below=table(over, index[absent], len(levels) + 1),
        tied=table(under[same], index[absent][same], len(levels)) if same.any() else None,
    )


def _summed(places: _Places | None, counts: NDArray[np.floating]) -> Floats:
    """Return (2, R) AUC and average precision where each patient counts as often as (P, R) counts say.

    AUC is the Mann-Whitney probability that a positive outranks a negative, ties half; average precision
    the mean precision over the positives, at each one's own score, without interpolation.
    """
    found = np.full((2, counts.shape[1]), np.nan)
    if places is None:
        return found
    positive = places.positive @ counts
    below = np.cumsum(places.below @ counts, axis=0)
    called = np.cumsum(positive[::-1], axis=0)[::-1]
    present, absent = called[0].astype(np.float64), below[-1].astype(np.float64)
    wrongly = below[-1] - below[:-1]
    outranked = below[:-1] if places.tied is None else below[:-1] + (places.tied @ counts) / np.float64(2)
    with np.errstate(invalid="ignore", divide="ignore"):
        found[0] = np.einsum("gr,gr->r", positive, outranked, dtype=np.float64) / (present * absent)
        precision = np.divide(called, np.maximum(called + wrongly, 1e-12), dtype=np.float64)
        found[1] = np.einsum("gr,gr->r", positive, precision, dtype=np.float64) / present
    found[0, absent == 0] = np.nan
    found[:, present == 0] = np.nan
    return found


def _areas_of(scores: Floats, truth: Floats, weights: Floats | None) -> Floats:
    films = len(scores)
    counts = np.ones((films, 1)) if weights is None else weights.reshape(films, 1).astype(np.float64)
    index = np.arange(films)
    rows = [
        _summed(_places(s, t, index, films, np.float64), counts)
        for s, t in zip(scores.T, truth.T, strict=True)
    ]
    return np.concatenate(rows, axis=1) if rows else np.empty((2, 0))
