"""Thresholds within the policy's alert budget. Pure.

Youden's point of every finding would make half the list critical. Here each tier may take a stated share of
the films, and the thresholds of its findings maximise their mean sensitivity within it. Shares are counted on
films as they come, so choose on films whose mix resembles the ward's: another mix gives other shares.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import ABNORMAL, Gate, GateOutcome, Prediction, State, Triage, Urgency
from cxr_core.errors import PolicyError
from cxr_core.triage.decide import decide
from cxr_core.triage.fill import Stage
from cxr_core.triage.policy import Policy
from cxr_core.triage.terms import ReviewBudget

FEW_POSITIVES = 20
"""Below this many positives a sensitivity is chance, so nothing is maximised."""

SMALL_SHARE = 0.005
"""Share of films that a finding with few positives may call instead."""

RULE = (
    "highest mean sensitivity of each tier's findings within the policy's share of films, tiers filled from "
    "critical down, abnormal last within the review tier's share; below 20 positives a fixed 0.5 % of films"
)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_ACCEPTED, _WARNED = Gate(GateOutcome.ACCEPTED), Gate(GateOutcome.WARNED)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Operating points on calibrated probabilities and the shares of films they led to.

    Attributes:
        labels, values: one threshold per label, in the caller's order.
        few_positives: labels with fewer than `FEW_POSITIVES`, which got `SMALL_SHARE` of the films.
        shares: share of films that each tier took; `review` as the policy's `review_budget` counts it.
        policy: version of the policy.
        rule: how they were chosen, for the manifest.
    """

    labels: tuple[str, ...]
    values: tuple[float, ...]
    few_positives: tuple[str, ...]
    shares: dict[Urgency, float]
    policy: str
    rule: str = RULE

    def __getitem__(self, label: str) -> float:
        """Return the threshold of a label."""
        return self.values[self.labels.index(label)]


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many films."""

    count: int
    of: int

    @property
    def share(self) -> float:
        """In [0, 1]; NaN of no films."""
        return self.count / self.of if self.of else math.nan


@dataclass(frozen=True, slots=True)
class Report:
    """What the policy makes of films with known truth, for the model card.

    Attributes:
        urgency, state: films per tier and per state, of all films.
        lifted: flagged films whose urgency is `review` because of `abnormal`, disagreement, a missing answer.
        critical: films with a critical finding by the truth whose urgency became critical.
        sensitivity: per label, positive among the films that have it.
        missed: diseased films called "No disease detected", of all diseased films.
        missed_by_finding: the same per finding.
    """

    films: int
    urgency: dict[Urgency, Rate]
    state: dict[State, Rate]
    lifted: Rate
    critical: Rate
    sensitivity: dict[str, Rate]
    missed: Rate
    missed_by_finding: dict[str, Rate]

    @property
    def unable(self) -> Rate:
        """Films that the model could not classify."""
        return self.state[State.UNABLE_TO_CLASSIFY]


def choose_thresholds(
    policy: Policy,
    labels: Sequence[str],
    probabilities: NDArray[np.floating],
    truth: NDArray[np.floating],
    *,
    groups: Sequence[object] | NDArray[np.generic] | None = None,
) -> Thresholds:
    """Return thresholds with the highest mean sensitivity per tier within the policy's budget.

    Tiers are filled from critical down; a film that is already in a more urgent tier costs nothing in a lower
    one. `abnormal` comes last and, by the policy's `review_budget`, costs films without any positive finding
    or every film that it makes review. Disagreement and warnings are not known here: see `share_report`.

    Within a tier, greedily: lower the one threshold that gains most mean sensitivity per film added, by the
    step (over any number of films that still fit) with the best ratio, until no step gains. This runs from
    nothing and once from each finding at its most sensitive; the best result counts. Exact for one finding;
    against every combination on small cases 99.8 % of the best on average.

    Args:
        policy: tiers and their shares.
        labels: (L,) findings of the policy, and maybe `abnormal`.
        probabilities: (N, L) calibrated, in [0, 1], of films the model was not trained on.
        truth: (N, L) 1 present, 0 absent, NaN unknown (counts for the share, not for the sensitivity).
        groups: (N,) patient of each film; then `few_positives` counts patients instead of films.

    Raises:
        PolicyError: a label that the policy does not know.
        ValueError: shapes that differ, no films, a label twice, a probability outside [0, 1], a truth that is
            not 0, 1 or NaN.
    """
    scores, known = checked(policy, labels, probabilities, truth)
    patients = (
        np.arange(len(scores)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    )
    if len(patients) != len(scores):
        raise ValueError(f"groups: expected {len(scores)} films, got {len(patients)}")
    few = tuple(
        label for j, label in enumerate(labels) if len(np.unique(patients[known[:, j] == 1])) < FEW_POSITIVES
    )
    chosen: dict[str, float] = {}
    shares: dict[Urgency, float] = {}
    taken = sooner = np.zeros(len(scores), dtype=bool)
    for urgency in sorted(Urgency, key=lambda tier: tier is Urgency.REVIEW):  # review last: `abnormal`
        if urgency is Urgency.REVIEW and policy.review_budget is ReviewBudget.ALL:
            taken = sooner
        names = [ABNORMAL] if urgency is Urgency.REVIEW else policy.labels_of(urgency)
        columns = [labels.index(name) for name in names if name in labels]
        stage = Stage(scores[:, columns], known[:, columns], taken, policy.tiers[urgency].budget)
        values = stage.fill([labels[j] in few for j in columns], SMALL_SHARE)
        chosen |= {labels[j]: value for j, value in zip(columns, values, strict=True)}
        shares[urgency] = float(np.mean(stage.taken & ~taken))
        taken = stage.taken
        sooner = taken if urgency.rank < Urgency.REVIEW.rank else sooner
    return Thresholds(
        labels=tuple(labels),
        values=tuple(chosen[label] for label in labels),
        few_positives=few,
        shares={urgency: shares[urgency] for urgency in Urgency},
        policy=policy.version,
    )


def checked(
    policy: Policy, labels: Sequence[str], probabilities: NDArray[np.floating], truth: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    """Return probabilities and truth as (N, L) float64; raises what `choose_thresholds` documents."""
    if unknown := [label for label in labels if label not in (*policy.labels, ABNORMAL)]:
        raise PolicyError(f"the policy {policy.version} does not know {', '.join(unknown)}")
    scores, known = np.asarray(probabilities, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if scores.ndim != 2 or scores.shape != known.shape or scores.shape[1] != len(labels) or not len(scores):
        raise ValueError(f"expected films × {len(labels)} labels twice, got {scores.shape} and {known.shape}")
    if len(set(labels)) < len(labels):
        raise ValueError("a label stands twice")
    if not ((scores >= 0.0) & (scores <= 1.0)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    if not (np.isnan(known) | (known == 0.0) | (known == 1.0)).all():
        raise ValueError("truth must be 0, 1 or NaN")
    return scores, known


def share_report(
    policy: Policy,
    labels: Sequence[str],
    probabilities: NDArray[np.floating],
    members: NDArray[np.floating] | None,
    thresholds: Thresholds | Sequence[float],
    truth: NDArray[np.floating],
    *,
    warned: Flags | None = None,
) -> Report:
    """Return what `decide` makes of every film.

    Args:
        policy: the policy.
        labels: (L,) as for `choose_thresholds`.
        probabilities: (N, L) calibrated, of the ensemble.
        members: (N, M, L) calibrated, of each member; None where there is one, so nothing can disagree.
        thresholds: (L,) in the order of `labels`, or what `choose_thresholds` returned.
        truth: (N, L) 1 present, 0 absent, NaN unknown.
        warned: (N,) whether the gate warned; None where each film passes an accepting gate.

    Raises:
        PolicyError, ValueError: as `choose_thresholds`, and other shapes of members or thresholds.
    """
    scores, known = checked(policy, labels, probabilities, truth)
    points = [thresholds[x] for x in labels] if isinstance(thresholds, Thresholds) else list(thresholds)
    if len(points) != len(labels):
        raise ValueError(f"expected {len(labels)} thresholds, got {len(points)}")
    each = (
        np.empty((len(scores), 0, len(labels))) if members is None else np.asarray(members, dtype=np.float64)
    )
    if each.ndim != 3 or (each.shape[0], each.shape[2]) != scores.shape:
        raise ValueError(f"expected members of shape films × members × {len(labels)}, got {each.shape}")
    gates = [_WARNED if flag else _ACCEPTED for flag in (np.zeros(len(scores)) if warned is None else warned)]
    films = zip(gates, scores, each, strict=True)
    decisions = [_decide(policy, labels, points, *film) for film in films]
    return _report(policy, labels, scores >= np.array(points), known == 1.0, decisions)


def _decide(
    policy: Policy,
    labels: Sequence[str],
    thresholds: Sequence[float],
    gate: Gate,
    scores: Floats,
    members: Floats,
) -> Triage:
    bounded = np.clip(scores, 1e-12, 1.0 - 1e-12)
    logits = np.log(bounded / (1.0 - bounded)).tolist()
    columns = zip(labels, logits, scores.tolist(), thresholds, members.T.tolist(), strict=True)
    answers = [Prediction(*column[:4], members=tuple(column[4])) for column in columns]
    abnormal = next((answer for answer in answers if answer.label == ABNORMAL), None)
    findings = [answer for answer in answers if answer.label != ABNORMAL]
    return decide(policy, gate, findings, abnormal)


def _report(
    policy: Policy, labels: Sequence[str], positive: Flags, present: Flags, decisions: Sequence[Triage]
) -> Report:
    urgencies = Counter(decision.urgency for decision in decisions)
    states = Counter(decision.state for decision in decisions)
    lifted = sum(d.state is State.FLAGGED and d.urgency is Urgency.REVIEW for d in decisions)
    critical = np.array([decision.urgency is Urgency.CRITICAL for decision in decisions])
    cleared = np.array([decision.state is State.NO_DISEASE_DETECTED for decision in decisions])
    critical_columns = [labels.index(x) for x in policy.labels_of(Urgency.CRITICAL) if x in labels]
    findings = [label for label in labels if label != ABNORMAL]
    diseased = np.logical_or.reduce(present, axis=1)
    in_danger = np.logical_or.reduce(present[:, critical_columns], axis=1)

    def among(flags: Flags, films: Flags) -> Rate:
        return Rate(int(np.count_nonzero(flags & films)), int(np.count_nonzero(films)))

    return Report(
        films=len(decisions),
        urgency={urgency: Rate(urgencies[urgency], len(decisions)) for urgency in Urgency},
        state={state: Rate(states[state], len(decisions)) for state in State},
        lifted=Rate(lifted, len(decisions)),
        critical=among(critical, in_danger),
        sensitivity={label: among(positive[:, j], present[:, j]) for j, label in enumerate(labels)},
        missed=among(cleared, diseased),
        missed_by_finding={label: among(cleared, present[:, labels.index(label)]) for label in findings},
    )
