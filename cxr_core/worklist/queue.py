"""What workers ask of the worklist: studies to answer, under a lease, each answer recorded exactly once.

A worker is a program named by its id, which no other process ever bears. A film needs an answer while its
status is "waiting"; a study is in the queue while `queued_utc` is set. Whoever wants films answered (anew)
sets both in one transaction, see `put`; a film's `result_id` stays, so the old answer counts meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from cxr_core.worklist.schema import StudyRow
from cxr_core.worklist.values import BATCH, Answer, Job

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service


def put(row: StudyRow, now: datetime, priority: int = BATCH) -> None:
    """Queue a study whose films were set to "waiting"; the caller's transaction makes it so."""
    row.priority = min(row.priority, priority) if row.queued_utc else priority
    row.queued_utc = row.queued_utc or now
    row.not_before_utc = None
    row.lost_leases = 0


def claim(service: Service, worker: str, limit: int) -> list[Job]:
    """Return up to `limit` studies, now leased to the worker: interactive first, then the longest queued."""
    raise NotImplementedError


def renew(service: Service, worker: str, study_ids: Sequence[str]) -> None:
    """Extend the leases that are still this worker's."""
    raise NotImplementedError


def record(service: Service, worker: str, job: Job, answers: Sequence[Answer]) -> bool:
    """Return whether the answers were written: not if the lease is no longer this worker's.

    Films of the job without answer stay queued. Where some failed, call this first, then `failed`.
    """
    raise NotImplementedError


def record_many(service: Service, worker: str, done: Sequence[tuple[Job, Sequence[Answer]]]) -> int:
    """Return how many of the studies were written, all in one transaction; see `record`."""
    raise NotImplementedError


def failed(service: Service, worker: str, job: Job, sha256: str, code: str) -> None:
    """Count a failed attempt: the film's decoder died or ran out of time; at the last one it is given up."""
    raise NotImplementedError


def give_back(service: Service, worker: str, jobs: Sequence[Job]) -> None:
    """Return leased studies to the queue at once: the worker stops before it came to them."""
    raise NotImplementedError


def waiting(service: Service) -> int:
    """Return how many films wait for an answer."""
    raise NotImplementedError


def beat(service: Service, worker: str, answered: int) -> None:
    """Note that the worker lives, and how many films it has answered in all since it started."""
    raise NotImplementedError


def stopped(service: Service, worker: str) -> None:
    """Note that the worker has stopped in order."""
    raise NotImplementedError
