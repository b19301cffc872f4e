"""Who may sign in, under which name they act, and in which role; administrators keep this.

A person is an issuer and a subject of it, as OpenID Connect has it. What audit rows, claims and opinions bear
is the account's handle: the name once given and a tag, as in "Ana Silva #3f2a". No two accounts share a tag,
no name holds a #, and nobody who did not sign in may act under a name with one.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from cxr_core.access import MARK, Actor, Role
from cxr_core.errors import Invalid, StoreError
from cxr_core.worklist import audit
from cxr_core.worklist.schema import AccountRow, SignInRow

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

SIGNED_OUT, IDLE, EXPIRED, REVOKED = "signed_out", "idle", "expired", "revoked"
"""Why a sign-in ended."""

LONGEST_NAME, LONGEST_EMAIL, LONGEST_ISSUER, LONGEST_SUBJECT = 60, 254, 500, 255
"""Characters. A subject has at most 255: OpenID Connect Core 2."""

_ADVISORY_LOCK = 0x6163636F
"""Who changes accounts on PostgreSQL holds it: a tag is taken once, and an admin is always left."""

_ADMINS = select(func.count()).select_from(AccountRow).where(AccountRow.role == Role.ADMIN)
_SHORTEST_TAG = 4
_SIGNS = " .,'’-()"
"""What a name may hold besides letters, marks and digits: nothing that any markup or address is made of."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What the identity provider said of a person at one sign-in.

    Attributes:
        issuer, subject: who it is.
        name, email: for people; may be empty.
        key: SHA-256 in hex of all that was said: another sign-in has another.
        issued: when it was said, aware, or None where that is not known.
    """

    issuer: str
    subject: str
    name: str
    email: str
    key: str
    issued: datetime | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A person as administrators see them.

    Attributes:
        handle: unique for ever; the name of all that the person does.
        role: None: may do nothing.
        last_seen: when the person last did something, or None.
        signed_in: how many sign-ins hold now.
    """

    id: str
    issuer: str
    subject: str
    handle: str
    email: str
    role: Role | None
    created: datetime
    last_seen: datetime | None
    signed_in: int


def accounts(service: Service) -> tuple[Account, ...]:
    """Return everybody, by handle."""
    now = service.clock()
    with service.database.read() as session:
        rows = session.scalars(select(AccountRow)).all()
        seen = {
            account: last
            for account, last in session.execute(
                select(SignInRow.account_id, func.max(SignInRow.seen_utc)).group_by(SignInRow.account_id)
            )
        }
        begun = SignInRow.started_utc > now - timedelta(hours=service.settings.session_hours)
        still = session.scalars(select(SignInRow).where(SignInRow.ended_utc.is_(None), begun))
        holding = Counter(row.account_id for row in still if not over(service, row, now))
    found = [_account(row, seen.get(row.id), holding[row.id]) for row in rows]
    return tuple(sorted(found, key=lambda each: (each.handle.casefold(), each.id)))


def name_account(
    service: Service, actor: Actor, issuer: str, subject: str, name: str, role: Role | None
) -> Account:
    """Return the account of a person who has not signed in yet.

    Raises:
        Invalid: issuer or subject cannot be one, or the person has an account.
    """
    issuer, subject, now = issuer.strip(), subject.strip(), service.clock()
    if not sound(issuer, subject):
        raise Invalid("say issuer and subject just as the identity provider does")
    with service.database.write() as session:
        alone(session)
        if of(session, issuer, subject) is not None:
            raise Invalid("this person has an account already; give it another role instead")
        row = make(session, issuer, subject, name, "", now)
        row.role = role or ""
        session.flush()
        detail: audit.Detail = {"role": row.role}
        audit.append(session, at=now, actor=actor.name, event="account", subject=row.id, detail=detail)
    return _account(row, None, 0)


def set_role(service: Service, actor: Actor, account_id: str, role: Role | None) -> None:
    """Give the account a role, or None: that ends all its sign-ins too.

    Raises:
        Invalid: nobody would be left who may give roles.
        StoreError: there is no such account.
    """
    now = service.clock()
    with service.database.write() as session:
        alone(session)
        row = _get(session, account_id)
        before, row.role = row.role, role or ""
        if before == row.role:
            return
        session.flush()
        if before == Role.ADMIN and not session.scalar(_ADMINS):
            raise Invalid("this is the last account with the role admin; give it to somebody else first")
        ended = 0 if role else end(session, now, REVOKED, account_id)
        detail: audit.Detail = {"from": before, "to": row.role, "sign_ins": ended}
        audit.append(session, at=now, actor=actor.name, event="role", subject=row.id, detail=detail)


def sign_out_account(service: Service, actor: Actor, account_id: str) -> int:
    """Return how many sign-ins of the account were ended; the role stays.

    Raises:
        StoreError: there is no such account.
    """
    now = service.clock()
    with service.database.write() as session:
        alone(session)
        row = _get(session, account_id)
        ended = end(session, now, REVOKED, row.id)
        if ended:
            detail: audit.Detail = {"why": REVOKED, "sign_ins": ended}
            audit.append(session, at=now, actor=actor.name, event="sign_out", subject=row.id, detail=detail)
    return ended


def end(session: Session, now: datetime, why: str, account_id: str | None = None) -> int:
    """Return how many sign-ins were ended: those of the account that had not ended, or everybody's."""
    query = select(SignInRow).where(SignInRow.ended_utc.is_(None)).order_by(SignInRow.key)
    if account_id is not None:
        query = query.where(SignInRow.account_id == account_id)
    rows = session.scalars(query.with_for_update()).all()
    for row in rows:
        row.ended_utc, row.ended_why = now, why
    session.flush()
    return len(rows)


def over(service: Service, row: SignInRow, now: datetime) -> str:
    """Return why the sign-in no longer holds, or nothing."""
    if row.ended_utc is not None:
        return row.ended_why or SIGNED_OUT
    if now - row.started_utc >= timedelta(hours=service.settings.session_hours):
        return EXPIRED
    return IDLE if now - row.seen_utc >= timedelta(minutes=service.settings.idle_minutes) else ""


def sound(issuer: str, subject: str) -> bool:
    """Return whether these can name a person."""
    return (
        0 < len(issuer) <= LONGEST_ISSUER
        and 0 < len(subject) <= LONGEST_SUBJECT
        and (issuer + subject).isprintable()
    )


def of(session: Session, issuer: str, subject: str) -> AccountRow | None:
    """Return the person's account."""
    query = select(AccountRow).where(AccountRow.issuer == issuer, AccountRow.subject == subject)
    return session.scalars(query).one_or_none()


def make(session: Session, issuer: str, subject: str, name: str, email: str, now: datetime) -> AccountRow:
    """Return a new account without role; the caller holds `alone`."""
    row = AccountRow(
        id=uuid4().hex,
        issuer=issuer,
        subject=subject,
        handle=f"{plain(name) or 'unnamed'} {_tag(session, issuer, subject)}",
        email=address(email),
        role="",
        created_utc=now,
    )
    session.add(row)
    session.flush()
    return row


def alone(session: Session) -> None:
    """Let nobody else change accounts until the transaction ends; on SQLite nobody can anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def plain(name: str) -> str:
    r"""Return a person's name as nothing can take it for more than that.

    >>> plain("Ana <b>Silva</b>\n#1 ana@x.example")
    'Ana b Silva b 1 ana at x. example'
    """
    signs = unicodedata.normalize("NFKC", name[: 4 * LONGEST_NAME]).replace("@", " at ").replace(".", ". ")
    kept = (sign if sign in _SIGNS or unicodedata.category(sign)[0] in "LMN" else " " for sign in signs)
    return " ".join("".join(kept).split())[:LONGEST_NAME].lstrip(_SIGNS).rstrip()


def address(email: str) -> str:
    """Return an address for people to look at, on one line."""
    return "".join(sign for sign in email if sign.isprintable())[:LONGEST_EMAIL]


def role_of(word: str) -> Role | None:
    """Return the role that an account's row names."""
    return Role(word) if word else None


def _tag(session: Session, issuer: str, subject: str) -> str:
    """Return the shortest tag of this person that nobody else has."""
    digest = hashlib.sha256(json.dumps([issuer, subject]).encode()).hexdigest()
    for length in range(_SHORTEST_TAG, len(digest) + 1):
        tag = f"{MARK}{digest[:length]}"
        if not session.scalar(select(AccountRow.id).where(AccountRow.handle.endswith(f" {tag}")).limit(1)):
            return tag
    raise StoreError("this person has an account under other words")


def _get(session: Session, account_id: str) -> AccountRow:
    row = session.get(AccountRow, account_id, with_for_update=True)
    if row is None:
        raise StoreError("there is no such account")
    return row


def _account(row: AccountRow, last_seen: datetime | None, signed_in: int) -> Account:
    return Account(
        id=row.id,
        issuer=row.issuer,
        subject=row.subject,
        handle=row.handle,
        email=row.email,
        role=role_of(row.role),
        created=row.created_utc,
        last_seen=last_seen,
        signed_in=signed_in,
    )
