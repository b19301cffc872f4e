"""Policies as versions: which one is in force, and who wrote, activated and reverted which.

Results are unique per film, model and policy version, so a version never stands for two policies. The file
that the settings name is kept here under its version too (its row has no author): once anything was decided
under that version, another file with the same version is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, exists, func, select, text
from sqlalchemy.orm import Session

from cxr_core.access import Actor
from cxr_core.errors import Conflict, Invalid, PolicyError, StoreError
from cxr_core.triage.policy import Policy, parse_policy
from cxr_core.worklist import actions, audit, stored_policy
from cxr_core.worklist.database import Database
from cxr_core.worklist.inserts import insert_missing
from cxr_core.worklist.schema import PolicyChangeRow, PolicyRow, ResultRow

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

THE_FILE = ""
"""Author of a policy that was read from a file; a person's name is never empty."""

MOST = 200
"""Versions and changes shown at most; the newest."""

_ADVISORY_LOCK = 0x706F6C69
"""Who brings a policy into force on PostgreSQL holds it."""


@dataclass(frozen=True, slots=True)
class InForce:
    """What this process decides and shows by.

    Attributes:
        policy: by which is shown, and decided unless there is a fault.
        fault: why nothing may be decided now; else empty.
        policy_id: of the policy in force; None: the file's.
        change: number of the change that brought it into force; 0: nobody has changed anything yet.
    """

    policy: Policy
    fault: str = ""
    policy_id: int | None = None
    change: int = 0


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A version that was written here, or read from the file once.

    Attributes:
        id: names it.
        version, approver, signed: as it says itself.
        dated: the policy's own date, or None where this program cannot read the policy.
        author: who wrote it here; empty: read from the file.
        note: why, in the author's words.
        created: when it was written, or first read from the file.
    """

    id: int
    version: str
    approver: str
    signed: bool
    dated: date | None
    author: str
    note: str
    created: datetime


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A policy came into force; `policy_id` and `version` are None and empty for the file."""

    id: int
    at: datetime
    actor: str
    policy_id: int | None
    version: str


@dataclass(frozen=True, slots=True)
class PolicyHistory:
    """What is in force, and what came before.

    Attributes:
        in_force: as this process sees it.
        file: the policy of the file that the settings name.
        versions, changes: the newest first.
        otherwise: open studies with an answer of another policy or model than those in force.
    """

    in_force: InForce
    file: Policy = field(repr=False)
    versions: tuple[PolicyVersion, ...]
    changes: tuple[PolicyChange, ...]
    otherwise: int

    @property
    def before(self) -> int | None:
        """What a revert brings back: the policy in force before the last change, None for the file."""
        return self.changes[1].policy_id if len(self.changes) > 1 else None

    def standing(self, version: PolicyVersion) -> str:
        """Return whether a version is in force or lacks approval, in words; else nothing."""
        ours = self.in_force.policy_id
        if version.id == ours or (ours is None and version.version == self.file.version):
            return "in force"
        return "" if version.signed else "not approved"

    def version(self, policy_id: int | None) -> str:
        """Return the version of a policy, of the file for None, as far as it is shown here."""
        if policy_id is None:
            return self.file.version
        return next((each.version for each in self.versions if each.id == policy_id), "")


def refreshed(database: Database, file: Policy, seen: InForce) -> InForce:
    """Return what is in force now; the very `seen` where nothing has changed since.

    Where this program cannot read the policy in force, because a newer one wrote it, the last one that it
    could read stays for showing the list, and `fault` says that nothing may be decided.
    """
    with database.read() as session:
        newest = _newest(session)
        change = newest.id if newest else 0
        if change == seen.change:
            return seen
        if newest is None or newest.policy_id is None:
            return InForce(file, change=change)
        row = session.get_one(PolicyRow, newest.policy_id)
    try:
        policy = stored_policy.read(row)
    except PolicyError as exc:
        fault = (
            f"this program cannot read policy {row.version}, which is in force ({exc}); nothing is decided "
            "until the program is newer or a lead brings another policy into force"
        )
        return InForce(seen.policy, fault, row.id, change)
    return InForce(policy, "", row.id, change)


def register(database: Database, body: str, now: datetime) -> Policy:
    """Return the file's policy, kept under its version.

    Raises:
        PolicyError: the file is not sound, or another policy has this version and has been used.
    """
    policy = parse_policy(body)
    version = PolicyRow.version == policy.version
    with database.read() as session:
        if stored_policy.same(session.scalar(select(PolicyRow).where(version)), policy):
            return policy
    values = {"body": body, "approver": policy.approver, "author": THE_FILE, "note": "", "created_utc": now}
    with database.write() as session:
        insert_missing(session, PolicyRow, [{"version": policy.version, **values}], PolicyRow.id)
        row = session.scalars(select(PolicyRow).where(version).with_for_update()).one()
        if stored_policy.same(row, policy):
            return policy
        activated = exists().where(PolicyChangeRow.policy_id == row.id)
        if row.author != THE_FILE or _used(session, row.version) or session.scalar(select(activated)):
            raise PolicyError(
                f"the policy file says version {policy.version}, under which another policy was used on this "
                "worklist; give the file a version of its own, or restore what it said"
            )
        for column, value in values.items():
            setattr(row, column, value)
    return policy


def history(service: Service) -> PolicyHistory:
    """Return what is in force and what came before."""
    with service.database.read() as session:
        rows = session.scalars(select(PolicyRow).order_by(PolicyRow.id.desc()).limit(MOST)).all()
        changes = session.execute(
            select(PolicyChangeRow, PolicyRow.version)
            .outerjoin(PolicyRow, PolicyRow.id == PolicyChangeRow.policy_id)
            .order_by(PolicyChangeRow.id.desc())
            .limit(MOST)
        ).all()
        otherwise = actions.answered_otherwise(session, service.model, service.policy.version, None)
        return PolicyHistory(
            in_force=service.in_force,
            file=service.file,
            versions=tuple(_version(row) for row in rows),
            changes=tuple(
                PolicyChange(row.id, row.at_utc, row.actor, row.policy_id, version or "")
                for row, version in changes
            ),
            otherwise=sum(1 for _ in otherwise),
        )


def body_of(service: Service, policy_id: int | None) -> str:
    """Return a policy as TOML, comments included; None means the file's.

    Raises:
        StoreError: there is no such policy.
    """
    one: ColumnElement[bool] = PolicyRow.id == policy_id
    if policy_id is None:
        one = PolicyRow.version == service.file.version
    with service.database.read() as session:
        body = session.scalar(select(PolicyRow.body).where(one))
    if body is None:
        raise StoreError("there is no such policy")
    return body


def write(service: Service, actor: Actor, body: str, note: str) -> int:
    """Return the id of a new version; nothing is decided by it before somebody activates it.

    Raises:
        PolicyError: `parse_policy` refuses it.
        Invalid: its version was used before, or there is no note.
    """
    policy = parse_policy(body)
    note = actions.one_line(note)
    if not note:
        raise Invalid("say in a note what changes and why")
    now = service.clock()
    row = {
        "version": policy.version,
        "body": body,
        "approver": policy.approver,
        "author": actor.name,
        "note": note,
        "created_utc": now,
    }
    with service.database.write() as session:
        used = _used(session, policy.version)
        made = [] if used else insert_missing(session, PolicyRow, [row], PolicyRow.id)
        if not made:
            raise Invalid(f"version {policy.version} was used before; give this policy a version of its own")
        audit.append(
            session,
            at=now,
            actor=actor.name,
            event="policy_write",
            subject=policy.version,
            detail={"policy": made[0].id, "signed": policy.signed},
        )
    policy_id: int = made[0].id
    return policy_id


def activate(service: Service, actor: Actor, policy_id: int | None, seen: int | None) -> None:
    """Bring a policy into force in every process of this worklist; None brings back the file's.

    Args:
        service: whose list it is.
        actor: who does it.
        policy_id: of a version.
        seen: `InForce.change` as it was shown to the actor; None does not ask.

    Raises:
        Conflict: another change came since.
        Invalid: it is in force already, or nobody has approved it.
        PolicyError: this program cannot read it.
        StoreError: there is no such policy.
    """
    now = service.clock()
    with service.database.write() as session:
        if service.database.name == "postgresql":
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        newest = _newest(session)
        if seen is not None and seen != (newest.id if newest else 0):
            raise Conflict("another policy came into force since this was shown; look again, then act")
        if (newest.policy_id if newest else None) == policy_id:
            raise Invalid("this policy is in force already")
        before = _named(session, service, newest.policy_id if newest else None)
        after = _named(session, service, policy_id, to_activate=True)
        session.add(PolicyChangeRow(at_utc=now, actor=actor.name, policy_id=policy_id))
        session.flush()
        detail = {"from": before, "to": after, "policy": policy_id}
        audit.append(session, at=now, actor=actor.name, event="policy_activate", subject=after, detail=detail)
    service.refresh()


def _named(session: Session, service: Service, policy_id: int | None, *, to_activate: bool = False) -> str:
    """Return the version of a policy; one to be activated must be readable and approved."""
    if policy_id is None:
        return service.file.version
    row = session.get(PolicyRow, policy_id)
    if row is None:
        raise StoreError("there is no such policy")
    if to_activate and not stored_policy.read(row).signed:
        raise Invalid(
            f"nobody has approved policy {row.version}: its approver is still the placeholder; "
            "write a version that names who approved it"
        )
    return row.version


def _newest(session: Session) -> PolicyChangeRow | None:
    return session.scalars(select(PolicyChangeRow).order_by(PolicyChangeRow.id.desc()).limit(1)).first()


def _used(session: Session, version: str) -> bool:
    """Return whether a result was made under this version."""
    query = select(func.count()).select_from(
        select(ResultRow.id).where(ResultRow.policy == version).limit(1).subquery()
    )
    return bool(session.scalar(query))


def _version(row: PolicyRow) -> PolicyVersion:
    try:
        policy = stored_policy.read(row)
    except PolicyError:
        signed, dated = True, None
    else:
        signed, dated = policy.signed, policy.date
    return PolicyVersion(
        row.id, row.version, row.approver, signed, dated, row.author, row.note, row.created_utc
    )
