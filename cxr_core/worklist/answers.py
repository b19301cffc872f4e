"""Workers' answers written into the database: one result per film, model, policy, correction and gate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cxr_core.domain import Analysis, State
from cxr_core.worklist import codec
from cxr_core.worklist.audit import Event
from cxr_core.worklist.inserts import insert_missing
from cxr_core.worklist.schema import ImageRow, ResultRow, StudyRow
from cxr_core.worklist.values import Answer, ImageStatus, Job

Done = tuple[StudyRow, Job, Sequence[Answer]]


def write_answers(
    session: Session, worker: str, done: Sequence[Done], now: datetime
) -> tuple[dict[int, Analysis], list[Event]]:
    """Return the results that count now, by id, and an event for each that is new.

    An answer that is there already, from a worker that had lost its lease, wins: it is what was shown.
    The studies are locked by the caller.

    Raises:
        ValueError: an answer is for a film that is not of its job.
    """
    answers = [(row, answer) for row, job, each in done for answer in _checked(job, each)]
    rows = [_result(answer, now) for _, answer in answers]
    new = {_key(row) for row in insert_missing(session, ResultRow, rows, *_KEY)}
    query = select(ResultRow.id, ResultRow.state, *_KEY)
    query = query.where(ResultRow.sha256.in_([row["sha256"] for row in rows]))
    counts = {_key(row): row for row in session.execute(query)}
    known: dict[int, Analysis] = {}
    events: list[Event] = []
    changes: list[dict[str, Any]] = []
    for study, answer in answers:
        key = _key_of(answer.analysis)
        if key in new:
            known[counts[key].id] = answer.analysis
            events.append(_event(study, answer.analysis, worker, now))
        changes.append(_change(answer, counts[key]))
    if changes:
        session.execute(update(ImageRow), changes)
    return known, events


_KEY = (ResultRow.sha256, ResultRow.model, ResultRow.policy, ResultRow.correction, ResultRow.gate)


def _key(row: Any) -> tuple[str, ...]:  # noqa: ANN401 -- a row of SQLAlchemy, whose columns have no types
    return row.sha256, row.model, row.policy, row.correction, row.gate


def _key_of(analysis: Analysis) -> tuple[str, ...]:
    versions = analysis.versions
    return analysis.sha256, versions.model, versions.policy, analysis.correction.key, versions.gate


def _checked(job: Job, answers: Sequence[Answer]) -> Sequence[Answer]:
    if not {answer.analysis.sha256 for answer in answers} <= set(job.films):
        raise ValueError("an answer is for a film that is not of its job")
    return answers


def _result(answer: Answer, now: datetime) -> dict[str, Any]:
    analysis = answer.analysis
    return {
        "sha256": analysis.sha256,
        "model": analysis.versions.model,
        "policy": analysis.versions.policy,
        "code": analysis.versions.code,
        "created_utc": now,
        "state": analysis.triage.state.value,
        "urgency": analysis.triage.urgency.value,
        "body": codec.encode(analysis, answer.labels, answer.heatmaps),
        "heatmaps": codec.heatmap_bytes(answer.heatmaps),
        "correction": analysis.correction.key,
        "gate": analysis.versions.gate,
    }


def _change(answer: Answer, result: Any) -> dict[str, Any]:  # noqa: ANN401 -- as in `_key`
    """Return what changes in the film's row; all changes name the same columns, so they go out together."""
    refused = result.state == State.REFUSED
    return {
        "sha256": answer.analysis.sha256,
        "status": (ImageStatus.REFUSED if refused else ImageStatus.ASSESSED).value,
        "attempts": 0,
        "result_id": result.id,
        "thumbnail": answer.thumbnail,
    }


def _event(study: StudyRow, analysis: Analysis, worker: str, now: datetime) -> Event:
    detail: dict[str, str | int] = {
        "study": study.id,
        "model": analysis.versions.model,
        "policy": analysis.versions.policy,
        "gate": analysis.versions.gate,
        "state": analysis.triage.state.value,
        "urgency": analysis.triage.urgency.value,
    }
    if analysis.correction:
        detail["correction"] = analysis.correction.key
    return Event(at=now, actor=worker, event="result", subject=analysis.sha256, detail=detail)
