"""Policies as the database keeps them: by the version that a result names, and the one in force."""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cxr_core.errors import PolicyError
from cxr_core.triage.policy import Policy, parse_policy
from cxr_core.worklist.schema import PolicyChangeRow, PolicyRow

THE_FILE = ""
"""Author of a policy that was read from a file; a person's name is never empty."""

_ADVISORY_LOCK = 0x706F6C69
"""On PostgreSQL, who brings a policy into force holds it alone, who records answers with others."""


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


def kept(session: Session, version: str) -> PolicyRow | None:
    """Return the row of a version."""
    return session.scalar(select(PolicyRow).where(PolicyRow.version == version))


def of_version(session: Session, version: str, otherwise: Policy) -> Policy:
    """Return the policy of a version; `otherwise` where that is it, or the version is not kept here.

    Raises:
        PolicyError: it is kept, but this program cannot read it: nobody may decide by another instead.
    """
    if version == otherwise.version:
        return otherwise
    row = kept(session, version)
    try:
        return otherwise if row is None else read(row)
    except PolicyError as exc:
        raise PolicyError(
            f"policy_unreadable: this program cannot read policy {version}, which made an answer of this "
            f"study ({exc}); a newer program can, or have the study analysed again"
        ) from exc


def of_file(session: Session) -> PolicyRow | None:
    """Return the policy of the newest file that was kept: "the file's", whatever this process was given."""
    newest = select(PolicyRow).where(PolicyRow.author == THE_FILE).order_by(PolicyRow.id.desc()).limit(1)
    return session.scalar(newest)


def newest_change(session: Session) -> PolicyChangeRow | None:
    """Return what brought the policy in force into force; None: nobody has changed anything yet."""
    return session.scalar(select(PolicyChangeRow).order_by(PolicyChangeRow.id.desc()).limit(1))


def in_force(session: Session) -> PolicyRow | None:
    """Return the policy in force, for every process the same; None: no policy is kept yet."""
    change = newest_change(session)
    if change is None or change.policy_id is None:
        return of_file(session)
    return session.get_one(PolicyRow, change.policy_id)


def version_in_force(session: Session) -> str | None:
    """Return the version in force, which nobody changes before the caller's transaction ends."""
    _hold(session, "pg_advisory_xact_lock_shared")
    row = in_force(session)
    return row.version if row else None


def hold(session: Session) -> None:
    """Let nobody else change what is in force, or record an answer, before the transaction ends.

    First of all in a transaction: who waits for it holds nothing that others wait for.
    """
    _hold(session, "pg_advisory_xact_lock")


def _hold(session: Session, lock: str) -> None:
    """SQLite's transactions that write wait for each other as it is."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT {lock}(:key)"), {"key": _ADVISORY_LOCK})


@lru_cache(maxsize=16)
def _parsed(version: str, body: str) -> Policy:
    policy = parse_policy(body)
    if policy.version != version:
        raise PolicyError(f"it calls itself {policy.version}")
    return policy
