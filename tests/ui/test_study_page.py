"""The reader's desk with the real service and the small model, without a browser."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import select, update
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox

from cxr_core.access import Actor, Role
from cxr_core.domain import Analysis, Urgency, View
from cxr_core.errors import Busy
from cxr_core.imaging.deidentify import Text
from cxr_core.settings import ROOT
from cxr_core.ui import recent, study_card
from cxr_core.worklist.schema import AuditRow, ImageRow, ResultRow, StudyRow
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import (
    FilmView,
    ImageStatus,
    Incoming,
    Query,
    Review,
    Source,
    Status,
    StudyView,
)
from tests.reports import analyses
from tests.ui.conftest import Home
from tests.ui.shown import html, labels, press, texts
from tests.worklist.films import Films

PAGE = str(ROOT / "pages" / "study.py")
OTHER = Actor("Dr Other", Role.CLINICIAN)
HOSTILE = "![x](http://evil.example/a.png)<img src onerror>"


def opened(study_id: str = "") -> AppTest:
    app = AppTest.from_file(PAGE, default_timeout=180)
    if study_id:
        app.query_params["study"] = study_id
    return rerun(app)


def rerun(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception
    return app


def pressed(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def turn_to(app: AppTest, part: str) -> AppTest:
    app.session_state["desk-part"] = part
    return rerun(app)


def field(app: AppTest, label: str) -> Selectbox:
    return next(each for each in app.selectbox if each.label == label)


def fill(app: AppTest, label: str, text: str) -> None:
    next(each for each in (*app.text_input, *app.text_area) if each.label == label).input(text)


@pytest.fixture
def study(tiny_app: Home, films: Films) -> str:
    """A study that was answered, with a hostile name."""
    raw = films.dicom(1, patient_id="P-1", patient_name=HOSTILE)
    receipt = tiny_app.service.submit(tiny_app.actor, Incoming("a.dcm", raw), source=Source.PAGE)
    tiny_app.answer()
    return receipt.study_id


@pytest.fixture
def critical(tiny_app: Home, study: str) -> str:
    """No phantom is critical to the small model; an earlier answer of another would have left this."""
    with tiny_app.service.database.write() as session:
        row = update(StudyRow).where(StudyRow.id == study)
        session.execute(row.values(urgency="critical", tier=0))
    recent.forget()
    return study


def view(home: Home, study_id: str) -> StudyView:
    return home.service.study(home.actor, study_id, audited=False)


def last(home: Home, study_id: str) -> Review:
    return view(home, study_id).reviews[-1]


def version(home: Home, study_id: str) -> int:
    return home.service.version(home.actor, study_id)


def finding(home: Home, study_id: str, *, positive: bool) -> str:
    analysis = view(home, study_id).films[0].analysis
    assert analysis is not None
    return next(each.label for each in analysis.predictions if each.positive is positive)


# ---- what is shown


def test_without_a_study_in_the_address_the_page_says_where_they_are(tiny_app: Home) -> None:
    app = opened()
    assert "No study is open" in html(app)
    assert labels(app) == ["To the worklist"]


def test_only_who_may_can_take_the_film_away_without_identity(
    tiny_app: Home, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_LOCAL_ROLE", "clinician")
    assert [each.proto.label for each in opened(study).get("download_button")] == ["PDF", "JSON", "PNG"]
    monkeypatch.setenv("CXR_LOCAL_ROLE", "lead")
    app = opened(study)
    assert [each.proto.label for each in app.get("download_button")][3:] == ["De-identified DICOM"]
    assert "Text is noted on this film: look at it before you choose." in [each.value for each in app.caption]
    (choice,) = app.radio
    assert choice.value is Text.REFUSE
    assert choice.options == ["do not hand the film out", "black it out", "I have looked: it names nobody"]
    choice.set_value(Text.BLANK)
    rerun(app)


def test_an_unknown_study_is_said(tiny_app: Home, study: str) -> None:
    app = opened("0" * 16)
    assert "There is no such study" in html(app)
    assert "Open the most pressing study" in labels(app)


def test_the_desk_shows_whose_study_it_is_its_card_and_what_can_be_done(tiny_app: Home, study: str) -> None:
    app = opened(study)
    assert HOSTILE in texts(app)
    assert "ID P-1 · " in texts(app)
    assert HOSTILE not in html(app)
    assert not [element.value for element in app.markdown if HOSTILE in element.value]
    assert "read within" in html(app)
    assert {"Claim", "Mark read", "Override urgency", "Note", "Study details", "Next", "Previous"} <= set(
        labels(app)
    )
    assert "Acknowledge" not in labels(app), "it is not critical"
    said = [label.split(":")[0] for label in labels(app)]
    assert said.count("✓ I agree") == said.count("✕ I disagree") == 14


def test_a_viewer_looks_and_is_offered_nothing(
    tiny_app: Home, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_app.service.opine(OTHER, study, 2, finding(tiny_app, study, positive=True), agrees=False)
    monkeypatch.setenv("CXR_LOCAL_ROLE", "viewer")
    app = opened(study)
    assert set(labels(app)) == {"Next", "Previous", "Worklist"}
    assert "✕ Dr Other" in html(app)
    assert "Undo" not in labels(turn_to(app, "History"))


def test_every_film_of_a_study_is_there_each_in_its_honest_state(tiny_app: Home, films: Films) -> None:
    frontal = Incoming("pa.dcm", films.dicom(1, study=7))
    receipt = tiny_app.service.submit(tiny_app.actor, frontal, source=Source.PAGE)
    lateral = Incoming("ll.dcm", films.dicom(2, study=7, ViewPosition="LL"))
    tiny_app.service.submit(tiny_app.actor, lateral, source=Source.PAGE)
    tiny_app.answer()
    changed = Incoming("other.dcm", films.dicom(1, study=7, pixels=9))
    assert tiny_app.service.submit(tiny_app.actor, changed, source=Source.PAGE).conflict
    tiny_app.service.submit(tiny_app.actor, Incoming("new.dcm", films.dicom(3, study=7)), source=Source.PAGE)
    app = opened(receipt.study_id)
    states = [film.status for film in view(tiny_app, receipt.study_id).films]
    assert sorted(states) == ["assessed", "conflict", "refused", "waiting"]
    key = f"film-{receipt.study_id}-4-{states.index(ImageStatus.ASSESSED)}"
    said = {}
    for place, status in enumerate(states):
        app.session_state[key] = place
        said[status.value] = html(rerun(app))
    assert "FINDINGS" in said["assessed"]
    assert "lateral" in said["refused"]
    assert "BEING ASSESSED" in said["waiting"]
    assert "Not assessed – a person must look" in said["conflict"]


def test_a_study_opens_on_the_film_that_is_most_urgent() -> None:
    def film(number: int, status: ImageStatus, analysis: Analysis | None) -> FilmView:
        at = datetime(2026, 1, 5, tzinfo=UTC)
        return FilmView(f"{number:064}", "a.dcm", status, at, 1, analysis, {}, None, 0)

    clear, grave = analyses.clear(), analyses.flagged()
    for films_of, start in (
        ([(ImageStatus.ASSESSED, clear), (ImageStatus.ASSESSED, grave), (ImageStatus.ASSESSED, grave)], 1),
        ([(ImageStatus.REFUSED, analyses.refused()), (ImageStatus.ASSESSED, clear)], 1),
        ([(ImageStatus.WAITING, None), (ImageStatus.REFUSED, analyses.refused())], 0),
    ):
        shown = SimpleNamespace(films=[film(n, *each) for n, each in enumerate(films_of)])
        assert study_card.start_of(cast(StudyView, shown)) == start


def test_the_first_look_is_audited_and_no_rerun(tiny_app: Home, study: str) -> None:
    app = opened(study)
    for _ in range(3):
        rerun(app)
    with tiny_app.service.database.read() as session:
        seen = session.scalars(select(AuditRow).where(AuditRow.event == "view")).all()
    assert [each.subject for each in seen] == [study]


# ---- what a reader does


def test_claim_release_and_read_are_kept_in_the_worklist(tiny_app: Home, study: str) -> None:
    app = press(opened(study), "Claim")
    assert view(tiny_app, study).line.claimed_by == tiny_app.actor.name
    assert "claimed · local user" in html(app)
    press(app, "Release")
    assert view(tiny_app, study).line.status is Status.NEW
    press(app, "Mark read")
    assert view(tiny_app, study).line.status is Status.READ
    assert "marked the study read" in texts(app)
    assert "Mark read" not in labels(app)


def test_a_critical_result_is_acknowledged_in_full_or_not_at_all(tiny_app: Home, critical: str) -> None:
    app = opened(critical)
    assert "Mark read" not in labels(app), "reading does not say that anybody was told"
    press(app, "Acknowledge")
    press(app, "Acknowledge")
    assert "say who was told" in texts(app)
    fill(app, "Who was told", "Dr Low")
    field(app, "How").select("by telephone")
    press(app, "Acknowledge")
    assert "read it back" in texts(app)
    assert not view(tiny_app, critical).line.acknowledged
    assert next(field for field in app.text_input if field.label == "Who was told").value == "Dr Low"
    app.checkbox[0].check()
    press(app, "Acknowledge")
    assert view(tiny_app, critical).line.acknowledged
    data = last(tiny_app, critical).data
    assert (data["told"], data["how"], data["read_back"]) == ("Dr Low", "by telephone", "yes")
    assert "told Dr Low by telephone, who read it back" in texts(app)
    assert view(tiny_app, critical).line.status is Status.ACKNOWLEDGED
    press(app, "Mark read")
    assert view(tiny_app, critical).line.status is Status.READ


def test_a_reader_agrees_disagrees_and_takes_it_back_at_the_finding(tiny_app: Home, study: str) -> None:
    present = finding(tiny_app, study, positive=True)
    absent = finding(tiny_app, study, positive=False)
    app = pressed(opened(study), f"opine-{present}-disagree")
    pressed(app, f"opine-{absent}-agree")
    assert {(each.finding, each.agrees) for each in view(tiny_app, study).standing.opinions} == {
        (present, False),
        (absent, True),
    }
    assert html(app).count("local user") >= 2
    pressed(app, f"opine-{present}-disagree")
    assert [each.finding for each in view(tiny_app, study).standing.opinions] == [absent]
    assert last(tiny_app, study).kind == "undo"


def test_an_override_needs_a_reason_and_is_shown_with_whose_word_it_is(tiny_app: Home, study: str) -> None:
    before = view(tiny_app, study).line.urgency
    app = press(opened(study), "Override urgency")
    field(app, "Urgency").select(Urgency.CRITICAL)
    press(app, "Override")
    assert "the reason is empty" in texts(app)
    fill(app, "Reason", f"asked by phone {HOSTILE}")
    press(app, "Override")
    line = view(tiny_app, study).line
    assert (line.urgency, line.overridden and line.overridden.films) == (Urgency.CRITICAL, before)
    said = html(app)
    assert "Urgency set by local user" in said
    assert f"The films say {'◆ Urgent' if before is Urgency.URGENT else ''}" in said
    assert "This film alone: " in said
    assert "<img" not in said
    kept = view(tiny_app, study)
    whole = study_card.whole_of(kept, kept.films[0])
    assert whole is not None, "a file of the film says it too"
    assert (whole.urgency, whole.apart) == (Urgency.CRITICAL, True)
    assert whole.said.startswith("Urgency set by local user: “asked by phone")
    turn_to(app, "History")
    press(app, "Undo")
    kept = view(tiny_app, study)
    assert kept.line.urgency is before
    assert study_card.whole_of(kept, kept.films[0]) is None
    assert "Taken back by local user" in html(app)


def test_a_note_is_kept_shown_and_undone(tiny_app: Home, study: str) -> None:
    app = press(opened(study), "Note")
    fill(app, "Note", f"old scar {HOSTILE}")
    press(app, "Save note")
    assert view(tiny_app, study).standing.notes[0].data["text"] == f"old scar {HOSTILE}"
    assert "old scar" in html(app)
    assert "<img" not in html(app)
    press(turn_to(app, "History"), "Undo")
    assert not view(tiny_app, study).standing.notes


def test_only_what_the_service_would_take_back_has_an_undo(
    tiny_app: Home, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_app.service.note(OTHER, study, version(tiny_app, study), "another's")
    tiny_app.service.claim(OTHER, study, version(tiny_app, study))
    monkeypatch.setenv("CXR_LOCAL_ROLE", "clinician")
    app = turn_to(opened(study), "History")
    assert "another" in html(app)
    assert "Undo" not in labels(app)
    monkeypatch.setenv("CXR_LOCAL_ROLE", "lead")
    assert labels(turn_to(opened(study), "History")).count("Undo") == 1, "a claim is released, not undone"


def test_the_details_are_completed_and_taken_back(tiny_app: Home, study: str) -> None:
    app = press(opened(study), "Study details")
    field(app, "View").select(View.LATERAL)
    press(app, "Save")
    assert view(tiny_app, study).line.view is View.LATERAL
    assert "Study details" in labels(app), "the form is closed"
    press(app, "Study details")
    field(app, "View").select(View.UNKNOWN)
    press(app, "Save")
    assert view(tiny_app, study).line.view is View.PA, "what the film itself says"


def test_a_reading_is_taken_back_in_the_history_until_the_study_came_back(
    tiny_app: Home, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_LOCAL_ROLE", "clinician")
    app = turn_to(press(opened(study), "Mark read"), "History")
    press(app, "Undo")
    assert view(tiny_app, study).line.status is Status.NEW
    assert "put the study back on the list" in html(app)
    assert "Undo" not in labels(app)
    tiny_app.service.mark_read(OTHER, study, version(tiny_app, study))
    assert "Undo" not in labels(turn_to(opened(study), "History")), "another's, and not by a lead"


def test_where_only_another_film_has_a_finding_nobody_is_asked_about_it_here(
    tiny_app: Home, films: Films
) -> None:
    """An opinion is of what the study as a whole said; on this film it would mean the opposite."""
    for number in (1, 2):
        film = Incoming(f"{number}.dcm", films.dicom(number, study=7))
        receipt = tiny_app.service.submit(tiny_app.actor, film, source=Source.PAGE)
    tiny_app.answer()
    study = receipt.study_id
    label = finding(tiny_app, study, positive=True)
    second = view(tiny_app, study).films[1]
    with tiny_app.service.database.write() as session:
        row = session.scalars(select(ResultRow).where(ResultRow.sha256 == second.sha256)).one()
        row.body = row.body | {
            "predictions": [
                each | {"probability": 0.0} if each["label"] == label else each
                for each in row.body["predictions"]
            ]
        }
    app = opened(study)
    agree = f"opine-{label}-agree"
    assert app.button(key=agree).label.startswith("✓ I agree: ")
    assert app.button(key=agree).label.endswith(" present")
    assert app.button(key=agree).help == app.button(key=agree).label
    assert "above threshold on another film" not in html(app)
    app.session_state[f"film-{study}-2-0"] = 1
    rerun(app)
    assert "above threshold on another film" in html(app)
    keys = [button.key for button in app.button]
    assert agree not in keys
    absent = next(key for key in keys if key and key.startswith("opine-") and key.endswith("-disagree"))
    assert app.button(key=absent).label.endswith("present")
    assert not view(tiny_app, study).standing.opinions


def test_a_film_without_answer_is_shown_with_why_and_without_a_picture_only_once_that_was_tried(
    tiny_app: Home, films: Films
) -> None:
    study = tiny_app.service.submit(
        tiny_app.actor, Incoming("a.dcm", films.dicom(1, study=7)), source=Source.PAGE
    ).study_id
    for name, raw in (("b.dcm", films.dicom(1, study=7, pixels=9)), ("c.dcm", films.dicom(2, study=7))):
        tiny_app.service.submit(tiny_app.actor, Incoming(name, raw), source=Source.PAGE)
    films_of = view(tiny_app, study).films
    with tiny_app.service.database.write() as session:
        dead = [film.sha256 for film in films_of if film.status is ImageStatus.WAITING]
        session.execute(update(ImageRow).where(ImageRow.sha256.in_(dead)).values(status="dead", attempts=3))
    app, captions = opened(study), []
    for place, film in enumerate(view(tiny_app, study).films):
        app.session_state[f"film-{study}-3-0"] = place
        said = html(rerun(app))
        assert "Not assessed – a person must look" in said
        assert "Nothing of it could be shown" not in said
        (viewer,) = app.get("bidi_component")
        captions.append((film.status, json.loads(viewer.proto.json)["caption"]))
    assert dict(captions) == {
        ImageStatus.DEAD: "The film as it came. It was given up before the model had answered.",
        ImageStatus.CONFLICT: "The film as it came. It contradicts another film, so the model was not asked.",
    }


def test_a_film_without_answer_that_cannot_be_decoded_says_that_it_has_no_picture(
    tiny_app: Home, films: Films
) -> None:
    raw = films.dicom(1)[:3000]
    study = tiny_app.service.submit(tiny_app.actor, Incoming("a.dcm", raw), source=Source.PAGE).study_id
    with tiny_app.service.database.write() as session:
        session.execute(update(ImageRow).values(status="dead", attempts=3))
    app = opened(study)
    assert "Nothing of it could be shown" in html(app)
    assert not app.get("bidi_component")


# ---- two readers


def test_who_is_second_is_told_sees_the_new_state_and_loses_no_word(tiny_app: Home, study: str) -> None:
    app = press(opened(study), "Note")
    fill(app, "Note", "not quite clear")
    tiny_app.service.claim(OTHER, study, version(tiny_app, study))
    press(app, "Save note")
    assert "changed meanwhile" in app.warning[0].value
    assert "claimed · Dr Other" in html(app)
    assert not view(tiny_app, study).standing.notes
    assert app.text_area[0].value == "not quite clear"
    press(app, "Save note")
    assert view(tiny_app, study).standing.notes[0].data["text"] == "not quite clear"


def test_a_telling_that_came_second_becomes_a_note(tiny_app: Home, critical: str) -> None:
    app = press(opened(critical), "Acknowledge")
    fill(app, "Who was told", "Dr Low")
    field(app, "How").select("in person")
    now = version(tiny_app, critical)
    tiny_app.service.acknowledge(OTHER, critical, now, told="Dr High", how="in person")
    press(app, "Acknowledge")
    assert "changed meanwhile" in app.warning[0].value
    assert "told Dr High in person" in texts(app)
    assert app.text_area[0].value == "Told Dr Low in person."
    press(app, "Save note")
    assert last(tiny_app, critical).data["text"] == "Told Dr Low in person."


def test_an_open_form_holds_the_page_still_and_says_what_happened(tiny_app: Home, study: str) -> None:
    app = press(opened(study), "Note")
    tiny_app.service.claim(OTHER, study, version(tiny_app, study))
    rerun(app)  # the live part alone does this in a browser
    app = press(app, "Cancel")
    assert "claimed · Dr Other" in html(app)


def test_behind_an_open_form_the_head_shows_the_urgency_that_holds_now(tiny_app: Home, study: str) -> None:
    values = {"urgency": "routine", "tier": 3}
    with tiny_app.service.database.write() as session:
        session.execute(update(StudyRow).where(StudyRow.id == study).values(values))
    line = view(tiny_app, study).line
    values = {"urgency": "critical", "tier": 0, "version": line.version + 1}
    with tiny_app.service.database.write() as session:
        session.execute(update(StudyRow).where(StudyRow.id == study).values(values))

    def live() -> None:
        import streamlit as st

        from cxr_core.ui import desk_watch

        desk_watch.live(*st.session_state["given"])

    app = AppTest.from_function(live, default_timeout=180)
    app.session_state["wl-form"] = (study, "note", "")
    app.session_state["given"] = (tiny_app.service, tiny_app.actor, line, 0)
    rerun(app)
    assert "▲ Critical" in html(app)
    assert "○ Routine" not in html(app)
    assert "Now ▲ Critical, was ○ Routine. The model answered." in texts(app)


# ---- priors


@pytest.fixture
def again(tiny_app: Home, films: Films, study: str) -> str:
    """An earlier study of the same patient."""
    earlier = films.dicom(
        2, patient_id="P-1", patient_name=HOSTILE, AcquisitionDate="20250105", StudyDate="20250105"
    )
    receipt = tiny_app.service.submit(tiny_app.actor, Incoming("b.dcm", earlier), source=Source.PAGE)
    tiny_app.answer()
    return receipt.study_id


def test_priors_stand_beside_the_study_with_what_changed(tiny_app: Home, study: str, again: str) -> None:
    app = opened(study)
    with tiny_app.service.database.read() as session:
        assert not session.scalars(select(AuditRow).where(AuditRow.subject == again)).all()
    said = html(turn_to(app, "Priors"))
    assert "This study · " in said
    assert "CHANGE SINCE " in said
    assert said.count('class="change ') == 14
    assert len(app.get("bidi_component")) == 2
    assert texts(app).count(f"{HOSTILE} · ID P-1 · ") == 2, "whose picture each of the two is"
    assert not app.warning
    for _ in range(2):
        rerun(app)
    with tiny_app.service.database.read() as session:
        seen = session.scalars(select(AuditRow.subject).where(AuditRow.event == "view")).all()
    assert seen == [study, again]


def test_priors_of_another_model_are_shown_without_a_change(tiny_app: Home, study: str, again: str) -> None:
    with tiny_app.service.database.write() as session:
        film = view(tiny_app, again).films[0].sha256
        row = session.scalars(select(ResultRow).where(ResultRow.sha256 == film)).one()
        row.body = {**row.body, "versions": {**row.body["versions"], "model": "other 2"}}
    app = turn_to(opened(study), "Priors")
    assert "Answered by different models: this study by tiny 0.1.0, that one by other 2." in html(app)
    assert 'class="change ' not in html(app)
    assert len(app.get("bidi_component")) == 2, "the pictures can be compared all the same"


def test_of_several_priors_only_the_one_picked_counts_as_viewed(
    tiny_app: Home, films: Films, study: str, again: str
) -> None:
    oldest = films.dicom(
        3, patient_id="P-1", patient_name=HOSTILE, AcquisitionDate="20240105", StudyDate="20240105"
    )
    receipt = tiny_app.service.submit(tiny_app.actor, Incoming("c.dcm", oldest), source=Source.PAGE)
    tiny_app.answer()
    app = turn_to(opened(study), "Priors")

    def seen() -> list[str]:
        with tiny_app.service.database.read() as session:
            query = select(AuditRow.subject).where(AuditRow.event == "view").order_by(AuditRow.seq)
            return list(session.scalars(query))

    assert seen() == [study, again]
    app.session_state[f"prior-{again[:6]}-{receipt.study_id[:6]}"] = 1
    rerun(app)
    assert seen() == [study, again, receipt.study_id]


def test_a_study_taken_later_is_shown_as_a_change_until_then(tiny_app: Home, study: str, again: str) -> None:
    said = html(turn_to(opened(again), "Priors"))
    assert "CHANGE UNTIL " in said
    assert "taken after this one" in said


def test_another_persons_film_under_the_same_id_is_warned_of(
    tiny_app: Home, films: Films, study: str
) -> None:
    raw = films.dicom(2, patient_id="P-1", patient_name="Other <b>Name", StudyDate="20250105", PatientSex="O")
    tiny_app.service.submit(tiny_app.actor, Incoming("b.dcm", raw), source=Source.PAGE)
    tiny_app.answer()
    app = turn_to(opened(study), "Priors")
    (warning,) = app.warning
    assert "This may be another person" in warning.value
    assert "the name differs" in warning.value
    assert "Other" not in warning.value
    assert "Other <b>Name · ID P-1" in texts(app)
    assert "Other <b>Name" not in html(app)
    assert 'class="change ' not in html(app)
    assert "That study may be another person" in html(app)


def test_no_priors_and_no_patient_id_are_told_apart(tiny_app: Home, films: Films, study: str) -> None:
    assert "No other study" in html(turn_to(opened(study), "Priors"))
    receipt = tiny_app.service.submit(tiny_app.actor, Incoming("x.png", films.png(5)), source=Source.PAGE)
    tiny_app.answer()
    assert "no patient ID" in html(turn_to(opened(receipt.study_id), "Priors"))


def test_next_and_previous_follow_the_list(tiny_app: Home, films: Films, study: str) -> None:
    since = datetime.now(UTC) - timedelta(days=1)
    other = tiny_app.service.submit(tiny_app.actor, Incoming("x.png", films.png(5)), source=Source.PAGE)
    with tiny_app.service.database.write() as session:
        session.execute(update(StudyRow).where(StudyRow.id == study).values(urgency="critical", tier=0))
        session.execute(update(StudyRow).where(StudyRow.id == other.study_id).values(since_utc=since))
    recent.forget()
    app = press(opened(study), "Next")
    assert app.query_params["study"] == other.study_id
    press(app, "Previous")
    assert app.query_params["study"] == study


def three_more(home: Home, films: Films) -> list[str]:
    """Return the list's ids in order: four studies, those of P-2 first, third and fourth."""
    names = ("P-2", "P-3", "P-2")
    for place, name in enumerate(names):
        film = Incoming(f"{place}.dcm", films.dicom(10 + place, patient_id=name))
        home.service.submit(home.actor, film, source=Source.PAGE)
    ids = [line.study_id for line in home.service.page(home.actor, Query()).lines]
    hour = timedelta(hours=1)
    with home.service.database.write() as session:
        for place, each in enumerate(ids):
            since = datetime.now(UTC) - (9 - place) * hour
            values = {"since_utc": since, "urgency": "urgent", "tier": 1}
            session.execute(update(StudyRow).where(StudyRow.id == each).values(**values))
    recent.forget()
    return [line.study_id for line in home.service.page(home.actor, Query()).lines]


def walked(app: AppTest, label: str) -> str:
    press(app, label)
    return on_the_desk(app)


def on_the_desk(app: AppTest) -> str:
    asked: str | list[str] = app.query_params["study"]
    return asked if isinstance(asked, str) else asked[0]


def test_next_follows_the_filters_that_the_list_was_looked_at_with(
    tiny_app: Home, films: Films, study: str
) -> None:
    three_more(tiny_app, films)
    query = Query(text="P-2")
    first, last = (line.study_id for line in tiny_app.service.page(tiny_app.actor, query).lines)
    app = opened(first)
    app.session_state["wl-query"] = query
    assert walked(app, "Next") == last
    assert walked(app, "Next") == last
    assert "This is the last study of the list." in [each.value for each in app.caption]
    assert walked(app, "Previous") == first
    app.query_params["study"] = study
    rerun(app)
    assert walked(app, "Next") == first, "one that is not of this list leads to its first"


def test_next_goes_over_the_ends_of_pages(tiny_app: Home, films: Films, study: str) -> None:
    ids = three_more(tiny_app, films)
    app = opened(ids[0])
    app.session_state["wl-query"] = Query(limit=2)
    assert [walked(app, "Next") for _ in range(3)] == ids[1:]
    assert [walked(app, "Previous") for _ in range(3)] == ids[2::-1]
    assert walked(app, "Previous") == ids[0]
    assert "This is the first study of the list." in [each.value for each in app.caption]


def test_a_list_that_cannot_be_read_is_said_where_next_was_pressed(
    tiny_app: Home, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study)

    def busy(*_: object) -> None:
        raise Busy("the database does not answer")

    monkeypatch.setattr(Service, "page", busy)
    recent.forget()
    press(app, "Next")
    assert "cannot take this just now" in app.error[0].value
    assert on_the_desk(app) == study


def test_a_film_that_nobody_works_on_is_said_on_the_desk_as_on_triage(tiny_app: Home, films: Films) -> None:
    film = Incoming("x.png", films.png(5))
    waiting = tiny_app.service.submit(tiny_app.actor, film, source=Source.PAGE).study_id
    app = opened(waiting)
    assert "BEING ASSESSED" in html(app)
    assert not app.warning
    app.session_state["desk-waiting"] = waiting, monotonic() - 60
    rerun(app)
    assert "No worker is answering just now" in app.warning[0].value
    tiny_app.answer()
    recent.forget()
    assert not rerun(app).warning
