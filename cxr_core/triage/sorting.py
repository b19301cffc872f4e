"""What `decide` makes of many films at once, without its sentences: for pages that move a threshold. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import ABNORMAL, Urgency
from cxr_core.triage.policy import Policy

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

TIERS = tuple(Urgency)


class Reason(StrEnum):
    """Why a film is left to a person; several may hold."""

    ABNORMAL = "abnormal"
    """It reaches its threshold."""
    DISAGREEMENT = "disagreement"
    """Of the members."""
    WARNED = "warned"
    """By the gate."""
    NOT_ASSESSED = "not_assessed"
    """Something was not."""


@dataclass(frozen=True, slots=True, eq=False)
class Sorted:
    """The decisions, a place a film; every film is flagged, unable or cleared.

    Attributes:
        rank: (N,) place of its urgency in `TIERS`.
        flagged: (N,) a finding is positive.
        unable: (N,) unable to classify.
        cleared: (N,) "No disease detected".
        reasons: (N,) by reason; `WARNED` only where the gate was asked.
    """

    rank: NDArray[np.int64]
    flagged: Flags
    unable: Flags
    cleared: Flags
    reasons: dict[Reason, Flags]

    def shares(self) -> dict[Urgency, float]:
        """Return the share of films in each tier."""
        counts = np.bincount(self.rank, minlength=len(TIERS)) / max(len(self.rank), 1)
        return {tier: float(counts[place]) for place, tier in enumerate(TIERS)}


def sort_films(
    policy: Policy,
    labels: Sequence[str],
    probabilities: Floats,
    members: Floats,
    thresholds: Sequence[float],
    *,
    warned: Flags | None = None,
) -> Sorted:
    """Return for every film what `decide` would.

    Args:
        policy: the policy.
        labels: (L,) findings, and maybe `abnormal`.
        probabilities: (N, L) calibrated.
        members: (N, M, L) calibrated; M = 1 or 0 where nothing can disagree.
        thresholds: (L,); above 1 is not assessed.
        warned: (N,) whether the gate warned; None where each passes an accepting gate.
    """
    points = np.asarray(thresholds, dtype=np.float64)
    usable = (points <= 1) & (probabilities >= 0) & (probabilities <= 1)
    if members.shape[1] > 1:
        usable &= np.isfinite(members).all(axis=1)
    called = usable & (probabilities >= points)
    place = {label: column for column, label in enumerate(labels)}
    findings = [column for label, column in place.items() if label != ABNORMAL]
    reasons = {
        Reason.ABNORMAL: called[:, place[ABNORMAL]] if ABNORMAL in place else np.zeros(len(called), bool),
        Reason.DISAGREEMENT: _torn(policy, place, called, usable, members, points),
        **({} if warned is None else {Reason.WARNED: warned}),
        Reason.NOT_ASSESSED: _missing(policy, place, usable),
    }
    doubt: Flags = np.any(list(reasons.values()), axis=0)
    flagged: Flags = np.any(called[:, findings], axis=1)
    rank = np.where(doubt, Urgency.REVIEW.rank, Urgency.ROUTINE.rank)
    for label, column in place.items():
        if label != ABNORMAL:
            rank = np.minimum(rank, np.where(called[:, column], _tier(policy, label, place, called), 99))
    return Sorted(rank.astype(np.int64), flagged, doubt & ~flagged, ~doubt & ~flagged, reasons)


def _missing(policy: Policy, place: dict[str, int], usable: Flags) -> Flags:
    """Return (N,) whether any label was not assessed."""
    absent = any(label not in place for label in (*policy.labels, ABNORMAL))
    all_usable: Flags = np.all(usable, axis=1)
    return ~all_usable | absent


def _torn(
    policy: Policy, place: dict[str, int], called: Flags, usable: Flags, members: Floats, points: Floats
) -> Flags:
    """Return (N,) whether the members disagree on a finding of the tiers that the policy names."""
    torn = np.zeros(len(called), dtype=bool)
    if members.shape[1] < 2:
        return torn
    rule = policy.disagreement
    for label in policy.labels:
        its = policy.rule(label)
        if its is None or its.tier not in rule.tiers or label not in place:
            continue
        column = place[label]
        votes = (members[:, :, column] >= points[column]).sum(axis=1)
        apart = members[:, :, column].std(axis=1) >= rule.spread
        torn |= usable[:, column] & (apart | (~called[:, column] & (votes >= rule.votes)))
    return torn


def _tier(policy: Policy, label: str, place: dict[str, int], called: Flags) -> NDArray[np.int64]:
    """Return (N,) the tier of a finding, were it positive: more urgent together with others."""
    rule = policy.rule(label)
    own = np.full(len(called), (rule.tier if rule else Urgency.REVIEW).rank)
    if rule is None or rule.together is None:
        return own
    others = [place[each] for each in rule.together.labels if each in place]
    together = called[:, others].any(axis=1)
    return np.where(together, np.minimum(own, rule.together.tier.rank), own)
