"""The audit trail for those who answer for it: searched, verified, taken away as a file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from cxr_core.errors import Invalid, StoreError
from cxr_core.worklist import audit
from cxr_core.worklist.audit import COLUMNS, Link
from cxr_core.worklist.audit_events import DICOM_NAMES
from cxr_core.worklist.export import guarded
from cxr_core.worklist.order import storable
from cxr_core.worklist.schema import AuditRow, ImageRow, StudyRow

if TYPE_CHECKING:
    from cxr_core.worklist.database import Database

LARGEST_PAGE = 500

MOST = 200_000
"""Events counted, and taken away by a browser, at most; `cxr audit export` has no limit."""

CSV_COLUMNS = ("seq", "at_utc", "actor", "event", "subject", "detail", "previous", "digest", *DICOM_NAMES)


class Form(StrEnum):
    """How the trail is written; the word is a file's ending."""

    JSON_LINES = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Search:
    """What part of the audit trail to show; empty means no limit.

    Attributes:
        actor: contained in the actor's name, whatever the case of A to Z.
        event: this very word.
        subject: a study's id, which finds what was done with its films too, or a film's SHA-256.
        since, until: happened in [since, until).
        before: only events with a lower number: the `next` of the page before.
        limit: events a page, at most LARGEST_PAGE.
    """

    actor: str = ""
    event: str = ""
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    limit: int = 50


EVERYTHING = Search()


@dataclass(frozen=True, slots=True)
class Events:
    """A page of the audit trail, the newest first.

    Events that happen meanwhile do not move the pages.

    Attributes:
        links: at most `limit`.
        next: names the page after it; None on the last.
        total: events that fit on all pages, counted up to MOST + 1.
        studies: of each subject here that is a study or a film, the study.
    """

    links: tuple[Link, ...]
    next: int | None
    total: int
    studies: dict[str, str]


def search(session: Session, query: Search) -> Events:
    """Return the events that fit the query, the newest first, at most `query.limit`."""
    limit = min(max(query.limit, 1), LARGEST_PAGE)
    if not _storable(query):
        return Events((), None, 0, {})
    fits = _fits(session, query)
    older = [AuditRow.seq < query.before] if query.before is not None else []
    found = select(*COLUMNS).where(*fits, *older).order_by(AuditRow.seq.desc()).limit(limit + 1)
    rows = session.execute(found).all()
    links = tuple(Link(*row) for row in rows[:limit])
    last = links[-1].seq if len(rows) > limit else None
    return Events(links, last, _count(session, fits), _studies(session, {link.subject for link in links}))


def verify(
    database: Database, clock: Callable[[], datetime], actor: str, watch: audit.Watch = lambda done, of: None
) -> audit.Verdict:
    """Return whether the trail is whole; that somebody asked is noted behind what was looked at.

    Raises:
        StoreError: it is whole, but the note cannot be written.
    """
    with database.read() as session:
        verdict = audit.verify(session, watch)
    detail: audit.Detail = {"events": verdict.events, "broken_at": verdict.broken_at}
    try:
        with database.write() as session:
            audit.append(session, at=clock(), actor=actor, event="audit_verify", detail=detail)
    except StoreError:
        if verdict.broken_at is None:
            raise
    return verdict


def write(
    database: Database, query: Search, form: Form, out: TextIO, *, at: datetime, actor: str, most: int | None
) -> None:
    """Write the events that fit the query to `out`, the oldest first; that this was done is an event too.

    `query.before` and `query.limit` are not looked at. Text that a spreadsheet would take for a formula
    starts with an apostrophe in CSV; in JSON it is as it was.

    Raises:
        Invalid: there are more than `most`.
    """
    with database.read() as session:
        number = _count(session, _fits(session, query)) if _storable(query) else 0
    if most is not None and number > most:
        raise Invalid(
            f"expected at most {most:,} events, found more; choose a shorter period, "
            "or have `cxr audit export` write all of them on the server's machine"
        )
    # The row is there before the file leaves; reading after it, the file has it too.
    with database.write() as session:
        detail = {"form": form.value, "all": query == EVERYTHING}
        audit.append(session, at=at, actor=actor, event="audit_export", detail=detail)
    with database.read() as session:
        links = audit.links(session, *_fits(session, query)) if _storable(query) else iter(())
        if form is Form.JSON_LINES:
            out.writelines(f"{audit.as_json(link)}\n" for link in links)
            return
        writer = csv.writer(out)
        writer.writerow(CSV_COLUMNS)
        writer.writerows(_cells(link) for link in links)


def _cells(link: Link) -> tuple[str, ...]:
    at = link.at.astimezone(UTC).isoformat(timespec="microseconds")
    words = (link.actor, link.event, link.subject, link.detail)
    return (str(link.seq), at, *(guarded(each) for each in words), link.previous, link.digest, *link.dicom)


def _count(session: Session, fits: list[ColumnElement[bool]]) -> int:
    some = select(AuditRow.seq).where(*fits).limit(MOST + 1).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def _studies(session: Session, subjects: set[str]) -> dict[str, str]:
    films = select(ImageRow.sha256, ImageRow.study_id).where(ImageRow.sha256.in_(subjects))
    studies = select(StudyRow.id).where(StudyRow.id.in_(subjects))
    found = {study: study for study in session.scalars(studies)}
    return found | {sha256: study for sha256, study in session.execute(films)}


def _storable(query: Search) -> bool:
    return all(storable(text) for text in (query.actor, query.event, query.subject))


def _fits(session: Session, query: Search) -> list[ColumnElement[bool]]:
    fits: list[ColumnElement[bool]] = []
    if query.actor:
        fits.append(AuditRow.actor.icontains(query.actor, autoescape=True))
    if query.event:
        fits.append(AuditRow.event == query.event)
    if query.subject:
        films = session.scalars(select(ImageRow.sha256).where(ImageRow.study_id == query.subject)).all()
        fits.append(AuditRow.subject.in_([query.subject, *films]))
    if query.since is not None:
        fits.append(AuditRow.at_utc >= query.since)
    if query.until is not None:
        fits.append(AuditRow.at_utc < query.until)
    return fits
