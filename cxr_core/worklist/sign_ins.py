"""Whether a person's sign-in holds, asked anew at every call: a role or a sign-in taken away counts at once.

A sign-in ends when the person signs out anywhere, when nothing was done for `idle_minutes`, `session_hours`
after it began, or when an administrator ends it or takes the role away. It never comes back; a new one does.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from cxr_core.access import MARK, Action, Actor, Role
from cxr_core.errors import Busy, Forbidden, SignedOut
from cxr_core.worklist import accounts, audit
from cxr_core.worklist.accounts import EXPIRED, REVOKED, SIGNED_OUT, Claims
from cxr_core.worklist.schema import AccountRow, AuditRow, SignInRow

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

TOUCH = timedelta(seconds=30)
"""How often, at most, it is written down that a person did something, or tried to write it down."""

_KEY = re.compile(r"[0-9a-f]{64}")
_RESTORED = select(AuditRow.at_utc).where(AuditRow.event == "restore").order_by(AuditRow.seq.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class _SignIn:
    """A sign-in as it is now, and the person whose it is."""

    row: SignInRow
    issuer: str
    subject: str
    handle: str
    role: Role | None


def arrive(service: Service, claims: Claims, *, look: bool) -> Actor:
    """Return who the identity provider says is there, in the role of now; the first time is the sign-in.

    Raises:
        SignedOut: this sign-in has ended.
        Forbidden: nobody has given the person a role, or the provider did not say who it is.
    """
    if not accounts.sound(claims.issuer, claims.subject) or not _KEY.fullmatch(claims.key):
        raise Forbidden("the identity provider did not say who you are")
    found = _find(service, claims.key)
    if found is None:
        _begin(service, claims)
        found = _find(service, claims.key)
    if found is None or (found.issuer, found.subject) != (claims.issuer, claims.subject):
        raise SignedOut(SIGNED_OUT)
    return _held(service, found, look=look)


def check(service: Service, actor: Actor, action: Action, *, look: bool) -> Actor:
    """Return the actor in the role of now.

    Args:
        service: whose list it is.
        actor: who asks; of one who signed in only name and session are believed.
        action: what they ask for.
        look: a page asks by itself, so nobody need be there.

    Raises:
        SignedOut: the sign-in has ended.
        Forbidden: the table does not allow it, or there is no role any more.
    """
    if actor.session:
        found = _find(service, actor.session)
        if found is None or found.handle != actor.name:
            raise SignedOut(SIGNED_OUT)
        actor = _held(service, found, look=look)
    elif MARK in actor.name:
        raise Forbidden(f"a name with {MARK} is that of somebody who signed in; sign in")
    actor.check(action)
    return actor


def sign_out(service: Service, actor: Actor) -> None:
    """End every sign-in of the person; nothing happens where none holds, or nobody signed in."""
    if not actor.session:
        return
    now = service.clock()
    with service.database.write() as session:
        accounts.alone(session)
        row = session.get(SignInRow, actor.session)
        account = session.get_one(AccountRow, row.account_id) if row else None
        if account is None or account.handle != actor.name:
            return
        ended = accounts.end(session, now, SIGNED_OUT, account.id)
        if ended:
            detail: audit.Detail = {"why": SIGNED_OUT, "sign_ins": ended}
            audit.append(
                session, at=now, actor=actor.name, event="sign_out", subject=account.id, detail=detail
            )


def _find(service: Service, key: str) -> _SignIn | None:
    query = (
        select(SignInRow, AccountRow.issuer, AccountRow.subject, AccountRow.handle, AccountRow.role)
        .join(AccountRow, AccountRow.id == SignInRow.account_id)
        .where(SignInRow.key == key)
    )
    with service.database.read() as session:
        found = session.execute(query).one_or_none()
    if found is None:
        return None
    row, issuer, subject, handle, role = found
    return _SignIn(row, issuer, subject, handle, accounts.role_of(role))


def _begin(service: Service, claims: Claims) -> None:
    """Write the sign-in down, and the account where it is the person's first; another thread may have.

    Raises:
        SignedOut: what the provider said is older than a sign-in may be, or than what was restored from a
            backup: nothing there tells whether that sign-in had ended.
    """
    now = service.clock()
    if claims.issued and now - claims.issued >= timedelta(hours=service.settings.session_hours):
        raise SignedOut(EXPIRED)
    with service.database.read() as session:
        restored = session.scalar(_RESTORED)
    if restored and (claims.issued is None or claims.issued <= restored):
        raise SignedOut(REVOKED)
    with service.database.write() as session:
        accounts.alone(session)
        if session.get(SignInRow, claims.key) is not None:
            return
        account = accounts.of(session, claims.issuer, claims.subject)
        known = account is not None
        if account is None:
            account = accounts.make(session, claims.issuer, claims.subject, claims.name, claims.email, now)
        account.email = accounts.address(claims.email) or account.email
        session.add(SignInRow(key=claims.key, account_id=account.id, started_utc=now, seen_utc=now))
        session.flush()
        detail: audit.Detail = {"known": known, "role": account.role}
        audit.append(
            session, at=now, actor=account.handle, event="sign_in", subject=account.id, detail=detail
        )


def _held(service: Service, found: _SignIn, *, look: bool) -> Actor:
    """Return the person, who did something just now unless it is a mere look.

    Raises:
        SignedOut: the sign-in has ended, or ends here.
        Forbidden: the person has no role.
    """
    now = service.clock()
    if why := accounts.over(service, found.row, now):
        if found.row.ended_utc is None:
            _lock(service, found, now)
        raise SignedOut(why)
    if found.role is None:
        raise Forbidden(f"nobody has given {found.handle} a role yet; ask an administrator")
    tried = max(found.row.seen_utc, service.untouched.get(found.row.key, found.row.seen_utc))
    if not look and now - tried >= TOUCH:
        _touch(service, found.row.key, now)
    return Actor(found.handle, found.role, found.row.key)


def _lock(service: Service, found: _SignIn, now: datetime) -> None:
    """Write down that the sign-in ended; it is refused even while that cannot be written."""
    with suppress(Busy), service.database.write() as session:
        row = session.get_one(SignInRow, found.row.key, with_for_update=True)
        why = accounts.over(service, row, now)
        if row.ended_utc is None and why:
            row.ended_utc, row.ended_why = now, why
            session.flush()
            audit.append(
                session,
                at=now,
                actor=found.handle,
                event="lock",
                subject=row.account_id,
                detail={"why": why},
            )


def _touch(service: Service, key: str, now: datetime) -> None:
    """Write down that the person did something; the list can be read even where that cannot be.

    A database that is locked lets every writer wait, so it is not asked again at once.
    """
    holds = update(SignInRow).where(SignInRow.key == key, SignInRow.ended_utc.is_(None))
    try:
        with service.database.write() as session:
            session.execute(holds.where(SignInRow.seen_utc < now).values(seen_utc=now))
    except Busy:
        service.untouched[key] = service.clock()
    else:
        service.untouched.pop(key, None)
