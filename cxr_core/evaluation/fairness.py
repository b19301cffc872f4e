"""Whether a model serves some people worse: its figures by sex, age, view, with intervals and counts.

A diseased film of which it is said that nothing was found is underdiagnosed (Seyyed-Kalantari 2021, Nature
Medicine 27:2176). The usual gap in sensitivity is that of two groups from one another and of more from the
median group (Seyyed-Kalantari 2021, CheXclusion). Here it is always from all other films: the same for two
groups, and for more not 0 by construction for the one in the middle. `Row.from_median` is the other.

Nothing here says that a model is fair. A group that is too small says so; one whose interval holds 0
may differ all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from cxr_core.domain import ABNORMAL
from cxr_core.evaluation.bootstrap import Interval, column_aucs, intervals
from cxr_core.evaluation.measure import is_enough
from cxr_core.evaluation.rates import LEVEL, Difference, Flags, Share, difference, share
from cxr_core.evaluation.scored import Scored
from cxr_core.evaluation.subgroups import By, Subgroup, subgroups
from cxr_core.inference.manifest import Task
from cxr_core.triage.budget import FEW_POSITIVES
from cxr_core.triage.policy import Policy
from cxr_core.triage.sorting import sort_films

RESAMPLES = 1000
NONE = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Row:
    """A group at one finding.

    Attributes:
        group: which films.
        films, patients: of those where the finding is known.
        positives, positive_patients: of those that have it.
        found: share of those with it that reach its threshold: TPR, sensitivity.
        wrong: share of those without it that do: FPR.
        gap: of `found` from that of all other films; None where either has too few.
        from_median: `found` minus that of the median group; NaN where there are too few.
    """

    group: Subgroup
    films: int
    patients: int
    positives: int
    positive_patients: int
    found: Share
    wrong: Share
    gap: Difference | None
    from_median: float = float("nan")

    @property
    def few_found(self) -> bool:
        """Whether there is not enough data for a sensitivity."""
        return self.positives < FEW_POSITIVES


@dataclass(frozen=True, slots=True)
class Told:
    """A share that is compared with that of all other films; `gap` is None where either has too few."""

    share: Share
    gap: Difference | None

    @property
    def few(self) -> bool:
        """Whether there is not enough data."""
        return self.share.of < FEW_POSITIVES


@dataclass(frozen=True, slots=True)
class Missed:
    """A group and what is said of its diseased and its healthy films.

    Attributes:
        group: which films.
        missed: diseased films of which the product would say "No disease detected"; None where it never does.
        silent: diseased films with no finding at its threshold, whatever else asks for a person.
        alarmed: healthy films of which the product would not say so.
        called: healthy films with a finding at its threshold.
    """

    group: Subgroup
    missed: Told | None
    silent: Told
    alarmed: Told | None
    called: Told


@dataclass(frozen=True, slots=True)
class Looked:
    """How many gaps were looked at together.

    Attributes:
        gaps: how many, those of two opposite groups counted once.
        marked: whose interval leaves out 0.
        left: of these, which are left at a false discovery rate of 5 % (Benjamini and Hochberg 1995).
    """

    gaps: int
    marked: int
    left: int

    @property
    def by_chance(self) -> float:
        """How many would be marked if nothing differed."""
        return LEVEL * self.gaps


def by_finding(scored: Scored, by: By) -> dict[str, tuple[Row, ...]]:
    """Return for each label that the model can call the groups' sensitivity and false alarms, with gaps."""
    groups = subgroups(scored.table, by)
    patients = np.unique(scored.patients, return_inverse=True)[1]
    found = {}
    for k, label in enumerate(scored.labels):
        if scored.rules.thresholds[k] <= 1:
            called = scored.probabilities[:, k] >= scored.rules.thresholds[k]
            found[label] = _rows(groups, called, scored.truth[:, k] == 1, scored.truth[:, k] == 0, patients)
    return found


def areas(scored: Scored, by: By, label: str, *, resamples: int = RESAMPLES) -> tuple[Interval, ...]:
    """Return each group's area under the ROC curve, all NaN where there is not enough data.

    See `measure.is_enough`.
    """
    column = scored.labels.index(label)
    found = []
    for group in subgroups(scored.table, by):
        truth, patients = scored.truth[group.mask, column], scored.patients[group.mask]
        if not is_enough(truth, patients):
            found.append(NONE)
            continue
        scores = scored.probabilities[group.mask, column, None]
        (area,), _ = intervals(column_aucs, scores, truth[:, None], patients, resamples=resamples)
        found.append(area)
    return tuple(found)


def missed(scored: Scored, cleared: Flags | None, by: By) -> tuple[Missed, ...]:
    """Return each group's underdiagnosis and its counterpart.

    A film is diseased where any label of the model is true, healthy where all that are known are not.

    Args:
        scored: answers and truth.
        cleared: (N,) from `cleared`; None where the product says that of no film.
        by: what to group by.
    """
    diseased = (scored.truth == 1).any(axis=1)
    healthy: Flags = np.asarray(scored.diseased == 0)
    patients = np.unique(scored.patients, return_inverse=True)[1]
    findings = [k for k, label in enumerate(scored.labels) if label != ABNORMAL]
    points = np.array(scored.rules.thresholds)
    silent: Flags = np.asarray(~(scored.probabilities >= points)[:, findings].any(axis=1))

    def told(flags: Flags, among: Flags, group: Subgroup) -> Told:
        one, rest = share(flags, among & group.mask, patients), share(flags, among & ~group.mask, patients)
        return Told(one, _gap(one, rest))

    return tuple(
        Missed(
            group=group,
            missed=None if cleared is None else told(cleared, diseased, group),
            silent=told(silent, diseased, group),
            alarmed=None if cleared is None else told(~cleared, healthy, group),
            called=told(~silent, healthy, group),
        )
        for group in subgroups(scored.table, by)
    )


def cleared(scored: Scored, policy: Policy) -> Flags | None:
    """Return (N,) whether the product would say "No disease detected", each film past an accepting gate.

    None where the model serves no worklist or may never say so: it lacks a finding, or a threshold.
    """
    assessed = {label for label, at in zip(scored.labels, scored.rules.thresholds, strict=True) if at <= 1}
    if scored.manifest.model.task is not Task.MULTILABEL or not {*policy.labels, ABNORMAL} <= assessed:
        return None
    sorted_by = (scored.labels, scored.probabilities, scored.members, scored.rules.thresholds)
    return sort_films(policy, *sorted_by).cleared


def looked(gaps: Sequence[Difference | None]) -> Looked:
    """Return what is left of the gaps looked at together; see `left`."""
    known = [each for each in gaps if each is not None]
    kept = left(known)
    two = len(known) == 2 * len(
        {(round(abs(each.interval.value), 9), round(each.level, 6)) for each in known}
    )
    once = 2 if two else 1
    return Looked(len(known) // once, sum(each.marked for each in known) // once, sum(kept) // once)


def left(gaps: Sequence[Difference | None]) -> tuple[bool, ...]:
    """Return which gaps are left at a false discovery rate of 5 % among all of these; None never is."""
    levels = [each.level for each in gaps if each is not None]
    kept = iter(false_discovery_control(levels) < LEVEL if levels else ())
    return tuple(each is not None and bool(next(kept)) for each in gaps)


def gaps_of(found: Mapping[str, Sequence[Row]]) -> list[Difference | None]:
    """Return every gap in sensitivity, finding by finding."""
    return [row.gap for rows in found.values() for row in rows]


def _rows(
    groups: Sequence[Subgroup], called: Flags, present: Flags, absent: Flags, patients: NDArray[np.int64]
) -> tuple[Row, ...]:
    rows = []
    for group in groups:
        mask, known = group.mask, (present | absent) & group.mask
        one, rest = share(called, present & mask, patients), share(called, present & ~mask, patients)
        rows.append(
            Row(
                group=group,
                films=int(known.sum()),
                patients=len(np.unique(patients[known])),
                positives=one.of,
                positive_patients=one.patients,
                found=one,
                wrong=share(called, absent & mask, patients),
                gap=_gap(one, rest),
            )
        )
    return _beside_median(rows)


def _beside_median(rows: Sequence[Row]) -> tuple[Row, ...]:
    enough = [row.found.value for row in rows if not row.few_found]
    middle = float(np.median(enough)) if enough else float("nan")
    return tuple(row if row.few_found else replace(row, from_median=row.found.value - middle) for row in rows)


def _gap(one: Share, rest: Share) -> Difference | None:
    return difference(one, rest) if min(one.of, rest.of) >= FEW_POSITIVES else None
