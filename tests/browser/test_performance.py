"""What people do on the performance page, in real Chromium, with the bundled model's tables."""

from __future__ import annotations

import csv
import io

import pytest
from playwright.sync_api import expect

from cxr_core.ui.performance import TABS
from tests.browser import app
from tests.browser.conftest import Watched

pytestmark = pytest.mark.browser
SLOW_MS = 120_000


def test_curves_are_looked_at_taken_away_and_a_threshold_is_moved_by_keyboard(watched: Watched) -> None:
    page = watched.page
    page.get_by_role("link", name="Performance").click()
    expect(page.locator(".perf-about")).to_contain_text("Devices, drains and wires", timeout=SLOW_MS)
    expect(page.locator(".js-plotly-plot")).to_have_count(2, timeout=SLOW_MS)
    expect(page.locator(".perf-tile")).to_have_count(5)
    for title in ("Overview", *(title for _, title, _ in TABS[1:3])):
        expect(page.get_by_role("tab", name=title, exact=True)).to_be_visible()

    assert _picture(watched, "PNG").startswith(b"\x89PNG")
    page.get_by_text("plots as SVG").click()
    svg = _picture(watched, "SVG")
    assert svg.lstrip().startswith(b"<svg")
    assert b"sensitivity" in svg
    table = app.download(page, "All figures as a table (CSV)").path().read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {"Effusion", "abnormal"} <= {row["finding"] for row in rows}

    page.get_by_role("tab", name="Operating point", exact=True).click()
    called = page.locator(".perf-table tr", has_text="called").first
    expect(called).to_be_visible(timeout=SLOW_MS)
    before = called.inner_text()
    page.get_by_role("slider").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(called).not_to_have_text(before, timeout=SLOW_MS)


def test_what_changed_films_do_is_read_of_all_findings_and_of_one(watched: Watched) -> None:
    page = watched.page
    page.get_by_role("link", name="Performance").click()
    page.get_by_role("tab", name="Robustness", exact=True).click(timeout=SLOW_MS)
    row = page.locator(".perf-table tr", has_text="noise: sd 0.02")
    expect(row).to_contain_text("%", timeout=SLOW_MS)
    expect(page.locator(".st-key-perf-robustness .js-plotly-plot")).to_have_count(1, timeout=SLOW_MS)
    app.choose(page, "Finding", "Effusion")
    head = page.locator(".perf-table thead", has_text="call differs")
    expect(head).to_be_visible(timeout=SLOW_MS)


def _picture(watched: Watched, form: str) -> bytes:
    """Return what the camera button of the first plot saves; the browser makes it, no server is asked."""
    page = watched.page
    button = page.locator(".st-key-perf-curves .modebar-btn").first
    said = "Download plot as a PNG" if form == "PNG" else "Download plot"
    expect(button).to_have_attribute("aria-label", said, timeout=SLOW_MS)
    with page.expect_download(timeout=SLOW_MS) as taken:
        button.click(timeout=SLOW_MS)
    assert taken.value.suggested_filename.endswith(f".{form.lower()}")
    return taken.value.path().read_bytes()
