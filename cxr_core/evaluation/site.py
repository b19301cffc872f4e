"""A model fitted to a site: recalibrated and set anew by some local patients, judged on the others. Pure.

The network stays as it is, and with it the order of films: areas under the curve do not change. Patients,
never films, are divided by a hash into those to fit by and those held out, and what is saved is exactly what
was judged: nothing is fitted again on all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_core.domain import Urgency
from cxr_core.errors import DataError
from cxr_core.evaluation import site_lines, site_sides
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.site_cases import Aim, Cases, Choice, fittable
from cxr_core.evaluation.site_lines import How
from cxr_core.evaluation.site_sides import Side
from cxr_core.evaluation.site_verdict import LEAST_FILMS, Counts, Verdict, judged, overall, too_few, worse
from cxr_core.inference.calibration import Calibration, Method
from cxr_core.inference.manifest import NETWORK, Manifest
from cxr_core.triage.policy import Policy

RESAMPLES = 1000


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
    ours, held = _halves(cases, manifest, choice.checked(manifest.labels))
    counts = [Counts.of(label, k, ours, held) for k, label in enumerate(cases.labels)]
    former = Calibration(np.array(manifest.calibration.slope), np.array(manifest.calibration.intercept))
    mixed, hows = site_lines.recalibrated(ours, former, counts)
    moved = site_lines.moved(mixed, hows, counts, choice)
    thresholds, renewed = site_lines.thresholds(ours, manifest, former, moved, counts, policy, choice)
    areas = site_sides.areas(held, counts, resamples)
    before = former, manifest.thresholds.values
    back = mixed.intercept - moved.intercept
    in_mix = Calibration(former.slope, former.intercept + back, Method.PLATT), mixed
    labels = []
    for k, label in enumerate(cases.labels):
        prevalence = choice.prevalence.get(label, counts[k].prevalence)
        was, now = (
            site_sides.side(held, k, line, points[k], seen, prevalence, choice.films_a_day)
            for (line, points), seen in zip((before, (moved, thresholds)), in_mix, strict=True)
        )
        reached = site_sides.rates(ours, k, moved, thresholds[k])[0]
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
        tiers_before=site_sides.tiers(policy, held, *before, choice),
        tiers_after=site_sides.tiers(policy, held, moved, thresholds, choice),
        verdict=overall([each.verdict for each in labels], len(cases)),
    )


def _halves(cases: Cases, manifest: Manifest, choice: Choice) -> tuple[Cases, Cases]:
    """Return the films to fit by and those held out; raises DataError as `fit`."""
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
    return ours, held
