"""Promise R4: same SOPInstanceUID with other pixels: first kept, conflict shown to a person, both audited."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from cxr_core.domain import State, Urgency
from cxr_core.worklist import queue
from cxr_core.worklist.schema import AuditRow, ImageRow
from cxr_core.worklist.values import ImageStatus, Incoming, Query, Source
from tests.worklist.work import NURSE, one, work


def hand_in(service, *raws):
    return service.submit_many(NURSE, [Incoming("film.dcm", raw) for raw in raws], source=Source.PAGE)


def conflicts(service):
    with service.database.read() as session:
        query = select(AuditRow.subject, AuditRow.detail).where(AuditRow.event == "conflict")
        return {subject: json.loads(detail)["first"] for subject, detail in session.execute(query)}


@pytest.mark.parametrize("together", [True, False])
def test_r4_the_first_is_kept_and_the_conflict_is_stored_shown_and_audited(service, films, kit, together):
    first_raw, second_raw = films.dicom(1), films.dicom(1, pixels=2)
    if together:
        first, second = hand_in(service, first_raw, second_raw)
    else:
        (first,) = hand_in(service, first_raw)
        work(service, kit)
        (second,) = hand_in(service, second_raw)
    work(service, kit)
    assert (first.new, first.conflict, second.new, second.conflict) == (True, False, True, True)
    assert service.blobs.get(first.sha256) == first_raw
    assert service.blobs.get(second.sha256) == second_raw
    assert conflicts(service) == {second.sha256: first.sha256}

    view = service.study(NURSE, first.study_id)
    shown = {film.sha256: film for film in view.films}
    assert shown[first.sha256].analysis is not None
    assert shown[second.sha256].status is ImageStatus.CONFLICT
    assert shown[second.sha256].analysis is None
    assert shown[second.sha256].notice.code == "uid_conflict"
    assert shown[second.sha256].notice.message in view.reasons
    assert view.line.urgency.rank <= Urgency.REVIEW.rank
    assert view.line.state in (State.FLAGGED, State.UNABLE_TO_CLASSIFY)
    assert one(service.page(NURSE, Query()).lines).study_id == first.study_id


def test_r4_a_conflict_in_another_patients_name_is_a_study_of_its_own_for_review(service, films, kit):
    first, second = hand_in(service, films.dicom(1, patient_id="P-1"), films.dicom(1, patient_id="P-2"))
    work(service, kit)
    assert second.conflict
    assert first.study_id != second.study_id
    line = service.study(NURSE, second.study_id).line
    assert (line.state, line.urgency) == (State.REFUSED, Urgency.REVIEW)
    assert queue.waiting(service) == 0


def test_r4_the_conflicting_film_again_is_the_same_receipt_and_no_further_conflict(service, films):
    hand_in(service, films.dicom(1))
    (second,) = hand_in(service, films.dicom(1, pixels=2))
    (again,) = hand_in(service, films.dicom(1, pixels=2))
    assert (again.sha256, again.study_id, again.new, again.conflict) == (
        second.sha256,
        second.study_id,
        False,
        True,
    )
    hand_in(service, films.dicom(1, pixels=3))
    first = hand_in(service, films.dicom(1))[0].sha256
    assert set(conflicts(service).values()) == {first}
    assert len(conflicts(service)) == 2


def test_r4_a_study_that_was_read_comes_back_for_its_conflict(service, films, kit):
    (first,) = hand_in(service, films.dicom(1))
    work(service, kit)
    view = service.study(NURSE, first.study_id)
    if view.line.urgency is Urgency.CRITICAL:
        service.acknowledge(NURSE, first.study_id, view.line.version, told="ward", how="in person")
    service.mark_read(NURSE, first.study_id, service.study(NURSE, first.study_id).line.version)
    assert service.page(NURSE, Query()).lines == ()
    hand_in(service, films.dicom(1, pixels=2))
    assert one(service.page(NURSE, Query()).lines).study_id == first.study_id


def test_r4_films_without_uid_never_conflict(service, films):
    receipts = hand_in(service, *(films.png(number) for number in range(3)))
    assert not any(receipt.conflict for receipt in receipts)
    with service.database.read() as session:
        assert set(session.scalars(select(ImageRow.sop_uid))) == {None}
