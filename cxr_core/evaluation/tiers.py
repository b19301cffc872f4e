"""Films with the urgency a model gives them and the one they truly have: what a simulation draws from."""

from __future__ import annotations

import numpy as np

from cxr_core.domain import ABNORMAL, Urgency
from cxr_core.evaluation.scored import Scored
from cxr_core.triage.policy import Policy
from cxr_core.triage.simulate import Films
from cxr_core.triage.sorting import sort_films


def films_of(scored: Scored, policy: Policy) -> Films:
    """Return the films of a split, each passing an accepting gate.

    A film truly is as urgent as its most urgent finding; abnormal without any finding that the policy knows,
    it is for review; else routine. What is unknown counts as absent.
    """
    said = sort_films(policy, scored.labels, scored.probabilities, scored.members, scored.rules.thresholds)
    true = []
    for row in scored.truth == 1:
        present = frozenset(label for label, there in zip(scored.labels, row, strict=True) if there)
        tiers = [policy.tier_of(label, present) for label in present - {ABNORMAL}]
        tiers += [Urgency.REVIEW] if present == {ABNORMAL} else []
        true.append(min((tier.rank for tier in tiers), default=Urgency.ROUTINE.rank))
    return Films(
        said=said.rank,
        true=np.array(true, dtype=np.int64),
        patients=scored.patients,
    )
