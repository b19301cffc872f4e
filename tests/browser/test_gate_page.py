"""A photograph, an upside-down film and an inverted one in real Chromium: what is said, and the way on."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Page, expect

from cxr_core.imaging.phantom import make_phantom
from tests.browser.app import ready
from tests.browser.conftest import Watched
from tests.browser.test_triage import CONTRAST, drop

pytestmark = pytest.mark.browser
TURN, INVERT = "Turn it upright and assess it", "Invert it and assess it"


def film(seed: int) -> np.ndarray:
    """A film of its own: all tests share one worklist."""
    return np.round(255 * make_phantom(seed, {"Effusion": 0.9}, size=512).image).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def photograph() -> bytes:
    """A house on a hill under a cloudy sky, in colour."""
    rng = np.random.default_rng(7)
    sky = np.linspace((90, 140, 220), (200, 215, 235), 480)[:, None, :].repeat(640, axis=1)
    picture = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for x, y in rng.uniform((0, 20), (640, 150), (14, 2)):
        draw.ellipse((x - 50, y - 14, x + 50, y + 14), fill=(240, 240, 245))
    picture = picture.filter(ImageFilter.GaussianBlur(6))
    draw = ImageDraw.Draw(picture)
    draw.polygon([(0, 330), (220, 250), (460, 300), (640, 240), (640, 480), (0, 480)], fill=(70, 120, 50))
    draw.rectangle((250, 210, 390, 330), fill=(190, 90, 60))
    draw.polygon([(235, 210), (320, 140), (405, 210)], fill=(90, 50, 40))
    for x in (270, 345):
        draw.rectangle((x, 240, x + 28, 270), fill=(250, 230, 140))
    grain = rng.normal(0, 6, (480, 640, 3))
    return png(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def answered(page: Page) -> None:
    """Wait until the card of the only film is there."""
    page.locator(".banner").first.wait_for(timeout=60_000)
    ready(page)


def test_a_photograph_is_not_assessed_and_nothing_is_offered(watched: Watched) -> None:
    page = watched.page
    drop(page, ("holiday.png", photograph()))
    answered(page)
    expect(page.get_by_text("Not assessed – a person must look")).to_be_visible()
    expect(page.locator(".st-key-card")).to_contain_text(re.compile("Code: (not_radiograph|cross_section)"))
    expect(page.locator(".row")).to_have_count(0)
    expect(page.locator(".st-key-correct")).to_have_count(0)


@pytest.mark.parametrize(
    ("seed", "code", "button", "said"),
    [(61, "upside_down", TURN, "turned half round"), (62, "inverted", INVERT, "inverted")],
)
def test_a_film_that_hangs_wrong_is_corrected_assessed_and_taken_back(
    watched: Watched, seed: int, code: str, button: str, said: str
) -> None:
    page, upright = watched.page, film(seed)
    sent = np.rot90(upright, 2) if code == "upside_down" else 255 - upright
    drop(page, ("film.png", png(sent)))
    answered(page)
    expect(page.locator(".st-key-card")).to_contain_text(f"Code: {code}")
    before = page.locator("canvas").screenshot()
    offer = page.locator(".st-key-correct")
    expect(offer.locator("img")).to_be_visible()
    assert offer.locator("img").evaluate("each => each.naturalWidth") == 320
    expect(offer).to_contain_text(said)
    assert page.evaluate(CONTRAST) == []
    page.get_by_role("button", name=button).dblclick()
    expect(page.locator(".row")).to_have_count(14, timeout=60_000)
    ready(page)
    expect(offer).to_have_count(0)
    expect(page.locator(".st-key-corrected")).to_contain_text(f"Corrected by hand: {said}.")
    expect(page.locator(".st-key-card")).to_contain_text("corrected before it was assessed")
    assert page.locator("canvas").screenshot() != before
    assert page.evaluate(CONTRAST) == []
    page.get_by_role("button", name="Open study").click()
    ready(page)
    page.get_by_text("History · 1").click()
    expect(page.locator(".entry")).to_contain_text(f"corrected a film: {said}")
    page.get_by_text("Films", exact=True).click()
    ready(page)
    page.get_by_role("button", name="Take the correction back").click()
    expect(page.get_by_role("button", name=button)).to_be_visible(timeout=60_000)
    expect(page.locator(".st-key-corrected")).to_have_count(0)


def test_a_film_turned_and_inverted_is_set_right_in_two_steps(watched: Watched) -> None:
    page = watched.page
    drop(page, ("both.png", png(255 - np.rot90(film(63), 2))))
    answered(page)
    for step in (TURN, INVERT):
        offered = page.locator(".st-key-correct button")
        expect(offered).to_contain_text(step, timeout=60_000)  # not the button of the step before
        offered.click()
    expect(page.locator(".row")).to_have_count(14, timeout=60_000)
    expect(page.locator(".st-key-corrected")).to_contain_text(
        "Corrected by hand: turned half round, inverted."
    )


def test_an_upright_film_is_assessed_and_nothing_is_offered(watched: Watched) -> None:
    page = watched.page
    drop(page, ("film.png", png(film(64))))
    answered(page)
    expect(page.locator(".row")).to_have_count(14)
    expect(page.locator(".st-key-correct")).to_have_count(0)
    expect(page.locator(".st-key-corrected")).to_have_count(0)
