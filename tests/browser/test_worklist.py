"""What a reading room does with the list, in real Chromium, on a server with its own worker."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import func, select, update

from cxr_core.access import Actor, Role
from cxr_core.ui.listed import whose
from cxr_core.worklist import audit
from cxr_core.worklist.schema import ImageRow, ResultRow, StudyRow
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import BATCH, Incoming, Query, Source, Status
from tests.browser import app
from tests.browser.app import Server
from tests.browser.conftest import Watched
from tests.worklist.films import Films

pytestmark = pytest.mark.browser
READER = Actor("reader", Role.CLINICIAN)
EVERY = Query(limit=200, statuses=frozenset(Status))
SLOW_MS = 90_000
BATCH_DONE = "30 stored; 30 answered · 5 refused, and why"
ITS_SENTENCE = "30 stored (1 known before), 3 refused at the door; 30 answered, 2 of them refused"
FILMS = Films()


@pytest.fixture
def watched(browser: Browser, server: Server) -> Iterator[Watched]:
    page = visit(browser, server)
    watch = Watched(page, server.address)
    yield watch
    page.context.close()
    assert watch.outside == []
    assert watch.errors == []


def visit(browser: Browser, server: Server) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(server.address)
    page.get_by_text("Drop a chest X-ray").wait_for(timeout=SLOW_MS)
    to_the_list(page)
    return page


def to_the_list(page: Page) -> None:
    page.get_by_role("link", name="Worklist").click()
    page.get_by_role("heading", name="Worklist").wait_for(timeout=SLOW_MS)


def hand_in(page: Page, files: list[Incoming]) -> None:
    page.get_by_role("button", name="Add films").click()
    page.locator("input[type=file]").set_input_files(
        [{"name": f.name, "mimeType": "application/octet-stream", "buffer": f.raw} for f in files]
    )


def column(page: Page, name: str) -> list[str]:
    """Return a column's cells as far as the grid draws them; it keeps a table for screen readers."""
    return page.evaluate(
        """name => {
            const rows = [...document.querySelectorAll('.st-key-table [role=grid] [role=row]')]
            if (!rows.length) return []
            const titles = [...rows[0].querySelectorAll('[role=columnheader]')].map(each => each.textContent)
            const place = titles.indexOf(name)
            return rows.slice(1).map(row => row.querySelectorAll('[role=gridcell]')[place].textContent)
        }""",
        name,
    )


def in_order(page: Page, service: Service) -> bool:
    shown = column(page, "Patient ID")
    lines = service.page(READER, Query()).lines
    return bool(shown) and shown == [whose(line) for line in lines[: len(shown)]]


def until(true: object, what: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.2)


def make_critical(service: Service, study_id: str) -> None:
    """What a worker would write; no phantom is critical to the small model."""
    with service.database.write() as session:
        row = update(StudyRow).where(StudyRow.id == study_id)
        session.execute(row.values(urgency="critical", tier=0, state="flagged", findings="|Pneumothorax|"))


def mixed() -> list[Incoming]:
    """30 files: 24 films, one of them again, one cut off, a lateral, two that are empty, a zip of 3."""
    files = [Incoming(f"film-{n}.dcm", FILMS.dicom(n, patient_id=f"P-{n:03}")) for n in range(24)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(100, 103):
            archive.writestr(f"in/{number}.dcm", FILMS.dicom(number, patient_id=f"Z-{number}"))
        archive.writestr("../out.dcm", FILMS.dicom(200))
    return [
        *files,
        Incoming("again.dcm", files[0].raw),
        Incoming("cut-off.dcm", FILMS.dicom(50)[:3000]),
        Incoming("lateral.dcm", FILMS.dicom(51, patient_id="L-51", ViewPosition="LL")),
        Incoming("empty-1.dcm", b""),
        Incoming("empty-2.png", b""),
        Incoming("films.zip", packed.getvalue()),
    ]


def test_thirty_mixed_files_fill_the_list_live_in_order_and_nothing_is_left_unsaid(
    watched: Watched, service: Service
) -> None:
    page = watched.page
    hand_in(page, mixed())
    said = page.locator(".st-key-batches")
    expect(said).to_contain_text("33 files", timeout=SLOW_MS)
    expect(said).to_contain_text(BATCH_DONE, timeout=SLOW_MS)
    assert service.page(READER, EVERY).total == 29
    until(lambda: in_order(page, service), "the page shows the list's order by itself")
    expect(page.locator(".tile")).to_have_count(5)
    page.reload()
    expect(said).to_contain_text("30 stored", timeout=SLOW_MS)
    page.get_by_text("5 refused, and why").click()
    expect(said).to_contain_text(ITS_SENTENCE)
    refused = page.locator(".st-key-batches [role=grid]")
    for name in ("cut-off.dcm", "lateral.dcm", "empty-1.dcm", "empty-2.png", "films.zip/../out.dcm"):
        expect(refused).to_contain_text(name)


def test_the_alert_stays_on_every_page_until_a_person_takes_note(watched: Watched, service: Service) -> None:
    page = watched.page
    receipt = service.submit(
        READER, Incoming("a.dcm", FILMS.dicom(1, patient_id="004-771")), source=Source.CLI
    )
    until(lambda: service.study(READER, receipt.study_id).line.state is not None, "it is answered")
    alarm = page.locator(".st-key-alert")
    expect(alarm).to_have_count(0)
    make_critical(service, receipt.study_id)
    expect(alarm).to_contain_text("1 critical not acknowledged", timeout=20_000)
    expect(alarm).to_contain_text("004-771 ·")
    page.get_by_role("link", name="Triage").click()
    page.get_by_text("Drop a chest X-ray").wait_for(timeout=SLOW_MS)
    expect(alarm).to_contain_text("1 critical not acknowledged")
    page.set_viewport_size({"width": 600, "height": 800})
    expect(alarm).to_be_in_viewport()
    page.set_viewport_size({"width": 1280, "height": 800})
    to_the_list(page)
    app.press(page, "j", "wl-next")
    expect(page.locator(".st-key-strip")).to_contain_text("004-771", timeout=20_000)
    app.press(page, "a", "wl-acknowledge")
    told = page.get_by_label("Who was told")
    told.fill("Dr Low")
    expect(alarm).to_contain_text("1 critical not acknowledged")
    told.press("Enter")
    expect(page.get_by_text("say how they were told")).to_be_visible(timeout=20_000)
    expect(told).to_have_value("Dr Low")
    expect(alarm).to_contain_text("1 critical not acknowledged")
    app.choose(page, "How", "in person")
    page.locator(".st-key-strip").get_by_role("button", name="Acknowledge").click()
    expect(alarm).to_have_count(0, timeout=20_000)
    review = service.study(READER, receipt.study_id).reviews[-1]
    assert (review.kind, review.data["told"]) == ("acknowledge", "Dr Low")


def test_a_telling_typed_in_the_list_outlives_a_colleagues_and_becomes_a_note(
    watched: Watched, service: Service
) -> None:
    page = watched.page
    receipt = service.submit(READER, Incoming("a.dcm", FILMS.dicom(1, patient_id="P-1")), source=Source.CLI)
    study_id = receipt.study_id
    until(lambda: service.study(READER, study_id).line.state is not None, "it is answered")
    make_critical(service, study_id)
    page.locator(".st-key-strip").wait_for(timeout=SLOW_MS)
    app.press(page, "j", "wl-next")
    expect(page.locator(".st-key-strip")).to_contain_text("P-1", timeout=SLOW_MS)
    app.press(page, "a", "wl-acknowledge")
    told = page.get_by_label("Who was told")
    told.wait_for(timeout=SLOW_MS)
    told.press_sequentially("Dr ")
    service.acknowledge(READER, study_id, service.version(READER, study_id), told="Dr High", how="in person")
    expect(page.get_by_text("nothing left to acknowledge")).to_be_visible(timeout=SLOW_MS)
    expect(told).to_have_value("Dr ")
    told.press_sequentially("Low")
    told.press("Enter")
    note = page.get_by_label("Note", exact=True)
    expect(note).to_have_value("Told Dr Low.", timeout=SLOW_MS)
    expect(page.get_by_text("this result was acknowledged before")).to_be_visible()
    page.get_by_role("button", name="Save note").click()
    expect(note).to_have_count(0, timeout=SLOW_MS)
    assert service.study(READER, study_id).standing.notes[0].data["text"] == "Told Dr Low."


def test_promise_r2_a_kill_of_server_and_worker_amid_a_batch_loses_and_doubles_nothing(
    browser: Browser, server: Server, service: Service
) -> None:
    page = visit(browser, server)
    until(lambda: service.workers(READER), "the app's own worker runs")
    hand_in(page, mixed())
    stored = "30 stored (1 known before)"
    expect(page.locator(".st-key-batches")).to_contain_text(stored, timeout=SLOW_MS)
    before = {line.study_id for line in service.page(READER, EVERY).lines}
    assert len(before) == 29
    assert server.workers()
    server.kill()
    server.start()
    again = visit(browser, server)
    said = again.locator(".st-key-batches")
    expect(said).to_contain_text(
        re.compile(r"30 stored \(1 known before\).*; 30 answered"), timeout=2 * SLOW_MS
    )
    assert {line.study_id for line in service.page(READER, EVERY).lines} == before
    with service.database.read() as session:
        films = session.scalar(select(func.count()).select_from(ImageRow))
        assert session.scalar(select(func.count()).select_from(ResultRow)) == films == 29
        assert audit.verify(session).broken_at is None
    until(lambda: in_order(again, service), "the list is shown as it is")
    page.context.close()
    again.context.close()


def test_promise_r3_the_same_file_in_two_browsers_and_by_command_at_once_is_one_study(
    browser: Browser, server: Server, service: Service
) -> None:
    files = [Incoming(f"{number}.dcm", FILMS.dicom(number)) for number in range(8)]
    pages = [visit(browser, server) for _ in range(2)]
    for page in pages:
        page.get_by_role("button", name="Add films").click()
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(
            lambda: [service.submit_many(READER, files, source=Source.CLI) for _ in range(5)]
        )
        for page in pages:
            page.locator("input[type=file]").set_input_files(
                [{"name": f.name, "mimeType": "application/octet-stream", "buffer": f.raw} for f in files]
            )
        elsewhere.result()
    for page in pages:
        said = page.locator(".st-key-batches")
        expect(said).to_contain_text("8 stored", timeout=SLOW_MS)
        expect(said).to_contain_text("8 answered", timeout=SLOW_MS)
        page.context.close()
    assert service.page(READER, EVERY).total == 8
    with service.database.read() as session:
        assert session.scalar(select(func.count()).select_from(ImageRow)) == 8
        assert session.scalar(select(func.count()).select_from(ResultRow)) == 8


def test_the_selection_stays_with_its_study_and_keys_do_what_they_say(
    watched: Watched, service: Service
) -> None:
    page, strip = watched.page, watched.page.locator(".st-key-strip")
    files = [Incoming(f"{n}.dcm", FILMS.dicom(n, patient_id=f"P-{n:03}")) for n in range(6)]
    receipts = service.submit_many(READER, files, source=Source.CLI, priority=BATCH)
    until(lambda: all(service.study(READER, each.study_id).line.state for each in receipts), "answered")
    until(lambda: in_order(page, service), "the list is there")
    lines = service.page(READER, Query()).lines
    click_row(page, 3)
    expect(strip).to_contain_text(lines[3].patient_id, timeout=20_000)
    make_critical(service, lines[5].study_id)
    until(lambda: in_order(page, service), "the order changes under the selection")
    expect(strip).to_contain_text(lines[3].patient_id)
    until(lambda: marked_row(page) == 4, "the mark moved with its study")
    app.press(page, "j", "wl-next")
    expect(strip).to_contain_text(lines[4].patient_id, timeout=20_000)
    app.press(page, "k", "wl-previous")
    expect(strip).to_contain_text(lines[3].patient_id, timeout=20_000)
    app.press(page, "t", "wl-claim")
    expect(strip).to_contain_text("claimed · local user", timeout=20_000)
    assert service.study(READER, lines[3].study_id).line.claimed_by == "local user"
    page.get_by_label("Search", exact=True).fill("jkta")
    assert service.study(READER, lines[3].study_id).line.claimed_by == "local user", (
        "typing is not commanding"
    )
    page.get_by_label("Search", exact=True).fill("")
    page.get_by_label("Search", exact=True).blur()
    app.press(page, "Enter", "wl-open")
    app.ready(page)
    assert f"study={lines[3].study_id}" in page.url


def click_row(page: Page, row: int) -> None:
    box = page.locator(".st-key-table [data-testid=stDataFrame]").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 300, box["y"] + 34 + 44 * row + 22)


def marked_row(page: Page) -> int:
    grid: Locator = page.locator(".st-key-table [role=grid] [role=row][aria-selected=true]")
    return int(grid.first.get_attribute("aria-rowindex") or 0) - 2 if grid.count() else -1


def test_hostile_text_is_shown_literally_and_asks_nobody_outside(watched: Watched, service: Service) -> None:
    page = watched.page
    page.on("dialog", lambda dialog: pytest.fail("a name ran as a script"))
    hostile = "![x](http://evil.example/a.png)<img src=x onerror=alert(1)>"
    raw = FILMS.dicom(1, patient_id=hostile, patient_name=hostile)
    receipt = service.submit(READER, Incoming("<script>alert(1)</script>.dcm", raw), source=Source.CLI)
    make_critical(service, receipt.study_id)
    until(lambda: column(page, "Patient ID") == [hostile], "the list shows it as it came")
    app.press(page, "j", "wl-next")
    expect(page.locator(".st-key-strip")).to_contain_text(hostile, timeout=20_000)
    expect(page.locator(".st-key-strip")).to_contain_text("<script>alert(1)</script>.dcm")
    expect(page.locator(".st-key-alert")).to_contain_text(hostile, timeout=20_000)


def test_a_database_that_goes_away_is_said_and_the_list_comes_back_by_itself(
    browser: Browser, server: Server, service: Service
) -> None:
    service.submit(READER, Incoming("a.dcm", FILMS.dicom(1, patient_id="P-1")), source=Source.CLI)
    page = visit(browser, server)
    until(lambda: column(page, "Patient ID") == ["P-1"], "the list is there")
    until(lambda: service.study(READER, service.page(READER, EVERY).lines[0].study_id).line.state, "answered")
    database = server.home / "neuraray.sqlite3"
    away = database.with_name("away")
    database.rename(away)
    database.mkdir()
    page.get_by_text("Nothing that was stored is lost").first.wait_for(timeout=SLOW_MS)
    database.rmdir()
    away.rename(database)
    until(lambda: column(page, "Patient ID") == ["P-1"], "it is there again")
    page.context.close()
