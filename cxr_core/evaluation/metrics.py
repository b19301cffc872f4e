"""Curves, counts and calibration of one label. Pure; films whose truth is NaN are left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import ABNORMAL
from cxr_core.evaluation.bootstrap import Interval

Floats = NDArray[np.float64]
NAN = float("nan")
NAIVE_AUC = 0.5
"""Of the model that says of every film what most films are, whatever the films."""
Z95 = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""


def naive_ap(films: int, positives: int) -> float:
    """Return that model's average precision: the share of films with the label; NaN of no films."""
    return positives / films if films else NAN


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points (x, y) of a curve and the threshold of each; all (K,), the first threshold infinite."""

    x: Floats
    y: Floats
    thresholds: Floats

    def thinned(self, most: int = 400) -> Curve:
        """Return at most so many points, evenly along the curve, both ends kept; for drawing."""
        if len(self.x) <= most:
            return self
        steps = np.abs(np.diff(self.x)) + np.abs(np.diff(self.y))
        along = np.concatenate([[0.0], np.cumsum(np.nan_to_num(steps))])
        kept = np.searchsorted(along, np.linspace(0.0, along[-1], most))
        kept = np.unique(np.concatenate([[0, len(along) - 1], np.minimum(kept, len(along) - 1)]))
        return Curve(self.x[kept], self.y[kept], self.thresholds[kept])


@dataclass(frozen=True, slots=True)
class Confusion:
    """Films by what they are and what they were called; rates are NaN where there is nothing to divide by."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def sensitivity(self) -> float:
        """Called, of those with the finding."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """Passed, of those without the finding."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> float:
        """With the finding, of those called."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> float:
        """Without the finding, of those passed."""
        return _ratio(self.tn, self.tn + self.fn)

    @property
    def error(self) -> float:
        """On the wrong side of the threshold, of all."""
        return _ratio(self.fp + self.fn, self.films)

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and PPV."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def flagged_share(self) -> float:
        """Called, of all."""
        return _ratio(self.tp + self.fp, self.films)

    @property
    def films(self) -> int:
        """All whose truth is known."""
        return self.tp + self.fp + self.fn + self.tn


@dataclass(frozen=True, slots=True)
class Bin:
    """Films of similar probability.

    Attributes:
        low, high: smallest and largest probability among them.
        mean: of their probabilities.
        observed: share of them with the finding.
        n: how many.
        low95, high95: Wilson limits of `observed`; films of one patient count as if they were of several.
    """

    low: float
    high: float
    mean: float
    observed: float
    n: int
    low95: float
    high95: float


def roc(scores: Floats, truth: Floats) -> Curve:
    """Return 1 - specificity and sensitivity at every distinct score, from the highest down.

    A film is called where its score reaches the threshold. Without positives y is NaN, without negatives x.

    Args:
        scores: (N,), higher = more likely.
        truth: (N,) 1, 0 or NaN.
    """
    tp, fp, thresholds = _counts(scores, truth)
    return Curve(_shares(fp), _shares(tp), thresholds)


def precision_recall(scores: Floats, truth: Floats) -> Curve:
    """Return recall (x) and precision (y) at every distinct score; it begins at recall 0, precision 1.

    Arguments as `roc`. Without positives x is NaN.
    """
    tp, fp, thresholds = _counts(scores, truth)
    called = tp + fp
    precision = np.where(called > 0, tp / np.maximum(called, 1.0), 1.0)
    return Curve(_shares(tp), precision, thresholds)


def confusion(scores: Floats, truth: Floats, threshold: float) -> Confusion:
    """Return the counts where a film is called if its score reaches the threshold; arguments as `roc`."""
    called, present, absent = scores >= threshold, truth == 1, truth == 0
    return Confusion(
        tp=int((called & present).sum()),
        fp=int((called & absent).sum()),
        fn=int((~called & present).sum()),
        tn=int((~called & absent).sum()),
    )


def ppv_at(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Return the PPV where so large a share of films has the finding (Bayes); NaN if nothing is called.

    >>> round(ppv_at(0.9, 0.9, 0.1), 3)
    0.5
    """
    right, wrong = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    return _ratio(right, right + wrong)


def npv_at(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Return the NPV where so large a share of films has the finding (Bayes); NaN if nothing is passed."""
    right, wrong = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return _ratio(right, right + wrong)


def reliability(probabilities: Floats, truth: Floats, bins: int = 10) -> tuple[Bin, ...]:
    """Return films by tenths of their number (equal mass), from the lowest probability up.

    Equal widths would put nearly every film of a rare finding into one bin. Films of the same probability
    stay together, so there may be fewer bins.

    Args:
        probabilities: (N,) calibrated.
        truth: (N,) 1, 0 or NaN.
        bins: how many at most.
    """
    known = ~np.isnan(truth)
    given, true = probabilities[known], truth[known]
    if not len(given):
        return ()
    edges = np.quantile(given, np.linspace(0, 1, bins + 1))
    place = np.searchsorted(edges[1:-1], given)
    return tuple(_bin(given[place == k], true[place == k]) for k in np.unique(place))


def ece(probabilities: Floats, truth: Floats, bins: int = 10) -> float:
    """Return the expected calibration error: mean gap of a `reliability` bin, by its films (Naeini 2015)."""
    found = reliability(probabilities, truth, bins)
    gaps = sum(each.n * abs(each.mean - each.observed) for each in found)
    return _ratio(gaps, sum(each.n for each in found))


def brier(probabilities: Floats, truth: Floats) -> float:
    """Return the mean squared distance of probability and truth (Brier 1950); NaN of no films."""
    known = ~np.isnan(truth)
    return float(np.mean((probabilities[known] - truth[known]) ** 2)) if known.any() else NAN


def wilson(count: float, of: float) -> Interval:
    """Return a share with its Wilson score interval (1927); all NaN of nothing."""
    if not of:
        return Interval(NAN, NAN, NAN)
    share, z2 = count / of, Z95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z95 / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def micro(probabilities: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Return all labels' probabilities and truth as one (K,) column, the unknown left out; (N, L) each."""
    known = ~np.isnan(truth)
    return probabilities[known], truth[known]


def single_label_confusion(
    probabilities: Floats, truth: Floats, labels: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return K findings and (K, K) films: row = the one finding of a film, column = its largest probability.

    Films with no or several findings are left out, and so is `abnormal`; unknown counts as not present.
    It shows what is mistaken for what. No film is called by it: a finding is called by its own threshold.

    Args:
        probabilities: (N, L) calibrated.
        truth: (N, L) 1, 0 or NaN.
        labels: (L,) names.
    """
    columns = [k for k, label in enumerate(labels) if label != ABNORMAL]
    present = truth[:, columns] == 1
    single = present.sum(axis=1) == 1
    rows = present[single].argmax(axis=1)
    largest = probabilities[single][:, columns].argmax(axis=1)
    matrix = np.zeros((len(columns), len(columns)), dtype=np.int64)
    np.add.at(matrix, (rows, largest), 1)
    return tuple(labels[k] for k in columns), matrix


def flip_rate(members: Floats, thresholds: Sequence[float] | Floats) -> Floats:
    """Return (L,) share of films that some members call and others pass.

    NaN of a single member, or where the threshold cannot be reached.

    Args:
        members: (N, M, L) calibrated.
        thresholds: (L,).
    """
    points = np.asarray(thresholds, dtype=np.float64)
    if members.shape[1] < 2 or not len(members):
        return np.full(len(points), NAN)
    called = members >= points
    torn = called.any(axis=1) & ~called.all(axis=1)
    return np.where(points > 1, NAN, torn.mean(axis=0))


def seed_spread(members: Floats) -> Floats:
    """Return (L,) mean over films of how far members lie apart: standard deviation by mean of (N, M, L).

    The deviation is that of a sample (M - 1); NaN of a single member.
    """
    if members.shape[1] < 2 or not len(members):
        return np.full(members.shape[2], NAN)
    spread: Floats = (members.std(axis=1, ddof=1) / np.maximum(members.mean(axis=1), 1e-12)).mean(axis=0)
    return spread


def risk_coverage(doubt: Floats, wrong: Floats) -> Curve:
    """Return coverage (x) and the share of wrong answers among the covered (y), from all films down.

    Covered are the films with at most so much doubt as the threshold says (El-Yaniv and Wiener 2010).

    Args:
        doubt: (N,) higher = sooner left to a person.
        wrong: (N,) 1 or 0; NaN is left out.
    """
    known = ~np.isnan(wrong)
    order = np.argsort(doubt[known], kind="stable")
    sorted_doubt, sorted_wrong = doubt[known][order], wrong[known][order]
    last = np.flatnonzero(np.diff(sorted_doubt, append=np.inf))[::-1]  # of each tie
    covered = last + 1.0
    thresholds = sorted_doubt[last]
    if len(thresholds):
        thresholds[0] = np.inf
    return Curve(covered / max(len(sorted_doubt), 1), np.cumsum(sorted_wrong)[last] / covered, thresholds)


def _counts(scores: Floats, truth: Floats) -> tuple[Floats, Floats, Floats]:
    """Return called positives, called negatives and threshold, from none called to all."""
    known = ~np.isnan(truth)
    order = np.argsort(-scores[known], kind="stable")
    given, true = scores[known][order], truth[known][order]
    last = np.flatnonzero(np.diff(given, append=-np.inf))
    tp = np.concatenate([[0.0], np.cumsum(true)[last]])
    fp = np.concatenate([[0.0], (last + 1.0) - tp[1:]])
    return tp, fp, np.concatenate([[np.inf], given[last]])


def _shares(counts: Floats) -> Floats:
    return counts / counts[-1] if counts[-1] else np.full(len(counts), NAN)


def _bin(given: Floats, true: Floats) -> Bin:
    limits = wilson(float(true.sum()), len(true))
    return Bin(
        low=float(given.min()),
        high=float(given.max()),
        mean=float(given.mean()),
        observed=float(true.mean()),
        n=len(true),
        low95=limits.low,
        high95=limits.high,
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else NAN
