"""A study as a reader opens it, and what a reader says of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import delete, func, select, update

from cxr_core.access import Actor, Role
from cxr_core.domain import Sex, State, Study, Urgency, View
from cxr_core.errors import Busy, Conflict, Forbidden, StoreError
from cxr_core.pipeline import analyse
from cxr_core.worklist import queue
from cxr_core.worklist.aggregate import LOST
from cxr_core.worklist.schema import AuditRow, IdentityRow, ImageRow, ResultRow, StudyRow
from cxr_core.worklist.values import Answer, ImageStatus, Incoming, Source
from tests.worklist.work import NURSE, one, work


def hand_in(service, raw, name="film.dcm"):
    return service.submit(NURSE, Incoming(name, raw), source=Source.PAGE)


def events(service, event):
    with service.database.read() as session:
        query = select(func.count()).select_from(AuditRow).where(AuditRow.event == event)
        return session.scalar(query)


def test_a_study_shows_what_the_pipeline_said_with_who_it_is(service, films, kit):
    raw = films.dicom(1, patient_id="P-1")
    receipt = hand_in(service, raw)
    work(service, kit)
    view = service.study(NURSE, receipt.study_id)
    film, fresh = one(view.films), analyse(raw, kit, now=service.clock())
    assert film.analysis == fresh
    assert film.analysis.study.patient_id == view.study.patient_id == view.line.patient_id == "P-1"
    assert set(film.heatmaps) == set(kit.classifier.manifest.labels)
    assert (film.file, film.size_bytes, film.previous, film.notice) == ("film.dcm", len(raw), 0, None)
    assert (view.action, view.reasons) == (fresh.triage.action, fresh.triage.reasons)
    assert service.film_bytes(NURSE, film.sha256) == raw


def test_a_waiting_film_has_no_analysis_yet(service, films):
    receipt = hand_in(service, films.png(1))
    film = one(service.study(NURSE, receipt.study_id).films)
    assert (film.status, film.analysis, film.notice, film.heatmaps) == (ImageStatus.WAITING, None, None, {})


def test_every_view_is_audited_but_not_every_refresh(service, films):
    receipt = hand_in(service, films.png(1))
    for audited in (True, True, False):
        service.study(NURSE, receipt.study_id, audited=audited)
    assert events(service, "view") == 2


def test_an_unknown_study_or_film_is_an_error(service):
    with pytest.raises(StoreError, match="no such study"):
        service.study(NURSE, "nothing")
    with pytest.raises(StoreError, match="no such study"):
        service.complete(NURSE, "nothing", Study(), 1)
    with pytest.raises(StoreError, match="no such film"):
        service.film_bytes(NURSE, "ab" * 32)
    assert events(service, "view") == 0


def test_what_a_person_types_is_shown_kept_and_decided_by(service, films, kit):
    receipt = hand_in(service, films.png(1))
    work(service, kit)
    before = service.study(NURSE, receipt.study_id)
    typed = Study(patient_id="T-1", patient_name="Typed, Name", age_years=6.0, sex=Sex.MALE, view=View.AP)
    service.complete(NURSE, receipt.study_id, typed, before.line.version)
    after = service.study(NURSE, receipt.study_id)
    film = one(after.films)
    assert (after.study.patient_name, after.line.patient_id, after.line.age_years) == (
        "Typed, Name",
        "T-1",
        6.0,
    )
    assert film.analysis.gate.codes == ("child",)
    assert film.analysis.predictions == before.films[0].analysis.predictions
    assert after.line.state in (State.FLAGGED, State.UNABLE_TO_CLASSIFY)
    assert after.line.urgency.rank <= Urgency.REVIEW.rank
    assert after.line.version == before.line.version + 1
    assert one(after.reviews).kind == "complete"
    assert events(service, "complete") == 1


def test_which_fields_of_the_identity_changed_is_kept_without_their_values(service, films):
    receipt = hand_in(service, films.dicom(1, patient_id="P-1", patient_name="Right^Name"))

    def complete(**changed):
        view = service.study(NURSE, receipt.study_id)
        service.complete(NURSE, receipt.study_id, replace(view.study, **changed), view.line.version)
        with service.database.read() as session:
            row = session.scalars(select(AuditRow).order_by(AuditRow.seq.desc())).first()
        return json.loads(row.detail), service.study(NURSE, receipt.study_id).reviews[-1]

    detail, review = complete(patient_id="X-2", patient_name="Wrong^Name", age_years=50.0)
    assert detail == {"changed": "patient_id,patient_name"}
    assert (review.kind, review.actor, review.data["changed"]) == (
        "complete",
        NURSE.name,
        "patient_id,patient_name",
    )
    assert not {"P-1", "X-2", "Right^Name", "Wrong^Name"} & {*review.data.values(), *detail.values()}
    detail, review = complete(age_years=51.0)
    assert (detail, review.data["age_years"]) == ({}, "51.0")
    assert "changed" not in review.data


def test_a_question_of_several_lines_is_kept_on_one(service, films):
    receipt = hand_in(service, films.png(1))
    service.complete(NURSE, receipt.study_id, Study(question="Fever since Monday.\r\nPneumonia?\n\x00"), 1)
    shown = service.study(NURSE, receipt.study_id).study
    assert shown.question == "Fever since Monday. Pneumonia? \\x00"


def test_typing_a_lateral_view_refuses_the_film(service, films, kit):
    receipt = hand_in(service, films.png(1))
    work(service, kit)
    service.complete(NURSE, receipt.study_id, Study(view=View.LATERAL), 2)
    view = service.study(NURSE, receipt.study_id)
    assert (view.line.state, view.line.urgency) == (State.REFUSED, Urgency.REVIEW)
    assert (one(view.films).analysis.refusal.code, one(view.films).heatmaps) == ("lateral_view", {})


def test_what_was_typed_before_the_answer_counts_in_it(service, films, kit):
    receipt = hand_in(service, films.png(1))
    service.complete(NURSE, receipt.study_id, Study(age_years=6.0), 1)
    work(service, kit)
    assert one(service.study(NURSE, receipt.study_id).films).analysis.gate.codes == ("child",)


def test_what_the_film_says_stays_where_a_person_leaves_it_open(service, films):
    receipt = hand_in(service, films.dicom(1, PatientAge="044Y", PatientSex="F", ViewPosition="PA"))
    service.complete(NURSE, receipt.study_id, Study(patient_id="T-1"), 1)
    line = service.study(NURSE, receipt.study_id).line
    assert (line.age_years, line.sex, line.view) == (44.0, Sex.FEMALE, View.PA)


def test_what_a_person_typed_is_taken_back_by_leaving_it_open(service, films, kit):
    raw = films.dicom(1, PatientAge="044Y", PatientSex="F", ViewPosition="PA")
    receipt = hand_in(service, raw)
    work(service, kit)

    def complete(typed):
        service.complete(NURSE, receipt.study_id, typed, service.version(NURSE, receipt.study_id))
        return service.study(NURSE, receipt.study_id)

    first = service.study(NURSE, receipt.study_id)
    wrong = complete(Study(age_years=6.0, sex=Sex.MALE, view=View.AP))
    assert (wrong.line.age_years, wrong.line.sex, wrong.line.view) == (6.0, Sex.MALE, View.AP)
    assert one(wrong.films).analysis.gate.codes == ("child",)
    right = complete(Study())
    assert (right.line.age_years, right.line.sex, right.line.view) == (44.0, Sex.FEMALE, View.PA)
    assert right.line.state is first.line.state
    assert one(right.films).analysis.predictions == one(first.films).analysis.predictions


def test_a_form_saved_with_the_tags_own_age_sex_and_view_types_none_of_them(service, films):
    tags = {"PatientAge": "044Y", "PatientSex": "F", "ViewPosition": "LL"}
    receipt = hand_in(service, films.dicom(1, study=7, **tags))
    before = service.study(NURSE, receipt.study_id)
    form = replace(before.study, referrer_phone="4711")
    service.complete(NURSE, receipt.study_id, form, before.line.version)
    after = service.study(NURSE, receipt.study_id)
    assert one(after.reviews).data == {"changed": "referrer_phone"}
    assert (after.line.age_years, after.line.sex, after.line.view) == (44.0, Sex.FEMALE, View.LATERAL)
    hand_in(service, films.dicom(2, study=7, ViewPosition="PA"))
    assert service.study(NURSE, receipt.study_id).line.view is View.PA


def test_a_lateral_view_typed_for_a_study_is_not_laid_over_a_film_that_says_pa(service, films, kit):
    receipt = hand_in(service, films.dicom(1, study=7, ViewPosition=None, ViewCodeSequence=None))
    hand_in(service, films.dicom(2, study=7, ViewPosition="PA"))
    work(service, kit)
    before = service.study(NURSE, receipt.study_id)
    assert all(film.analysis.refusal is None for film in before.films)
    service.complete(NURSE, receipt.study_id, Study(view=View.LATERAL), before.line.version)
    after = service.study(NURSE, receipt.study_id)
    refused = {film.sha256: film.analysis.refusal for film in after.films}
    assert refused.pop(receipt.sha256).code == "lateral_view"
    assert [*refused.values()] == [None]
    assert after.line.view is View.LATERAL
    form = replace(after.study, referrer_phone="4711")
    service.complete(NURSE, receipt.study_id, form, after.line.version)
    assert service.study(NURSE, receipt.study_id).line.view is View.LATERAL


def test_while_a_film_cannot_be_read_nothing_is_taken_for_typed(service, films, monkeypatch):
    receipt = hand_in(service, films.dicom(1, ViewPosition="LL"))

    def busy(_):
        raise Busy("the disk cannot be read")

    monkeypatch.setattr(service.blobs, "get", busy)
    with pytest.raises(Busy):
        service.complete(NURSE, receipt.study_id, Study(view=View.LATERAL), 1)
    assert service.version(NURSE, receipt.study_id) == 1


def test_an_age_typed_for_a_film_without_tags_is_taken_back(service, films):
    receipt = hand_in(service, films.png(1))
    service.complete(NURSE, receipt.study_id, Study(age_years=6.0, view=View.AP), 1)
    service.complete(NURSE, receipt.study_id, Study(), 2)
    line = service.study(NURSE, receipt.study_id).line
    assert (line.age_years, line.view) == (None, View.UNKNOWN)


def test_the_version_rises_with_what_people_do_and_is_looked_up_alone(service, films):
    receipt = hand_in(service, films.png(1))
    before = service.version(NURSE, receipt.study_id)
    service.claim(NURSE, receipt.study_id, before)
    assert service.version(NURSE, receipt.study_id) == before + 1
    with pytest.raises(StoreError, match="no such study"):
        service.version(NURSE, "nothing")


def test_who_names_an_old_version_looks_again(service, films):
    receipt = hand_in(service, films.png(1))
    with pytest.raises(Conflict):
        service.complete(NURSE, receipt.study_id, Study(patient_id="T-1"), 7)
    with service.database.read() as session:
        assert session.get(IdentityRow, receipt.study_id).patient_id == ""


def test_a_viewer_may_look_but_not_complete(service, films):
    viewer = Actor("v", Role.VIEWER)
    receipt = hand_in(service, films.png(1))
    assert service.study(viewer, receipt.study_id).line.study_id == receipt.study_id
    with pytest.raises(Forbidden):
        service.complete(viewer, receipt.study_id, Study(), 1)


@pytest.mark.parametrize("lost", [update(ResultRow).values(body={"form": 99}), delete(ResultRow)])
def test_a_film_whose_result_cannot_be_read_asks_for_a_person_and_stops_nothing(
    service, films, kit, clock, lost
):
    receipt = hand_in(service, films.dicom(1, study=7))
    work(service, kit)
    with service.database.write() as session:
        session.execute(lost)
    clock.advance(1)
    hand_in(service, films.dicom(2, study=7))
    view = service.study(NURSE, receipt.study_id)
    assert (view.films[0].analysis, view.films[0].notice) == (None, LOST)
    job = one(queue.claim(service, "w1", 9))
    for _ in range(service.settings.attempts):
        queue.failed(service, "w1", job, job.films[0], "decoder_died")
    view = service.study(NURSE, receipt.study_id)
    assert (view.line.state, view.line.urgency) == (State.REFUSED, Urgency.REVIEW)
    assert LOST.message in view.reasons


def test_older_answers_are_counted(service, films, kit):
    receipt = hand_in(service, films.png(1))
    work(service, kit)
    job = one(_again(service, receipt))
    analysis = analyse(films.png(1), kit, now=service.clock())
    other = replace(analysis, versions=replace(analysis.versions, model="another 1.0.0"))
    queue.record(service, "w1", job, [Answer(other, None, (), None)])
    film = one(service.study(NURSE, receipt.study_id).films)
    assert (film.previous, film.analysis.versions.model) == (1, "another 1.0.0")


def _again(service, receipt):
    with service.database.write() as session:
        session.get(ImageRow, receipt.sha256).status = ImageStatus.WAITING
        queue.put(session.get(StudyRow, receipt.study_id), service.clock())
    return queue.claim(service, "w1", 1)
