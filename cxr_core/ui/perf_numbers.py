"""The figures that the performance page shows, made once of a model's tables. Nothing here draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import ABNORMAL
from cxr_core.evaluation import metrics
from cxr_core.evaluation.bootstrap import Interval, column_aps, column_aucs
from cxr_core.evaluation.measure import averaged, is_enough
from cxr_core.evaluation.scored import Scored
from cxr_core.inference.manifest import Task
from cxr_core.triage.budget import FEW_POSITIVES
from cxr_core.triage.policy import Policy
from cxr_core.triage.sorting import Sorted, sort_films
from cxr_core.ui.perf_choice import Chosen, kept

if TYPE_CHECKING:
    from cxr_core.evaluation.record import Evaluation

Floats = NDArray[np.float64]
NAN = float("nan")
MOST_POINTS = 400
"""Of a curve as it is drawn; a screen shows no more."""


@dataclass(frozen=True, slots=True)
class Row:
    """A label on the films where it is known.

    Attributes:
        films, positives: how many.
        few: whether there is not enough data for a figure, see `measure.is_enough`.
        auc, ap: with limits where somebody computed them, else NaN.
        ece, brier: of its probabilities.
    """

    label: str
    films: int
    positives: int
    few: bool
    auc: Interval
    ap: Interval
    ece: float
    brier: float

    @property
    def why(self) -> str:
        """What there is too little of: `not enough data (n+ = 3)`."""
        if self.positives < FEW_POSITIVES:
            return f"not enough data (n+ = {self.positives})"
        if self.films - self.positives < FEW_POSITIVES:
            return f"not enough data (n− = {self.films - self.positives})"
        return "not enough data (too few patients)"


@dataclass(frozen=True, slots=True)
class Numbers:
    """A model on one split.

    Attributes:
        rows: a label each, in the model's order.
        averaged: labels of the macro figures.
        macro_auc, macro_ap, micro_auc, micro_ap: as in `Row`.
    """

    rows: tuple[Row, ...]
    averaged: tuple[str, ...]
    macro_auc: Interval
    macro_ap: Interval
    micro_auc: Interval
    micro_ap: Interval

    def row(self, label: str) -> Row:
        """Return a label's."""
        return next(each for each in self.rows if each.label == label)

    @property
    def ece(self) -> float:
        """Mean over the labels of the macro figures."""
        return float(np.mean([self.row(label).ece for label in self.averaged]))

    @property
    def worst(self) -> Row | None:
        """The label of the macro figures that is calibrated worst, of those with enough data."""
        rows = (self.row(label) for label in self.averaged)
        return max((row for row in rows if not row.few), key=lambda row: row.ece, default=None)


def named(label: str) -> str:
    """Return a label as people write it."""
    return "Any finding" if label == ABNORMAL else label.replace("_", " ")


def numbers(chosen: Chosen) -> Numbers:
    """Return the figures of the model looked at."""
    return kept(chosen, "numbers", lambda: numbers_of(chosen.scored, chosen.evaluation))


def numbers_of(scored: Scored, evaluation: Evaluation | None) -> Numbers:
    """Return the figures of one model, with limits where it was evaluated."""
    aucs, aps = (
        column_aucs(scored.probabilities, scored.truth),
        column_aps(scored.probabilities, scored.truth),
    )
    rows = tuple(
        Row(
            label=label,
            films=int((~np.isnan(truth)).sum()),
            positives=int((truth == 1).sum()),
            few=not is_enough(truth, scored.patients),
            auc=_alone(aucs[k]),
            ap=_alone(aps[k]),
            ece=metrics.ece(scored.probabilities[:, k], truth),
            brier=metrics.brier(scored.probabilities[:, k], truth),
        )
        for k, (label, truth) in enumerate(zip(scored.labels, scored.truth.T, strict=True))
    )
    means = averaged(scored.rules, scored.truth)
    picked = [scored.labels.index(label) for label in means]
    all_scores, all_truth = (its[:, None] for its in metrics.micro(*findings_of(scored)))
    found = Numbers(
        rows,
        means,
        _alone(np.mean(aucs[picked])),
        _alone(np.mean(aps[picked])),
        _alone(column_aucs(all_scores, all_truth)[0]),
        _alone(column_aps(all_scores, all_truth)[0]),
    )
    return found if evaluation is None else _with_limits(found, evaluation)


def findings_of(scored: Scored) -> tuple[Floats, Floats]:
    """Return (N, K) probabilities and truth of the findings: all but `abnormal`, unless there is no other."""
    columns = [k for k, label in enumerate(scored.labels) if label != ABNORMAL] or [0]
    return scored.probabilities[:, columns], scored.truth[:, columns]


def usable(scored: Scored) -> tuple[str, ...]:
    """Return the labels with at least one film that has them and one that has not."""
    present, absent = (scored.truth == 1).any(axis=0), (scored.truth == 0).any(axis=0)
    return tuple(label for k, label in enumerate(scored.labels) if present[k] and absent[k])


def sorted_by(scored: Scored, policy: Policy, thresholds: Sequence[float] | None = None) -> Sorted | None:
    """Return what the policy makes of the films; None for models of another task, which sort no worklist."""
    if scored.manifest.model.task is not Task.MULTILABEL:
        return None
    points = scored.rules.thresholds if thresholds is None else thresholds
    return sort_films(policy, scored.labels, scored.probabilities, scored.members, points)


def _alone(value: float | np.floating) -> Interval:
    return Interval(float(value), NAN, NAN)


def _with_limits(found: Numbers, evaluation: Evaluation) -> Numbers:
    """Return the figures with the limits that were computed; where there is not enough data, without."""
    rows = []
    for row in found.rows:
        its = evaluation.of(row.label)
        rows.append(replace(row, auc=its.auc or row.auc, ap=its.ap or row.ap))
    return replace(
        found,
        rows=tuple(rows),
        macro_auc=evaluation.macro.auc or found.macro_auc,
        macro_ap=evaluation.macro.ap or found.macro_ap,
        micro_auc=evaluation.micro.auc or found.micro_auc,
        micro_ap=evaluation.micro.ap or found.micro_ap,
    )
