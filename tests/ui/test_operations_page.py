"""The page of whoever keeps it running, on the real service and worker, without a browser."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import insert, select, update
from streamlit.testing.v1 import AppTest

from cxr_core.access import Actor, Role
from cxr_core.settings import ROOT
from cxr_core.ui.operations_given_up import WHY
from cxr_core.worklist import audit, decoder, queue, worker
from cxr_core.worklist.schema import AuditRow, BatchItemRow, BatchRow, ImageRow, StudyRow
from cxr_core.worklist.trail import Search
from cxr_core.worklist.values import Incoming, Source
from tests.ui.conftest import Home
from tests.ui.shown import html, press, texts
from tests.worklist.films import Films

PAGE = str(ROOT / "pages" / "operations.py")
ADMIN = Actor("root", Role.ADMIN)
HOSTILE = "![x](http://evil.example/a.png)<img src onerror>"


def opened(tab: str = "Now") -> AppTest:
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.session_state["ops-tab"] = tab
    app.run()
    assert not app.exception
    return app


def tabs(app: AppTest) -> list[str]:
    return [tab.label for tab in app.tabs]


@pytest.fixture
def dead(tiny_app: Home, films: Films) -> Home:
    """Two films that a worker gave up, one waiting, one answered."""
    files = [Incoming(f"{place}.png", films.png(place)) for place in range(4)]
    receipts = tiny_app.service.submit_many(tiny_app.actor, files[:3], source=Source.CLI)
    with tiny_app.service.database.write() as session:
        ids = [each.sha256 for each in receipts[:2]]
        session.execute(update(ImageRow).where(ImageRow.sha256.in_(ids)).values(attempts=2))
    for job in queue.claim(tiny_app.service, "w1", 3):
        if job.films[0] in ids:
            queue.failed(tiny_app.service, "w1", job, job.films[0], decoder.TIMEOUT)
        else:
            queue.give_back(tiny_app.service, "w1", [job])
    return tiny_app


def test_an_idle_worklist_is_shown_with_its_lights(tiny_app: Home) -> None:
    app = opened()
    said = html(app)
    assert re.findall(r'class="tile light (\w+)"><b>([\w ]+)</b>', said) == [
        ("well", "Queue"), ("act", "Workers"), ("well", "Disk free"), ("well", "Given up"),
    ]  # fmt: skip
    assert "<i>✕</i>act now" in said
    assert "None was heard of today" in said
    assert tiny_app.service.model in said
    assert tiny_app.service.policy.version in said
    assert tabs(app) == ["Now", "Given up", "Refusals", "Turnaround", "Audit", "Policy"]


def test_a_model_that_studies_wait_for_in_vain_is_named(dead: Home) -> None:
    queue.beat(dead.service, "reading-room-7", 12)
    with dead.service.database.write() as session:
        waits = select(ImageRow.study_id).where(ImageRow.status == "waiting")
        session.scalars(select(StudyRow).where(StudyRow.id.in_(waits))).one().wanted_model = "<b>gone"
    said = html(opened())
    assert ("watch", "Workers") in re.findall(r'class="tile light (\w+)"><b>([\w ]+)</b>', said)
    assert "tudies wait for &lt;b&gt;gone, which cannot be opened" in said


def test_what_waits_and_who_works_is_shown(dead: Home) -> None:
    queue.beat(dead.service, "reading-room-7", 12)
    said = html(opened())
    assert "✓ alive" in said
    assert "reading-room-7" in said
    assert "0 with a worker · 1 film," in said
    assert "3 films in, 0 answered, 2 given up in 24 hours" in said
    dead.answer()
    assert "3 films in, 1 answered, 2 given up in 24 hours" in html(opened())


@pytest.mark.parametrize(
    ("tab", "said"),
    [
        ("Given up", "No film is given up."),
        ("Refusals", "Nothing was refused in this time."),
        ("Turnaround", "No study came in in this time."),
        ("Audit", "No event fits these filters."),
    ],
)
def test_where_there_is_nothing_that_is_said(tiny_app: Home, tab: str, said: str) -> None:
    app = opened(tab)
    assert said in html(app)
    assert not app.dataframe


def test_a_film_given_up_says_why_and_is_tried_again(dead: Home) -> None:
    app = opened("Given up")
    assert "decoder_timeout: its decoder took too long · 3 failed attempts" in texts(app)
    assert "2 films</strong> given up" in html(app)
    press(app, "Try again")
    assert "1 film back in the queue." in app.success[0].value
    assert dead.service.health(dead.actor).given_up == 1
    assert [link.event for link in dead.service.search_audit(dead.actor, Search(limit=1)).links] == ["retry"]


def test_all_are_tried_again_only_after_a_yes_and_what_another_did_meanwhile_is_left_out(dead: Home) -> None:
    app = opened("Given up")
    dead.service.retry(dead.actor, dead.service.given_up(dead.actor)[0].sha256)
    press(app, "Yes, try all again")
    assert "1 film back in the queue." in app.success[0].value
    assert dead.service.given_up(dead.actor) == ()


def test_every_reason_a_worker_gives_has_words() -> None:
    codes = {decoder.CRASHED, decoder.TIMEOUT, decoder.MEMORY, decoder.KILLED, "lost_leases"}
    codes |= {worker.MODEL_UNAVAILABLE, worker.UNREADABLE, worker.UNRECORDED}
    assert codes == set(WHY)


def test_refusals_are_counted_by_code_with_their_sentence(tiny_app: Home, films: Films) -> None:
    tiny_app.service.submit(tiny_app.actor, Incoming("cut.png", films.png(1)[:500]), source=Source.CLI)
    tiny_app.answer()
    now = tiny_app.service.clock()
    with tiny_app.service.database.write() as session:
        row = {"id": "b", "created_utc": now, "seen_utc": now, "actor": "a", "source": "cli", "total": 1}
        session.execute(insert(BatchRow), row)
        session.execute(
            insert(BatchItemRow), {"batch_id": "b", "position": 1, "name": "x", "code": "empty_file"}
        )
    app = opened("Refusals")
    assert "1 at the door, 1 by the model's gate" in html(app)
    frame = app.dataframe[0].value
    assert set(frame["Code"]) == {"broken_image", "empty_file"}
    assert "The file is empty." in set(frame["Says"])
    assert len(app.get("plotly_chart")) == 1


def test_turnaround_is_shown_in_figures_and_plots(tiny_app: Home, films: Films) -> None:
    receipt = tiny_app.service.submit(tiny_app.actor, Incoming("a.png", films.png(1)), source=Source.CLI)
    tiny_app.answer()
    line = tiny_app.service.study(tiny_app.actor, receipt.study_id).line
    tiny_app.service.mark_read(tiny_app.actor, receipt.study_id, line.version)
    app = opened("Turnaround")
    assert len(app.get("plotly_chart")) == 5
    assert "until acknowledgement" in html(app)
    assert re.search(r"0% <small>0 of 1</small>", html(app))
    app.selectbox(key="ops-span").select("Days …").run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 5


def test_the_audit_trail_is_searched_and_each_event_named_as_dicom_does(dead: Home) -> None:
    app = opened("Audit")
    frame = app.dataframe[0].value
    assert list(frame["Event"]) == ["dead_letter", "dead_letter", "submit", "submit", "submit"]
    assert list(frame["In DICOM"])[-1] == "Import"
    app.selectbox(key="ops-event").select("submit").run()
    assert len(app.dataframe[0].value) == 3
    app.text_input(key="ops-actor").input("nobody").run()
    assert "No event fits these filters" in html(app)
    app.text_input(key="ops-actor").input(dead.actor.name[:4].upper()).run()
    assert len(app.dataframe[0].value) == 3
    assert [each.proto.label for each in app.get("download_button")] == ["CSV", "JSON lines"]


def test_the_audit_trail_is_turned_page_by_page(tiny_app: Home) -> None:
    note(tiny_app, *(f"reader {number}" for number in range(60)))
    app = opened("Audit")
    assert list(app.dataframe[0].value["Who"])[0] == "reader 59"
    press(app, "Older")
    assert list(app.dataframe[0].value["Who"])[0] == "reader 9"
    press(app, "Newer")
    assert list(app.dataframe[0].value["Who"])[0] == "reader 59"


def test_verifying_says_whole_or_where_it_is_broken(dead: Home) -> None:
    app = press(opened("Audit"), "Verify the whole trail")
    assert "Whole at" in app.success[0].value
    with dead.service.database.write() as session:
        session.execute(update(AuditRow).where(AuditRow.seq == 2).values(actor="x"))
    press(app, "Verify the whole trail")
    assert "Broken at event 2" in app.error[0].value


def test_a_hostile_name_reaches_no_markup(tiny_app: Home) -> None:
    note(tiny_app, HOSTILE)
    app = opened("Audit")
    assert list(app.dataframe[0].value["Who"]) == [HOSTILE]
    assert HOSTILE not in html(app) + "".join(element.value for element in app.markdown)


def note(home: Home, *actors: str) -> None:
    now = home.service.clock()
    with home.service.database.write() as session:
        audit.append_many(session, [audit.Event(now, actor, "view") for actor in actors])


def test_a_clinician_is_refused(tiny_app: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_LOCAL_ROLE", "clinician")
    app = opened()
    assert "needs the role lead" in app.error[0].value
    assert not app.tabs
    assert "Operations" not in html(app)


def test_an_admin_sees_people_and_that_nobody_signs_in(
    tiny_app: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_LOCAL_ROLE", "admin")
    app = opened("People")
    assert "People" in tabs(app)
    assert "Nobody signs in here" in app.info[0].value
    assert not app.dataframe


def test_an_admin_names_people_and_gives_and_takes_roles(
    tiny_app: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_LOCAL_ROLE", "admin")
    made = tiny_app.service.name_account(ADMIN, "https://id.example", "ana", "Ana Silva", Role.CLINICIAN)
    app = opened("People")
    app.text_input(key="ops-name-name").input("Ben Lind")
    app.text_input(key="ops-name-issuer").input("https://id.example")
    app.text_input(key="ops-name-subject").input("ben")
    press(app, "Name this person")
    assert "Ben Lind #" in texts(app)
    frame = app.dataframe[0].value
    assert list(frame["Role"]) == ["no role", "clinician"], "who has no role stands first"
    app.selectbox(key="ops-who").select(made.id).run()
    app.selectbox(key=f"ops-role-{made.id}-clinician").select("lead").run()
    assert "is lead from the next click on (now: clinician)" in texts(app)
    press(app, "Yes, change it")
    roles = {each.handle: each.role for each in tiny_app.service.accounts(ADMIN)}
    assert roles[made.handle] is Role.LEAD
    press(app, "Name this person")
    assert "say issuer and subject just as the identity provider does" in texts(app)


def test_a_queue_that_waits_longer_than_a_critical_study_may_is_an_alarm(dead: Home) -> None:
    queue.beat(dead.service, "w1", 0)
    with dead.service.database.write() as session:
        long_ago = dead.service.clock().replace(year=2020)
        session.execute(update(StudyRow).where(StudyRow.queued_utc.is_not(None)).values(queued_utc=long_ago))
    assert 'class="tile light act"><b>Queue</b>' in html(opened())
