"""The list with the real service and worker, without a browser."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox

from cxr_core.access import Actor, Role
from cxr_core.settings import ROOT
from cxr_core.ui import acts, recent
from cxr_core.worklist import database
from cxr_core.worklist.schema import StudyRow
from cxr_core.worklist.values import BATCH, Incoming, Query, Source, Status
from tests.ui.conftest import Home
from tests.ui.shown import html, labels, press
from tests.worklist.films import Films

PAGE = str(ROOT / "pages" / "worklist.py")
OTHER = Actor("Dr Other", Role.CLINICIAN)


def opened(page: str = PAGE, **query: str) -> AppTest:
    app = AppTest.from_file(page, default_timeout=120)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def fill(app: AppTest, told: str) -> None:
    next(field for field in app.text_input if field.label == "Who was told").input(told)


def how(app: AppTest) -> Selectbox:
    return next(field for field in app.selectbox if field.label == "How")


@pytest.fixture
def three(tiny_app: Home, films: Films) -> Home:
    """Three studies that wait for an answer, the middle one with the most hostile patient id."""
    ids = ("P-1", "![x](http://evil.example/a.png)<img src onerror>", "P-3")
    files = [Incoming(f"{place}.dcm", films.dicom(place, patient_id=name)) for place, name in enumerate(ids)]
    tiny_app.service.submit_many(tiny_app.actor, files, source=Source.PAGE, priority=BATCH)
    return tiny_app


def make_critical(home: Home, study_id: str) -> None:
    """What a worker would write; no phantom is critical to the small model."""
    with home.service.database.write() as session:
        row = update(StudyRow).where(StudyRow.id == study_id)
        session.execute(row.values(urgency="critical", tier=0, state="flagged", findings="|Pneumothorax|"))
    recent.forget()


def ids(home: Home, query: Query = Query()) -> list[str]:  # noqa: B008 -- frozen
    return [line.study_id for line in home.service.page(home.actor, query).lines]


def test_an_empty_list_says_how_films_come_in(tiny_app: Home) -> None:
    app = opened()
    assert "Nobody is waiting" in html(app)
    assert len(app.get("file_uploader")) == 1


def test_the_list_shows_what_waits_and_then_what_was_found(three: Home) -> None:
    app = opened()
    frame = app.dataframe[0].value
    assert len(frame) == 3
    assert set(frame["Findings"]) == {"1 film is still waiting."}
    three.answer()
    recent.forget()
    app.run()
    frame = app.dataframe[0].value
    assert list(frame["Urgency"])[0] == ["◆ Urgent"]
    assert all(address.startswith("data:image/png;base64,") for address in frame["Film"])


def test_hostile_patient_ids_reach_no_markup(three: Home) -> None:
    hostile = "![x](http://evil.example/a.png)<img src onerror>"
    app = opened(study=ids(three, Query(text=hostile))[0])
    assert hostile in list(app.dataframe[0].value["Patient ID"])
    assert any(f"ID {hostile} · " in element.value for element in app.text)
    assert hostile not in html(app)
    assert not [element.value for element in app.markdown if hostile in element.value]
    assert not [label for label in labels(app) if hostile in label]


def test_keys_move_the_selection_which_stays_with_its_study_when_the_order_changes(three: Home) -> None:
    app = opened()
    press(app, "Next")
    press(app, "Next")
    second = ids(three)[1]
    assert app.session_state["wl-chosen"] == second
    make_critical(three, second)
    app.run()
    assert ids(three)[0] == second
    assert app.session_state["wl-chosen"] == second
    assert app.session_state["wl-table"]["selection"]["rows"] == [0]
    press(app, "Previous")
    assert app.session_state["wl-chosen"] == second, "there is none before the first"


def test_claim_release_and_read_are_kept_in_the_worklist(three: Home) -> None:
    three.answer()
    app = opened()
    press(app, "Next")
    chosen = app.session_state["wl-chosen"]
    press(app, "Claim")
    assert three.service.study(three.actor, chosen).line.claimed_by == three.actor.name
    press(app, "Release")
    assert three.service.study(three.actor, chosen).line.status is Status.NEW
    press(app, "Mark read")
    assert three.service.study(three.actor, chosen).line.status is Status.READ
    assert len(app.dataframe[0].value) == 2


def test_what_changed_since_it_was_shown_is_not_overwritten_and_that_is_said(three: Home) -> None:
    app = opened()
    press(app, "Next")
    chosen = app.session_state["wl-chosen"]
    line = three.service.study(three.actor, chosen).line
    three.service.claim(three.actor, chosen, line.version)
    press(app, "Claim")
    assert "changed meanwhile" in app.warning[0].value
    assert "Release" in labels(app)


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "pages").glob("*.py")))
def test_the_alert_stands_on_every_page_until_a_person_takes_note(three: Home, page: str) -> None:
    study_id = ids(three)[2]
    make_critical(three, study_id)
    app = opened(str(ROOT / "pages" / page))
    assert "▲ 1 critical not acknowledged" in html(app)
    line = three.service.study(three.actor, study_id).line
    assert any(element.value.startswith(f"{line.patient_id} · 3") for element in app.text), "days waited"
    three.service.acknowledge(three.actor, study_id, line.version, told="ward", how="in person")
    recent.forget()
    app.run()
    assert "not acknowledged" not in html(app)


def test_taking_note_asks_whom_and_keeps_it(three: Home) -> None:
    study_id = ids(three)[0]
    make_critical(three, study_id)
    app = opened(study=study_id)
    assert "Mark read" not in labels(app)
    press(app, "Acknowledge")
    assert "1 critical not acknowledged" in html(app), "asking is not taking note"
    press(app, "Acknowledge")
    assert "say who was told" in [element.value for element in app.text]
    fill(app, "Dr Low")
    press(app, "Acknowledge")
    assert "say how they were told" in [element.value for element in app.text]
    assert not three.service.study(three.actor, study_id).line.acknowledged
    how(app).select("by telephone")
    app.checkbox[0].check()
    press(app, "Acknowledge")
    view = three.service.study(three.actor, study_id)
    assert view.line.acknowledged
    assert view.reviews[-1].data["told"] == "Dr Low"
    assert view.reviews[-1].data["read_back"] == "yes"
    recent.forget()
    app.run()
    assert "not acknowledged" not in html(app)


@pytest.mark.parametrize("page", ["worklist.py", "triage.py"])
def test_what_was_typed_of_a_telling_that_came_second_is_kept_as_a_note(three: Home, page: str) -> None:
    study_id = ids(three)[0]
    make_critical(three, study_id)
    app = press(opened(str(ROOT / "pages" / page), study=study_id), "Acknowledge")
    line = three.service.study(three.actor, study_id).line
    three.service.acknowledge(OTHER, study_id, line.version, told="Dr High", how="in person")
    recent.forget()
    app.run()  # the list refreshes by itself
    assert "nothing left to acknowledge" in html(app)
    fill(app, "Dr Low")
    how(app).select("in person")
    press(app, "Acknowledge")
    assert app.warning[0].value == "Not done."
    assert "this result was acknowledged before" in [element.value for element in app.text]
    assert [area.value for area in app.text_area if area.label == "Note"] == ["Told Dr Low in person."]
    app.run()  # it refreshes again before the browser has heard of the note
    drawn = [area.proto.default for area in app.text_area if area.label == "Note"]
    assert drawn == ["Told Dr Low in person."]
    press(app, "Save note")
    view = three.service.study(three.actor, study_id)
    assert view.standing.notes[0].data["text"] == "Told Dr Low in person."
    assert view.line.acknowledged_by == OTHER.name
    assert not [area for area in app.text_area if area.label == "Note"]


def test_filters_narrow_the_list_and_say_when_nothing_fits(three: Home) -> None:
    app = opened()
    next(field for field in app.text_input if field.label == "Search").input("P-3").run()
    assert list(app.dataframe[0].value["Patient ID"]) == ["P-3"]
    next(field for field in app.text_input if field.label == "Search").input("nobody").run()
    assert "No study fits these filters" in html(app)
    assert not app.dataframe


def test_a_hundred_studies_come_in_pages(tiny_app: Home, films: Films) -> None:
    files = [Incoming(f"{number}.dcm", films.dicom(number)) for number in range(60)]
    tiny_app.service.submit_many(tiny_app.actor, files, source=Source.PAGE)
    app = opened()
    assert len(app.dataframe[0].value) == 50
    press(app, "Page on")
    assert len(app.dataframe[0].value) == 10
    next(field for field in app.selectbox if field.label == "Received").select("Last 24 h").run()
    assert len(app.dataframe[0].value) == 50, "other filters start at the first page"


def test_a_batch_is_shown_with_its_refusals_also_after_a_reload(tiny_app: Home, films: Films) -> None:
    app = opened()
    for name, raw in (("a.png", films.png(1)), ("b.png", films.png(2)), ("empty.png", b"")):
        app.file_uploader[0].upload(name, raw, "application/octet-stream")
    app.run()
    assert not app.exception
    reloaded = opened()
    assert "2 stored, 1 refused at the door; 0 answered" in reloaded.get("progress")[0].proto.text
    tiny_app.answer()
    recent.forget()
    reloaded.run()
    assert not reloaded.get("progress")
    (line,) = [each for each in reloaded.expander if "answered" in each.label]
    assert line.label.endswith(": 2 stored; 2 answered · 1 refused, and why")
    assert not line.proto.expanded
    assert any("2 stored, 1 refused at the door; 2 answered" in each.value for each in line.text)
    refused = reloaded.dataframe[0].value
    assert list(refused["File"]) == ["empty.png"]


def test_a_full_queue_is_said_plainly(tiny_app: Home, films: Films, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_QUEUE_LIMIT", "1")
    app = opened()
    for number in range(3):
        app.file_uploader[0].upload(f"{number}.png", films.png(number), "application/octet-stream")
    app.run()
    assert not app.exception
    assert "cannot take this just now" in app.error[0].value
    assert any("0 of 3 files were taken in" in element.value for element in app.text)


def test_a_viewer_looks_and_changes_nothing(three: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_LOCAL_ROLE", "viewer")
    app = opened(study=ids(three)[0])
    assert not app.get("file_uploader")
    assert set(labels(app)) == {"Open", "Next", "Previous"}


def test_only_a_lead_exports_and_has_studies_analysed_again(
    three: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.answer()
    monkeypatch.setenv("CXR_LOCAL_ROLE", "clinician")
    app = opened(study=ids(three)[0])
    assert not app.get("download_button")
    monkeypatch.setenv("CXR_LOCAL_ROLE", "lead")
    lead = opened(study=ids(three)[0])
    assert [button.proto.label for button in lead.get("download_button")] == ["CSV"]
    press(lead, "This study")
    assert "0 studies queued." in [element.value for element in lead.caption]
    lead.run()
    assert "0 studies queued." in [element.value for element in lead.caption]


def test_what_was_not_done_is_said_longer_than_one_refresh_and_of_no_other_study(three: Home) -> None:
    study_id = ids(three)[0]
    app = opened(study=study_id)
    three.service.claim(OTHER, study_id, three.service.version(three.actor, study_id))
    press(app, "Claim")
    (warning,) = [element.value for element in app.warning]
    assert warning.startswith("Not done")
    app.run()  # the list refreshes by itself
    assert [element.value for element in app.warning] == [warning]
    press(app, "Next")
    assert not app.warning
    press(app, "Previous")
    assert not app.warning
    assert "Claim" not in labels(app), "what was not done is seen by now"


def test_what_was_not_done_is_not_said_for_ever(three: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    study_id = ids(three)[0]
    app = opened(study=study_id)
    three.service.claim(OTHER, study_id, three.service.version(three.actor, study_id))
    press(app, "Claim")
    assert app.warning
    monkeypatch.setattr(acts, "LASTS_S", 0.0)
    app.run()
    app.run()
    assert not app.warning


def test_a_database_that_cannot_be_read_is_said_and_the_list_comes_back(three: Home) -> None:
    app = opened()
    assert len(app.dataframe[0].value) == 3
    home = three.folder
    files = [path for path in home.iterdir() if path.name.startswith(database.SQLITE_FILE)]
    kept = {path: path.read_bytes() for path in files}
    for path in files:
        path.write_bytes(b"no database " * 500)
    recent.forget()
    app.run()
    assert not app.exception
    assert "Nothing that was stored is lost" in app.error[0].value
    assert not app.dataframe
    for path, content in kept.items():
        path.write_bytes(content)
    recent.forget()
    app.run()
    assert len(app.dataframe[0].value) == 3


def test_nobody_at_work_is_said_once_that_has_lasted(three: Home) -> None:
    app = opened()
    assert not app.warning
    app.session_state["wl-silent"] -= 60
    app.run()
    assert "No worker is answering" in app.warning[0].value


def test_a_page_opened_by_its_address_on_a_fresh_server_leads_to_the_others(three: Home) -> None:
    """The entry script has not run then, so nothing but the page itself can show the way."""
    assert any('href="./"' in element.body for element in opened().sidebar.get("html"))
