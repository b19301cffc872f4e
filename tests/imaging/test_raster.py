"""PNG and JPEG: every depth and mode gives the same film."""

from __future__ import annotations

import hashlib
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageOps

from cxr_core.errors import Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.raster import NoFilm

LIMITS = Limits()
GREY = np.add.outer(np.arange(96), np.arange(120)).astype(np.uint8)
"""Unequal sides, so that a lost turn shows."""


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def film(image: Image.Image, kind: str = "PNG", **options) -> np.ndarray:
    return decode(saved(image, kind, **options), LIMITS).pixels


def codes(raw: bytes) -> list[str]:
    return [note.code for note in decode(raw, LIMITS).notes]


def test_eight_bit_grey_is_value_over_255():
    pixels = film(Image.fromarray(GREY))
    assert pixels.dtype == np.float32
    assert_allclose(pixels, GREY / 255, atol=1e-7)


def test_sixteen_bit_grey_keeps_its_depth():
    values = np.linspace(0, 65535, 96 * 120).astype(np.uint16).reshape(96, 120)
    pixels = film(Image.fromarray(values))
    assert_allclose(pixels, values / 65535, atol=1e-6)
    assert np.unique(pixels).size == np.unique(values).size


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_stored_in_sixteen_use_the_whole_range(bits):
    values = np.linspace(0, 2**bits - 1, 96 * 120).astype(np.uint16).reshape(96, 120)
    assert_allclose(film(Image.fromarray(values)), values / (2**bits - 1), atol=1e-6)


def test_a_hot_pixel_does_not_darken_the_film():
    values = np.linspace(0, 4095, 96 * 120).astype(np.uint16).reshape(96, 120)
    expected = film(Image.fromarray(values))
    values[40, 50] = expected[40, 50] = 65535
    assert_array_equal(film(Image.fromarray(values)), np.minimum(expected, 1))
    values[0, :9] = 65535
    assert film(Image.fromarray(values)).mean() < 0.05, "more than a handful are no defects"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_in_another_mode_is_the_same_film(mode):
    image = Image.fromarray(GREY)
    raw = saved(image.convert(mode))
    assert_array_equal(decode(raw, LIMITS).pixels, film(image))
    assert codes(raw) == []


def test_a_palette_is_looked_up_not_shown():
    image = Image.fromarray((GREY // 100).astype(np.uint8), mode=None)
    image.putpalette([200, 200, 200, 10, 10, 10, 90, 90, 90])
    assert_allclose(film(image), np.array([200, 10, 90])[GREY // 100] / 255, atol=1e-6)


def test_black_and_white_is_read():
    assert set(np.unique(film(Image.fromarray(GREY > 100)))) == {0.0, 1.0}


def test_transparent_parts_are_black():
    alpha = np.full_like(GREY, 255)
    alpha[:, :60] = 0
    pixels = film(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]))
    assert not pixels[:, :60].any()
    assert_array_equal(pixels[:, 60:], film(Image.fromarray(GREY))[:, 60:])


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_of_grey_is_grey_within_its_loss(mode):
    raw = saved(Image.fromarray(GREY).convert(mode), "JPEG", quality=95)
    assert_allclose(decode(raw, LIMITS).pixels, GREY / 255, atol=0.03)
    assert codes(raw) == []
    assert decode(raw, LIMITS).source == "JPEG"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_as_pillow_turns(kind, orientation):
    image = Image.fromarray(GREY)
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = saved(image, kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(BytesIO(raw)))
    assert_array_equal(
        decode(raw, LIMITS).pixels, np.asarray(expected, dtype=np.float32) * np.float32(1 / 255)
    )
    assert codes(raw) == ([] if orientation == 1 else ["turned_by_exif"])


def test_a_damaged_exif_block_does_not_cost_the_film():
    raw = saved(Image.fromarray(GREY), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\xff\xff")
    assert decode(raw, LIMITS).pixels.shape == GREY.shape


@pytest.mark.parametrize(
    "tint", [(1.0, 0.9, 0.7), (0.5, 0.8, 1.0), (0.2, 0.9, 0.3)], ids=["sepia", "blue", "green"]
)
def test_a_tinted_film_is_passed_on_as_brightness_with_a_note(tint):
    rgb = (GREY[..., None] * np.array(tint)).astype(np.uint8)
    raw = saved(Image.fromarray(rgb))
    assert codes(raw) == ["colour_picture"]
    expected = rgb @ np.array([0.299, 0.587, 0.114]) / 255
    assert_allclose(decode(raw, LIMITS).pixels, expected, atol=1.1 / 255)
    assert codes(saved(Image.fromarray(rgb), "JPEG", quality=50)) == ["colour_picture"]


@pytest.mark.parametrize(("side", "said"), [(10, []), (24, ["colour_picture"])])
def test_a_coloured_marker_does_not_cost_the_film(side, said):
    rgb = np.stack([GREY] * 3, axis=2)
    rgb[:side, :side] = (255, 0, 0)
    assert codes(saved(Image.fromarray(rgb))) == said


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P"])
def test_a_picture_of_many_colours_is_no_film(mode):
    hue = np.random.default_rng(0).integers(0, 256, (96, 120, 3), dtype=np.uint8)
    picture = Image.fromarray((hue // 2 + GREY[..., None] // 2).astype(np.uint8)).convert(mode)
    with pytest.raises(NoFilm, match="not_radiograph") as refused:
        decode(saved(picture, "JPEG" if mode == "CMYK" else "PNG"), LIMITS)
    assert refused.value.radiograph.pixels.shape == (96, 120)


def test_an_animated_png_is_refused():
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    raw = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(Rejected, match="too_many_frames"):
        decode(raw, LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_truncation_is_refused(kind):
    raw = saved(Image.fromarray(GREY), kind)
    for length in range(0, len(raw) - 20, max(1, len(raw) // 150)):
        with pytest.raises(Rejected):
            decode(raw[:length], LIMITS)


def test_a_film_has_the_hash_of_its_file_and_knows_no_patient():
    raw = saved(Image.fromarray(GREY))
    found = decode(raw, LIMITS)
    assert found.sha256 == hashlib.sha256(raw).hexdigest()
    assert found.study.patient_id == ""
    assert found.spacing_mm is None


def test_most_colour_photographs_are_told_from_films(data_dir):
    def said(path: Path) -> str:
        try:
            return decode(path.read_bytes(), LIMITS).notes[0].code
        except Rejected as exc:
            return exc.code

    photographs = (data_dir / "not_chest").glob("photo_*.jpg")
    assert Counter(map(said, photographs)) == {"not_radiograph": 21, "colour_picture": 3}
