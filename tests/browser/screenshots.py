"""Make the README's screenshots again, from synthetic films only: `python -m tests.browser.screenshots`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import Browser, Page

from tests.browser.app import ROOT, chromium, press, ready, running, served
from tests.browser.test_gate_page import answered, film, png
from tests.browser.test_triage import drop

WITH_PRIORS = "SYNTHETIC-1099"
FOLDER = ROOT / "docs" / "screenshots"
SHOTS = {
    "triage-flagged.png": "Film with findings",
    "triage-no-disease.png": "Film without findings",
    "triage-refused.png": "Film that is refused",
}
WORKLIST, STUDY, PRIORS = "worklist.png", "study.png", "study-priors.png"
OPERATIONS, TURNAROUND = "operations.png", "operations-turnaround.png"
PERFORMANCE, TURNED = "performance.png", "triage-turned.png"


def make_screenshots() -> None:
    """Write one picture per state of the card, and one of the list."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with served() as address, chromium() as browser:
        for file, button in SHOTS.items():
            page = _opened(browser, address, (1280, 800))
            page.get_by_role("button", name=button).click()
            ready(page)
            page.mouse.move(640, 796)
            page.wait_for_timeout(600)
            page.screenshot(path=FOLDER / file)
            page.context.close()
        make_turned_screenshot(browser, address)
        make_performance_screenshot(browser, address)
    make_worklist_screenshot()


def make_turned_screenshot(browser: Browser, address: str) -> None:
    """Write the picture of a film that hangs upside down, and of what is offered."""
    page = _opened(browser, address, (1280, 800))
    drop(page, ("upside-down.png", png(np.rot90(film(61), 2))))
    answered(page)
    page.locator(".st-key-correct img").wait_for(timeout=60_000)
    _shoot(page, TURNED)
    page.context.close()


def make_performance_screenshot(browser: Browser, address: str) -> None:
    """Write the picture of how well the bundled model does."""
    page = _opened(browser, address, (1440, 900))
    page.get_by_role("link", name="Performance").click()
    page.locator(".js-plotly-plot").nth(1).wait_for(timeout=120_000)
    _shoot(page, PERFORMANCE)
    page.context.close()


def make_worklist_screenshot() -> None:
    """Write the pictures of the demo's list, of its most pressing study, of priors and of operations."""
    with TemporaryDirectory() as folder:
        home = Path(folder) / "demo"
        subprocess.run(
            [sys.executable, "-m", "cxr_core.demo", "--home", str(home), "--no-app"], cwd=ROOT, check=True
        )
        with running(home) as server, chromium() as browser:
            page = _opened(browser, server.address, (1280, 800))
            page.get_by_role("link", name="Worklist").click()
            page.locator(".st-key-table [role=grid]").wait_for(state="attached", timeout=60_000)
            page.wait_for_timeout(2_000)
            press(page, "j", "wl-next")
            page.locator(".st-key-strip").get_by_text("acquired").wait_for(timeout=60_000)
            page.mouse.move(640, 796)
            page.wait_for_timeout(2_500)
            page.screenshot(path=FOLDER / WORKLIST)
            press(page, "Enter", "wl-open")
            ready(page)
            # The phantoms' pneumothorax has no heatmap to speak of: where the model looked for the effusion.
            heatmap = page.locator("select[name=finding]")
            heatmap.select_option(heatmap.locator("option", has_text="Effusion").get_attribute("value"))
            _shoot(page, STUDY)
            page.get_by_role("link", name="Worklist").click()
            page.get_by_label("Search", exact=True).fill(WITH_PRIORS)
            page.get_by_label("Search", exact=True).blur()
            page.locator(".st-key-wl-foot").get_by_text("1 study").wait_for(timeout=60_000)
            press(page, "j", "wl-next")
            page.locator(".st-key-strip").get_by_text(WITH_PRIORS).wait_for(timeout=60_000)
            press(page, "Enter", "wl-open")
            page.get_by_text("Priors · 2").click()
            page.locator("canvas[data-ready=yes]").nth(1).wait_for(timeout=60_000)
            _shoot(page, PRIORS)
            page.get_by_role("link", name="Operations").click()
            page.locator(".lights").wait_for(timeout=60_000)
            page.locator(".js-plotly-plot").wait_for(timeout=60_000)
            _shoot(page, OPERATIONS)
            page.get_by_role("tab", name="Turnaround").click()
            page.set_viewport_size({"width": 1280, "height": 1160})  # figures, and plots with their legends
            page.locator(".js-plotly-plot").nth(4).wait_for(timeout=60_000)
            _shoot(page, TURNAROUND)


def _shoot(page: Page, file: str) -> None:
    page.mouse.move(640, 796)
    page.wait_for_timeout(2_500)
    page.screenshot(path=FOLDER / file)


def _opened(browser: Browser, address: str, size: tuple[int, int]) -> Page:
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
    page.goto(address)
    page.get_by_text("Drop a chest X-ray").wait_for(timeout=60_000)
    return page


if __name__ == "__main__":
    make_screenshots()
