"""L2: ten people at once, each with films of their own, and nothing of one shows on another's page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cxr_core.access import Role
from tests.browser import app
from tests.browser.people import ADMIN, Department, Ears, department, new_context
from tests.worklist.films import Films

pytestmark = pytest.mark.browser
SLOW_MS = 180_000
WORDS = (
    "aardwolf",
    "binturong",
    "cassowary",
    "dugong",
    "echidna",
    "fossa",
    "gharial",
    "hoatzin",
    "indri",
    "jerboa",
)
FILMS = Films()


@dataclass(frozen=True)
class Reader:
    """One of the ten: who it is, and words that stand in nobody else's films."""

    number: int
    word: str

    @property
    def subject(self) -> str:
        return f"{self.word}@hospital.example"

    @property
    def name(self) -> str:
        return f"Reader {self.word.title()}"

    @property
    def words(self) -> tuple[str, str, str]:
        """Patient id, patient name, file."""
        return f"PID-{self.word}", f"{self.word.title()}son", f"{self.word}-film.dcm"


READERS = [Reader(number, word) for number, word in enumerate(WORDS)]


@dataclass
class Desk:
    """A reader's browser."""

    reader: Reader
    page: Page
    ears: Ears

    def others(self) -> list[str]:
        return [word for each in READERS if each is not self.reader for word in (*each.words, each.name)]


@pytest.fixture(scope="module")
def here(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    if not app.CHROMIUM.exists():
        pytest.skip(f"{app.CHROMIUM} is not installed")
    small = {"CXR_MODEL": tiny_model.name, "CXR_MODELS_DIR": str(tiny_model.parent)}
    people = {reader.subject: reader.name for reader in READERS}
    with department(tmp_path_factory.mktemp("ten") / "home", people, **small) as running:
        for reader in READERS:
            running.name(reader.subject, Role.CLINICIAN)
        yield running


@pytest.fixture
def desks(browser: Browser, here: Department) -> Iterator[list[Desk]]:
    contexts = [new_context(browser) for _ in READERS]
    ears = [Ears(context, here.address) for context in contexts]
    pages = [here.sign_in(context, reader.subject) for context, reader in zip(contexts, READERS, strict=True)]
    yield [Desk(*each) for each in zip(READERS, pages, ears, strict=True)]
    for context in contexts:
        context.close()


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_promise_l2_ten_browsers_at_once_have_no_errors_and_no_name_leaks(
    here: Department, desks: list[Desk]
) -> None:
    for desk in desks:
        _, patient_name, file = desk.reader.words
        raw = FILMS.dicom(
            desk.reader.number, patient_id=desk.reader.words[0], patient_name=f"{patient_name}^Zelda"
        )
        zone = desk.page.locator("input[type=file]")
        zone.set_input_files([{"name": file, "mimeType": "application/dicom", "buffer": raw}])
    for desk in desks:
        patient_id, patient_name, file = desk.reader.words
        mine = desk.page.locator(".st-key-films")
        expect(mine).to_contain_text(f"{patient_id} · {file}", timeout=SLOW_MS)
        expect(desk.page.locator(".st-key-who")).to_contain_text(patient_name, timeout=SLOW_MS)
        expect(desk.page.locator("canvas[data-ready=yes]")).to_be_attached(timeout=SLOW_MS)
    for desk in desks:  # nothing on the page of one's own films is shared, so nothing of others was even sent
        assert desk.ears.told(*desk.others()) == set(), desk.reader.word
        assert desk.ears.told(*desk.reader.words) == set(desk.reader.words)
        expect(desk.page.locator(".user")).to_contain_text(f"{desk.reader.name} #")
    for desk in desks:
        desk.page.get_by_role("link", name="Worklist").click()
    for desk in desks:  # the list is everybody's; how far one's own films have come is not
        desk.page.get_by_role("heading", name="Worklist").wait_for(timeout=SLOW_MS)
        expect(desk.page.locator(".st-key-batches")).to_contain_text("1 file, ", timeout=SLOW_MS)
        assert desk.ears.told("1 file, ")
        expect(desk.page.locator(".user")).to_contain_text(f"{desk.reader.name} #")
        assert desk.ears.told(*(each.name for each in READERS if each is not desk.reader)) == set()
    for desk in desks:
        desk.page.get_by_role("link", name="Triage").click()
        mine = desk.page.locator(".st-key-films")
        expect(mine).to_contain_text(desk.reader.words[0], timeout=SLOW_MS)
        assert "1 film" in mine.inner_text()
    assert [desk.ears.errors for desk in desks] == [[]] * len(desks)
    assert len({each.handle for each in here.service.accounts(ADMIN)}) == len(READERS)
