"""Films in: which study they make, what comes back for them, and what is refused."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select

from cxr_core.access import Actor, Role
from cxr_core.domain import Sex, Study, View
from cxr_core.errors import Busy, Forbidden, Rejected, StoreError
from cxr_core.worklist import audit, intake, queue
from cxr_core.worklist.filing import since, utc
from cxr_core.worklist.schema import AuditRow, Base, IdentityRow, ImageRow, StudyRow
from cxr_core.worklist.values import BATCH, INTERACTIVE, Incoming, Receipt, Source, Status
from tests.worklist.work import NURSE, one


def hand_in(service, raw, name="film.dcm", **options) -> Receipt:
    return service.submit(NURSE, Incoming(name, raw), source=Source.PAGE, **options)


def rows(service, table, *conditions):
    with service.database.read() as session:
        return session.scalars(select(table).where(*conditions)).all()


def count(service, table) -> int:
    with service.database.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_a_film_makes_a_study_that_waits(service, films, clock):
    raw = films.dicom(1, PatientID="P-1", PatientAge="044Y", PatientSex="F", StudyDate="20260105",
                      StudyTime="083000", TimezoneOffsetFromUTC="+0000", AcquisitionDate=None,
                      AcquisitionTime=None, AcquisitionDateTime=None)  # fmt: skip
    receipt = hand_in(service, raw)
    assert receipt.new
    assert not receipt.conflict
    study, image, who = (
        one(rows(service, StudyRow)),
        one(rows(service, ImageRow)),
        one(rows(service, IdentityRow)),
    )
    assert (study.id, image.sha256, image.study_id) == (receipt.study_id, receipt.sha256, receipt.study_id)
    assert (study.state, study.urgency, study.tier, study.status) == (None, "review", 1, "new")
    assert (study.age_years, study.sex) == (44.0, "F")
    assert study.acquired_utc == study.since_utc == datetime(2026, 1, 5, 8, 30, tzinfo=UTC)
    assert study.received_utc == study.queued_utc == clock.now
    assert (image.status, image.size_bytes, image.file_name) == ("waiting", len(raw), "film.dcm")
    assert who.patient_id == "P-1"
    assert service.blobs.get(receipt.sha256) == raw


def test_the_very_same_film_again_gives_the_same_receipt_and_no_second_row(service, films):
    first = hand_in(service, films.png(1), "one.png")
    again = hand_in(service, films.png(1), "two.png")
    assert again == replace(first, new=False)
    both = service.submit_many(NURSE, [Incoming("a", films.png(2))] * 2, source=Source.CLI)
    assert [receipt.new for receipt in both] == [True, False]
    assert count(service, ImageRow) == count(service, StudyRow) == 2
    events = rows(service, AuditRow, AuditRow.event == "submit")
    assert sum('"new":false' in event.detail.replace(" ", "") for event in events) == 1


def test_films_of_one_examination_make_one_study_together_or_one_after_the_other(service, films):
    together = service.submit_many(
        NURSE, [Incoming("a", films.dicom(n, study=7)) for n in (1, 2)], source=Source.CLI
    )
    later = hand_in(service, films.dicom(3, study=7))
    assert {receipt.study_id for receipt in (*together, later)} == {one(rows(service, StudyRow)).id}
    assert one(rows(service, StudyRow)).reasons == ["3 films are still waiting."]


def test_two_patients_under_one_study_uid_never_merge(service, films):
    receipts = service.submit_many(
        NURSE,
        [Incoming("a", films.dicom(n, study=7, patient_id=f"P-{n}")) for n in (1, 2)],
        source=Source.CLI,
    )
    assert receipts[0].study_id != receipts[1].study_id
    assert {who.patient_id for who in rows(service, IdentityRow)} == {"P-1", "P-2"}


def test_films_without_study_uid_are_studies_of_their_own(service, films):
    named = [films.dicom(n, patient_id="P-1", StudyInstanceUID=None) for n in (1, 2)]
    for raw in (*named, films.png(1), films.png(2)):
        hand_in(service, raw)
    assert count(service, StudyRow) == 4


@pytest.mark.parametrize(
    "raw", [b"no film at all", b"\x89PNG\r\n\x1a\n", b"\0" * 128 + b"DICM" + b"\xff" * 40]
)
def test_a_broken_film_is_stored_for_a_person_to_see(service, raw):
    assert hand_in(service, raw).new
    assert one(queue.claim(service, "w1", 9)).films == (hand_in(service, raw).sha256,)


def test_what_can_never_be_stored_is_refused_at_the_door_and_the_rest_is_taken(service, films):
    service.limits = replace(service.limits, max_bytes=1_000_000)
    big = b"\xff" * 1_000_001
    outcomes = service.submit_many(
        NURSE,
        [Incoming("empty", b""), Incoming("film", films.png(1)), Incoming("big", big)],
        source=Source.CLI,
    )
    assert [getattr(outcome, "code", "") for outcome in outcomes] == ["empty_file", "", "too_many_bytes"]
    assert outcomes[1].new
    with pytest.raises(Rejected, match="empty_file"):
        hand_in(service, b"")
    assert count(service, ImageRow) == 1
    assert service.submit_many(NURSE, [], source=Source.CLI) == []


def test_a_naive_time_is_the_time_of_this_machine(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert utc(datetime(2026, 1, 5, 8, 30)) == datetime(2026, 1, 5, 13, 30, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_time_that_no_calendar_has_in_utc_is_unknown():
    assert utc(datetime.fromisoformat("9999-12-31T23:00:00-05:00")) is None
    assert utc(None) is None


def test_a_time_in_the_future_does_not_shorten_the_wait():
    now = datetime(2026, 1, 5, tzinfo=UTC)
    assert since(now + timedelta(days=300), now) == since(None, now) == now
    assert since(now - timedelta(hours=2), now) == now - timedelta(hours=2)


def test_the_wait_runs_from_the_earliest_film(service, films):
    zone = {"TimezoneOffsetFromUTC": "+0000", "AcquisitionDateTime": None, "AcquisitionTime": None}
    for number, clock_time in ((1, "090000"), (2, "080000"), (3, "091500")):
        hand_in(service, films.dicom(number, study=7, AcquisitionDate="20260105", StudyDate="20260105",
                                     StudyTime=clock_time, **zone))  # fmt: skip
    study = one(rows(service, StudyRow))
    assert study.acquired_utc.hour == 8
    assert study.since_utc == study.acquired_utc


def test_a_further_film_fills_in_what_the_first_did_not_say(service, films):
    ageless = {"PatientAge": None, "PatientBirthDate": None}
    hand_in(service, films.dicom(1, study=7, patient_name="", PatientSex=None, ViewPosition="LL", **ageless))
    hand_in(service, films.dicom(2, study=7, PatientSex="F", ViewPosition="PA", PatientAge="031Y"))
    study, who = one(rows(service, StudyRow)), one(rows(service, IdentityRow))
    assert (study.sex, study.view, study.age_years) == ("F", "PA", 31.0)
    assert who.patient_name == "Phantom, Synthetic"
    assert study.version == 2


def test_a_further_film_puts_a_study_that_was_read_back_on_the_list(service, films):
    receipt = hand_in(service, films.dicom(1, study=7))
    with service.database.write() as session:
        session.get(StudyRow, receipt.study_id).is_open = False
    hand_in(service, films.dicom(1, study=7))
    assert not one(rows(service, StudyRow)).is_open
    hand_in(service, films.dicom(2, study=7))
    assert (one(rows(service, StudyRow)).is_open, one(rows(service, StudyRow)).status) == (True, Status.NEW)


def test_what_a_person_types_with_a_new_film_counts(service, films):
    typed = Study(patient_id="T-1", sex=Sex.FEMALE, age_years=6.0, view=View.AP)
    hand_in(service, films.png(1), typed=typed)
    study, who = one(rows(service, StudyRow)), one(rows(service, IdentityRow))
    assert (study.age_years, study.sex, study.view, who.patient_id) == (6.0, "F", "AP", "T-1")
    assert study.typed == {"age_years": 6.0, "sex": "F", "view": "AP"}


def test_who_waits_at_the_screen_comes_first_also_with_a_film_that_was_there(service, films, clock):
    hand_in(service, films.png(1), priority=BATCH)
    clock.advance(1)
    hand_in(service, films.png(2), priority=BATCH)
    clock.advance(1)
    wanted = hand_in(service, films.png(3), priority=INTERACTIVE)
    assert queue.claim(service, "w1", 1)[0].study_id == wanted.study_id
    again = hand_in(service, films.png(2), priority=INTERACTIVE)
    assert queue.claim(service, "w1", 1)[0].study_id == again.study_id


def test_a_full_queue_refuses_the_whole_call_and_takes_what_it_knows(service, films):
    service.settings = replace(service.settings, queue_limit=3)
    kept = [hand_in(service, films.png(number)) for number in (1, 2)]
    with pytest.raises(Busy, match="2 films wait already and at most 3 may"):
        service.submit_many(NURSE, [Incoming("a", films.png(n)) for n in (3, 4)], source=Source.CLI)
    assert count(service, ImageRow) == 2
    assert not hand_in(service, films.png(1)).new
    hand_in(service, films.png(3))
    assert {receipt.sha256 for receipt in kept} <= {image.sha256 for image in rows(service, ImageRow)}


def test_a_disk_nearly_full_refuses_before_a_byte_is_written(service, films, monkeypatch):
    monkeypatch.setattr(intake.shutil, "disk_usage", lambda _: SimpleNamespace(free=400 * 2**20))
    with pytest.raises(Busy, match="400 MB left"):
        hand_in(service, films.png(1))
    assert not service.blobs.folder.exists()
    assert count(service, ImageRow) == 0


def test_whatever_fails_in_the_transaction_leaves_no_row(service, films):
    def fail(session, outcomes):
        raise StoreError("no")

    before = {table: count(service, table) for table in Base.metadata.sorted_tables}
    with pytest.raises(StoreError, match="no"):
        intake.submit_many(
            service, NURSE, [Incoming("a", films.png(1))], source=Source.CLI, priority=BATCH, also=fail
        )
    assert {table: count(service, table) for table in Base.metadata.sorted_tables} == before
    assert hand_in(service, films.png(1)).new


def test_odd_names_are_kept_without_control_characters(service, films):
    hand_in(service, films.png(1), "a\0b\udcff\n'; DROP TABLE study; --" + "x" * 2000)
    name = one(rows(service, ImageRow)).file_name
    assert "\0" not in name
    assert "DROP TABLE" in name
    assert len(name) == 1000


def test_a_viewer_may_not_submit(service, films):
    with pytest.raises(Forbidden):
        service.submit(Actor("v", Role.VIEWER), Incoming("a", films.png(1)), source=Source.PAGE)
    assert count(service, ImageRow) == 0


def test_every_submission_leaves_an_audit_row_and_the_chain_holds(service, films):
    for number in (1, 1, 2):
        hand_in(service, films.png(number))
    with service.database.read() as session:
        verdict = audit.verify(session)
    assert (verdict.events, verdict.broken_at) == (3, None)
