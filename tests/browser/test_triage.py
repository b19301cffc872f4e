"""What a doctor does, in real Chromium. Every test also fails on console errors and outside requests."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from cxr_core.imaging.phantom import Phantom, make_phantom, phantom_png
from cxr_core.imaging.phantom_dicom import phantom_dicom
from tests.browser import app
from tests.browser.app import ready
from tests.browser.conftest import Watched

pytestmark = pytest.mark.browser
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


def fluid(seed: int) -> Phantom:
    """A film of its own, also by its UIDs: all tests share one worklist."""
    return make_phantom(seed, {"Effusion": 0.9}, size=512)


FLUID = fluid(4)


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    page.locator("input[type=file]").set_input_files(
        [{"name": name, "mimeType": "application/octet-stream", "buffer": raw} for name, raw in files]
    )


def pixels(page: Page) -> bytes:
    page.wait_for_timeout(150)
    return page.locator("canvas").screenshot()


def test_png_dicom_and_broken_file_become_three_cards(watched: Watched) -> None:
    page = watched.page
    dicom = phantom_dicom(fluid(14), patient_id="P-77", patient_name="Doe^Jane")
    other = phantom_dicom(make_phantom(5, size=512), patient_id="P-78")
    drop(page, ("film.png", phantom_png(FLUID)), ("film.dcm", dicom), ("broken.dcm", other[:3000]))
    expect(page.get_by_text("3 films, most urgent first")).to_be_visible(timeout=30_000)
    expect(page.locator(".st-key-films button").filter(has_text="Being assessed")).to_have_count(
        0, timeout=60_000
    )
    page.locator(".st-key-films button").filter(has_text="not assessed").click()
    expect(page.get_by_text("Not assessed – a person must look")).to_be_visible()
    expect(page.get_by_text("Export the film again")).to_be_visible()
    expect(page.locator("canvas")).to_have_count(0)
    page.locator(".st-key-films [data-testid=stVerticalBlock]").filter(has_text="P-77").locator(
        "button"
    ).last.click()
    expect(page.locator(".st-key-name")).to_have_text("Doe, Jane")
    expect(page.locator(".st-key-facts")).to_contain_text("ID P-77")
    ready(page)
    expect(page.locator(".banner .due")).to_contain_text("read within")
    expect(page.locator(".row")).to_have_count(14)


def test_the_json_that_is_downloaded_says_what_the_card_says(watched: Watched) -> None:
    page = watched.page
    drop(page, ("film.dcm", phantom_dicom(FLUID)))
    ready(page)
    download = app.download(page, "JSON")
    record = json.loads(Path(download.path()).read_text(encoding="utf-8"))
    assert download.suggested_filename.startswith("neuraray-")
    assert "Phantom" not in download.suggested_filename
    assert record["file"] == "film.dcm"
    assert len(record["findings"]) == 14
    expect(page.locator(".banner .due")).to_contain_text(record["urgency"].upper())
    assert page.locator(".row.positive").count() == sum(finding["positive"] for finding in record["findings"])


@pytest.mark.parametrize(("kind", "magic"), [("PDF", b"%PDF-"), ("PNG", b"\x89PNG")])
def test_report_and_picture_can_be_downloaded(watched: Watched, kind: str, magic: bytes) -> None:
    page = watched.page
    drop(page, ("film.dcm", phantom_dicom(FLUID)))
    ready(page)
    download = app.download(page, kind)
    assert Path(download.path()).read_bytes().startswith(magic)


def test_every_control_of_the_viewer_changes_the_picture_and_reset_undoes_it(watched: Watched) -> None:
    page = watched.page
    page.get_by_role("button", name="Film with findings").click()
    ready(page)
    canvas, first = page.locator("canvas"), pixels(page)
    acts: dict[str, Callable[[], object]] = {
        "contour": lambda: page.get_by_label("Contour").check(),
        "invert": lambda: page.get_by_label("Invert").check(),
        "opacity": lambda: page.get_by_label("Opacity").fill("0"),
        "window": lambda: page.get_by_label("Window").fill("40"),
        "level": lambda: page.get_by_label("Level").fill("80"),
        "zoom": lambda: page.get_by_role("button", name="Zoom in").click(),
        "wheel": lambda: (canvas.hover(), page.mouse.wheel(0, -300)),
        "keyboard": lambda: (canvas.focus(), page.keyboard.press("+"), page.keyboard.press("ArrowLeft")),
    }
    for name, act in acts.items():
        act()
        assert pixels(page) != first, name
        canvas.dblclick(position={"x": 20, "y": 200})
        page.evaluate("document.activeElement.blur()")
        page.mouse.move(0, 0)
        assert pixels(page) == first, f"reset after {name}"


def test_the_finding_selector_moves_the_heatmap_and_its_caption(watched: Watched) -> None:
    page = watched.page
    page.get_by_role("button", name="Film with findings").click()
    ready(page)
    select, canvas = page.get_by_label("Heatmap"), page.locator("canvas")
    before, label = pixels(page), canvas.get_attribute("data-finding")
    caption = page.locator(".caption").inner_text()
    select.select_option(index=3)
    expect(canvas).not_to_have_attribute("data-finding", str(label))
    assert page.locator(".caption").inner_text() != caption
    assert pixels(page) != before
    canvas.focus()
    page.keyboard.press("[")
    page.keyboard.press("[")
    page.keyboard.press("[")
    expect(canvas).to_have_attribute("data-finding", str(label))


def test_a_finding_without_region_says_so_over_the_film(watched: Watched) -> None:
    page = watched.page
    page.get_by_role("button", name="Film with findings").click()
    ready(page)
    select = page.get_by_label("Heatmap")
    for index in range(select.locator("option").count()):
        select.select_option(index=index)
        page.wait_for_timeout(60)
        caption = page.locator(".caption").inner_text()
        silent = "No single place" in caption or "whole film speaks" in caption
        assert page.locator(".message").is_visible() == silent


def test_hostile_text_is_shown_literally_and_asks_nobody_outside(watched: Watched) -> None:
    page = watched.page
    name = "![x](http://evil.example/a.png) <img src onerror>"
    page.on("dialog", lambda dialog: pytest.fail("a name ran as a script"))
    drop(page, ("<script>alert(1)</script>.dcm", phantom_dicom(fluid(24), patient_id="", patient_name=name)))
    ready(page)
    expect(page.locator(".st-key-name")).to_have_text(name)
    page.get_by_role("button", name="Study details").click()
    page.get_by_label("Clinical question").fill("[click](http://evil.example) <b>now</b>")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".st-key-facts")).to_contain_text("Question: [click](http://evil.example) <b>now</b>")
    expect(page.get_by_label("Clinical question")).to_have_count(0)


def test_the_view_survives_what_is_done_elsewhere_on_the_page(watched: Watched) -> None:
    page = watched.page
    page.get_by_role("button", name="Film with findings").click()
    ready(page)
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Study details").click()
    page.get_by_label("Referrer", exact=True).fill("Dr Low")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".st-key-facts")).to_contain_text("Dr Low")
    expect(page.locator("canvas")).to_have_attribute("data-zoom", "1.30")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (820, 1180)])
def test_urgency_and_film_are_in_sight_and_nothing_sticks_out(
    watched: Watched, width: int, height: int
) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": height})
    page.get_by_role("button", name="Film with findings").click()
    ready(page)
    page.wait_for_timeout(300)
    for place in (".st-key-name", ".banner", "canvas"):
        box = page.locator(place).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width + 1
        assert box["y"] + box["height"] <= height
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("each => each.scrollWidth <= each.clientWidth + 1")


def test_all_text_has_the_contrast_of_wcag_aa(watched: Watched) -> None:
    page = watched.page
    assert page.evaluate(CONTRAST) == []
    page.get_by_role("button", name="Film with findings").click()
    ready(page)
    page.wait_for_timeout(300)
    assert page.evaluate(CONTRAST) == []
