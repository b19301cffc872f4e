"""What workers ask of the worklist: studies to answer, under a lease, each answer recorded exactly once.

A worker is a program named by its id, which no other process ever bears. A film needs an answer while its
status is "waiting"; a study is in the queue while `queued_utc` is set. Whoever wants films answered (anew)
sets both in one transaction, see `put`; a film's `result_id` stays, so the old answer counts meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Select, delete, func, literal_column, or_, select, update
from sqlalchemy.orm import Session

from cxr_core.domain import AS_SENT, Correction
from cxr_core.worklist import audit, gate_in_force, model_in_force, stored_policy
from cxr_core.worklist.answers import write_answers
from cxr_core.worklist.judge import judge
from cxr_core.worklist.schema import ImageRow, StudyRow, WorkerRow
from cxr_core.worklist.values import BATCH, Answer, ImageStatus, Job

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

LONGEST_BACK_OFF_S = 60

KEPT = timedelta(days=30)
"""A worker that was heard of last so long ago is forgotten when another one starts."""

FILMS_AT_ONCE = 64
"""Of one study in one job; the study stays queued for the others."""

OUTDATED = timedelta(seconds=1)
"""A study whose answers came too late for their policy, model or gate waits so long: a worker that does not
see the new one must not be at it for ever."""

MODEL_AWAY = timedelta(seconds=60)
"""A study whose model cannot be opened waits so long before a worker looks at it again."""

_WAITING = ImageRow.status == literal_column("'waiting'")
"""As a literal: SQLite recognises the index of waiting films by it."""


def put(row: StudyRow, now: datetime, priority: int = BATCH) -> None:
    """Queue a study whose films were set to "waiting"; the caller's transaction makes it so."""
    row.priority = min(row.priority, priority) if row.queued_utc else priority
    row.queued_utc = row.queued_utc or now
    row.not_before_utc = None
    row.lost_leases = 0


def claim(service: Service, worker: str, limit: int) -> list[Job]:
    """Return up to `limit` studies, now leased to the worker: interactive first, then the longest queued.

    A lease that ran out (its worker was killed) is taken back first: its study waits 2, 4, … 60 s, and its
    films are given up once that has happened `lost_leases_cap` times.
    """
    now = service.clock()
    with service.database.read() as session:
        if session.scalar(_expired(now).limit(1)) is None and session.scalar(_free(now).limit(1)) is None:
            return []
    with service.database.write() as session:
        _take_back(session, service, worker, now)
        rows = session.scalars(_free(now).limit(limit).with_for_update(skip_locked=True)).all()
        films = _waiting_films(session, [row.id for row in rows])
        hung = _corrections(session, [sha256 for each in films.values() for sha256 in each])
        for row in rows:
            if row.id in films:
                row.lease_owner, row.lease_until_utc = worker, service.clock() + _lease(service)
            else:
                row.queued_utc = row.wanted_model = None
        return [_job(row, films[row.id][:FILMS_AT_ONCE], hung) for row in rows if row.id in films]


def renew(service: Service, worker: str, study_ids: Sequence[str]) -> None:
    """Extend the leases that are still this worker's."""
    if not study_ids:
        return
    with service.database.write() as session:
        for row in _locked(session, study_ids).values():
            if row.lease_owner == worker:
                row.lease_until_utc = service.clock() + _lease(service)


def record(service: Service, worker: str, job: Job, answers: Sequence[Answer]) -> bool:
    """Return whether the answers were written: not if the lease is no longer this worker's for this job.

    Films of the job without answer stay queued. Where some failed, call this first, then `failed`.
    """
    return record_many(service, worker, [(job, answers)]) == 1


def record_many(service: Service, worker: str, done: Sequence[tuple[Job, Sequence[Answer]]]) -> int:
    """Return how many of the studies were written, all in one transaction; see `record`.

    Answers of a policy, model or gate that is no longer in force are not written: whoever brought another one
    in and has all open studies analysed again must not find these left out. Their studies stay queued.
    """
    now = service.clock()
    gate = gate_in_force.refreshed(service.settings, service.gate_in_force).name
    with service.database.write() as session:
        policy = stored_policy.version_in_force(session)
        activated = model_in_force.newest_change(session)
        model = activated.model if activated else None
        rows = _locked(session, [job.study_id for job, _ in done])
        hung = _corrections(session, [sha256 for job, _ in done for sha256 in job.films])
        ours = [
            (rows[job.study_id], job, answers)
            for job, answers in done
            if job.study_id in rows and _holds(worker, job, rows[job.study_id], hung)
        ]
        for row in [row for row, job, answers in ours if _outdated(job, answers, policy, model, gate)]:
            _release(row)
            row.not_before_utc = now + OUTDATED
        ours = [each for each in ours if not _outdated(each[1], each[2], policy, model, gate)]
        known, events = write_answers(session, worker, ours, now)
        still = _waiting_films(session, [row.id for row, _, _ in ours])
        for row, _, answers in ours:
            _release(row)
            row.lost_leases = 0 if answers else row.lost_leases
            if row.id not in still:  # a film that comes later is answered by the model in force
                row.queued_utc = row.wanted_model = None
        judge(session, service.policy, [row for row, _, _ in ours], known)
        session.flush()
        audit.append_many(session, events)
        return len(ours)


def failed(service: Service, worker: str, job: Job, sha256: str, code: str) -> None:
    """Count a failed attempt: the film's decoder died or ran out of time; at the last one it is given up.

    It counts even where the lease was lost or given up meanwhile: the decoder did die.
    """
    now = service.clock()
    with service.database.write() as session:
        row = _locked(session, [job.study_id]).get(job.study_id)
        image = session.get(ImageRow, sha256, with_for_update=True)
        if row is None or image is None or image.status != ImageStatus.WAITING:
            return
        image.attempts += 1
        if row.lease_owner in (None, worker):
            _release(row)
            row.not_before_utc = now + timedelta(seconds=image.attempts)
        if image.attempts >= service.settings.attempts:
            _give_up(session, service, worker, row, [sha256], code, now)


def give_back(service: Service, worker: str, jobs: Sequence[Job]) -> None:
    """Return leased studies to the queue at once: the worker stops before it came to them."""
    if not jobs:
        return
    with service.database.write() as session:
        for row in _locked(session, [job.study_id for job in jobs]).values():
            if row.lease_owner == worker:
                _release(row)


def put_off(service: Service, worker: str, jobs: Sequence[Job]) -> None:
    """Return leased studies whose model cannot be opened; that counts against none of their films."""
    if not jobs:
        return
    later = service.clock() + MODEL_AWAY
    with service.database.write() as session:
        for row in _locked(session, [job.study_id for job in jobs]).values():
            if row.lease_owner == worker:
                _release(row)
                row.not_before_utc = later


def waiting(service: Service, *, without: Sequence[str] = ()) -> int:
    """Return how many films wait for an answer; those left out whose study waits for one of these models."""
    with service.database.read() as session:
        if not without:
            return films_waiting(session)
        others = or_(StudyRow.wanted_model.is_(None), StudyRow.wanted_model.not_in(without))
        query = select(func.count()).select_from(ImageRow).join(StudyRow, StudyRow.id == ImageRow.study_id)
        return session.scalar(query.where(_WAITING, others)) or 0


def at_work(session: Session, now: datetime) -> bool:
    """Return whether a film waits that a worker has in hand or could have now."""
    now_or_soon = or_(
        StudyRow.lease_owner.is_not(None), StudyRow.not_before_utc.is_(None), StudyRow.not_before_utc <= now
    )
    query = select(ImageRow.sha256).join(StudyRow, StudyRow.id == ImageRow.study_id)
    return session.scalar(query.where(_WAITING, now_or_soon).limit(1)) is not None


def models_awaited(service: Service) -> tuple[str, ...]:
    """Return what `models_wanted` does, in a transaction of its own."""
    with service.database.read() as session:
        return models_wanted(session)


def models_wanted(session: Session) -> tuple[str, ...]:
    """Return the ids of the models that leads asked for and whose answers are still to come."""
    wanted = select(StudyRow.wanted_model).where(
        StudyRow.queued_utc.is_not(None), StudyRow.wanted_model.is_not(None)
    )
    return tuple(sorted(each for each in session.scalars(wanted.distinct()) if each))


def films_waiting(session: Session, *, first: bool = False) -> int:
    """Return how many films wait for an answer, or for their first."""
    query = select(func.count()).select_from(ImageRow).where(_WAITING)
    return session.scalar(query.where(ImageRow.result_id.is_(None)) if first else query) or 0


def beat(service: Service, worker: str, answered: int) -> None:
    """Note that the worker lives, and how many films it has answered in all since it started."""
    now = service.clock()
    with service.database.write() as session:
        row = session.get(WorkerRow, worker)
        if row is None:
            session.execute(delete(WorkerRow).where(WorkerRow.seen_utc < now - KEPT))
            row = WorkerRow(id=worker, started_utc=now, seen_utc=now, stopped_utc=None, answered=answered)
            session.add(row)
        row.seen_utc, row.answered = now, answered


def stopped(service: Service, worker: str) -> None:
    """Note that the worker has stopped in order."""
    with service.database.write() as session:
        row = session.get(WorkerRow, worker)
        if row is not None:
            row.seen_utc = row.stopped_utc = service.clock()


def _lease(service: Service) -> timedelta:
    return timedelta(seconds=service.settings.lease_s)


def _holds(worker: str, job: Job, row: StudyRow, hung: Mapping[str, Correction]) -> bool:
    """Return whether the lease is still this worker's, for the model that the job names and films so hung."""
    as_now = all(job.correction(sha256) == hung.get(sha256, AS_SENT) for sha256 in job.films)
    return row.lease_owner == worker and row.wanted_model == job.model and as_now


def _outdated(job: Job, answers: Sequence[Answer], policy: str | None, model: str | None, gate: str) -> bool:
    """Return whether another policy, model or gate than the one in force made an answer.

    Nobody says so of a policy or model where none was brought into force, nor of a model that was asked for.
    """
    made = [answer.analysis.versions for answer in answers]
    other_policy = policy is not None and any(each.policy != policy for each in made)
    other_model = model is not None and job.model is None and any(each.model != model for each in made)
    return other_policy or other_model or any(each.gate != gate for each in made)


def _free(now: datetime) -> Select[StudyRow]:
    return (
        select(StudyRow)
        .where(
            StudyRow.queued_utc.is_not(None),
            StudyRow.lease_owner.is_(None),
            or_(StudyRow.not_before_utc.is_(None), StudyRow.not_before_utc <= now),
        )
        .order_by(StudyRow.priority, StudyRow.queued_utc)
    )


def _expired(now: datetime) -> Select[StudyRow]:
    return select(StudyRow).where(
        StudyRow.lease_owner.is_not(None),
        StudyRow.lease_until_utc <= now,
    )


def _locked(session: Session, study_ids: Iterable[str]) -> dict[str, StudyRow]:
    """Return the studies by id, locked in one order so that two transactions never wait for each other."""
    query = select(StudyRow).where(StudyRow.id.in_(list(study_ids))).order_by(StudyRow.id).with_for_update()
    return {row.id: row for row in session.scalars(query)}


def _waiting_films(session: Session, study_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return per study its films without answer in order of arrival; a study without such is left out."""
    if not study_ids:
        return {}
    query = (
        select(ImageRow.study_id, ImageRow.sha256)
        .where(ImageRow.study_id.in_(study_ids), _WAITING)
        .order_by(ImageRow.received_utc, ImageRow.sha256)
    )
    found: dict[str, tuple[str, ...]] = {}
    for study_id, sha256 in session.execute(query):
        found[study_id] = (*found.get(study_id, ()), sha256)
    return found


def _corrections(session: Session, films: Sequence[str]) -> dict[str, Correction]:
    """Return how films are to hang, those left out that hang as they were sent."""
    if not films:
        return {}
    query = select(ImageRow.sha256, ImageRow.correction)
    query = query.where(ImageRow.sha256.in_(films), ImageRow.correction != "")
    return {sha256: Correction.of(key) for sha256, key in session.execute(query)}


def _job(row: StudyRow, films: tuple[str, ...], hung: Mapping[str, Correction]) -> Job:
    corrections = {sha256: hung[sha256] for sha256 in films if sha256 in hung}
    return Job(row.id, films, row.wanted_model, corrections)


def _take_back(session: Session, service: Service, worker: str, now: datetime) -> None:
    """Take back leases that ran out, or give up films whose workers were lost too often."""
    expired = session.scalars(_expired(now).order_by(StudyRow.id).with_for_update(skip_locked=True)).all()
    films = _waiting_films(session, [row.id for row in expired])
    for row in expired:
        _release(row)
        row.lost_leases += 1
        row.not_before_utc = now + timedelta(seconds=min(2**row.lost_leases, LONGEST_BACK_OFF_S))
        if row.lost_leases >= service.settings.lost_leases_cap:
            _give_up(session, service, worker, row, films.get(row.id, ()), "lost_leases", now)


def _give_up(
    session: Session,
    service: Service,
    worker: str,
    row: StudyRow,
    films: Sequence[str],
    code: str,
    now: datetime,
) -> None:
    """Make dead letters of a study's films and let a person see it."""
    session.flush()
    session.execute(update(ImageRow).where(ImageRow.sha256.in_(films)).values(status=ImageStatus.DEAD))
    if row.id not in _waiting_films(session, [row.id]):
        row.queued_utc = row.not_before_utc = row.wanted_model = None
    judge(session, service.policy, [row])
    session.flush()
    detail = {"study": row.id, "code": code}
    audit.append_many(session, [audit.Event(now, worker, "dead_letter", sha256, detail) for sha256 in films])


def _release(row: StudyRow) -> None:
    row.lease_owner = row.lease_until_utc = row.not_before_utc = None
