"""Leases and answers: who gets what, and that each answer is recorded exactly once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from time import sleep

import pytest
from sqlalchemy import event, func, select, update

from cxr_core.access import Actor, Role
from cxr_core.domain import State, Urgency
from cxr_core.worklist import audit, queue
from cxr_core.worklist.schema import AuditRow, ImageRow, ResultRow, StudyRow, WorkerRow
from cxr_core.worklist.service import open_service
from cxr_core.worklist.values import INTERACTIVE, ImageStatus, Incoming, Source
from tests.worklist import rows
from tests.worklist.work import NURSE, THUMBNAIL, answers, one, work


def hand_in(service, *raws):
    files = [Incoming("film", raw) for raw in raws]
    return service.submit_many(NURSE, files, source=Source.CLI)


def images(service):
    with service.database.read() as session:
        return {image.sha256: image for image in session.scalars(select(ImageRow))}


def study(service, study_id=None):
    with service.database.read() as session:
        query = select(StudyRow) if study_id is None else select(StudyRow).where(StudyRow.id == study_id)
        return session.scalars(query).one()


def count(service, table, *conditions):
    with service.database.read() as session:
        return session.scalar(select(func.count()).select_from(table).where(*conditions))


def test_an_answer_makes_the_study_what_the_pipeline_says(service, films, kit, clock):
    receipt = one(hand_in(service, films.png(1)))
    assert queue.waiting(service) == 1
    job = one(queue.claim(service, "w1", 9))
    assert (job.study_id, job.films, job.model) == (receipt.study_id, (receipt.sha256,), None)
    given = answers(service, kit, job.films)
    clock.advance(1)
    assert queue.record(service, "w1", job, given)
    row, image, triage = study(service), one(images(service).values()), given[0].analysis.triage
    assert (row.state, row.urgency, row.action) == (triage.state, triage.urgency, triage.action)
    assert [label for label in row.findings.split("|") if label] == list(triage.findings)
    assert (row.queued_utc, row.lease_owner, row.cover, row.version) == (None, None, receipt.sha256, 2)
    assert (image.status, image.thumbnail) == ("assessed", THUMBNAIL)
    assert queue.waiting(service) == 0
    assert queue.claim(service, "w1", 9) == []
    assert count(service, AuditRow, AuditRow.event == "result", AuditRow.subject == receipt.sha256) == 1


def test_a_refused_film_is_answered_too(service, kit):
    hand_in(service, b"no film")
    assert work(service, kit) == 1
    row = study(service)
    assert (row.state, row.urgency, row.queued_utc) == ("refused", "review", None)
    assert one(images(service).values()).status == "refused"


def test_several_studies_are_claimed_and_recorded_in_one_transaction_each(service, films, kit):
    hand_in(service, *(films.png(number) for number in range(5)))
    first, second = queue.claim(service, "w1", 3), queue.claim(service, "w2", 9)
    assert (len(first), len(second)) == (3, 2)
    assert len({job.study_id for job in (*first, *second)}) == 5
    done = [(job, answers(service, kit, job.films)) for job in first]
    assert queue.record_many(service, "w1", done) == 3
    assert queue.waiting(service) == 2


def test_the_longest_queued_comes_first(service, films, clock):
    receipts = []
    for number in range(3):
        receipts += hand_in(service, films.png(number))
        clock.advance(1)
    claimed = [one(queue.claim(service, "w1", 1)).study_id for _ in receipts]
    assert claimed == [receipt.study_id for receipt in receipts]


def test_workers_that_claim_at_once_never_get_the_same_study(service, films):
    hand_in(service, *(films.png(number) for number in range(24)))

    def grab(worker: str) -> list[str]:
        return [job.study_id for _ in range(3) for job in queue.claim(service, worker, 2)]

    with ThreadPoolExecutor(4) as pool:
        got = [study_id for each in pool.map(grab, "abcd") for study_id in each]
    assert len(got) == len(set(got)) == 24


def test_an_expired_lease_comes_back_later_each_time(service, films, clock):
    hand_in(service, films.png(1))
    for lost, pause in ((1, 2), (2, 4), (3, 8)):
        assert len(queue.claim(service, f"w{lost}", 1)) == 1
        clock.advance(service.settings.lease_s - 1)
        assert queue.claim(service, "other", 1) == []
        clock.advance(1)
        assert queue.claim(service, "other", 1) == []
        assert study(service).lost_leases == lost
        clock.advance(pause - 1)
        assert queue.claim(service, "other", 1) == []
        clock.advance(1)


def test_a_renewed_lease_does_not_expire_and_only_its_owner_renews_it(service, films, clock):
    hand_in(service, films.png(1))
    job = one(queue.claim(service, "w1", 1))
    clock.advance(service.settings.lease_s - 1)
    queue.renew(service, "w1", [job.study_id])
    clock.advance(service.settings.lease_s - 1)
    queue.renew(service, "w2", [job.study_id])
    queue.renew(service, "w2", [])
    assert study(service).lease_until_utc == clock.now + timedelta(seconds=1)
    assert queue.claim(service, "w2", 1) == []


def test_films_whose_workers_are_lost_too_often_are_given_up_and_seen(service, films, clock):
    service.settings = replace(service.settings, lost_leases_cap=3)
    receipt = one(hand_in(service, films.png(1)))
    for _ in range(3):
        assert len(queue.claim(service, "w1", 1)) == 1
        clock.advance(100)
        assert queue.claim(service, "w1", 1) == []
        clock.advance(100)
    assert queue.claim(service, "w1", 1) == []
    row = study(service)
    assert (row.state, row.urgency, row.queued_utc) == ("refused", "review", None)
    assert images(service)[receipt.sha256].status == "dead"
    assert count(service, AuditRow, AuditRow.event == "dead_letter") == 1
    assert service.study(NURSE, receipt.study_id).films[0].notice.code == "given_up"


def test_who_lost_the_lease_records_nothing(service, films, kit, clock):
    hand_in(service, films.png(1))
    late = one(queue.claim(service, "late", 1))
    given = answers(service, kit, late.films)
    clock.advance(service.settings.lease_s + 1)
    queue.claim(service, "quick", 1)
    assert not queue.record(service, "late", late, given)
    assert (count(service, ResultRow), study(service).state) == (0, None)
    clock.advance(2)
    assert work(service, kit, "quick") == 1
    assert not queue.record(service, "late", late, given)
    assert count(service, ResultRow) == count(service, AuditRow, AuditRow.event == "result") == 1


def test_an_answer_that_is_there_wins_over_a_later_one(service, films, kit):
    receipt = one(hand_in(service, films.png(1)))
    job = one(queue.claim(service, "w1", 1))
    (answer,) = answers(service, kit, job.films)
    queue.record(service, "w1", job, [answer])
    with service.database.write() as session:
        session.get(ImageRow, receipt.sha256).status = ImageStatus.WAITING
        queue.put(session.get(StudyRow, receipt.study_id), service.clock())
    other = replace(answer.analysis.triage, action="another action")
    job = one(queue.claim(service, "w1", 1))
    changed = replace(answer, analysis=replace(answer.analysis, triage=other))
    assert queue.record(service, "w1", job, [changed])
    assert count(service, ResultRow) == count(service, AuditRow, AuditRow.event == "result") == 1
    assert study(service).action == answer.analysis.triage.action


def test_films_without_answer_stay_queued_and_the_study_says_so(service, films, kit):
    hand_in(service, films.dicom(1, study=7), films.dicom(2, study=7))
    job = one(queue.claim(service, "w1", 1))
    assert len(job.films) == 2
    assert queue.record(service, "w1", job, answers(service, kit, job.films[:1]))
    assert study(service).reasons[-1] == "1 film is still waiting."
    rest = one(queue.claim(service, "w1", 1))
    assert rest.films == job.films[1:]
    queue.record(service, "w1", rest, answers(service, kit, rest.films))
    assert study(service).queued_utc is None
    assert "1 film is still waiting." not in study(service).reasons


def test_of_a_study_with_very_many_films_a_job_names_the_first_ones(service):
    """A worker holds all films of its jobs in memory, and renews the lease until the last is answered."""
    number, then = queue.FILMS_AT_ONCE + 1, rows.THEN
    rows.put(
        service.database,
        [rows.study(1, queued_utc=then)],
        images=[
            rows.image(each, 1, then + timedelta(seconds=each), status="waiting") for each in range(number)
        ],
    )
    job = one(queue.claim(service, "w1", 1))
    assert job.films == tuple(f"{each:064x}" for each in range(queue.FILMS_AT_ONCE))
    queue.give_back(service, "w1", [job])
    assert queue.waiting(service) == number


def test_a_film_that_arrives_while_its_study_is_leased_is_answered_next(service, films, kit):
    hand_in(service, films.dicom(1, study=7))
    job = one(queue.claim(service, "w1", 1))
    late = one(hand_in(service, films.dicom(2, study=7)))
    assert queue.claim(service, "w2", 1) == []
    assert queue.record(service, "w1", job, answers(service, kit, job.films))
    assert one(queue.claim(service, "w2", 1)).films == (late.sha256,)


def test_a_film_whose_decoder_dies_is_tried_three_times_then_given_up(service, films, clock):
    receipt = one(hand_in(service, films.png(1)))
    for attempt in range(1, 4):
        job = one(queue.claim(service, "w1", 1))
        queue.failed(service, "w1", job, receipt.sha256, "decoder_died")
        assert images(service)[receipt.sha256].attempts == attempt
        assert queue.claim(service, "w1", 1) == []
        clock.advance(attempt)
    assert queue.claim(service, "w1", 1) == []
    assert images(service)[receipt.sha256].status == "dead"
    assert (study(service).state, study(service).queued_utc) == ("refused", None)
    queue.failed(service, "w1", job, receipt.sha256, "decoder_died")
    assert count(service, AuditRow, AuditRow.event == "dead_letter") == 1


def test_one_film_that_kills_its_decoder_does_not_hold_up_the_others_of_its_study(service, films, kit, clock):
    hand_in(service, films.dicom(1, study=7), films.dicom(2, study=7))
    job = one(queue.claim(service, "w1", 1))
    good, bad = job.films
    queue.record(service, "w1", job, answers(service, kit, [good]))
    queue.failed(service, "w1", job, bad, "decoder_died")
    for _ in range(2):
        clock.advance(5)
        job = one(queue.claim(service, "w1", 1))
        assert job.films == (bad,)
        queue.failed(service, "w1", job, bad, "decoder_died")
    assert (images(service)[good].status, images(service)[bad].status) == ("assessed", "dead")
    assert study(service).queued_utc is None
    assert study(service).urgency != "routine"


def test_failed_attempts_are_forgotten_once_the_film_is_answered(service, films, kit, clock):
    receipt = one(hand_in(service, films.png(1)))
    for _ in range(2):
        queue.failed(service, "w1", one(queue.claim(service, "w1", 1)), receipt.sha256, "decode_timeout")
        clock.advance(5)
    work(service, kit)
    assert images(service)[receipt.sha256].attempts == 0
    with service.database.write() as session:  # as a version before this one left it
        session.get(ImageRow, receipt.sha256).attempts = 2
        session.execute(update(ResultRow).values(model="older 1"))
    assert service.reanalyse(Actor("Lea", Role.LEAD), [receipt.study_id], None) == 1
    queue.failed(service, "w1", one(queue.claim(service, "w1", 1)), receipt.sha256, "decode_timeout")
    film = images(service)[receipt.sha256]
    assert (film.status, film.attempts) == ("waiting", 1)


def test_a_lost_lease_is_no_failed_attempt(service, films, clock):
    receipt = one(hand_in(service, films.png(1)))
    for _ in range(4):
        queue.claim(service, "w1", 1)
        clock.advance(100)
        queue.claim(service, "w1", 1)
        clock.advance(100)
    assert images(service)[receipt.sha256].attempts == 0
    assert images(service)[receipt.sha256].status == "waiting"


def test_what_is_given_back_can_be_claimed_at_once(service, films):
    hand_in(service, films.png(1))
    jobs = queue.claim(service, "w1", 1)
    queue.give_back(service, "w2", jobs)
    assert queue.claim(service, "w2", 1) == []
    queue.give_back(service, "w1", jobs)
    queue.give_back(service, "w1", [])
    assert queue.claim(service, "w2", 1) == jobs
    assert study(service).lost_leases == 0


def test_a_job_names_the_model_that_a_lead_asked_for(service, films):
    hand_in(service, films.png(1))
    with service.database.write() as session:
        session.execute(update(StudyRow).values(wanted_model="other"))
    assert one(queue.claim(service, "w1", 1)).model == "other"


def test_the_wish_for_a_model_ends_with_its_answer_and_a_model_that_is_away_costs_no_attempt(
    service, films, kit, clock
):
    hand_in(service, films.png(1))
    with service.database.write() as session:
        session.execute(update(StudyRow).values(wanted_model="other"))
    job = one(queue.claim(service, "w1", 1))
    queue.put_off(service, "w2", [job])
    assert study(service).lease_owner == "w1"
    queue.put_off(service, "w1", [job])
    assert queue.claim(service, "w1", 1) == []
    assert (queue.waiting(service), queue.waiting(service, without=["other"])) == (1, 0)
    clock.advance(queue.MODEL_AWAY.total_seconds() + 1)
    assert queue.claim(service, "w1", 1) == [job]
    assert next(iter(images(service).values())).attempts == 0
    assert queue.record(service, "w1", job, answers(service, kit, job.films))
    assert (study(service).wanted_model, study(service).lost_leases) == (None, 0)


def test_a_further_film_is_the_model_in_forces_to_answer_whatever_was_asked_for(service, films):
    hand_in(service, films.dicom(1, study=1))
    with service.database.write() as session:
        session.execute(update(StudyRow).values(wanted_model="other"))
    asked = one(queue.claim(service, "w1", 1))
    hand_in(service, films.dicom(2, study=1))
    job = one(queue.claim(service, "w2", 1))
    assert (asked.model, job.model, len(job.films)) == ("other", None, 2)


def test_an_answer_of_the_model_before_does_not_stand_for_the_one_asked_for_meanwhile(service, films, kit):
    """One worker may have a study in hand twice: as it was, and as a lead asked for it a moment later."""
    hand_in(service, films.png(1))
    before = one(queue.claim(service, "w1", 1))
    with service.database.write() as session:
        session.execute(update(StudyRow).values(wanted_model="other", lease_owner=None))
    asked = one(queue.claim(service, "w1", 1))
    assert not queue.record(service, "w1", before, answers(service, kit, before.films))
    assert count(service, ResultRow) == 0
    assert queue.record(service, "w1", asked, answers(service, kit, asked.films))


@pytest.mark.postgres
def test_leases_are_renewed_in_the_order_in_which_everybody_locks(postgresql_settings):
    """Else a worker that renews while it records, or hands in, would wait for itself."""
    service = open_service(postgresql_settings)
    rows.put(service.database, [rows.study(number, lease_owner="w1") for number in (2, 1)])
    first, second = (f"{number:032x}" for number in (1, 2))
    locked = select(StudyRow.id).with_for_update(nowait=True)
    with ThreadPoolExecutor(1) as pool:
        with service.database.write() as session:
            session.execute(locked.where(StudyRow.id == first)).one()
            renewing = pool.submit(queue.renew, service, "w1", [first, second])
            sleep(0.3)
            session.execute(locked.where(StudyRow.id == second)).one()
        renewing.result()
    service.close()


@pytest.mark.postgres
def test_films_that_are_known_are_moved_forward_in_the_order_in_which_everybody_locks(
    postgresql_settings, films
):
    """Else handing them in again beside a new film of another study, and recording both, would deadlock."""
    service = open_service(postgresql_settings)
    receipts = hand_in(service, films.dicom(1, study=1), films.dicom(2, study=2))
    first, second = sorted(receipts, key=lambda receipt: receipt.study_id)
    known, joined = receipts.index(first) + 1, receipts.index(second) + 1
    again = [Incoming("film", raw) for raw in (films.dicom(known, study=known), films.dicom(9, study=joined))]
    locked = select(StudyRow.id).with_for_update(nowait=True)
    with ThreadPoolExecutor(1) as pool:
        with service.database.write() as session:
            session.execute(locked.where(StudyRow.id == first.study_id)).one()
            handing = pool.submit(service.submit_many, NURSE, again, source=Source.PAGE, priority=INTERACTIVE)
            sleep(0.5)
            session.execute(locked.where(StudyRow.id == second.study_id)).one()
        assert [receipt.new for receipt in handing.result()] == [False, True]
    with service.database.read() as session:
        assert session.get(StudyRow, first.study_id).priority == INTERACTIVE
    service.close()


def test_an_answer_for_a_film_of_another_job_is_a_fault(service, films, kit):
    hand_in(service, films.png(1), films.png(2))
    one_job, other = queue.claim(service, "w1", 2)
    with pytest.raises(ValueError, match="not of its job"):
        queue.record(service, "w1", one_job, answers(service, kit, other.films))
    assert count(service, ResultRow) == 0


def test_a_graver_answer_after_reading_puts_the_study_back_and_rings_again(service, films, kit):
    """Re-analysis finds what nobody has seen: reading and acknowledging before do not cover it."""
    receipt = one(hand_in(service, films.png(1)))
    work(service, kit)
    with service.database.write() as session:
        row = session.get(StudyRow, receipt.study_id)
        row.urgency, row.tier, row.findings, row.state = "routine", 3, "", "no_disease_detected"
        row.is_open, row.status, row.claimed_by = False, "read", "nurse"
        row.acknowledged_by, row.acknowledged_utc = "nurse", service.clock()
        session.get(ImageRow, receipt.sha256).status = ImageStatus.WAITING
        queue.put(row, service.clock())
    job = one(queue.claim(service, "w1", 1))
    (answer,) = answers(service, kit, job.films)
    triage = replace(
        answer.analysis.triage, state=State.FLAGGED, urgency=Urgency.CRITICAL, findings=("Pneumothorax",)
    )
    versions = replace(answer.analysis.versions, model="another 1.0.0")
    analysis = replace(answer.analysis, triage=triage, versions=versions)
    assert queue.record(service, "w1", job, [replace(answer, analysis=analysis)])
    row = study(service)
    assert (row.urgency, row.is_open, row.status) == ("critical", True, "new")
    assert row.acknowledged_utc is row.claimed_by is row.read_utc is None


def test_workers_not_heard_of_for_a_month_are_forgotten_when_another_starts(service, clock):
    queue.beat(service, "old", 5)
    clock.advance(queue.KEPT.total_seconds() / 2)
    queue.beat(service, "newer", 1)
    clock.advance(queue.KEPT.total_seconds() / 2 + 1)
    queue.beat(service, "newer", 2)
    assert workers_known(service) == {"old", "newer"}
    queue.beat(service, "w", 0)
    assert workers_known(service) == {"newer", "w"}


def workers_known(service):
    with service.database.read() as session:
        return set(session.scalars(select(WorkerRow.id)))


def test_workers_are_counted_while_they_are_heard_of(service, clock):
    viewer = Actor("v", Role.VIEWER)
    assert service.workers(viewer) == 0
    queue.beat(service, "w1", 0)
    queue.beat(service, "w2", 5)
    assert service.workers(viewer) == 2
    queue.stopped(service, "w2")
    assert service.workers(viewer) == 1
    clock.advance(14)
    queue.beat(service, "w1", 7)
    clock.advance(14)
    assert service.workers(viewer) == 1
    clock.advance(2)
    assert service.workers(viewer) == 0
    with service.database.read() as session:
        assert session.get(WorkerRow, "w1").answered == 7
    queue.stopped(service, "nobody")


def test_the_chain_holds_after_all_of_this(service, films, kit, clock):
    hand_in(service, films.png(1), films.png(2), b"broken")
    work(service, kit)
    with service.database.read() as session:
        verdict = audit.verify(session)
    assert (verdict.events, verdict.broken_at) == (6, None)


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (queue.waiting, "ix_image_"),
        (lambda service: queue.claim(service, "w1", 1), "ix_study_lease"),
        (lambda service: queue.claim(service, "w1", 1), "ix_study_queue"),
    ],
)
def test_a_long_list_does_not_slow_the_queue_down(home, films, ask, index):
    """By the plan of every statement on SQLite: each question has an index of its own, of open work only."""
    service = open_service(home)
    hand_in(service, films.png(1))
    plans: list[str] = []

    @event.listens_for(service.database.engine, "before_cursor_execute")
    def explain(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[-1] for row in cursor.fetchall())

    ask(service)
    assert any(index in plan for plan in plans)
    assert not {"SCAN study", "SCAN image"}.intersection(plans)
    service.close()
