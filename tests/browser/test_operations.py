"""What a lead does on the operations page, in real Chromium, on a server with its own worker."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cxr_core.access import Actor, Role
from cxr_core.settings import Settings
from cxr_core.worklist import audit, queue
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Source
from tests.browser import app
from tests.browser.app import Server
from tests.browser.conftest import Watched
from tests.worklist.films import Films

pytestmark = pytest.mark.browser
LEAD = Actor("lead", Role.LEAD)
SLOW_MS = 120_000
HOSTILE = "=1+1 ![x](http://evil.example/a.png)<img src=x onerror=alert(1)>"


@pytest.fixture
def service(tiny_model: Path, tmp_path: Path) -> Iterator[Service]:
    """A worklist with one film given up and a hostile name in its audit trail, before a server opens it."""
    settings = Settings(home=tmp_path, model=tiny_model.name, models_dir=tiny_model.parent, attempts=1)
    with closing(open_service(settings)) as opened:
        opened.submit(LEAD, Incoming("film.dcm", Films().dicom(1, patient_id="P-1")), source=Source.CLI)
        (job,) = queue.claim(opened, "w1", 1)
        queue.failed(opened, "w1", job, job.films[0], "decoder_crashed")
        with opened.database.write() as session:
            audit.append(session, at=opened.clock(), actor=HOSTILE, event="view", subject=job.study_id)
        yield opened


@pytest.fixture
def watched(browser: Browser, service: Service, tiny_model: Path) -> Iterator[Watched]:
    if not app.CHROMIUM.exists():
        pytest.skip(f"{app.CHROMIUM} is not installed")
    small = {"CXR_MODEL": tiny_model.name, "CXR_MODELS_DIR": str(tiny_model.parent)}
    with app.running(service.settings.home, **small) as server:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
        page = context.new_page()
        watch = Watched(page, server.address)
        page.on("dialog", lambda dialog: pytest.fail("a name ran as a script"))
        visit(page, server)
        yield watch
        context.close()
    assert watch.outside == []
    assert watch.errors == []


def visit(page: Page, server: Server) -> None:
    page.goto(server.address)
    page.get_by_text("Drop a chest X-ray").wait_for(timeout=SLOW_MS)
    page.get_by_role("link", name="Operations").click()
    page.get_by_role("heading", name="Operations").wait_for(timeout=SLOW_MS)


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def lights_anew(page: Page) -> None:
    """Wait until the lights have shown themselves anew."""
    before = page.locator(".wl-head .live").get_attribute("class")
    page.wait_for_function(
        "before => document.querySelector('.wl-head .live').className !== before", arg=before, timeout=SLOW_MS
    )


def test_a_dead_letter_is_tried_again_and_answered_and_the_lights_follow_by_themselves(
    watched: Watched, service: Service
) -> None:
    page = watched.page
    given_up = page.locator(".light", has_text="Given up")
    expect(given_up).to_contain_text("watch", timeout=SLOW_MS)
    expect(page.locator(".light", has_text="Workers")).to_contain_text("well", timeout=SLOW_MS)
    tab(page, "Given up")
    expect(page.get_by_text("decoder_crashed: its decoder crashed")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("1 film back in the queue.")).to_be_visible(timeout=SLOW_MS)
    expect(given_up).to_contain_text("well", timeout=SLOW_MS)
    tab(page, "Now")
    expect(page.get_by_text("1 film in, 1 answered")).to_be_visible(timeout=SLOW_MS)
    assert service.health(LEAD).given_up == 0


def test_the_audit_trail_is_searched_verified_and_taken_away_and_names_are_shown_literally(
    watched: Watched, service: Service
) -> None:
    page = watched.page
    tab(page, "Audit")
    who = page.get_by_label("Who", exact=True)
    who.fill("EVIL")
    who.press("Enter")
    said = page.locator(".ops-said")
    expect(said).to_contain_text("1 found", timeout=SLOW_MS)
    cells = page.locator(".st-key-ops-trail [role=grid] [role=gridcell]", has_text=HOSTILE)
    expect(cells.first).to_have_text(HOSTILE)
    taken = app.download(page, "CSV")
    rows = list(csv.reader(io.StringIO(taken.path().read_text(encoding="utf-8"))))
    assert (len(rows), rows[1][2]) == (2, f"'{HOSTILE}")
    taken = app.download(page, "JSON lines")
    (line,) = taken.path().read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["actor"] == HOSTILE
    page.get_by_role("button", name="Verify the whole trail").click()
    expect(page.get_by_text("Whole at")).to_be_visible(timeout=SLOW_MS)
    with service.database.read() as session:
        events = [link.event for link in audit.links(session)]
    assert events[-3:] == ["audit_export", "audit_export", "audit_verify"]


def test_a_made_file_stays_while_parts_of_the_page_show_themselves_anew_and_goes_with_the_page(
    watched: Watched,
) -> None:
    page = watched.page
    tab(page, "Audit")
    made = app.download(page, "CSV")
    raw = made.path().read_bytes()
    for _ in range(3):
        lights_anew(page)
    again = page.request.get(made.url)
    assert (again.status, again.body()) == (200, raw)
    page.get_by_role("link", name="Worklist").click()
    for _ in range(60):
        page.wait_for_timeout(1_000)
        if page.request.get(made.url).status == 404:
            return
    pytest.fail("the file outlived its page by a minute")


def test_what_one_types_is_left_alone_while_the_lights_refresh(watched: Watched) -> None:
    page = watched.page
    tab(page, "Audit")
    who = page.get_by_label("Who", exact=True)
    who.fill("half a na")
    lights_anew(page)
    expect(who).to_have_value("half a na")
    expect(who).to_be_focused()
