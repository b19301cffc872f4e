"""Make the README's screenshots again, from synthetic films only: `python -m tests.browser.screenshots`."""

from __future__ import annotations

from playwright.sync_api import Browser, Page

from tests.browser.app import ROOT, chromium, ready, served

FOLDER = ROOT / "docs" / "screenshots"
SHOTS = {
    "triage-flagged.png": "Film with findings",
    "triage-no-disease.png": "Film without findings",
    "triage-refused.png": "Film that is refused",
}


def make_screenshots() -> None:
    """Write one picture per state of the card."""
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


def _opened(browser: Browser, address: str, size: tuple[int, int]) -> Page:
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
    page.goto(address)
    page.get_by_text("Drop a chest X-ray").wait_for(timeout=60_000)
    return page


if __name__ == "__main__":
    make_screenshots()
