"""Text burnt into the picture: found whatever it says, wherever it stands; a marker alone is none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import grey_opening

from cxr_core.imaging import annotations
from cxr_core.imaging.annotations import text_boxes
from cxr_core.imaging.phantom import make_phantom
from cxr_core.reports.fonts import font

BARE = make_phantom(4).image.copy()
BARE[:160] = BARE[160]  # without what phantoms have written on them


def written(text: str, *, at=(300, 300), size: float = 20, level: float = 1.0, face: str = "DejaVuSans"):
    """A film with text, and where its ink is."""
    sheet = Image.new("L", BARE.shape[::-1], 0)
    ImageDraw.Draw(sheet).text(at, text, fill=255, font=ImageFont.truetype(font(face), size))
    ink = np.asarray(sheet, dtype=np.float32) / 255
    return (BARE * (1 - ink) + level * ink).astype(np.float32), ink > 0.5


def covered(boxes, ink: np.ndarray) -> float:
    inside = np.zeros(ink.shape, dtype=bool)
    for box in boxes:
        inside[box.top : box.bottom, box.left : box.right] = True
    return float((ink & inside).sum() / ink.sum())


def test_a_film_without_text_has_none():
    assert text_boxes(BARE) == ()


@pytest.mark.parametrize("face", ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono"])
@pytest.mark.parametrize("text", ["SMITH^JOHN", "Rossi, Maria 1962", "12/03/2019 14:22", "ID: 4471 123"])
def test_text_is_found_in_every_letter(text, face):
    film, ink = written(text, face=face)
    assert covered(text_boxes(film), ink) == 1


@pytest.mark.parametrize("size", [12, 16, 24, 40, 64])
@pytest.mark.parametrize("at", [(4, 4), (640, 200), (330, 420), (20, 940)])
def test_any_size_and_place_will_do(size, at):
    film, ink = written("SMITH, J", size=size, at=at)
    assert covered(text_boxes(film), ink) > 0.99


@pytest.mark.parametrize("turns", [1, 3])
def test_text_that_runs_up_or_down_is_found(turns):
    film, ink = written("SMITH JOHN")
    assert covered(text_boxes(np.rot90(film, turns)), np.rot90(ink, turns)) > 0.95


def test_dark_text_is_found():
    film, ink = written("SMITH JOHN", size=30)
    assert covered(text_boxes(1 - film), ink) > 0.95


def test_text_on_a_film_of_three_thousand_pixels_is_found():
    film, ink = written("SMITH JOHN")
    large = np.kron(film, np.ones((3, 3), dtype=np.float32))
    boxes = text_boxes(large)
    assert covered(boxes, np.kron(ink, np.ones((3, 3), dtype=bool))) == 1
    assert sum((box.bottom - box.top) * (box.right - box.left) for box in boxes) < 0.02 * large.size


@pytest.mark.parametrize("text", ["R", "L", "AP", "HS"])
def test_a_marker_alone_is_no_text(text):
    assert text_boxes(written(text, size=40)[0]) == ()


@pytest.mark.parametrize("seed", range(3))
def test_of_a_phantom_only_its_word_is_text(seed):
    phantom = make_phantom(seed, size=400)
    word = phantom.masks["marker"].copy()
    word[:, :200] = False
    boxes = text_boxes(phantom.image)
    assert boxes
    assert covered(boxes, word) == 1
    for box in boxes:
        assert word[box.top : box.bottom, box.left : box.right].any()


@pytest.mark.parametrize("shape", [(64, 64), (64, 20_000), (3000, 70), (65, 1025)])
@pytest.mark.parametrize("kind", ["noise", "blank", "stripes", "checks"])
def test_no_picture_is_too_odd(shape, kind):
    rows, columns = np.indices(shape, dtype=np.float32)
    pictures = {
        "noise": np.random.default_rng(1).random(shape, dtype=np.float32),
        "blank": np.ones(shape, dtype=np.float32),
        "stripes": (columns // 4 % 2).astype(np.float32),
        "checks": ((rows // 8 + columns // 8) % 2).astype(np.float32),
    }
    for box in text_boxes(pictures[kind]):
        assert 0 <= box.top < box.bottom <= shape[0]
        assert 0 <= box.left < box.right <= shape[1]


@pytest.mark.parametrize("width", [5, 7, 8])
def test_strokes_are_the_top_hat(width):
    grey = np.random.default_rng(width).integers(0, 256, (60, 73)).astype(np.uint8)
    inside = (slice(width, -width), slice(width, -width))
    reference = grey - grey_opening(grey, (width, width), mode="nearest")
    assert np.array_equal(annotations._strokes(grey, width)[inside], reference[inside])
