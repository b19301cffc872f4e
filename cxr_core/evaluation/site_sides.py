"""What a label's line and threshold do to films that they were not fitted by. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cxr_core.domain import ABNORMAL, Urgency
from cxr_core.evaluation.bootstrap import FEWEST, Interval, column_aucs, intervals
from cxr_core.evaluation.metrics import Bin, brier, ece, ppv_at, reliability
from cxr_core.evaluation.rates import Share, share
from cxr_core.evaluation.site_cases import Cases, Choice, Floats
from cxr_core.evaluation.site_lines import known
from cxr_core.evaluation.site_verdict import Counts
from cxr_core.inference.calibration import Calibration
from cxr_core.triage.policy import Policy
from cxr_core.triage.sorting import TIERS, sort_films


@dataclass(frozen=True, slots=True)
class Side:
    """What a label's threshold does to the held-out films, before or after.

    Attributes:
        threshold: on the calibrated probability; above 1 cannot be reached, and then no rate is known.
        sensitivity, specificity: with limits that know of patients.
        ppv: at the local prevalence; its limits take those of sensitivity and specificity together.
        flags: expected films a day.
        ece, brier: of the probabilities, in the mix of the cases.
        bins: for the reliability plot.
    """

    threshold: float
    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    flags: float
    ece: float
    brier: float
    bins: tuple[Bin, ...] = field(default=(), repr=False)


def side(
    held: Cases,
    k: int,
    line: Calibration,
    threshold: float,
    in_mix: Calibration,
    prevalence: float,
    films_a_day: float,
) -> Side:
    """Return what a threshold does to the held-out films; probabilities are judged in the cases' own mix.

    Where a prevalence was given, the line before and the one saved are moved to that mix alike.
    """
    sensitivity, specificity = rates(held, k, line, threshold)
    logits, truth = known(held, k)
    if not len(truth):
        return Side(threshold, sensitivity, specificity, _NOT, *(float("nan"),) * 3)
    probabilities = _probability(in_mix, k, logits)
    ppv = Interval(
        *(ppv_at(*at, prevalence) for at in zip(_parts(sensitivity), _parts(specificity), strict=True))
    )
    flags = prevalence * sensitivity.value + (1.0 - prevalence) * (1.0 - specificity.value)
    return Side(
        threshold,
        sensitivity,
        specificity,
        ppv,
        films_a_day * flags,
        ece(probabilities, truth),
        brier(probabilities, truth),
        reliability(probabilities, truth),
    )


_NOT = Interval(*(float("nan"),) * 3)


def rates(cases: Cases, k: int, line: Calibration, threshold: float) -> tuple[Interval, Interval]:
    """Return sensitivity and specificity of a label; NaN where it is not assessed or no film tells."""
    if threshold > 1.0:
        return _NOT, _NOT
    numbers = np.unique(cases.patients, return_inverse=True)[1].astype(np.int64)
    called = _probability(line, k, np.nan_to_num(cases.logits[:, k], nan=-np.inf)) >= threshold
    present, absent = cases.truth[:, k] == 1, cases.truth[:, k] == 0
    found: tuple[Share, Share] = share(called, present, numbers), share(~called, absent, numbers)
    return found[0].interval, found[1].interval


def _probability(line: Calibration, k: int, logits: Floats) -> Floats:
    probabilities: Floats = 0.5 * (1.0 + np.tanh(0.5 * (line.slope[k] * logits + line.intercept[k])))
    return probabilities


def _parts(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def areas(held: Cases, counts: Sequence[Counts], resamples: int) -> list[Interval]:
    """Return the areas; not known where one patient alone has a label, or lacks it."""
    areas, _ = intervals(
        column_aucs, np.nan_to_num(held.logits), held.truth, held.patients, resamples=resamples
    )
    alone = [min(each.with_held, each.without_held) < FEWEST for each in counts]
    return [_NOT if few else area for area, few in zip(areas, alone, strict=True)]


def tiers(
    policy: Policy, held: Cases, line: Calibration, thresholds: Sequence[float], choice: Choice
) -> dict[Urgency, float]:
    """Return expected films a day by urgency: what the policy makes of the held-out films.

    Where the prevalence of `abnormal` was given, films with it and without count by that; NaN where there
    are none of either.
    """
    made = sort_films(
        policy, held.labels, line.probability(held.logits), line.probability(held.members), thresholds
    )
    weights = np.ones(len(held))
    target = choice.prevalence.get(ABNORMAL)
    if target is not None:
        truth = held.truth[:, held.labels.index(ABNORMAL)]
        weights = np.zeros(len(held))
        for value, share_of_films in ((1, target), (0, 1 - target)):
            if not (truth == value).any():
                return dict.fromkeys(TIERS, float("nan"))
            weights[truth == value] = share_of_films / int((truth == value).sum())
    films = np.bincount(made.rank, weights, minlength=len(TIERS)) / weights.sum() * choice.films_a_day
    return {urgency: float(films[place]) for place, urgency in enumerate(TIERS)}
