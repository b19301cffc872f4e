"""A person's word on a study's urgency, and what still counts beside it. Pure.

An override settles what the person had seen. Whatever came since, a further film or another answer for the
same one, counts on its own and can only raise: no critical answer is below critical that nobody looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxr_core.domain import Urgency
from cxr_core.triage.policy import Policy
from cxr_core.worklist.aggregate import NOT_FOR_THE_MODEL, Outcome, aggregate
from cxr_core.worklist.values import ImageStatus


@dataclass(frozen=True, slots=True)
class Override:
    """The urgency that a person gave.

    Attributes:
        by: who that was.
        seen: marks of the films' outcomes that were known when they did.
    """

    urgency: Urgency
    by: str
    seen: frozenset[str]

    def as_json(self) -> dict[str, Any]:
        """Return what `StudyRow.override` keeps."""
        return {"urgency": self.urgency.value, "by": self.by, "seen": sorted(self.seen)}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Override:
        """Return the override of which that was kept."""
        return cls(Urgency(said["urgency"]), said["by"], frozenset(said["seen"]))


def mark(outcome: Outcome) -> str:
    """Return 16 hexadecimal digits, other ones for whatever a person would have to look at anew.

    That a film with an answer waits for another one is nothing new; the answer that comes is.
    """
    answered = outcome.status in (ImageStatus.ASSESSED, ImageStatus.REFUSED) or (
        outcome.status is ImageStatus.WAITING and outcome.triage is not None
    )
    triage, refusal = outcome.triage, outcome.refusal
    told = [
        outcome.sha256,
        "answered" if answered else outcome.status.value,
        outcome.result_id,
        triage.urgency.value if triage else None,
        sorted(triage.findings) if triage else None,
        refusal.code if refusal else None,
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def marks(outcomes: Sequence[Outcome]) -> frozenset[str]:
    """Return the marks of all of them."""
    return frozenset(mark(outcome) for outcome in outcomes)


def counting(override: Override | None, outcomes: Sequence[Outcome], policy: Policy) -> Urgency:
    """Return how urgent the study is: as its films say, or as a person said unless what came since is graver.

    A further film that is not for the model (a lateral beside the frontal one) raises nothing.
    """
    if override is None:
        return aggregate(outcomes, policy).urgency
    since = [outcome for outcome in outcomes if mark(outcome) not in override.seen and not _beside(outcome)]
    if not since:
        return override.urgency
    return min(override.urgency, aggregate(since, policy).urgency, key=lambda urgency: urgency.rank)


def _beside(outcome: Outcome) -> bool:
    if outcome.refusal is None or outcome.status in (ImageStatus.DEAD, ImageStatus.CONFLICT):
        return False
    return outcome.refusal.code in NOT_FOR_THE_MODEL
