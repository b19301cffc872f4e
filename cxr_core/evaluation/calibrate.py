"""Calibration and operating points from films that the network giving the logit has not learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from scipy.special import logit as log_odds
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

from cxr_core.inference.calibration import Calibration, Method
from cxr_core.triage.budget import FEW_POSITIVES

Floats = NDArray[np.float64]

LEAST_SLOPE = 0.1
FIXED_SPECIFICITY = 0.95
UNREACHABLE = 1.01
"""A threshold that no probability reaches, so the label reads "not assessed"."""

NIH_PREVALENCE = {"Pneumonia": 1431 / 112_120}
"""Where the films at hand were enriched on purpose: share in all of ChestX-ray14 (Wang 2017)."""


@dataclass(frozen=True, slots=True)
class Points:
    """Operating points on calibrated probabilities.

    Attributes:
        values: (L,), `UNREACHABLE` where there was nothing to choose by.
        few_positives: labels with fewer than `FEW_POSITIVES`.
        rule: how they were chosen, for the manifest.
    """

    values: tuple[float, ...]
    few_positives: tuple[str, ...]
    rule: str


def fit_platt(
    labels: Sequence[str], logits: Floats, truth: Floats, prevalence: Mapping[str, float]
) -> Calibration:
    """Return the maximum-likelihood Platt line of each label.

    Below 20 positives (or negatives) only the intercept is fitted. A slope is never taken below 0.1: a
    label without signal becomes nearly constant instead of upside down. Where a label is known in an
    enriched sample only, its intercept is moved to the prevalence of the whole data set
    (prior shift; Saerens 2002).

    Args:
        labels: L names.
        logits: (N, L).
        truth: (N, L), NaN where unknown.
        prevalence: of the labels to be moved.
    """
    lines = [
        _line(logits[known, k], truth[known, k], prevalence.get(label))
        for k, label in enumerate(labels)
        for known in [~np.isnan(truth[:, k])]
    ]
    slope, intercept = np.array(lines).T
    return Calibration(slope, intercept, Method.PLATT)


def fit_softmax(logits: Floats, truth: Floats) -> Calibration:
    """Return one slope for all labels and a shift for each that make the labels most likely.

    Labels that no film has keep a shift of 0. The slope is never taken below 0.1; a penalty of one film
    in all keeps the shifts of labels with few films near 0 (Guo 2017: temperature, with bias).

    Args:
        logits: (N, L).
        truth: (N, L), exactly one 1 a row.
    """
    labels = logits.shape[1]

    def loss(point: Floats) -> float:
        likely = log_softmax(np.exp(point[0]) * logits + point[1:], axis=1)
        return float(-(likely * truth).sum() + 0.5 * (point[1:] ** 2).sum())

    found = minimize(loss, np.zeros(labels + 1), method="L-BFGS-B")
    slope = max(float(np.exp(found.x[0])), LEAST_SLOPE)
    shifts = np.where(truth.sum(axis=0) > 0, found.x[1:], 0.0)
    return Calibration(np.full(labels, slope), shifts, Method.SOFTMAX)


def choose_points(
    labels: Sequence[str], probabilities: Floats, truth: Floats, patients: NDArray[np.generic], films: str
) -> Points:
    """Return each label's point of the largest sensitivity + specificity (Youden 1950).

    Below 20 patients with or without the label that point is chance: 95 % specificity instead; without
    any negative nothing can be chosen.

    Args:
        labels: L names.
        probabilities: (N, L) calibrated.
        truth: (N, L), NaN where unknown.
        patients: (N,) of each film.
        films: which films these are, for the rule.
    """
    values, few = [], []
    for k, label in enumerate(labels):
        present, absent = truth[:, k] == 1, truth[:, k] == 0
        scores = probabilities[:, k]
        if min(len(np.unique(patients[side])) for side in (present, absent)) < FEW_POSITIVES:
            few.append(label)
            values.append(_at_specificity(scores[absent]))
            continue
        known = present | absent
        wrong, right, points = roc_curve(present[known], scores[known], drop_intermediate=False)
        values.append(float(points[1:][int(np.argmax((right - wrong)[1:]))]))
    rule = (
        f"largest sensitivity + specificity (Youden) on {films}; "
        f"below {FEW_POSITIVES} patients with or without the label {FIXED_SPECIFICITY:.0%} specificity"
    )
    return Points(tuple(values), tuple(few), rule)


def between(points: Points, probabilities: Floats) -> Points:
    """Return the points moved half way to the next lower answer, so that rounding calls nobody otherwise.

    Of the (N, L) films that they were chosen by the same are called as before.
    """
    values = []
    for value, scores in zip(points.values, probabilities.T, strict=True):
        called, passed = scores[scores >= value], scores[scores < value]
        inside = len(called) and len(passed)
        values.append(float((called.min() + passed.max()) / 2) if inside else value)
    return replace(points, values=tuple(values))


def _at_specificity(negatives: Floats) -> float:
    """Return the lowest threshold that at most 5 % of the negatives reach."""
    if not len(negatives):
        return UNREACHABLE
    allowed = int((1 - FIXED_SPECIFICITY) * len(negatives))
    highest = float(np.sort(negatives)[::-1][allowed])
    return min(float(np.nextafter(highest, 2.0)), 1.0)


def _line(logits: Floats, truth: Floats, prevalence: float | None) -> tuple[float, float]:
    if not len(truth) or truth.min() == truth.max():
        return 1.0, 0.0  # one class only: nothing to fit by
    slope = 1.0
    if min(truth.sum(), (1 - truth).sum()) >= FEW_POSITIVES:
        slope = max(_fitted(logits[:, None], truth)[0], LEAST_SLOPE)
    intercept = _fitted_intercept(slope * logits, truth)
    if prevalence is not None:
        intercept += float(log_odds(prevalence) - log_odds(truth.mean()))
    return slope, intercept


def _fitted(column: Floats, truth: Floats) -> tuple[float, float]:
    model = LogisticRegression(C=np.inf, max_iter=1000).fit(column, truth)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _fitted_intercept(offset: Floats, truth: Floats) -> float:
    """Return b such that the mean of sigmoid(offset + b) equals the share of positives."""
    low, high = -30.0, 30.0
    for _ in range(80):
        middle = (low + high) / 2
        if (1 / (1 + np.exp(-(offset + middle)))).mean() < truth.mean():
            low = middle
        else:
            high = middle
    return (low + high) / 2
