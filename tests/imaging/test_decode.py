"""The one door: formats by their first bytes, and nothing but Rejected ever leaves."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from cxr_core.domain import Radiograph
from cxr_core.errors import Rejected
from cxr_core.imaging.decode import decode, sniff
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.refusals import REFUSALS
from tests.imaging.dicom_files import as_bytes, dataset, film_file, insert_element, ramp

LIMITS = Limits()
NAME = "Zebedee"
PREAMBLE = bytes(128) + b"DICM"


def _raster(kind: str, mode: str) -> bytes:
    stream = BytesIO()
    Image.fromarray(ramp("uint8", 8)).convert(mode).save(stream, kind)
    return stream.getvalue()


def _dicom(syntax=None, **tags) -> bytes:
    made = dataset(
        ramp(),
        BitsStored=12,
        WindowCenter=2048,
        WindowWidth=4096,
        PatientName=f"{NAME}^{NAME}",
        PatientID=NAME,
        PatientAge="042Y",
        StudyDate="20260102",
        StudyTime="0304",
        **tags,
    )
    if syntax:
        made.compress(syntax, generate_instance_uid=False)
    return as_bytes(made)


SEEDS = {
    "png": _raster("PNG", "L"),
    "png palette": _raster("PNG", "P"),
    "png rgba": _raster("PNG", "RGBA"),
    "jpeg": _raster("JPEG", "L"),
    "jpeg cmyk": _raster("JPEG", "CMYK"),
    "dicom": _dicom(PixelPaddingValue=0, PatientOrientation=["L", "F"], ViewPosition=None),
    "dicom rle": _dicom(RLELossless),
    "dicom jpeg 2000": _dicom(JPEG2000Lossless),
    "dicom jpeg-ls": _dicom(JPEGLSLossless),
    "dicom implicit": film_file(ramp("int16", 12, low=-9), syntax=ImplicitVRLittleEndian, RescaleSlope=2),
    "dicom big endian": film_file(ramp("uint8", 8), syntax=ExplicitVRBigEndian),
    "dicom bare": as_bytes(dataset(ramp("uint8", 8), PatientID=NAME), preamble=False),
}


def film_or_refusal(raw: bytes) -> Radiograph | Rejected:
    try:
        return decode(raw, LIMITS)
    except Rejected as refused:
        return refused


def check(raw: bytes) -> None:
    """Decode; whatever the bytes, a film of numbers in [0, 1] or a coded refusal without patient data."""
    film = film_or_refusal(raw)
    if isinstance(film, Rejected):
        assert film.code in REFUSALS
        assert film.message
        assert film.hint
        assert NAME not in f"{film} {film.hint}"
        return
    assert film.pixels.dtype == np.float32
    assert film.pixels.ndim == 2
    assert film.pixels.flags.c_contiguous
    assert np.isfinite(film.pixels).all()
    assert film.pixels.min() >= 0
    assert film.pixels.max() <= 1


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_is_a_film(name):
    assert decode(SEEDS[name], LIMITS).pixels.shape == (100, 100)


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_only_rejected_leaves_for_changed_bytes(name, data):
    raw = bytearray(SEEDS[name])
    head = min(len(raw), 1200)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, head - 1) | st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    check(bytes(raw))


@pytest.mark.parametrize("name", SEEDS)
def test_only_rejected_leaves_for_cut_spliced_and_repeated_bytes(name):
    raw, chance = SEEDS[name], random.Random(7)  # noqa: S311 (no secret)
    for _ in range(60):
        start, end = sorted(chance.randrange(min(len(raw), 1500)) for _ in range(2))
        middle = chance.choice([b"", raw[start:end] * 2, bytes(end - start), chance.randbytes(8)])
        check(raw[:start] + middle + raw[end:])
        check(raw[: chance.randrange(len(raw))])


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\x08\0", b"\x02\0\x10\0", bytes(128) + b"DICM", b"\xff\xd8\xff"]),
)
def test_only_rejected_leaves_for_any_bytes(tail, start):
    check(start + tail)


TAGS = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "NumberOfFrames",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "PixelData",
    "PhotometricInterpretation",
    "PatientAge",
    "StudyDate",
    "StudyTime",
    "AcquisitionDateTime",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientOrientation",
    "PixelSpacing",
    "ViewPosition",
    "Modality",
    "SpecificCharacterSet",
    "VOILUTSequence",
    "ModalityLUTSequence",
    "ViewCodeSequence",
    "StudyInstanceUID",
    "BurnedInAnnotation",
    "PatientSex",
    "PatientBirthDate",
)
WORDS = st.text(max_size=20) | st.floats().map(str) | st.integers().map(str) | st.just("1e308\\1e308")
VALUES = st.binary(max_size=30) | WORDS.map(lambda word: word.encode("utf-8", "replace"))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TAGS), VALUES, st.sampled_from(["", "UN", "LO", "SQ"]))
def test_only_rejected_leaves_for_any_value_of_any_tag(keyword, value, vr):
    made = dataset(ramp(), BitsStored=12)
    if keyword in made:
        delattr(made, keyword)
    check(insert_element(as_bytes(made), keyword, value, vr))


def test_numbers_beyond_all_range_are_refused_not_shown():
    for tags in ({"RescaleSlope": "1e308", "RescaleIntercept": "-1e308"}, {"RescaleSlope": "1e305"}):
        check(film_file(ramp(), BitsStored=12, **tags))


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty_file"),
        (b"hello", "unknown_format"),
        (b"\0" * 500, "unknown_format"),
        (b"%PDF-1.7 ...", "unsupported_format"),
        (b"PK\x03\x04" + bytes(50), "unsupported_format"),
        (b"GIF89a" + bytes(50), "unsupported_format"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "unsupported_format"),
        (b"II*\0" + bytes(50), "unsupported_format"),
        (b"\x89PNG\r\n\x1a\n", "broken_image"),
        (b"\xff\xd8\xff\xe0", "broken_image"),
        (bytes(128) + b"DICM", "no_pixels"),
        (b"\x08\0\x05\0CS\n\0ISO_IR 100", "unknown_format"),
        (SEEDS["png"][:128] + b"DICM" + SEEDS["dicom"][132:], "ambiguous_format"),
    ],
)
def test_what_is_no_film_is_refused_by_code(raw, code):
    with pytest.raises(Rejected) as caught:
        decode(raw, LIMITS)
    assert caught.value.code == code


def test_a_preamble_that_is_another_format_does_not_hide_dicom():
    tiff = b"II*\0" + bytes(124)
    assert sniff(tiff + SEEDS["dicom"][128:]) == "DICOM"


def test_the_same_bytes_give_the_same_film():
    first, second = (decode(SEEDS["dicom"], LIMITS) for _ in range(2))
    assert first.sha256 == second.sha256
    assert first.study == second.study
    np.testing.assert_array_equal(first.pixels, second.pixels)


def test_threads_decode_the_same_films():
    raws = list(SEEDS.values())
    alone = [decode(raw, LIMITS).pixels for raw in raws]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda raw: decode(raw, LIMITS).pixels, raws * 4))
    for turn, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[turn % len(raws)])
