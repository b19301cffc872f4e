"""Whether the worklist is being worked off, and who did what: for those who keep it running, read-only."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from cxr_core.worklist import disk, queue
from cxr_core.worklist.audit import COLUMNS, Link
from cxr_core.worklist.order import storable
from cxr_core.worklist.schema import (
    AuditRow,
    BatchItemRow,
    BatchRow,
    ImageRow,
    ResultRow,
    StudyRow,
    WorkerRow,
)
from cxr_core.worklist.values import AGAIN, BATCH, INTERACTIVE, ImageStatus

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

REMEMBERED = timedelta(days=1)
"""A worker that stopped or fell silent longer ago is not shown."""

MOST = 100
"""Workers and dead letters shown at most; the newest."""

LARGEST_PAGE = 500


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for a worker.

    Attributes:
        films: that wait for an answer; `first` of them for their first.
        interactive, batch, again: studies queued: somebody waits, nobody waits, another answer is wanted.
        leased: of these studies, how many a worker has now.
        delayed: of these studies, how many are left alone for a while after a failure.
        oldest: since when the longest queued study is, or None.
        limit: films that may wait for their first answer before more are refused.
    """

    films: int
    first: int
    interactive: int
    batch: int
    again: int
    leased: int
    delayed: int
    oldest: datetime | None
    limit: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A worker.

    Attributes:
        id: of the process.
        started, seen: since when it runs, when it was last heard of.
        stopped: when it stopped in order, or None.
        alive: not stopped, and heard of lately.
        answered: films since it started.
        studies: that it has leased.
    """

    id: str
    started: datetime
    seen: datetime
    stopped: datetime | None
    alive: bool
    answered: int
    studies: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A film that was given up; a lead may put it back in the queue.

    Attributes:
        sha256: of the film.
        study_id: where it belongs.
        received: when it came in.
        attempts: how often its decoder failed.
        at: when it was given up, or None where the audit trail does not say.
        code: why; empty where the audit trail does not say.
    """

    sha256: str
    study_id: str
    received: datetime
    attempts: int
    at: datetime | None
    code: str


@dataclass(frozen=True, slots=True)
class Refused:
    """How many films of the last days were refused with one code: at the door, or by the model's gate."""

    code: str
    door: int
    gate: int


@dataclass(frozen=True, slots=True)
class Health:
    """How it stands.

    Attributes:
        at: now.
        queue: what waits.
        workers: heard of within REMEMBERED, last heard of first.
        dead: films given up, the newest first, at most MOST; `dead_total` in all.
        free_bytes, total_bytes: of CXR_HOME's disk, which bears the films and SQLite's database.
        reserve_bytes: below so much free, no film is taken in.
        days: that `refusals` looks back.
        refusals: most frequent first.
    """

    at: datetime
    queue: Queue
    workers: tuple[Heard, ...]
    dead: tuple[DeadLetter, ...]
    dead_total: int
    free_bytes: int
    total_bytes: int
    reserve_bytes: int
    days: int
    refusals: tuple[Refused, ...]

    @property
    def takes_in(self) -> bool:
        """Whether the disk has room for a further film."""
        return self.free_bytes > self.reserve_bytes


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


@dataclass(frozen=True, slots=True)
class Events:
    """A page of the audit trail, the newest first; `next` names the page after it, None on the last.

    Events that happen meanwhile do not move the pages.
    """

    links: tuple[Link, ...]
    next: int | None


def health(service: Service, days: int, heard_of: timedelta) -> Health:
    """Return how it stands at one moment.

    Args:
        service: whose list it is.
        days: how far back refusals are counted.
        heard_of: a worker silent for longer counts as gone.

    Raises:
        Busy: database or disk cannot be read.
    """
    now = service.clock()
    with disk.refusals("CXR_HOME"):
        room = shutil.disk_usage(service.settings.home)
    with service.database.read() as session:
        dead = ImageRow.status == ImageStatus.DEAD
        return Health(
            at=now,
            queue=_queue(session, now, service.settings.queue_limit),
            workers=_workers(session, now, heard_of),
            dead=_dead(session),
            dead_total=session.scalar(select(func.count()).select_from(ImageRow).where(dead)) or 0,
            free_bytes=room.free,
            total_bytes=room.total,
            reserve_bytes=service.settings.min_free_mb * 2**20,
            days=days,
            refusals=_refusals(session, now - timedelta(days=days)),
        )


def search(service: Service, query: Search) -> Events:
    """Return the events that fit the query, the newest first, at most `query.limit`."""
    limit = min(max(query.limit, 1), LARGEST_PAGE)
    if not all(storable(text) for text in (query.actor, query.event, query.subject)):
        return Events((), None)
    with service.database.read() as session:
        found = select(*COLUMNS).where(*_asked(session, query)).order_by(AuditRow.seq.desc())
        rows = session.execute(found.limit(limit + 1)).all()
    links = tuple(Link(*row) for row in rows[:limit])
    return Events(links, links[-1].seq if len(rows) > limit else None)


def _asked(session: Session, query: Search) -> list[ColumnElement[bool]]:
    asked: list[ColumnElement[bool]] = []
    if query.actor:
        asked.append(AuditRow.actor.icontains(query.actor, autoescape=True))
    if query.event:
        asked.append(AuditRow.event == query.event)
    if query.subject:
        films = session.scalars(select(ImageRow.sha256).where(ImageRow.study_id == query.subject)).all()
        asked.append(AuditRow.subject.in_([query.subject, *films]))
    if query.since is not None:
        asked.append(AuditRow.at_utc >= query.since)
    if query.until is not None:
        asked.append(AuditRow.at_utc < query.until)
    if query.before is not None:
        asked.append(AuditRow.seq < query.before)
    return asked


def _queue(session: Session, now: datetime, limit: int) -> Queue:
    def number(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count().filter(*conditions)

    counts = session.execute(
        select(
            number(StudyRow.priority == INTERACTIVE),
            number(StudyRow.priority == BATCH),
            number(StudyRow.priority == AGAIN),
            number(StudyRow.lease_owner.is_not(None)),
            number(StudyRow.lease_owner.is_(None), StudyRow.not_before_utc > now),
            func.min(StudyRow.queued_utc),
        ).where(StudyRow.queued_utc.is_not(None))
    ).one()
    films, first = queue.films_waiting(session), queue.films_waiting(session, first=True)
    interactive, batch, again, leased, delayed, oldest = counts
    return Queue(films, first, interactive, batch, again, leased, delayed, oldest, limit)


def _workers(session: Session, now: datetime, heard_of: timedelta) -> tuple[Heard, ...]:
    leased = (
        select(StudyRow.lease_owner, func.count())
        .where(StudyRow.lease_owner.is_not(None))
        .group_by(StudyRow.lease_owner)
    )
    studies = {owner: count for owner, count in session.execute(leased)}
    query = select(WorkerRow).where(WorkerRow.seen_utc > now - REMEMBERED)
    rows = session.scalars(query.order_by(WorkerRow.seen_utc.desc(), WorkerRow.id).limit(MOST))
    return tuple(
        Heard(
            id=row.id,
            started=row.started_utc,
            seen=row.seen_utc,
            stopped=row.stopped_utc,
            alive=row.stopped_utc is None and row.seen_utc > now - heard_of,
            answered=row.answered,
            studies=studies.get(row.id, 0),
        )
        for row in rows
    )


def _dead(session: Session) -> tuple[DeadLetter, ...]:
    """Return the films given up, each with the newest audit row that says so, the newest first."""
    last = (
        select(func.max(AuditRow.seq))
        .where(AuditRow.subject == ImageRow.sha256, AuditRow.event == "dead_letter")
        .correlate(ImageRow)
        .scalar_subquery()
    )
    film = (ImageRow.sha256, ImageRow.study_id, ImageRow.received_utc, ImageRow.attempts)
    query = (
        select(*film, AuditRow.at_utc, AuditRow.detail)
        .outerjoin(AuditRow, AuditRow.seq == last)
        .where(ImageRow.status == ImageStatus.DEAD)
        .order_by(func.coalesce(AuditRow.seq, 0).desc(), ImageRow.sha256)
        .limit(MOST)
    )
    return tuple(
        DeadLetter(sha256, study_id, received, attempts, at, _code(detail))
        for sha256, study_id, received, attempts, at, detail in session.execute(query)
    )


def _code(detail: str | None) -> str:
    return str(json.loads(detail).get("code", "")) if detail else ""


def _refusals(session: Session, since: datetime) -> tuple[Refused, ...]:
    """Return refusals since then by code: the gate's answers that count, and batches' files at the door."""
    door = (
        select(BatchItemRow.code, func.count())
        .join(BatchRow, BatchRow.id == BatchItemRow.batch_id)
        .where(BatchRow.seen_utc >= since, BatchItemRow.sha256.is_(None), BatchItemRow.code != "")
        .group_by(BatchItemRow.code)
    )
    code = ResultRow.body["refusal"]["code"].as_string().label("refusal")
    gate = (
        select(code, func.count())
        .join(ImageRow, ImageRow.result_id == ResultRow.id)
        .where(ImageRow.status == ImageStatus.REFUSED, ResultRow.created_utc >= since)
        .group_by("refusal")
    )
    at_door = {each: count for each, count in session.execute(door)}
    by_gate = {each: count for each, count in session.execute(gate) if each}
    found = [
        Refused(each, at_door.get(each, 0), by_gate.get(each, 0)) for each in at_door.keys() | by_gate.keys()
    ]
    return tuple(sorted(found, key=lambda each: (-each.door - each.gate, each.code)))
