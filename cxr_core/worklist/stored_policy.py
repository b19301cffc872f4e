"""A policy as the database keeps it, by id or by the version that a result names."""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from cxr_core.errors import PolicyError
from cxr_core.triage.policy import Policy, parse_policy
from cxr_core.worklist.schema import PolicyRow


def read(row: PolicyRow) -> Policy:
    """Return the stored policy.

    Raises:
        PolicyError: this program cannot read it, or it says another version than the one it is kept under.
    """
    return _parsed(row.version, row.body)


def same(row: PolicyRow | None, policy: Policy) -> bool:
    """Return whether the stored policy decides and says the same; comments and order of keys do not count."""
    try:
        return row is not None and read(row) == policy
    except PolicyError:
        return False


def of_version(session: Session, version: str, otherwise: Policy) -> Policy:
    """Return the policy of a version; `otherwise` where that is it, or it is not kept or not readable."""
    if version == otherwise.version:
        return otherwise
    body = session.scalar(select(PolicyRow.body).where(PolicyRow.version == version))
    try:
        return otherwise if body is None else _parsed(version, body)
    except PolicyError:
        return otherwise


@lru_cache(maxsize=16)
def _parsed(version: str, body: str) -> Policy:
    policy = parse_policy(body)
    if policy.version != version:
        raise PolicyError(f"it calls itself {policy.version}")
    return policy
