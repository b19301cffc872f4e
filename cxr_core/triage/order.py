"""The order of the list as a rule: the worklist asks its database by it, the simulator follows it. Pure.

Critical first; then whatever has waited longer than its own tier allows; then tier by tier. Within each of
these places the longest wait comes first.
"""

from __future__ import annotations

from datetime import timedelta

from cxr_core.domain import Urgency
from cxr_core.triage.policy import Policy

FOREVER = timedelta(days=36_500)
"""Longest maximum wait that is told from none; keeps `now - wait` a date."""

LOWER = (1, 2, 3)
"""The tiers in which a study can be overdue and move ahead for it."""

PLACES = 5

_TIERS = {Urgency.CRITICAL: 0, Urgency.URGENT: 1, Urgency.REVIEW: 1, Urgency.SIGNIFICANT: 2}


def tier_of(urgency: Urgency) -> int:
    """Return the place in the list: 0 critical, 1 urgent and review, 2 significant, 3 routine."""
    return _TIERS.get(urgency, 3)


def place(tier: int, *, late: bool) -> int:
    """Return where a study of a tier stands, 0 first, by whether it is overdue: one of `PLACES`.

    >>> [place(0, late=True), place(3, late=True), place(1, late=False)]
    [0, 1, 2]
    """
    if tier == 0:
        return 0
    return 1 if late else tier + 1


def max_wait(policy: Policy, urgency: Urgency) -> timedelta:
    """Return the longest wait the policy allows; one above a century is a century."""
    return timedelta(minutes=min(policy.tiers[urgency].max_wait_minutes, FOREVER // timedelta(minutes=1)))
