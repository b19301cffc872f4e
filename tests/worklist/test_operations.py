"""What whoever leads sees of queue, workers, disk, dead letters and refusals."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from cxr_core.access import Actor, Role
from cxr_core.errors import Busy, Forbidden
from cxr_core.worklist import queue
from cxr_core.worklist.operations import DeadLetter, Hour, Queue, Refused
from cxr_core.worklist.schema import BatchItemRow, BatchRow, WorkerRow
from cxr_core.worklist.values import INTERACTIVE, Incoming, Source
from tests.worklist.rows import id_of, image, note, put, result, sha, study

ANN = Actor("Ann", Role.CLINICIAN)
LEAD = Actor("Lea", Role.LEAD)
NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def ago(**span):
    return NOW - timedelta(**span)


def test_an_empty_worklist_is_idle(service):
    health = service.health(LEAD)
    assert health.queue == Queue(0, 0, 0, 0, 0, 0, 0, None, service.settings.queue_limit)
    assert (health.workers, health.given_up, health.at) == ((), 0, NOW)
    assert (service.given_up(LEAD), service.refusals(LEAD)) == ((), ())
    assert [each.received for each in service.flow(LEAD)] == [0] * 24
    for call in (service.health, service.given_up, service.refusals, service.flow):
        with pytest.raises(Forbidden):
            call(ANN)


def test_depth_and_age_of_the_queue_and_what_of_it_is_being_done(service):
    put(
        service.database,
        [
            study(1, queued_utc=ago(minutes=1), priority=0),
            study(2, queued_utc=ago(hours=2), lease_owner="w", lease_until_utc=ago(minutes=-1)),
            study(3, queued_utc=ago(minutes=9), not_before_utc=ago(seconds=-8)),
            study(4, queued_utc=ago(minutes=9), not_before_utc=ago(seconds=1), priority=2),
            study(5, queued_utc=None),
            study(6, queued_utc=ago(days=1), priority=2),
        ],
        images=[
            image(1, 1, status="waiting"),
            image(2, 2, status="waiting"),
            image(3, 3, status="waiting"),
            image(4, 4, status="waiting", result_id=7),
            image(5, 5),
        ],
    )
    assert service.health(LEAD).queue == Queue(
        films=4,
        first=3,
        interactive=1,
        batch=2,
        again=2,
        leased=1,
        delayed=1,
        oldest=ago(hours=2),
        limit=service.settings.queue_limit,
    )


def test_a_film_handed_in_is_seen_to_wait_to_be_claimed_and_its_worker_to_live(service, films, clock):
    film = Incoming("film.png", films.png())
    service.submit(ANN, film, source=Source.CLI, priority=INTERACTIVE)
    clock.advance(5)
    assert service.health(LEAD).queue.oldest == NOW
    queue.beat(service, "w1", 0)
    (job,) = queue.claim(service, "w1", 5)
    health = service.health(LEAD)
    assert (health.queue.films, health.queue.interactive, health.queue.leased) == (1, 1, 1)
    (worker,) = health.workers
    assert (worker.id, worker.alive, worker.studies, worker.answered) == ("w1", True, 1, 0)
    assert len(job.films) == 1


def test_workers_that_live_are_told_from_those_that_stopped_or_fell_silent(service):
    def worker(name, seen, stopped=None, answered=3):
        return {
            "id": name,
            "started_utc": ago(days=3),
            "seen_utc": seen,
            "stopped_utc": stopped,
            "answered": answered,
        }

    with service.database.write() as session:
        rows = [
            worker("lives", ago(seconds=14)),
            worker("silent", ago(seconds=16), answered=0),
            worker("stopped", ago(seconds=2), ago(seconds=2)),
            worker("long gone", ago(days=2)),
        ]
        session.execute(insert(WorkerRow), rows)
    found = service.health(LEAD).workers
    assert [(each.id, each.alive) for each in found] == [
        ("stopped", False),
        ("lives", True),
        ("silent", False),
    ]
    assert found[0].stopped == ago(seconds=2)
    assert sum(each.alive for each in found) == service.workers(ANN)


def test_dead_letters_say_why_and_when_the_newest_first(service):
    put(
        service.database,
        [study(1), study(2)],
        images=[
            image(1, 1, status="dead", attempts=3),
            image(2, 1, status="dead"),
            image(3, 2, status="dead", attempts=1),
            image(4, 2),
        ],
    )
    note(
        service,
        (ago(hours=3), "w1", "dead_letter", sha(1), {"study": id_of(1), "code": "stalled"}),
        (ago(hours=2), "w1", "dead_letter", sha(3), {"study": id_of(2), "code": "lost_leases"}),
        (ago(hours=2), "Lea", "retry", sha(1)),
        (ago(hours=1), "w2", "dead_letter", sha(1), {"study": id_of(1), "code": "crashed"}),
        (ago(hours=1), "w2", "dead_letter", sha(4), {"study": id_of(2), "code": "crashed"}),
    )
    assert service.health(LEAD).given_up == 3
    received = image(1, 1)["received_utc"]
    assert service.given_up(LEAD) == (
        DeadLetter(sha(1), id_of(1), received, 3, ago(hours=1), "crashed"),
        DeadLetter(sha(3), id_of(2), received, 1, ago(hours=2), "lost_leases"),
        DeadLetter(sha(2), id_of(1), received, 0, None, ""),
    )
    service.retry(LEAD, sha(1))
    assert service.health(LEAD).given_up == 2


def test_refusals_of_the_last_days_by_code_at_the_door_and_by_the_gate(service):
    def refused(number, created, code, status="refused"):
        body = {"refusal": {"code": code, "message": "m", "hint": "h"} if code else None}
        return (
            image(number, 1, status=status, result_id=number),
            result(number, number, "tiny", "1", created_utc=created, state="refused", body=body),
        )

    pairs = [
        refused(1, ago(days=1), "lateral"),
        refused(2, ago(days=6), "lateral"),
        refused(3, ago(days=8), "lateral"),
        refused(4, ago(hours=1), "blurred"),
        refused(5, ago(hours=1), "", status="assessed"),
        refused(6, ago(hours=1), "blurred", status="waiting"),
    ]
    put(service.database, [study(1)], images=[a for a, _ in pairs], results=[b for _, b in pairs])
    with service.database.write() as session:
        for name, seen in (("new", ago(days=2)), ("old", ago(days=9))):
            row = {"id": name, "created_utc": seen, "actor": "Ann", "source": "cli", "total": 4}
            session.execute(insert(BatchRow), [row | {"seen_utc": seen}])
        items = [
            ("new", 1, None, "empty_file"),
            ("new", 2, None, "empty_file"),
            ("new", 3, None, "lateral"),
            ("new", 4, sha(1), "known"),
            ("old", 1, None, "empty_file"),
        ]
        names = ("batch_id", "position", "sha256", "code")
        session.execute(
            insert(BatchItemRow), [dict(zip(names, each, strict=True)) | {"name": "x"} for each in items]
        )
    assert service.refusals(LEAD) == (
        Refused("lateral", 1, 2),
        Refused("empty_file", 2, 0),
        Refused("blurred", 0, 1),
    )
    assert [each.code for each in service.refusals(LEAD, days=1)] == ["blurred", "lateral"]


def test_a_disk_that_is_nearly_full_or_cannot_be_read_is_seen(service, monkeypatch):
    room = shutil.disk_usage(service.settings.home)
    health = service.health(LEAD)
    assert health.total_bytes == room.total
    assert health.reserve_bytes == service.settings.min_free_mb * 2**20
    assert health.takes_in
    service.settings = replace(service.settings, min_free_mb=2**30)
    assert not service.health(LEAD).takes_in

    def broken(_path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(shutil, "disk_usage", broken)
    with pytest.raises(Busy, match="CXR_HOME"):
        service.health(LEAD)


def test_the_flow_counts_new_films_answers_and_dead_letters_by_the_hour(service):
    note(
        service,
        (ago(hours=30), "Ann", "submit", sha(1), {"new": True}),
        (ago(hours=2, minutes=31), "Ann", "submit", sha(2), {"new": True}),
        (ago(hours=2, minutes=29), "Ann", "submit", sha(3), {"new": True}),
        (ago(hours=2, minutes=28), "Ann", "submit", sha(3), {"new": False}),
        (ago(hours=1), "w1", "result", sha(2)),
        (ago(minutes=29), "w1", "result", sha(3)),
        (ago(minutes=1), "w1", "dead_letter", sha(3)),
    )
    start = NOW.replace(minute=0)
    assert service.flow(LEAD, hours=3) == (
        Hour(start - timedelta(hours=2), 1, 0, 0),
        Hour(start - timedelta(hours=1), 0, 1, 0),
        Hour(start, 0, 1, 1),
    )
    assert sum(each.received for each in service.flow(LEAD)) == 2
