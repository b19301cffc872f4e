"""Promise H4 on the pages: what a patient is called stays in database and blobs, and on the screen."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from cxr_core.access import Actor, Role
from cxr_core.settings import Settings
from cxr_core.worklist.database import BLOBS_FOLDER, SQLITE_FILE
from cxr_core.worklist.service import open_service
from cxr_core.worklist.values import Query
from tests.browser import app
from tests.browser.app import Server
from tests.worklist.films import Films
from tests.worklist.tokens import (
    COMMENT,
    FILE,
    NAME,
    PATIENT,
    REFERRER,
    assert_database_is_clean,
    files,
    leaks,
    renamed,
    tagged,
)

pytestmark = pytest.mark.browser
READER = Actor("reader", Role.CLINICIAN)
SLOW_MS = 90_000
FILMS = Films()
LOST = "Nothing that was stored is lost"
SIDE_DOORS = ("/healthz", "/readyz", "/_stcore/health", "/_stcore/metrics", f"/{PATIENT}", f"/media/{FILE}")


@pytest.fixture
def temp(tmp_path: Path) -> Path:
    made = tmp_path / "temp"
    made.mkdir()
    return made


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path, temp: Path) -> Iterator[Server]:
    if not app.CHROMIUM.exists():
        pytest.skip(f"{app.CHROMIUM} is not installed")
    chosen = {"CXR_MODEL": tiny_model.name, "CXR_MODELS_DIR": str(tiny_model.parent)}
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with app.running(home, **chosen, CXR_LOCAL_ROLE="admin", TMPDIR=str(temp)) as running:
        yield running


def drop(page: Page, *dropped: tuple[str, bytes]) -> None:
    page.locator("input[type=file]").first.set_input_files(
        [
            {"name": f"{FILE}-{name}", "mimeType": "application/octet-stream", "buffer": raw}
            for name, raw in dropped
        ]
    )


def archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr(f"{FILE}-inside.dcm", tagged(FILMS, 20))
        made.writestr(f"../{FILE}-slip.dcm", tagged(FILMS, 21))
        made.writestr(f"{FILE}-cut.dcm", tagged(FILMS, 22)[:700])
    return packed.getvalue()


def says(page: Page, text: str) -> None:
    page.get_by_text(text).first.wait_for(timeout=SLOW_MS)


def save(page: Page, question: str) -> None:
    """Complete the study on show."""
    page.get_by_role("button", name="Study details").click(timeout=SLOW_MS)
    page.get_by_label("Name", exact=True).fill(f"{NAME}, Zora")
    page.get_by_label("Referrer", exact=True).fill(REFERRER)
    page.get_by_label("Clinical question").fill(f"{COMMENT} {question}")
    page.get_by_role("button", name="Save").click()


def test_h4_a_day_at_the_screen_leaves_a_patients_words_nowhere_else(
    browser: Browser, server: Server, temp: Path, tiny_model: Path
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    settings = Settings(home=server.home, model=tiny_model.name, models_dir=tiny_model.parent)
    with closing(open_service(settings)) as service:
        page.goto(server.address)
        says(page, "Drop a chest X-ray")
        film = tagged(FILMS, 1)
        drop(
            page,
            ("a.dcm", film),
            ("b.png", FILMS.png(2)),
            ("cut.dcm", tagged(FILMS, 3)[:3000]),
            ("no.dcm", b""),
        )
        says(page, "4 films, most urgent first")
        page.locator(".st-key-films [data-testid=stVerticalBlock]").filter(has_text=f"{FILE}-a.dcm").locator(
            "button"
        ).last.click()
        says(page, f"{NAME}, Zelda")
        app.ready(page)
        save(page, "before")
        says(page, f"{COMMENT} before")
        for kind in ("JSON", "PDF", "PNG"):
            download = app.download(page, kind)
            assert not leaks(download.suggested_filename)
        with renamed(service, "identity RENAME TO gone", "gone RENAME TO identity"):
            save(page, "amid")
            says(page, LOST)
        page.goto(server.address)
        says(page, "Drop a chest X-ray")
        with renamed(service, "identity RENAME COLUMN referrer TO x", "identity RENAME COLUMN x TO referrer"):
            drop(page, ("later.dcm", tagged(FILMS, 4)))
            says(page, LOST)

        page.goto(f"{server.address}/worklist")
        search = page.get_by_placeholder("Patient ID, accession")
        search.fill(PATIENT, timeout=SLOW_MS)
        search.blur()
        expect(page.locator(".st-key-table [role=grid]")).to_contain_text(PATIENT, timeout=SLOW_MS)
        download = app.download(page, "CSV")
        assert PATIENT in Path(download.path()).read_text()
        page.get_by_role("button", name="Add films").click()
        drop(page, ("many.zip", archive()), ("cut.zip", archive()[:-40]))
        page.get_by_text("refused, and why").first.click(timeout=SLOW_MS)
        database = server.home / SQLITE_FILE
        away = database.with_name(f"{SQLITE_FILE}-away")
        database.rename(away)
        database.mkdir()
        says(page, LOST)
        database.rmdir()
        away.rename(database)
        expect(page.locator(".st-key-table [role=grid]")).to_contain_text(PATIENT, timeout=SLOW_MS)

        (found, *_) = service.page(READER, Query(text=PATIENT)).lines
        page.goto(f"{server.address}/study?study={found.study_id}")
        says(page, f"ID {PATIENT}")
        page.goto(f"{server.address}/operations")
        page.get_by_role("tab", name="Audit").click(timeout=SLOW_MS)
        expect(page.get_by_role("tab", name="Audit")).to_have_attribute(
            "aria-selected", "true", timeout=SLOW_MS
        )
        for door in SIDE_DOORS:
            with suppress(HTTPError), urlopen(f"{server.address}{door}", timeout=30) as reply:  # noqa: S310
                assert not leaks(reply.read())
        context.close()
        assert_database_is_clean(service)
    server.stop()
    assert server.log.stat().st_size > 0
    assert list((server.home / BLOBS_FOLDER).rglob("*"))
    for path in (*files(server.home), *files(temp)):
        if path.name.startswith(SQLITE_FILE) or server.home / BLOBS_FOLDER in path.parents:
            continue
        assert not leaks(path.name)
        assert not leaks(path.read_bytes()), path
