"""A model fitted to a site: recalibrated and set anew by some local patients, judged on the others. Pure.

The network stays as it is, and with it the order of films: areas under the curve do not change. Patients,
never films, are divided by a hash into those to fit by and those held out, and what is saved is exactly what
was judged: nothing is fitted again on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy.optimize import brentq

from cxr_core.domain import ABNORMAL, Urgency
from cxr_core.errors import DataError
from cxr_core.evaluation.bootstrap import FEWEST, Interval, column_aucs, intervals
from cxr_core.evaluation.calibrate import UNREACHABLE, fit_platt
from cxr_core.evaluation.metrics import Bin, brier, ece, ppv_at, reliability
from cxr_core.evaluation.rates import Share, share
from cxr_core.evaluation.site_cases import Aim, Cases, Choice, Flags, Floats, fittable, log_odds
from cxr_core.evaluation.site_verdict import (
    LEAST_FILMS,
    LEAST_TO_SHIFT,
    Counts,
    Verdict,
    judged,
    overall,
    too_few,
    worse,
)
from cxr_core.inference.calibration import Calibration, Method
from cxr_core.inference.manifest import NETWORK, Manifest
from cxr_core.triage.budget import FEW_POSITIVES, choose_thresholds
from cxr_core.triage.policy import Policy
from cxr_core.triage.sorting import TIERS, sort_films

RESAMPLES = 1000


class How(StrEnum):
    """What became of a label's calibration."""

    LINE = "slope and intercept"
    SHIFT = "intercept only"
    SAME = "unchanged"


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


@dataclass(frozen=True, slots=True)
class LabelFit:
    """One label.

    Attributes:
        counts: films and patients with and without it, in both halves.
        prevalence: by which flags and PPV are expected: as given, or that of the cases.
        how: what became of its calibration.
        renewed: whether it has a threshold of its own; else the former one was carried over to the new scale.
        reached: share of the films fitted by with the finding that the threshold lets through; with limits.
        auc: on the held-out films; the same before and after.
        verdict: whether the cases suffice for it.
    """

    label: str
    counts: Counts
    prevalence: float
    how: How
    renewed: bool
    reached: Interval
    auc: Interval
    before: Side
    after: Side
    verdict: Verdict


@dataclass(frozen=True, slots=True, eq=False)
class SiteFit:
    """A model fitted to a site, and what that changes.

    Attributes:
        model, network: what the figures belong to and may be applied to: "id version", SHA-256.
        choice: what was asked for.
        origin: where the truth came from, in words.
        policy: version of the policy.
        films, patients: (fitted by, held out).
        calibration: of all labels.
        thresholds: (L,) in manifest order.
        labels: one entry for each label of the model.
        tiers_before, tiers_after: expected films a day by urgency, of the held-out films.
        verdict: of all labels together.
    """

    model: str
    network: str
    choice: Choice
    origin: str
    policy: str
    films: tuple[int, int]
    patients: tuple[int, int]
    calibration: Calibration
    thresholds: tuple[float, ...]
    labels: tuple[LabelFit, ...]
    tiers_before: dict[Urgency, float]
    tiers_after: dict[Urgency, float]
    verdict: Verdict

    def __getitem__(self, label: str) -> LabelFit:
        """Return what became of a label."""
        return next(each for each in self.labels if each.label == label)

    @property
    def changed(self) -> bool:
        """Whether anything of the model would be another than before."""
        return any(each.renewed or each.how is not How.SAME for each in self.labels)


def fit(
    cases: Cases, manifest: Manifest, policy: Policy, choice: Choice, *, resamples: int = RESAMPLES
) -> SiteFit:
    """Return the model fitted to the cases.

    Calibration: a label with at least 20 patients who have it and 20 who lack it, among those fitted by, gets
    a new Platt line; from 5 on its line is shifted; below that it stays. Thresholds: a label with at least 20
    patients who have it gets a new one; the others call the same films as before.

    Args:
        cases: local films as this very model answered them.
        manifest: of that model.
        policy: whose tiers the flags are counted by, and whose budget is spent.
        choice: what is asked for.
        resamples: of the bootstrap over patients, for areas.

    Raises:
        DataError: too few cases, another model's, or a choice that is none.
    """
    choice = choice.checked(manifest.labels)
    same = cases.labels == fittable(manifest).labels and cases.network == manifest.files.get(NETWORK)
    if not (same and cases.network):
        raise DataError(f"these films were answered by another model than {manifest.id} {manifest.version}")
    if len(cases) < LEAST_FILMS:
        raise DataError(too_few(len(cases), cases.number_of_patients()))
    mask = cases.fitted_on()
    ours, held = cases.pick(mask), cases.pick(~mask)
    if not len(ours) or not len(held):
        raise DataError("all films are of patients of one half: with so few patients nothing can be held out")
    if choice.aim is Aim.BUDGET and choice.prevalence:
        raise DataError(
            "a budget is a share of films as they come; for films that were chosen, set a sensitivity instead"
        )
    counts = [Counts.of(label, k, ours, held) for k, label in enumerate(cases.labels)]
    former = Calibration(np.array(manifest.calibration.slope), np.array(manifest.calibration.intercept))
    mixed, hows = _recalibrated(ours, former, counts)
    moved = _moved(mixed, hows, counts, choice)
    thresholds, renewed = _thresholds(ours, manifest, former, moved, counts, policy, choice)
    areas = _areas(held, counts, resamples)
    before = former, manifest.thresholds.values
    back = mixed.intercept - moved.intercept
    in_mix = Calibration(former.slope, former.intercept + back, Method.PLATT), mixed
    labels = []
    for k, label in enumerate(cases.labels):
        prevalence = choice.prevalence.get(label, counts[k].prevalence)
        was, now = (
            _side(held, k, line, points[k], seen, prevalence, choice.films_a_day)
            for (line, points), seen in zip((before, (moved, thresholds)), in_mix, strict=True)
        )
        reached = _rates(ours, k, moved, thresholds[k])[0]
        verdict = judged(label, counts[k], now.sensitivity, renewed=renewed[k], choice=choice)
        if hows[k] is not How.SAME and now.brier > was.brier:
            verdict = worse(verdict)
        labels.append(
            LabelFit(label, counts[k], prevalence, hows[k], renewed[k], reached, areas[k], was, now, verdict)
        )
    return SiteFit(
        model=cases.model,
        network=cases.network,
        choice=choice,
        origin=cases.origin.value,
        policy=policy.version,
        films=(len(ours), len(held)),
        patients=(ours.number_of_patients(), held.number_of_patients()),
        calibration=moved,
        thresholds=thresholds,
        labels=tuple(labels),
        tiers_before=_tiers(policy, held, *before, choice),
        tiers_after=_tiers(policy, held, moved, thresholds, choice),
        verdict=overall([each.verdict for each in labels], len(cases)),
    )


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


def _recalibrated(
    ours: Cases, former: Calibration, counts: Sequence[Counts]
) -> tuple[Calibration, list[How]]:
    """Return the lines in the mix of the cases, and how each came to be."""
    slope, intercept, hows = former.slope.copy(), former.intercept.copy(), []
    for k, label in enumerate(ours.labels):
        logits, truth = _known(ours, k)
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


def _moved(mixed: Calibration, hows: Sequence[How], counts: Sequence[Counts], choice: Choice) -> Calibration:
    """Return the lines moved from the mix of the cases to the prevalence that was given (Saerens 2002)."""
    intercept = mixed.intercept.copy()
    for k, each in enumerate(counts):
        if each.label in choice.prevalence and hows[k] is not How.SAME:
            target, ours = np.array([choice.prevalence[each.label], each.share_to_fit])
            intercept[k] += float(log_odds(target) - log_odds(ours))
    return Calibration(mixed.slope, intercept, Method.PLATT)


def _thresholds(
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
            logits, truth = _known(ours, int(k))
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


def _side(
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
    sensitivity, specificity = _rates(held, k, line, threshold)
    logits, truth = _known(held, k)
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


def _rates(cases: Cases, k: int, line: Calibration, threshold: float) -> tuple[Interval, Interval]:
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


def _known(cases: Cases, k: int) -> tuple[Floats, Floats]:
    known: Flags = ~np.isnan(cases.truth[:, k])
    return cases.logits[known, k], cases.truth[known, k]


def _areas(held: Cases, counts: Sequence[Counts], resamples: int) -> list[Interval]:
    """Return the areas; not known where one patient alone has a label, or lacks it."""
    areas, _ = intervals(
        column_aucs, np.nan_to_num(held.logits), held.truth, held.patients, resamples=resamples
    )
    alone = [min(each.with_held, each.without_held) < FEWEST for each in counts]
    return [_NOT if few else area for area, few in zip(areas, alone, strict=True)]


def _tiers(
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
