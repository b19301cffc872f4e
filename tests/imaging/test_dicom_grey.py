"""The grey-scale chain against numbers worked by hand and against pydicom's own functions."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from cxr_core.imaging.dicom_grey import apply_window
from tests.imaging.dicom_files import codes, film_file, pixels_of, ramp, refusal


def pydicom_display(raw: bytes) -> np.ndarray:
    """What pydicom makes of the file after modality and VOI LUT, unscaled."""
    read = dcmread(BytesIO(raw))
    return np.asarray(apply_voi_lut(apply_modality_lut(read.pixel_array, read), read), dtype=np.float64)


def lut(entries: np.ndarray, first: int, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [entries.size % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    item.ModalityLUTType = "US"
    return item


@pytest.mark.parametrize(
    ("function", "centre", "width", "value", "expected"),
    [
        ("LINEAR", 2048, 4096, 0, 0.0),
        ("LINEAR", 2048, 4096, 4095, 1.0),
        ("LINEAR", 2048, 4096, 1024, (1024 - 2047.5) / 4095 + 0.5),
        ("LINEAR", 0, 100, -50, 0.0),
        ("LINEAR", 0, 100, -49, 1 / 99),
        ("LINEAR", 0, 100, 49, 1.0),
        ("LINEAR", 2048, 1, 2047, 0.0),
        ("LINEAR", 2048, 1, 2048, 1.0),
        ("LINEAR_EXACT", 0, 100, -50, 0.0),
        ("LINEAR_EXACT", 0, 100, 0, 0.5),
        ("LINEAR_EXACT", 0, 100, 50, 1.0),
        ("SIGMOID", 0, 100, 0, 0.5),
        ("SIGMOID", 0, 100, 25, 0.731058579),
        ("SIGMOID", 0, 100, -50, 0.119202922),
        ("SIGMOID", 0, 0.5, -30000, 0.0),
        ("SOMETHING", 2048, 4096, 4095, 1.0),
    ],
)
def test_windows_give_the_numbers_of_the_standard(function, centre, width, value, expected):
    found = apply_window(np.array([float(value)]), centre, width, function)
    assert_allclose(found, [expected], atol=1e-9)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2.5, -1024)])
def test_window_after_rescale_is_what_pydicom_shows(function, slope, intercept):
    centre, width = slope * 1500 + intercept, 2000
    raw = film_file(
        ramp(),
        BitsStored=12,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        WindowCenter=centre,
        WindowWidth=width,
        VOILUTFunction=function,
    )
    ends = sorted((intercept, slope * 4095 + intercept))
    expected = pydicom_display(raw)
    # pydicom scales to the range that the stored bits can have after rescale
    assert_allclose(pixels_of(raw), (expected - ends[0]) / (ends[1] - ends[0]), atol=1e-5)


def test_a_negative_slope_turns_the_film_over():
    raw = film_file(
        ramp(), BitsStored=12, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096
    )
    assert_allclose(pixels_of(raw), 1 - ramp() / 4095, atol=1e-6)


def test_the_first_of_several_windows_is_used():
    both = film_file(ramp(), BitsStored=12, WindowCenter=[2048, 100], WindowWidth=[4096, 20])
    one = film_file(ramp(), BitsStored=12, WindowCenter=2048, WindowWidth=4096)
    assert_array_equal(pixels_of(both), pixels_of(one))


def test_monochrome1_is_turned_to_bright_bone():
    tags = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    straight = pixels_of(film_file(ramp(), **tags))
    inverted = pixels_of(film_file(ramp(), PhotometricInterpretation="MONOCHROME1", **tags))
    assert_allclose(inverted, 1 - straight, atol=1e-6)


def test_voi_lut_is_what_pydicom_shows():
    entries = (np.linspace(0, 1, 4096) ** 2 * 65535).round()
    raw = film_file(
        ramp(), BitsStored=12, VOILUTSequence=[lut(entries, 0, 16)], WindowCenter=1, WindowWidth=2
    )
    assert_allclose(pixels_of(raw), pydicom_display(raw) / 65535, atol=1e-5)


def test_voi_lut_of_fewer_bits_than_declared_uses_the_whole_range():
    raw = film_file(ramp(), BitsStored=12, VOILUTSequence=[lut(np.arange(4096), 0, 16)])
    assert_allclose(pixels_of(raw), ramp() / 4095, atol=1e-6)


def test_modality_lut_is_what_pydicom_shows():
    entries = (np.sqrt(np.linspace(0, 1, 3000)) * 4000).round()
    raw = film_file(
        ramp(),
        BitsStored=12,
        ModalityLUTSequence=[lut(entries, 500, 16)],
        WindowCenter=2000,
        WindowWidth=4001,
        VOILUTFunction="LINEAR_EXACT",
    )
    read = dcmread(BytesIO(raw))
    modality = apply_modality_lut(read.pixel_array, read).astype(np.float64)
    assert_allclose(pixels_of(raw), np.clip((modality - 2000) / 4001 + 0.5, 0, 1), atol=1e-5)


def test_modality_lut_that_starts_below_zero():
    pixels = ramp("int16", 12, low=-2048)
    raw = film_file(pixels, BitsStored=12, ModalityLUTSequence=[lut(np.arange(4096), -2048, 16)])
    assert_allclose(pixels_of(raw), (pixels + 2048) / 4095, atol=1e-6)


def test_a_lut_of_packed_bytes_is_read():
    item = lut(np.arange(2), 0, 8)
    item.LUTDescriptor = [256, 0, 8]
    item.LUTData = (np.arange(256)[::-1]).astype(np.uint8).tobytes()
    pixels = ramp("uint8", 8)
    assert_allclose(pixels_of(film_file(pixels, VOILUTSequence=[item])), 1 - pixels / 255, atol=1e-6)


def test_a_lut_shorter_than_it_says_is_refused():
    item = lut(np.arange(100), 0, 16)
    item.LUTDescriptor = [4096, 0, 16]
    assert refusal(film_file(ramp(), BitsStored=12, ModalityLUTSequence=[item])) == "broken_dicom"


def test_signed_pixels():
    pixels = ramp("int16", 12, low=-2048)
    raw = film_file(pixels, BitsStored=12, WindowCenter=0, WindowWidth=4096)
    assert_allclose(pixels_of(raw), np.clip((pixels + 0.5) / 4095 + 0.5, 0, 1), atol=1e-6)


def test_bits_outside_those_stored_are_ignored():
    pixels = ramp()
    overlay = pixels | np.uint16(0x8000)
    raw = film_file(overlay, BitsStored=12, WindowCenter=2048, WindowWidth=4096)
    assert_allclose(pixels_of(raw), pixels / 4095, atol=1e-6)


def test_pixels_in_the_high_bits():
    pixels = ramp()
    raw = film_file(pixels << 4, BitsStored=12, HighBit=15, WindowCenter=2048, WindowWidth=4096)
    assert_allclose(pixels_of(raw), pixels / 4095, atol=1e-6)


def test_eight_bits_without_window_look_like_the_png_of_them():
    pixels = ramp("uint8", 7)
    raw = film_file(pixels)
    assert_array_equal(pixels_of(raw), (pixels / 255).astype(np.float32))
    assert codes(raw) == []


def test_deep_pixels_without_window_use_the_full_range_and_say_so():
    pixels = ramp(bits=10) + np.uint16(200)
    raw = film_file(pixels, BitsStored=12)
    assert_allclose(pixels_of(raw), (pixels - 200) / 1023, atol=1e-6)
    assert codes(raw) == ["no_window"]


@pytest.mark.parametrize("window", [(2048, 0), (2048, -5), (60000, 10), (-500, 100)])
def test_a_window_that_shows_nothing_is_ignored_with_a_note(window):
    raw = film_file(ramp(), BitsStored=12, WindowCenter=window[0], WindowWidth=window[1])
    assert_allclose(pixels_of(raw), ramp() / 4095, atol=1e-6)
    assert codes(raw) == ["window_ignored"]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_stretch_the_range(photometric):
    pixels = ramp(bits=10) + np.uint16(200)
    pixels[:20] = 4000
    pixels[20:30] = 4090
    raw = film_file(
        pixels,
        BitsStored=12,
        PixelPaddingValue=4000,
        PixelPaddingRangeLimit=4095,
        PhotometricInterpretation=photometric,
    )
    found = pixels_of(raw)
    assert not found[:30].any()
    expected = (pixels[30:] - pixels[30:].min()) / np.ptp(pixels[30:])
    assert_allclose(found[30:], expected if photometric == "MONOCHROME2" else 1 - expected, atol=1e-6)


def test_signed_padding():
    pixels = ramp("int16", 10)
    pixels[:20] = -2000
    found = pixels_of(film_file(pixels, PixelPaddingValue=-2000))
    assert not found[:20].any()
    assert found[20:].max() == 1
