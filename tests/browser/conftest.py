import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from cxr_core.settings import ROOT, Settings
from cxr_core.worklist.service import Service, open_service
from tests.browser import app
from tests.browser.app import Server


@pytest.fixture(scope="session")
def address(tiny_model: Path) -> Iterator[str]:
    """A running app with the bundled model, or the small one where that has not been made yet."""
    if not app.CHROMIUM.exists():
        pytest.skip(f"{app.CHROMIUM} is not installed")
    bundled = ROOT / "models" / "cxr14-mobilenetv2" / "manifest.toml"
    small = {"CXR_MODEL": tiny_model.name, "CXR_MODELS_DIR": str(tiny_model.parent)}
    with app.served(**({} if bundled.is_file() else small)) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The one Chromium of this process: Playwright cannot be started twice in it."""
    if not app.CHROMIUM.exists():
        pytest.skip(f"{app.CHROMIUM} is not installed")
    with app.chromium() as started:
        yield started


class Watched:
    """A page, and what must not happen on it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.outside: list[str] = []
        self.errors: list[str] = []
        own = (address, address.replace("http", "ws"), "data:", f"blob:{address}")
        page.on(
            "request",
            lambda request: None if request.url.startswith(own) else self.outside.append(request.url),
        )
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._said)

    def _said(self, said: ConsoleMessage) -> None:
        # At the address of a page Streamlit's client first asks for its server beneath that page.
        probing = re.search(r"//[^/]+/\w+/_stcore/", said.location.get("url", ""))
        if said.type == "error" and not probing:
            self.errors.append(said.text)


@pytest.fixture
def watched(browser: Browser, address: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    watch = Watched(page, address)
    page.goto(address)
    page.get_by_text("Drop a chest X-ray").wait_for(timeout=30_000)
    yield watch
    context.close()
    assert watch.outside == []
    assert watch.errors == []


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path) -> Iterator[Server]:
    if not app.CHROMIUM.exists():
        pytest.skip(f"{app.CHROMIUM} is not installed")
    small = {"CXR_MODEL": tiny_model.name, "CXR_MODELS_DIR": str(tiny_model.parent)}
    with app.running(tmp_path, **small) as running:
        yield running


@pytest.fixture
def service(server: Server, tiny_model: Path) -> Iterator[Service]:
    """The same worklist from outside, as another program would open it."""
    settings = Settings(home=server.home, model=tiny_model.name, models_dir=tiny_model.parent)
    with closing(open_service(settings)) as opened:
        yield opened
