"""Policies as versions: which one is in force, and who wrote, activated and reverted which.

Results name the policy by its version alone, so a version never stands for two policies. The file
that the settings name is kept here under its version too (its row has no author), and another file with the
same version is refused. What is in force stands in the database alone, so all processes decide by the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from cxr_core.access import Actor
from cxr_core.errors import Conflict, Invalid, PolicyError, StoreError
from cxr_core.logs import Log
from cxr_core.triage.policy import Policy, parse_policy
from cxr_core.worklist import actions, audit, stored_policy
from cxr_core.worklist.database import Database
from cxr_core.worklist.inserts import insert_missing
from cxr_core.worklist.schema import AuditRow, PolicyChangeRow, PolicyRow, ResultRow
from cxr_core.worklist.stored_policy import THE_FILE

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

_log = Log(__name__)

FILE_ACTOR = "policy file"
"""In whose name a file is kept and comes into force: whoever edited it did not say who they are."""

MOST = 200
"""Versions and changes shown at most; the newest."""


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
    """A policy came into force; by `FILE_ACTOR` where that was a file with a version of its own."""

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
        file: the newest policy file that a process started with.
        versions, changes: the newest first.
        otherwise: open studies with an answer of another policy, model or gate than those in force.
    """

    in_force: InForce
    file: PolicyVersion
    versions: tuple[PolicyVersion, ...]
    changes: tuple[PolicyChange, ...]
    otherwise: int

    @property
    def before(self) -> int | None:
        """What a revert brings back: the policy in force before the last change, None for the file's."""
        if len(self.changes) > 1:
            found = self.changes[1].policy_id
        elif self.changes and self.changes[0].actor == FILE_ACTOR:
            found = next((each.id for each in self.versions if not each.author and each != self.file), None)
        else:
            found = None
        return None if found == self.file.id else found

    @property
    def of_file(self) -> bool:
        """Whether the policy in force was read from a file, this one or a former."""
        ours = self.in_force.policy_id
        return ours is None or any(each.id == ours and not each.author for each in self.versions)

    def standing(self, version: PolicyVersion) -> str:
        """Return whether a version is in force or lacks approval, in words; else nothing."""
        ours = self.in_force.policy_id
        if version.id == (self.file.id if ours is None else ours):
            return "in force"
        return "" if version.signed else "not approved"

    def version(self, policy_id: int | None) -> str:
        """Return the version of a policy, of the file for None, as far as it is shown here."""
        if policy_id is None:
            return self.file.version
        return next((each.version for each in self.versions if each.id == policy_id), "")


def refreshed(session: Session, seen: InForce) -> InForce:
    """Return what is in force now; the very `seen` where nothing has changed since.

    Where this program cannot read the policy in force, because a newer one wrote it, the last one that it
    could read stays for showing the list, and `fault` says that nothing may be decided.
    """
    newest = stored_policy.newest_change(session)
    if newest is None or newest.id == seen.change:
        return seen
    row, file = stored_policy.in_force(session), stored_policy.of_file(session)
    if row is None:
        return seen
    policy_id = None if file is not None and row.id == file.id else row.id
    try:
        policy = stored_policy.read(row)
    except PolicyError as exc:
        fault = (
            f"this program cannot read policy {row.version}, which is in force ({exc}); nothing is decided "
            "until the program is newer or a lead brings another policy into force"
        )
        return InForce(seen.policy, fault, policy_id, newest.id)
    return InForce(policy, "", policy_id, newest.id)


def register(database: Database, body: str, now: datetime) -> Policy:
    """Return the newest file's policy, this file kept under its version.

    A file with a version of its own comes into force in every process where a file's policy is in force. One
    that is older than the newest kept changes nothing.

    Raises:
        PolicyError: the file is not sound, or another policy is kept under its version.
    """
    policy = parse_policy(body)
    with database.read() as session:
        if stored_policy.same(stored_policy.kept(session, policy.version), policy):
            return _newest_file(session, policy)
    with database.write() as session:
        stored_policy.hold(session)
        before = stored_policy.in_force(session)
        values = {"approver": policy.approver, "author": THE_FILE, "note": "", "created_utc": now}
        row = {"version": policy.version, "body": body, **values}
        made = insert_missing(session, PolicyRow, [row], PolicyRow.id)
        if made:
            if before is not None or session.scalar(select(exists(select(AuditRow.seq)))):
                # An empty worklist begins with its file: nothing has changed.
                _written(session, FILE_ACTOR, policy, made[0].id, now)
            if before is not None and before.author == THE_FILE:
                _bring(session, FILE_ACTOR, before.version, policy.version, made[0].id, now)
        elif not stored_policy.same(stored_policy.kept(session, policy.version), policy):
            raise PolicyError(
                f"the policy file says version {policy.version}, under which this worklist keeps another "
                "policy; raise the file's version, or restore what it said"
            )
        return _newest_file(session, policy)


def _newest_file(session: Session, ours: Policy) -> Policy:
    """Return the policy of the newest file, `ours` where this program cannot read that one."""
    row = stored_policy.of_file(session)
    if row is None or row.version == ours.version:
        return ours
    _log.warning("policy_file_older", version=ours.version, newest=row.version)
    try:
        return stored_policy.read(row)
    except PolicyError:
        return ours


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
        otherwise = actions.number_answered_otherwise(
            session, service.model, service.policy.version, service.gate
        )
        return PolicyHistory(
            in_force=service.in_force,
            file=_version(_the_file(session)),
            versions=tuple(_version(row) for row in rows),
            changes=tuple(
                PolicyChange(row.id, row.at_utc, row.actor, row.policy_id, version or "")
                for row, version in changes
            ),
            otherwise=otherwise,
        )


def body_of(service: Service, policy_id: int | None) -> str:
    """Return a policy as TOML, comments included; None means the file's.

    Raises:
        StoreError: there is no such policy.
    """
    with service.database.read() as session:
        return _row(session, policy_id).body


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
        _written(session, actor.name, policy, made[0].id, now)
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
        stored_policy.hold(session)
        newest = stored_policy.newest_change(session)
        if seen is not None and seen != (newest.id if newest else 0):
            raise Conflict("another policy came into force since this was shown; look again, then act")
        before, after = stored_policy.in_force(session), _row(session, policy_id)
        if before is not None and before.id == after.id:
            raise Invalid("this policy is in force already")
        policy = stored_policy.read(after)
        if after.author != THE_FILE and not policy.signed:
            raise Invalid(
                f"nobody has approved policy {after.version}: its approver is still the placeholder; "
                "write a version that names who approved it"
            )
        _bring(session, actor.name, before.version if before else "", after.version, after.id, now)
    service.refresh()


def _written(session: Session, actor: str, policy: Policy, policy_id: int, now: datetime) -> None:
    detail: audit.Detail = {"policy": policy_id, "signed": policy.signed}
    audit.append(session, at=now, actor=actor, event="policy_write", subject=policy.version, detail=detail)


def _bring(session: Session, actor: str, before: str, after: str, policy_id: int, now: datetime) -> None:
    """Bring a policy into force; `before` and `after` are versions."""
    session.add(PolicyChangeRow(at_utc=now, actor=actor, policy_id=policy_id))
    session.flush()
    detail: audit.Detail = {"from": before, "to": after, "policy": policy_id}
    audit.append(session, at=now, actor=actor, event="policy_activate", subject=after, detail=detail)


def _row(session: Session, policy_id: int | None) -> PolicyRow:
    """Return a policy, the newest file's for None; raises StoreError where there is no such policy."""
    row = _the_file(session) if policy_id is None else session.get(PolicyRow, policy_id)
    if row is None:
        raise StoreError("there is no such policy")
    return row


def _the_file(session: Session) -> PolicyRow:
    row = stored_policy.of_file(session)
    if row is None:
        raise StoreError("no policy file is kept on this worklist")
    return row


def _used(session: Session, version: str) -> bool:
    """Return whether a result was made under this version."""
    return bool(session.scalar(select(exists().where(ResultRow.policy == version))))


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
