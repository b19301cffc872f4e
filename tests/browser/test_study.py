"""The reader's desk in real Chromium, on a server with its own worker; nothing is asked from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from cxr_core.access import Actor, Role
from cxr_core.domain import Urgency
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Incoming, Source, Status
from tests.browser import app
from tests.browser.app import Server
from tests.browser.conftest import Watched
from tests.browser.test_worklist import FILMS, READER, SLOW_MS, make_critical, to_the_list, until, visit

pytestmark = pytest.mark.browser
OTHER = Actor("Dr Other", Role.CLINICIAN)
NAME = "![x](http://evil.example/a.png)<img src onerror>"
"""Without the sign that parts a DICOM name in groups."""
HOSTILE = "![x](http://evil.example/a.png)<img src=x onerror=alert(1)>"


@pytest.fixture
def watched(browser: Browser, server: Server) -> Iterator[Watched]:
    page = visit(browser, server)
    watch = Watched(page, server.address)
    page.on("dialog", lambda dialog: watch.errors.append("a text ran as a script"))
    yield watch
    page.context.close()
    assert watch.outside == []
    assert watch.errors == []


def hand_in(service: Service, number: int, **tags: str) -> str:
    """Return the id of a study that was answered."""
    raw = FILMS.dicom(number, **tags)
    study_id = service.submit(READER, Incoming(f"{number}.dcm", raw), source=Source.CLI).study_id
    until(lambda: service.study(READER, study_id, audited=False).line.state, "it is answered")
    return study_id


def go(page: Page, server: Server, study_id: str) -> None:
    page.goto(f"{server.address}/study?study={study_id}")
    app.ready(page)


def act(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=False).first.click()


def test_a_critical_study_is_opened_from_the_alert_acknowledged_with_read_back_and_read(
    watched: Watched, service: Service
) -> None:
    page = watched.page
    study_id = hand_in(service, 1, patient_id="P-1", patient_name=NAME)
    make_critical(service, study_id)
    page.locator(".st-key-alert").get_by_role("button", name="Show").click(timeout=SLOW_MS)
    app.ready(page)
    assert f"/study?study={study_id}" in page.url
    expect(page.locator(".st-key-name")).to_have_text(NAME)
    expect(page.get_by_role("button", name="Mark read")).to_have_count(0)
    app.press(page, "a", "wl-acknowledge")
    page.get_by_label("Who was told").fill("Dr Low")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("say how they were told")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_label("Who was told")).to_have_value("Dr Low")
    page.get_by_label("How", exact=True).click()
    page.get_by_role("option", name="by telephone").click()
    page.get_by_text("They read it back").click()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".st-key-desk-done")).to_contain_text(
        "told Dr Low by telephone, who read it back", timeout=SLOW_MS
    )
    expect(page.locator(".st-key-alert")).to_have_count(0, timeout=SLOW_MS)
    page.get_by_role("button", name="Mark read").click()
    expect(page.locator(".st-key-desk-done")).to_contain_text("marked the study read", timeout=SLOW_MS)
    view = service.study(READER, study_id)
    assert view.line.status is Status.READ
    assert [each.kind for each in view.reviews] == ["acknowledge", "read"]


def test_findings_urgency_and_notes_are_said_shown_and_undone(
    watched: Watched, server: Server, service: Service
) -> None:
    page = watched.page
    study_id = hand_in(service, 1, patient_id="P-1")
    go(page, server, study_id)
    row = page.locator("[class*=st-key-opine-]").first.get_by_role("button")
    said = row.inner_text()
    assert re.fullmatch(r"✓ I agree: .+ (not )?present", said)
    sign = row.locator("p").bounding_box()
    assert sign is not None
    assert 5 < sign["width"] < 20, "of the whole name the sign is drawn"
    expect(row).to_have_accessible_name(said)
    box = row.bounding_box()
    assert box is not None
    assert box["width"] < 30, "only the sign is drawn"
    row.click()
    expect(page.locator(".said").first).to_contain_text("✓ local user", timeout=SLOW_MS)
    act(page, "Override urgency")
    page.get_by_label("Reason").fill(HOSTILE)
    page.get_by_label("Urgency", exact=True).click()
    page.get_by_role("option", name="Critical").click()
    page.locator(".st-key-desk-form").get_by_role("button", name="Override").click()
    banner = page.locator(".banner").first
    expect(banner).to_contain_text("Urgency set by local user", timeout=SLOW_MS)
    expect(banner).to_contain_text(HOSTILE)
    page.get_by_role("button", name="Note", exact=True).click()
    page.get_by_label("Note", exact=True).fill(f"seen {HOSTILE}")
    page.get_by_role("button", name="Save note").click()
    expect(page.locator(".notes")).to_contain_text(f"seen {HOSTILE}", timeout=SLOW_MS)
    to_the_list(page)
    app.press(page, "j", "wl-next")
    expect(page.locator(".st-key-strip")).to_contain_text("Urgency set by local user", timeout=SLOW_MS)
    app.press(page, "Enter", "wl-open")
    app.ready(page)
    page.get_by_text("History · 3").click()
    expect(page.locator(".entry")).to_have_count(3, timeout=SLOW_MS)
    page.get_by_role("button", name="Undo").nth(1).click()
    expect(page.locator(".entry.gone")).to_have_count(1, timeout=SLOW_MS)
    assert service.study(READER, study_id).line.overridden is None


def test_priors_stand_beside_the_study(watched: Watched, server: Server, service: Service) -> None:
    page = watched.page
    study_id = hand_in(service, 1, patient_id=HOSTILE)
    hand_in(service, 2, patient_id=HOSTILE, AcquisitionDate="20250105", StudyDate="20250105")
    go(page, server, study_id)
    page.get_by_text("Priors · 1").click()
    expect(page.locator("canvas[data-ready=yes]")).to_have_count(2, timeout=SLOW_MS)
    expect(page.locator(".change")).to_have_count(14)
    expect(page.locator(".beside").nth(1)).to_contain_text("5 Jan 2025")
    page.get_by_role("button", name="Open that study").click()
    expect(page.locator(".st-key-facts")).to_contain_text("5 Jan 2025", timeout=SLOW_MS)


def test_of_two_readers_the_second_is_told_and_loses_no_word(
    watched: Watched, browser: Browser, server: Server, service: Service
) -> None:
    page, other = watched.page, visit(browser, server)
    study_id = hand_in(service, 1, patient_id="P-1")
    go(page, server, study_id)
    go(other, server, study_id)
    page.get_by_role("button", name="Note", exact=True).click()
    field = page.get_by_label("Note", exact=True)
    field.fill("half a sente")
    app.press(other, "t", "wl-claim")
    expect(other.locator(".stand")).to_contain_text("claimed · local user", timeout=SLOW_MS)
    expect(page.locator(".st-key-meanwhile")).to_contain_text("claimed the study", timeout=SLOW_MS)
    expect(field).to_have_value("half a sente")
    field.press_sequentially("nce")
    page.get_by_role("button", name="Save note").click()
    expect(page.get_by_text("the study changed meanwhile")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".stand")).to_contain_text("claimed · local user")
    expect(field).to_have_value("half a sentence")
    page.get_by_role("button", name="Save note").click()
    expect(page.locator(".notes")).to_contain_text("half a sentence", timeout=SLOW_MS)
    expect(other.locator(".notes")).to_contain_text("half a sentence", timeout=SLOW_MS)
    other.context.close()


def test_an_age_is_typed_and_taken_back(watched: Watched, server: Server, service: Service) -> None:
    page = watched.page
    study_id = hand_in(service, 1, patient_id="P-1", PatientAge="044Y")
    go(page, server, study_id)
    for typed, shown in (("7", " 7 · "), ("", " 44 · ")):
        act(page, "Study details")
        page.get_by_label("Age in years").fill(typed)
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".st-key-facts")).to_contain_text(shown, timeout=SLOW_MS)
        expect(page.locator(".st-key-desk-form")).to_have_count(0, timeout=SLOW_MS)
    assert service.study(READER, study_id).line.age_years == 44.0


def test_the_card_of_an_answered_film_follows_what_others_do(
    watched: Watched, server: Server, service: Service
) -> None:
    page = watched.page
    study_id = hand_in(service, 1, patient_id="P-1")
    page.goto(f"{server.address}/?study={study_id}")
    app.ready(page)
    version = service.version(OTHER, study_id)
    service.override(OTHER, study_id, version, Urgency.CRITICAL, "seen at the bedside")
    expect(page.locator(".banner").first).to_contain_text("CRITICAL", timeout=SLOW_MS)
    expect(page.locator(".banner").first).to_contain_text("seen at the bedside")
    expect(page.locator(".st-key-films button").first).to_contain_text("Critical", timeout=SLOW_MS)


def test_the_page_follows_what_others_do_and_says_what_is_not_there(
    watched: Watched, server: Server, service: Service
) -> None:
    page = watched.page
    study_id = hand_in(service, 1, patient_id="P-1")
    go(page, server, study_id)
    service.note(OTHER, study_id, service.version(OTHER, study_id), "from elsewhere")
    expect(page.locator(".notes")).to_contain_text("from elsewhere", timeout=SLOW_MS)
    page.goto(f"{server.address}/study?study=nothing")
    expect(page.locator(".empty")).to_contain_text("There is no such study", timeout=SLOW_MS)
    page.goto(f"{server.address}/study")
    expect(page.locator(".empty")).to_contain_text("No study is open", timeout=SLOW_MS)
    page.get_by_role("button", name="Open the most pressing study").click()
    expect(page.locator(".st-key-facts")).to_contain_text("ID P-1", timeout=SLOW_MS)
