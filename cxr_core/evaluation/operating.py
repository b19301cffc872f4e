"""What thresholds do: rates with intervals from one count of every patient's films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxr_core.evaluation.bootstrap import Floats, Interval, Resamples, limits


@dataclass(frozen=True, slots=True)
class Rates:
    """Of L labels at their thresholds; all NaN where a threshold cannot be reached.

    Attributes:
        sensitivity, specificity: called of those with the label, passed of those without.
        ppv, npv: with the label of those called, without it of those passed.
        error: on the wrong side, of all.
        f1: harmonic mean of sensitivity and PPV.
    """

    sensitivity: list[Interval]
    specificity: list[Interval]
    ppv: list[Interval]
    npv: list[Interval]
    error: list[Interval]
    f1: list[Interval]


def at_points(
    probabilities: Floats, truth: Floats, thresholds: Sequence[float], resamples: Resamples
) -> Rates:
    """Return the rates of each label where a film is called if it reaches the label's threshold.

    Args:
        probabilities: (N, L) calibrated.
        truth: (N, L) 1, 0, or NaN (left out).
        thresholds: (L,); above 1 cannot be reached.
        resamples: of the films' patients.
    """
    points = np.array(thresholds)
    called, usable = probabilities >= points, points <= 1
    present, absent = (truth == 1) & usable, (truth == 0) & usable
    flags = np.stack([called & present, called & absent, ~called & present, ~called & absent], axis=1)
    films, four, labels = flags.shape
    sums = resamples.sums(flags.reshape(films, four * labels).astype(np.float64))
    tp, fp, fn, tn = np.moveaxis(sums.reshape(-1, four, labels), 1, 0)
    return Rates(
        sensitivity=_shares(tp, tp + fn),
        specificity=_shares(tn, tn + fp),
        ppv=_shares(tp, tp + fp),
        npv=_shares(tn, tn + fn),
        error=_shares(fp + fn, tp + fp + fn + tn),
        f1=_shares(2 * tp, 2 * tp + fp + fn),
    )


def share_of(flags: Floats, resamples: Resamples) -> Interval:
    """Return the share of 1 among those of (N,) flags that are no NaN, with its interval."""
    known = ~np.isnan(flags)
    sums = resamples.sums(np.stack([np.where(known, flags, 0.0), known.astype(np.float64)], axis=1))
    return _shares(sums[:, :1], sums[:, 1:])[0]


def _shares(parts: Floats, wholes: Floats) -> list[Interval]:
    found = np.divide(parts, wholes, where=wholes > 0, out=np.full(parts.shape, np.nan))
    return limits(found[0], found[1:])
