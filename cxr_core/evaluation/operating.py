"""What thresholds do: rates with limits that know of patients and of shares of 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_core.evaluation.bootstrap import Floats, Interval
from cxr_core.evaluation.rates import share

NOBODY = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Rates:
    """Of a label at a threshold; NaN of no films.

    Attributes:
        sensitivity, specificity: called of those with the label, passed of those without.
        ppv, npv: with the label of those called, without it of those passed.
        error: on the wrong side, of all.
        f1: harmonic mean of sensitivity and PPV.
    """

    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval
    error: Interval
    f1: Interval


OUT_OF_REACH = Rates(*(NOBODY,) * 6)


def rates_at(scores: Floats, truth: Floats, threshold: float, patients: NDArray[np.int64]) -> Rates:
    """Return the rates where a film is called if it reaches the threshold.

    Args:
        scores: (N,) probabilities.
        truth: (N,) 1, 0, or NaN (left out).
        threshold: on the probability.
        patients: (N,) number of each film's patient, from 0 without gaps.
    """
    called, present, absent = scores >= threshold, truth == 1, truth == 0
    known = present | absent
    wrong = known & (called != present)
    # F1 is the share of true positives, each counted twice, among themselves and the films on the wrong side.
    twice = np.tile(called & present, 2)
    either = twice | np.concatenate([wrong, np.zeros_like(wrong)])
    return Rates(
        sensitivity=share(called, present, patients).interval,
        specificity=share(~called, absent, patients).interval,
        ppv=share(present, called & known, patients).interval,
        npv=share(absent, ~called & known, patients).interval,
        error=share(wrong, known, patients).interval,
        f1=share(twice, either, np.tile(patients, 2)).interval,
    )


def at_points(
    probabilities: Floats, truth: Floats, thresholds: Sequence[float], patients: NDArray[np.int64]
) -> list[Rates]:
    """Return the rates of each label at its own threshold.

    Args:
        probabilities: (N, L) calibrated.
        truth: (N, L) 1, 0, or NaN (left out).
        thresholds: (L,); above 1 cannot be reached, and then every rate is NaN.
        patients: as for `rates_at`.
    """
    return [
        rates_at(probabilities[:, k], truth[:, k], at, patients) if at <= 1 else OUT_OF_REACH
        for k, at in enumerate(thresholds)
    ]
