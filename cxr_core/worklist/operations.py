"""Whether the worklist is being worked off: for those who keep it running, read-only."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from cxr_core.inference.manifest import MANIFEST
from cxr_core.worklist import disk, model_folders, model_in_force, queue
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


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for a worker.

    Attributes:
        films: that wait for an answer; `first` of them for their first.
        interactive, batch, again: studies queued: somebody waits, nobody waits, another answer is wanted.
        leased: of these studies, how many a worker has now.
        delayed: of these studies, how many are left alone for a while after a failure.
        oldest: since when the longest queued study is, those of `again` left out, or None.
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
        given_up: films that are dead letters now.
        free_bytes, total_bytes: of CXR_HOME's disk, which bears the films and SQLite's database.
        reserve_bytes: below so much free, no film is taken in.
        policy_fault: why no film is decided: the policy in force cannot be read; empty where it can.
        model_fault: why no film is answered: the model in force is not there or another, or the gate's folder
            does not say which gate it holds; else empty.
        models_away: ids of models that leads asked for and whose studies wait, as they cannot be opened.
    """

    at: datetime
    queue: Queue
    workers: tuple[Heard, ...]
    given_up: int
    free_bytes: int
    total_bytes: int
    reserve_bytes: int
    policy_fault: str = ""
    model_fault: str = ""
    models_away: tuple[str, ...] = ()

    @property
    def takes_in(self) -> bool:
        """Whether the disk has room for a further film."""
        return self.free_bytes > self.reserve_bytes


@dataclass(frozen=True, slots=True)
class Hour:
    """Films of one hour: new ones that came in, answers given, films given up."""

    start: datetime
    received: int
    answered: int
    given_up: int


def health(service: Service, heard_of: timedelta) -> Health:
    """Return how it stands at one moment; a worker silent for longer than `heard_of` counts as gone.

    Raises:
        Busy: database or disk cannot be read.
    """
    now = service.clock()
    with disk.refusals("CXR_HOME"):
        room = shutil.disk_usage(service.settings.home)
    with service.database.read() as session:
        dead = select(func.count()).select_from(ImageRow).where(ImageRow.status == ImageStatus.DEAD)
        return Health(
            at=now,
            queue=_queue(session, now, service.settings.queue_limit),
            workers=_workers(session, now, heard_of),
            given_up=session.scalar(dead) or 0,
            free_bytes=room.free,
            total_bytes=room.total,
            reserve_bytes=service.settings.min_free_mb * 2**20,
            policy_fault=service.in_force.fault,
            model_fault=model_in_force.fault_of(service.settings, service.model_in_force)
            or service.gate_in_force.fault,
            models_away=tuple(each for each in queue.models_wanted(session) if not _opens(service, each)),
        )


def _opens(service: Service, model_id: str) -> bool:
    """Return whether a model's files are what its manifest lists, as far as is known without opening it."""
    path = service.settings.models_dir / model_id
    return (path / MANIFEST).is_file() and model_folders.folder(path).answers


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
            func.min(StudyRow.queued_utc).filter(StudyRow.priority != AGAIN),
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


def given_up(session: Session) -> tuple[DeadLetter, ...]:
    """Return the newest MOST films given up, each with the newest audit row that says so, newest first."""
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


def refusals(session: Session, since: datetime) -> tuple[Refused, ...]:
    """Return refusals since then by code, the most frequent first.

    Counted are the gate's answers that hold, and files of batches at the door.
    """
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


def flow(session: Session, now: datetime, hours: int) -> tuple[Hour, ...]:
    """Return the last hours, the running one last: what came in and what was answered, by the audit trail."""
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
    # Backwards from the newest: the trail grows in the order of time, and has no index of it.
    before = select(AuditRow.seq).where(AuditRow.at_utc < first).order_by(AuditRow.seq.desc()).limit(1)
    last = session.scalar(before) or 0
    new_film = AuditRow.detail.contains('"new":true')
    wanted = or_(AuditRow.event.in_(("result", "dead_letter")), and_(AuditRow.event == "submit", new_film))
    query = select(AuditRow.event, AuditRow.at_utc).where(AuditRow.seq > last, wanted)
    found = Counter((event, (at - first) // timedelta(hours=1)) for event, at in session.execute(query))
    return tuple(
        Hour(
            first + timedelta(hours=place),
            *(found[event, place] for event in ("submit", "result", "dead_letter")),
        )
        for place in range(hours)
    )
