"""Platt calibration on films that the network giving the logit has not learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit as log_odds
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]

FEW_POSITIVES = 20
LEAST_SLOPE = 0.1

NIH_PREVALENCE = {"Pneumonia": 1431 / 112_120}
"""Where the films at hand were enriched on purpose: share in all of ChestX-ray14 (Wang 2017)."""


@dataclass(frozen=True, slots=True)
class Platt:
    """probability = sigmoid(slope * logit + intercept), one pair a label."""

    slope: Floats
    intercept: Floats


def fit_platt(labels: tuple[str, ...], logits: Floats, truth: Floats) -> Platt:
    """Return the maximum-likelihood Platt line of each label.

    Below 20 positives only the intercept is fitted. A slope is never taken below 0.1: a label
    without signal becomes nearly constant instead of upside down. Where a label is known in an
    enriched sample only, its intercept is moved to the prevalence of the whole data set
    (prior shift; Saerens 2002).

    Args:
        labels: L names.
        logits: (N, L).
        truth: (N, L), NaN where unknown.
    """
    lines = [
        _line(logits[known, k], truth[known, k], NIH_PREVALENCE.get(label))
        for k, label in enumerate(labels)
        for known in [~np.isnan(truth[:, k])]
    ]
    slope, intercept = np.array(lines).T
    return Platt(slope, intercept)


def _line(logits: Floats, truth: Floats, prevalence: float | None) -> tuple[float, float]:
    slope = 1.0
    if truth.sum() >= FEW_POSITIVES:
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
