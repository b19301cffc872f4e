"""A lead fits a model to the site by films of their own, in real Chromium, and is locked out meanwhile."""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update

from cxr_core.access import Role
from cxr_core.worklist.schema import SignInRow
from tests.browser import app
from tests.browser.people import SLOW_MS, Department, Ears, department, new_context
from tests.evaluation.tabled import with_tables
from tests.worklist.films import Films

pytestmark = pytest.mark.browser
LEAD = "lea@hospital.example"
FILMS = 60


@pytest.fixture(scope="module")
def here(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    if not app.CHROMIUM.exists():
        pytest.skip(f"{app.CHROMIUM} is not installed")
    models = tmp_path_factory.mktemp("models")
    with_tables(Path(shutil.copytree(tiny_model, models / tiny_model.name)), split="val", every=8)
    environ = {"CXR_MODEL": tiny_model.name, "CXR_MODELS_DIR": str(models)}
    with department(tmp_path_factory.mktemp("site") / "home", {LEAD: "Lea"}, **environ) as running:
        running.name(LEAD, Role.LEAD)
        yield running


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A list of sixty phantom films, every second with a mass, and a zip of them."""
    films, folder = Films(), tmp_path_factory.mktemp("handed")
    rows = "".join(f"{number}.png,p{number},{number % 2}\n" for number in range(FILMS))
    (folder / "list.csv").write_text("file,patient,Mass\n" + rows)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(FILMS):
            archive.writestr(f"{number}.png", films.png(number))
    (folder / "films.zip").write_bytes(packed.getvalue())
    return folder / "list.csv", folder / "films.zip"


def my_site(page: Page) -> None:
    page.get_by_role("link", name="Performance").click(timeout=SLOW_MS)
    page.get_by_role("tab", name="My site").click(timeout=SLOW_MS)
    expect(page.get_by_role("heading", name="1 · Cases")).to_be_visible(timeout=SLOW_MS)


def test_films_are_read_on_while_the_page_is_locked_and_are_there_after_unlocking(
    browser: Browser, here: Department, handed: tuple[Path, Path]
) -> None:
    context = new_context(browser)
    ears = Ears(context, here.address)
    page = here.sign_in(context, LEAD)
    my_site(page)
    pickers = page.locator("input[type=file]")
    for place, path in enumerate(handed):
        pickers.nth(place).set_input_files(path)
        expect(page.get_by_text(path.name, exact=True)).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Read the films").click(timeout=SLOW_MS)
    # A quick machine may be through before anybody has looked.
    begun = re.compile(rf"\d+ of {FILMS} films read|{FILMS} films of {FILMS} patients")
    expect(page.get_by_text(begun)).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("button", name="Read the films")).to_have_count(0)

    long_ago = here.service.clock() - timedelta(minutes=here.service.settings.idle_minutes, seconds=1)
    with here.service.database.write() as session:
        mine = update(SignInRow).where(SignInRow.account_id == here.account(LEAD))
        session.execute(mine.values(seen_utc=long_ago))
    expect(page.locator(".st-key-sign-in h1")).to_have_text("Locked", timeout=SLOW_MS)

    here.through_the_provider(page, LEAD)
    my_site(page)
    expect(page.get_by_text(f"{FILMS} films of {FILMS} patients.")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Fit and judge").click(timeout=SLOW_MS)
    expect(page.get_by_text("a model is fitted to a site by at least 100")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Other cases").click(timeout=SLOW_MS)
    expect(page.get_by_role("button", name="Read the films")).to_be_visible(timeout=SLOW_MS)
    context.close()
    assert ears.errors == []
