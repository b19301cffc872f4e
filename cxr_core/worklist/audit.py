"""The audit trail: one row for each event, each covering the one before, so that no change goes unseen.

A row's digest is the SHA-256 of the digest before it, followed by the canonical JSON (sorted names, no
spaces, ASCII) of `seq`, `at`, `actor`, `event`, `subject` and `detail`, where `detail` is itself canonical
JSON text and `at` is UTC to the microsecond. The first row follows 64 zeros.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.orm import Session

from cxr_core.errors import StoreError
from cxr_core.worklist.audit_events import DICOM_NAMES, EVENTS, AuditEvent
from cxr_core.worklist.schema import AuditHeadRow, AuditRow

START = "0" * 64
HEAD = 1
"""The id of the one row of `audit_head`."""
_AT_ONCE = 1000

Detail = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done.

    Attributes:
        at: aware.
        actor: name of the person or program.
        event: one word of EVENTS: submit, result, claim, view …
        subject: SHA-256 of a film, id of a study, or empty.
        detail: codes, hashes and counts; never what names a patient.
    """

    at: datetime
    actor: str
    event: str
    subject: str = ""
    detail: Detail = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """One row of the trail as it is stored; `detail` is canonical JSON text."""

    seq: int
    at: datetime
    actor: str
    event: str
    subject: str
    detail: str
    previous: str
    digest: str

    @property
    def dicom(self) -> AuditEvent:
        """What DICOM calls the event; empty where somebody changed the row to a word that there is not."""
        return EVENTS.get(self.event, AuditEvent("", ""))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying found.

    Attributes:
        events: rows looked at, up to the first that is wrong.
        broken_at: `seq` of the first row that is wrong or missing, or None.
        why: what is wrong with it; empty if nothing is.
        digest: of the last row. Who keeps it elsewhere can prove later that even the whole trail and its
            head were not written anew.
    """

    events: int
    broken_at: int | None
    why: str
    digest: str = START


def append(
    session: Session,
    *,
    at: datetime,
    actor: str,
    event: str,
    subject: str = "",
    detail: Detail | None = None,
) -> None:
    """Add one event within the caller's write transaction; see `append_many`."""
    append_many(session, [Event(at, actor, event, subject, detail or {})])


def append_many(session: Session, events: Sequence[Event]) -> None:
    """Add the events in order within the caller's write transaction.

    From here to its end no other transaction can append: call it last.

    Raises:
        StoreError: the trail has no head, so it is not known what comes next.
        ValueError: a word that EVENTS does not know; a fault of the caller.
    """
    if unknown := {event.event for event in events} - EVENTS.keys():
        raise ValueError(f"no event of the audit trail is called {', '.join(sorted(unknown))}")
    if not events:
        return
    locked = select(AuditHeadRow.seq, AuditHeadRow.digest).where(AuditHeadRow.id == HEAD).with_for_update()
    head = session.execute(locked).one_or_none()
    if head is None:
        raise StoreError("the audit trail has lost its head; restore a backup")
    seq, digest = head
    rows = []
    for event in events:
        link = _next(seq, digest, event)
        seq, digest = link.seq, link.digest
        rows.append(
            {
                "seq": seq,
                "at_utc": link.at,
                "actor": link.actor,
                "event": link.event,
                "subject": link.subject,
                "detail": link.detail,
                "previous": link.previous,
                "digest": digest,
            }
        )
    session.execute(insert(AuditRow), rows)
    session.execute(update(AuditHeadRow).where(AuditHeadRow.id == HEAD).values(seq=seq, digest=digest))


COLUMNS = (
    AuditRow.seq,
    AuditRow.at_utc,
    AuditRow.actor,
    AuditRow.event,
    AuditRow.subject,
    AuditRow.detail,
    AuditRow.previous,
    AuditRow.digest,
)
"""What a `Link` is read from, in its order."""


Watch = Callable[[int, int], None]
"""Told now and then how many events have been looked at, of how many."""


def verify(session: Session, watch: Watch = lambda done, of: None) -> Verdict:
    """Return whether every event is there, in order and unchanged, up to the one that the head names."""
    query = select(AuditHeadRow.seq, AuditHeadRow.digest).where(AuditHeadRow.id == HEAD)
    head, digest = session.execute(query).one_or_none() or (None, "")
    done = 0

    def chain() -> Iterator[Link]:
        nonlocal done
        for link in links(session):
            if done % _AT_ONCE == 0:
                watch(done, head or 0)
            yield link
            done += 1

    try:
        return check(chain(), head, digest)
    except (TypeError, ValueError):  # SQLite keeps what is no time, or no text, just the same
        return Verdict(done, done + 1, f"it, or one of the {_AT_ONCE} from it on, cannot be read")


def links(session: Session, *wanted: ColumnElement[bool]) -> Iterator[Link]:
    """Yield the rows, or those wanted, in order without holding them all in memory."""
    query = select(*COLUMNS).where(*wanted).order_by(AuditRow.seq).limit(_AT_ONCE)
    rows = session.execute(query).all()
    while rows:
        yield from (Link(*row) for row in rows)
        rows = session.execute(query.where(AuditRow.seq > rows[-1].seq)).all()


def check(chain: Iterable[Link], head_seq: int | None, head_digest: str) -> Verdict:
    """Return whether the rows are a whole chain that ends where the head says.

    Args:
        chain: rows in the order of `seq`.
        head_seq: of the last row by the head, 0 for an empty trail, None where the head is missing.
        head_digest: of the last row by the head.
    """
    seq, digest = 0, START
    for link in chain:
        why = _wrong(link, seq + 1, digest)
        if why:
            return Verdict(seq, seq + 1, why, digest)
        seq, digest = link.seq, link.digest
    if head_seq is None:
        return Verdict(seq, seq, "the head is missing", digest)
    if head_seq > seq:
        return Verdict(seq, seq + 1, f"events {seq + 1} to {head_seq} were cut off", digest)
    if (head_seq, head_digest) != (seq, digest):
        return Verdict(seq, seq, "the head was changed", digest)
    return Verdict(seq, None, "", digest)


def as_json(link: Link) -> str:
    """Return the row as one line of JSON, with DICOM's name; the digest can be computed from it."""
    dicom = {name: value for name, value in zip(DICOM_NAMES, link.dicom, strict=True) if value}
    return canonical({**_covered(link), "previous": link.previous, "digest": link.digest, **dicom})


def canonical(value: Mapping[str, object]) -> str:
    """Return the one way to write it as JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _next(seq: int, previous: str, event: Event) -> Link:
    detail = canonical(event.detail)
    link = Link(seq + 1, event.at, event.actor, event.event, event.subject, detail, previous, digest="")
    return replace(link, digest=_digest(link))


def _digest(link: Link) -> str:
    return hashlib.sha256((link.previous + canonical(_covered(link))).encode("ascii")).hexdigest()


def _covered(link: Link) -> dict[str, object]:
    """Return what the digest covers besides the digest before."""
    return {
        "seq": link.seq,
        "at": link.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": link.actor,
        "event": link.event,
        "subject": link.subject,
        "detail": link.detail,
    }


def _wrong(link: Link, seq: int, previous: str) -> str:
    """Return what is wrong with the row that should be number `seq`, or nothing."""
    if link.seq != seq:
        return f"expected event {seq}, found event {link.seq}"
    if link.previous != previous:
        return "it does not follow the event before"
    if link.digest != _digest(link):
        return "it was changed"
    return ""
