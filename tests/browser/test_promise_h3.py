"""Promise H3 on the pages: hostile text is shown literally, runs nowhere, asks nobody outside."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from cxr_core.access import Actor, Role
from cxr_core.files import is_formula, printable
from cxr_core.settings import Settings
from cxr_core.worklist.schema import ImageRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Query
from tests.browser import app
from tests.browser.app import Server
from tests.browser.conftest import Watched
from tests.browser.hostile_pages import LEAD, Told, fill, obeyed, squeezed
from tests.hostile_text import HOSTILE, OUTSIDE
from tests.worklist.films import Films

pytestmark = pytest.mark.browser
ADMIN = Actor("admin", Role.ADMIN)
SLOW_MS = 90_000
FILMS = Films()
LIMIT_OF_A_NAME = 100

TABS = ("Now", "Given up", "Refusals", "Turnaround", "Audit", "People", "Policy")
SAYS = "text => document.body.textContent.replace(/\\s/g, '').includes(text)"


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not app.CHROMIUM.exists():
        pytest.skip(f"{app.CHROMIUM} is not installed")
    chosen = {"CXR_MODEL": tiny_model.name, "CXR_MODELS_DIR": str(tiny_model.parent)}
    with app.running(tmp_path_factory.mktemp("home"), **chosen, CXR_LOCAL_ROLE="admin") as running:
        yield running


@pytest.fixture(scope="module")
def service(server: Server, tiny_model: Path) -> Iterator[Service]:
    """The same worklist from outside; its policy, its people and all its studies bear hostile text."""
    settings = Settings(home=server.home, model=tiny_model.name, models_dir=tiny_model.parent)
    with closing(open_service(settings)) as opened:
        approver = json.dumps(printable(" ".join(HOSTILE)), ensure_ascii=False)
        body = re.sub(r"(?m)^version = .*$", 'version = "hostile"', opened.policy_text(LEAD, None), count=1)
        body = re.sub(r"(?m)^approver = .*$", lambda _: f"approver = {approver}", body, count=1)
        written = opened.write_policy(LEAD, body, " ".join(HOSTILE)[:400])
        opened.activate_policy(LEAD, written)
        for number in (4, 6, 14, 18, 20):
            opened.name_account(ADMIN, f"https://{OUTSIDE}/", HOSTILE[number], HOSTILE[number], Role.VIEWER)
        yield opened


@pytest.fixture(scope="module")
def studies(service: Service) -> list[Told]:
    return fill(service, FILMS)


@pytest.fixture(scope="module")
def browsed(browser: Browser, server: Server, studies: list[Told]) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    watch = Watched(context.new_page(), server.address)
    watch.page.on("dialog", lambda dialog: watch.errors.append(f"dialog: {dialog.message}"))
    watch.page.add_init_script("window.alert = text => { window.hacked = text }")
    yield watch
    context.close()


@pytest.fixture
def page(browsed: Watched) -> Iterator[Page]:
    yield browsed.page
    assert obeyed(browsed.page) == []
    assert browsed.outside == []
    assert browsed.errors == []


def says(page: Page, text: str) -> None:
    """Return once the page shows the text, sign for sign; only blanks may differ."""
    page.wait_for_function(SAYS, arg=squeezed(text), timeout=SLOW_MS)


def test_h3_the_desk_shows_names_questions_notes_and_reasons_literally(
    page: Page, server: Server, service: Service, studies: list[Told]
) -> None:
    for told in studies:
        page.goto(f"{server.address}/study?study={told.study_id}")
        says(page, told.name)
        for shown in (told.patient_id, f"Referrer:{told.referrer}", f"Question:{told.question}"):
            says(page, shown)
        says(page, told.note)
        says(page, f"“{told.reason}”")
        assert obeyed(page) == []
        page.get_by_text(re.compile(r"^History · ")).click(timeout=SLOW_MS)
        for shown in (told.name, f"noted: “{told.note}”", f": “{told.reason}”"):
            says(page, shown)
        if told is not studies[0]:
            says(page, f"told {told.told}")
        assert obeyed(page) == []


def test_h3_the_list_shows_ids_and_files_literally_and_searches_for_text(
    page: Page, server: Server, service: Service, studies: list[Told]
) -> None:
    alert, strip = page.locator(".st-key-alert"), page.locator(".st-key-strip")
    for told in studies:
        page.goto(f"{server.address}/worklist?study={told.study_id}")
        says(page, f"ID {told.patient_id} ·")
        assert squeezed(told.file) in squeezed(strip.text_content() or "")
    assert squeezed(studies[0].patient_id) in squeezed(alert.text_content() or "")
    search = page.get_by_placeholder("Patient ID, accession")
    rows = page.locator(".st-key-table [role=grid] [role=row]")
    for text in (HOSTILE[1], "%", HOSTILE[6], "' OR 1=1 --"):
        search.fill(text)
        search.blur()
        if found := service.page(LEAD, Query(text=text)).total:
            expect(rows).to_have_count(found + 1, timeout=SLOW_MS)
        else:
            says(page, "No study fits")
        assert search.input_value() == text
    search.fill("")
    search.blur()


def test_h3_csv_of_the_list_opens_literally(page: Page, server: Server, studies: list[Told]) -> None:
    page.goto(f"{server.address}/worklist")
    download = app.download(page, "CSV")
    raw = Path(download.path()).read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(raw, newline="")))
    assert not any(is_formula(cell) for row in rows for cell in row.values())
    ids = {row["patient_id"].removeprefix("'") for row in rows}
    assert {told.patient_id.removeprefix("'") for told in studies} <= ids


def test_h3_files_and_zips_with_hostile_names_are_taken_and_refused_literally(
    page: Page, server: Server, service: Service
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, text in enumerate(HOSTILE[:20]):
            archive.writestr(
                f"{text[:LIMIT_OF_A_NAME]}.png", FILMS.png(800 + number) if number % 2 else b"broken"
            )
    files = [("films.zip", packed.getvalue())]
    files += [(f"{text[:LIMIT_OF_A_NAME]}.png", b"") for text in HOSTILE[20:] if "/" not in text]
    page.goto(f"{server.address}/worklist")
    page.get_by_role("button", name="Add films").click(timeout=SLOW_MS)
    page.locator("input[type=file]").set_input_files(
        [{"name": name, "mimeType": "application/octet-stream", "buffer": raw} for name, raw in files]
    )
    batches = page.locator(".st-key-batches")
    batches.wait_for(timeout=SLOW_MS)
    expect(batches.locator("[data-testid=stProgress]")).to_have_count(
        0, timeout=SLOW_MS
    )  # all are dealt with
    batches.get_by_text("refused, and why").click()
    table = batches.locator("[role=grid]")
    table.wait_for(state="attached", timeout=SLOW_MS)
    refused = [name for name, _ in service.batches(Actor("local user", Role.ADMIN))[0].refused]
    assert len(refused) > 10
    shown = squeezed(table.text_content() or "")
    assert sum(squeezed(name) in shown for name in refused) >= 3, "those that the grid draws"


def test_h3_dropped_files_are_listed_literally_and_leave_as_literal_files(
    page: Page, server: Server, service: Service, studies: list[Told]
) -> None:
    names = [f"{text[:LIMIT_OF_A_NAME]}.png" for text in HOSTILE[::3] if text.isprintable()]
    raws = [FILMS.png(900 + number) for number in range(len(names))]
    page.goto(server.address)
    page.get_by_text("Drop a chest X-ray").wait_for(timeout=SLOW_MS)
    page.locator("input[type=file]").set_input_files(
        [
            {"name": name, "mimeType": "application/octet-stream", "buffer": raw}
            for name, raw in (*zip(names, raws, strict=True), (names[1], b""))
        ]
    )
    says(page, f"{len(names) + 1} films, most urgent first")
    hashes = [sha256(raw).hexdigest() for raw in raws]
    with service.database.read() as session:  # a browser has its own mind about / in a name
        query = select(ImageRow.study_id, ImageRow.file_name).where(ImageRow.sha256.in_(hashes))
        dropped = session.execute(query).all()
    assert len(dropped) == len(names)
    for _, name in dropped:
        says(page, name)
    page.goto(f"{server.address}/?study={dropped[0].study_id}")
    app.ready(page)
    for kind, magic in (("JSON", b"{"), ("PDF", b"%PDF-")):
        download = app.download(page, kind)
        assert re.fullmatch(r"neuraray-[\w.-]+", download.suggested_filename)
        assert Path(download.path()).read_bytes().startswith(magic)
    page.goto(f"{server.address}/?study={studies[1].study_id}")
    for shown in (studies[1].name, studies[1].patient_id, studies[1].question):
        says(page, shown)


def test_h3_operations_show_policy_people_and_trail_literally(
    page: Page, server: Server, service: Service
) -> None:
    page.goto(f"{server.address}/operations")
    for tab in TABS:
        opened = page.get_by_role("tab", name=tab, exact=True)
        opened.click(timeout=SLOW_MS)
        expect(opened).to_have_attribute("aria-selected", "true", timeout=SLOW_MS)
        if tab in ("Now", "Policy"):
            says(page, service.policy.approver)
        if tab == "People":
            says(page, next(each.handle for each in service.accounts(ADMIN)))
        assert obeyed(page) == []
