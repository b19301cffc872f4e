"""What is fitted to a site: the lines of its calibration and the thresholds upon them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from scipy.optimize import brentq

from cxr_core.evaluation.calibrate import UNREACHABLE, fit_platt
from cxr_core.evaluation.site_cases import Aim, Cases, Choice, Flags, Floats, log_odds
from cxr_core.evaluation.site_verdict import LEAST_TO_SHIFT, Counts
from cxr_core.inference.calibration import Calibration, Method
from cxr_core.inference.manifest import Manifest
from cxr_core.triage.budget import FEW_POSITIVES, choose_thresholds
from cxr_core.triage.policy import Policy


class How(StrEnum):
    """What became of a label's calibration."""

    LINE = "slope and intercept"
    SHIFT = "intercept only"
    SAME = "unchanged"


def carried_over(threshold: float, before: tuple[float, float], after: tuple[float, float]) -> float:
    """Return the threshold that calls the same films on another scale.

    Args:
        threshold: on the former probability; above 1 stays out of reach.
        before: slope and intercept of the former line.
        after: of the new one.
    """
    if threshold > 1.0:
        return UNREACHABLE
    logit = (float(log_odds(np.array(threshold))) - before[1]) / before[0]
    there = 1.0 / (1.0 + np.exp(-(after[0] * logit + after[1])))
    return float(np.clip(there, 1e-9, 1.0))


def recalibrated(ours: Cases, former: Calibration, counts: Sequence[Counts]) -> tuple[Calibration, list[How]]:
    """Return the lines in the mix of the cases, and how each came to be."""
    slope, intercept, hows = former.slope.copy(), former.intercept.copy(), []
    for k, label in enumerate(ours.labels):
        logits, truth = known(ours, k)
        least = counts[k].least_to_fit
        if least >= FEW_POSITIVES:
            line = fit_platt([label], logits[:, None], truth[:, None], {})
            slope[k], intercept[k] = line.slope[0], line.intercept[0]
            hows.append(How.LINE)
        elif least >= LEAST_TO_SHIFT:
            intercept[k] = _shifted(slope[k] * logits, truth)
            hows.append(How.SHIFT)
        else:
            hows.append(How.SAME)
    return Calibration(slope, intercept, Method.PLATT), hows


def _shifted(odds: Floats, truth: Floats) -> float:
    """Return b for which the mean of sigmoid(odds + b) is the share of positives."""

    def excess(b: float) -> float:
        return float((0.5 * (1.0 + np.tanh(0.5 * (odds + b)))).mean() - truth.mean())

    bound = float(np.abs(odds).max()) + 30.0
    return float(brentq(excess, -bound, bound, xtol=1e-10))


def moved(mixed: Calibration, hows: Sequence[How], counts: Sequence[Counts], choice: Choice) -> Calibration:
    """Return the lines moved from the mix of the cases to the prevalence that was given (Saerens 2002)."""
    intercept = mixed.intercept.copy()
    for k, each in enumerate(counts):
        if each.label in choice.prevalence and hows[k] is not How.SAME:
            target, ours = np.array([choice.prevalence[each.label], each.share_to_fit])
            intercept[k] += float(log_odds(target) - log_odds(ours))
    return Calibration(mixed.slope, intercept, Method.PLATT)


def thresholds(
    ours: Cases,
    manifest: Manifest,
    former: Calibration,
    line: Calibration,
    counts: Sequence[Counts],
    policy: Policy,
    choice: Choice,
) -> tuple[tuple[float, ...], list[bool]]:
    """Return (L,) thresholds, and which of them are new."""
    wanted = [
        each.with_fit >= FEW_POSITIVES
        and each.without_fit >= LEAST_TO_SHIFT
        and (not choice.only or each.label in choice.only)
        for each in counts
    ]
    values = [
        carried_over(value, (former.slope[k], former.intercept[k]), (line.slope[k], line.intercept[k]))
        for k, value in enumerate(manifest.thresholds.values)
    ]
    columns = np.flatnonzero(wanted)
    if choice.aim is Aim.BUDGET and len(columns):
        names = [ours.labels[k] for k in columns]
        probabilities = line.probability(np.nan_to_num(ours.logits))[:, columns]
        spent = choose_thresholds(policy, names, probabilities, ours.truth[:, columns], groups=ours.patients)
        for k, value in zip(columns, spent.values, strict=True):
            values[k] = value
    elif choice.aim is Aim.SENSITIVITY:
        for k in columns:
            logits, truth = known(ours, int(k))
            odds = line.slope[k] * logits + line.intercept[k]
            values[k] = _at_sensitivity(0.5 * (1.0 + np.tanh(0.5 * odds)), truth, choice.sensitivity)
    return tuple(values), wanted


def _at_sensitivity(probabilities: Floats, truth: Floats, target: float) -> float:
    """Return the highest threshold that lets so many positives through, halfway to the next film."""
    positives = np.sort(probabilities[truth == 1])[::-1]
    last = positives[int(np.ceil(target * len(positives) - 1e-9)) - 1]
    below = probabilities[probabilities < last]
    middle = (last + (below.max() if len(below) else 0.0)) / 2
    return float(middle if middle < last else last)


def known(cases: Cases, k: int) -> tuple[Floats, Floats]:
    """Return logits and truth of the k-th label on the films where it is known."""
    mask: Flags = ~np.isnan(cases.truth[:, k])
    return cases.logits[mask, k], cases.truth[mask, k]
