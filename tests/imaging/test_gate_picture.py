"""Exposure, sharpness and view by the picture alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_core.domain import Notice, View
from cxr_core.errors import Rejected
from cxr_core.imaging.gate import COARSE_PX
from cxr_core.imaging.gate_picture import checked, exposure, sharpness, shows_spine
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.phantom_findings import DRAWN
from cxr_core.imaging.preprocess import coarser

LATERAL = (
    "00001602_000.png",
    "00001758_001.png",
    "00001803_003.png",
    "00002058_012.png",
    "00002097_000.png",
    "00002354_000.png",
    "00002391_000.png",
    "00002592_003.png",
    "00002639_009.png",
    "00002644_006.png",
    "00002705_000.png",
    "00003023_000.png",
    "00003094_002.png",
    "00003122_001.png",
    "00003426_035.png",
)
"""Films of NIH's train list that show a chest from the side, found by eye among 350 that look it most."""


@cache
def film(seed: int = 3, size: int = 256) -> np.ndarray:
    return make_phantom(seed, size=size).image


def _checked(pixels: np.ndarray) -> tuple[Notice, ...]:
    return checked(pixels, coarser(pixels, COARSE_PX))


def codes(pixels: np.ndarray) -> list[str]:
    return [one.code for one in _checked(np.ascontiguousarray(pixels, dtype=np.float32))]


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)).clip(0, 1)


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of so many pixels, by convolution of rows and columns."""
    radius = int(4 * sigma)
    bell = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    bell /= bell.sum()
    padded = np.pad(pixels, radius, mode="edge")
    for axis in (0, 1):
        padded = np.apply_along_axis(np.convolve, axis, padded, bell, "valid")
    return padded.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("view", [View.PA, View.AP])
@pytest.mark.parametrize("findings", [(), tuple(DRAWN)], ids=["healthy", "every finding"])
def test_no_invented_film_is_warned_of(view, findings):
    said = {seed: codes(make_phantom(seed, findings, size=128, view=view).image) for seed in range(30)}
    assert {seed: one for seed, one in said.items() if one} == {}


@pytest.mark.slow
@pytest.mark.parametrize("finding", DRAWN)
def test_no_finding_alone_is_warned_of(finding):
    pixels = make_phantom(5, [finding], size=128, view=View.AP).image
    assert codes(pixels) == []


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_a_blank_picture_is_refused(grey):
    pixels = np.full((256, 300), grey, dtype=np.float32)
    pixels[0, 0] = 1 - grey
    with pytest.raises(Rejected, match="blank_image"):
        _checked(pixels)


def test_a_film_that_is_mostly_pure_black_and_white_is_refused():
    pixels = np.clip((film() - np.median(film())) * 9 + 0.5, 0, 1)
    with pytest.raises(Rejected, match="saturated"):
        _checked(pixels)


def test_black_bars_are_neither_saturation_nor_darkness():
    pixels = np.pad(film(), ((0, 0), (300, 300)))
    assert np.mean(pixels == 0) > 0.6
    assert exposure(pixels) == exposure(film())
    assert not {"too_dark", "low_contrast"} & set(codes(pixels))


@pytest.mark.parametrize("spoil", [lambda grey: grey * 0.35, lambda grey: grey**6], ids=["scaled", "gamma"])
def test_a_dark_film_is_warned_of(spoil):
    assert "too_dark" in codes(spoil(film()))


def test_a_flat_film_is_warned_of():
    assert codes(0.5 + (film() - 0.5) / 6) == ["low_contrast"]


def test_the_faintest_film_that_is_not_blank_is_judged():
    assert {"too_dark", "low_contrast"} <= set(codes(0.02 + film() * 0.04))


@pytest.mark.parametrize(("sigma", "said"), [(2, []), (16, ["blurred"])])
def test_only_a_blur_that_the_model_would_see_is_warned_of(sigma, said):
    """On 1,024 pixels, so 0.25 and 2 pixels of the model's 128."""
    assert codes(blurred(resized(film(), 1024, 1024), sigma)) == said


def test_a_small_film_is_not_called_blurred_for_being_small():
    small = resized(film(), 64, 64)
    assert sharpness(resized(small, 128, 128)) < 0.6
    assert codes(small) == []


def test_neither_contrast_nor_letters_count_as_sharpness():
    square = resized(film(), 128, 128)
    assert sharpness(0.3 + square / 3) == pytest.approx(sharpness(square), rel=1e-4)
    soft = blurred(square, 2)
    soft[:20, :40] = np.indices((20, 40)).sum(axis=0) // 2 % 2
    assert sharpness(soft) < 0.6


@pytest.mark.parametrize("shape", [(700, 500), (500, 700), (1031, 997), (2100, 517), (128, 128)])
def test_a_film_of_any_shape_is_one_and_the_same_film(shape):
    assert codes(resized(film(), *shape)) == []
    assert sharpness(resized(film(), 128, 128)) > 0.6


def lateral() -> np.ndarray:
    """A trunk from the side: a dark chest in the middle, spine at one edge, breast at the other."""
    rows, columns = np.mgrid[:256, :256] / 256
    grey = np.where(np.abs(columns - 0.5) < 0.42, 0.8, 0.02)
    lung = ((columns - 0.48) / 0.24) ** 2 + ((rows - 0.45) / 0.36) ** 2 < 1
    grey[lung] = 0.25 + 0.3 * columns[lung] + 0.1 * rows[lung]
    texture = np.random.default_rng(0).normal(0, 0.05, (128, 128)).astype(np.float32)
    return (resized(grey.astype(np.float32), 128, 128) + texture).clip(0, 1)


@pytest.mark.parametrize("turn", [lambda film: film, np.fliplr], ids=["left", "right"])
def test_a_film_from_the_side_shows_no_spine_between_lungs(turn):
    assert "looks_lateral" in codes(turn(lateral()))
    assert shows_spine(np.ascontiguousarray(turn(resized(film(), 128, 128))))


def warned(folder: Path, names: Sequence[str], code: str = "") -> int:
    """Of how many films in a folder `code`, or anything, is said."""
    said = []
    for name in names:
        with Image.open(folder / name) as image:
            said.append(codes(np.asarray(image, dtype=np.float32) / 255))
    return sum(code in one if code else bool(one) for one in said)


def test_at_most_one_val_film_in_a_hundred_is_warned_of(data_dir):
    names = (data_dir / "nih/val_list.txt").read_text().split()[::3]
    assert warned(data_dir / "nih/images", names) <= 0.01 * len(names)


def test_the_film_from_the_side_is_warned_of(data_dir):
    assert warned(data_dir / "not_chest", ["lateral_chest_0001.jpg"], "looks_lateral") == 1


def test_most_films_from_the_side_that_hide_among_frontal_ones_are_warned_of(data_dir):
    assert warned(data_dir / "nih/images", LATERAL, "looks_lateral") >= 0.8 * len(LATERAL)
