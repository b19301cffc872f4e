"""Bounds hold before anything is decoded."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000, DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

from cxr_core.errors import Rejected, SettingsError
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits, check_bytes, check_frames, check_size
from tests.films import png
from tests.imaging.dicom_files import as_bytes, compressed_file, dataset, film_file, ramp
from tests.worklist.hostile import endless_jpeg

DEFAULT = Limits()


def code_of(raw: bytes, limits: Limits = DEFAULT) -> str:
    with pytest.raises(Rejected) as caught:
        decode(raw, limits)
    return caught.value.code


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG by hand whose header may lie."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def test_a_bound_that_is_met_exactly_is_allowed():
    limits = Limits(max_bytes=10, max_megapixels=0.02, max_side=200, min_side=100, max_frames=2)
    check_bytes(b"x" * 10, limits)
    check_size(100, 200, limits)
    check_frames(2, limits)


@pytest.mark.parametrize(
    ("rows", "columns", "code"),
    [
        (99, 200, "too_small"),
        (200, 99, "too_small"),
        (0, 500, "too_small"),
        (-5, 500, "too_small"),
        (100, 201, "too_large_side"),
        (201, 100, "too_large_side"),
        (101, 200, "too_many_pixels"),
    ],
)
def test_one_beyond_a_bound_is_refused(rows, columns, code):
    limits = Limits(max_megapixels=0.02, max_side=200, min_side=100)
    with pytest.raises(Rejected) as caught:
        check_size(rows, columns, limits)
    assert caught.value.code == code


def test_too_many_bytes_and_frames_are_refused():
    limits = Limits(max_bytes=10, max_frames=1)
    assert code_of(b"", limits) == "empty_file"
    assert code_of(b"x" * 11, limits) == "too_many_bytes"
    with pytest.raises(Rejected, match="too_many_frames"):
        check_frames(2, limits)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_bytes": 0},
        {"max_frames": 0},
        {"min_side": 300, "max_side": 200},
        {"max_megapixels": 90},
        {"max_megapixels": 0},
        {"max_scans": 0},
    ],
)
def test_contradictory_limits_are_a_setting_error(wrong):
    with pytest.raises(SettingsError):
        Limits(**wrong)


@pytest.mark.parametrize(
    ("width", "height", "code"),
    [
        (65535, 65535, "too_many_pixels"),
        (19_000, 19_000, "too_many_pixels"),
        (12_000, 12_000, "too_many_pixels"),
        (9_000, 9_000, "too_many_pixels"),
        (64, 30_000, "too_large_side"),
        (10, 10, "too_small"),
    ],
)
def test_a_png_header_is_believed_before_the_pixels_are_decoded(width, height, code):
    bomb = png_of(width, height, bytes(1_000_000))
    tracemalloc.start()
    assert code_of(bomb) == code
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("rows", "columns", "code"), [(65535, 65535, "too_large_side"), (10_000, 10_000, "too_many_pixels")]
)
def test_dicom_rows_and_columns_are_believed_before_the_pixels_are_decoded(rows, columns, code):
    assert code_of(film_file(ramp(), Rows=rows, Columns=columns)) == code


@pytest.mark.parametrize("frames", [2, 2**31 - 1, 2**31])
def test_many_dicom_frames_are_refused(frames):
    made = dataset(ramp())
    made.add_new("NumberOfFrames", "IS", str(frames)) if frames < 2**31 else made.add_new(
        "NumberOfFrames", "UN", str(frames).encode()
    )
    assert code_of(as_bytes(made)) == "too_many_frames"


def test_a_compressed_frame_larger_than_the_tags_say_is_not_decoded():
    size = struct.pack(">HHIIIIIIIIHBBB", 41, 0, 60_000, 60_000, 0, 0, 60_000, 60_000, 0, 0, 1, 7, 1, 1)
    jpeg2000 = b"\xff\x4f\xff\x51" + size + b"\xff\xd9"
    jpeg = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, 60_000, 60_000, 1) + b"\1\x11\0\xff\xda\0\x08"
    pixels = ramp("uint8", 8)
    assert code_of(compressed_file(pixels, jpeg2000, JPEG2000)) == "broken_pixels"
    assert code_of(compressed_file(pixels, jpeg, JPEGBaseline8Bit)) == "broken_pixels"


def test_a_deflated_bomb_is_refused_without_being_inflated():
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", 22) + DeflatedExplicitVRLittleEndian.encode()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = b"".join(packer.compress(bytes(1_000_000)) for _ in range(300)) + packer.flush()
    bomb = bytes(128) + b"DICM" + meta + zeros
    tracemalloc.start()
    assert code_of(bomb) == "unsupported_transfer_syntax"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


EMPTY_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
SEQUENCE = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
EMPTY_ELEMENT = struct.pack("<HH2sH", 0x0008, 0x0060, b"CS", 0)


@pytest.mark.parametrize(
    "body",
    [
        EMPTY_ELEMENT * 500_000,
        SEQUENCE + EMPTY_ITEM * 500_000,
        SEQUENCE + OPEN_ITEM + EMPTY_ELEMENT * 500_000,
        (SEQUENCE + OPEN_ITEM) * 50_000,
    ],
    ids=["elements", "items", "elements in an item", "nesting"],
)
def test_endless_small_elements_are_refused_quickly(body):
    syntax = struct.pack("<HH2sH", 2, 0x10, b"UI", 20) + b"1.2.840.10008.1.2.1\0"
    started = time.process_time()
    assert code_of(bytes(128) + b"DICM" + syntax + body) == "broken_dicom"
    assert time.process_time() - started < 2


def test_an_element_of_millions_of_values_is_left_out_quickly():
    made = dataset(ramp("uint8", 8))
    made.add_new("WindowCenter", "UN", b"1\\" * 3_000_000)
    made.add_new("RequestAttributesSequence", "UN", EMPTY_ITEM * 1_000_000)
    started = time.process_time()
    film = decode(as_bytes(made), DEFAULT)
    assert time.process_time() - started < 1
    assert np.ptp(film.pixels) == 1


def jpeg_with(more: bytes) -> bytes:
    """A sound JPEG with `more` behind its first marker."""
    stream = BytesIO()
    Image.fromarray(ramp("uint8", 8)).save(stream, "JPEG")
    return stream.getvalue()[:2] + more + stream.getvalue()[2:]


PIECES = {
    "chunks": png(1)[:33] + chunk(b"tEXt", b"a\0b") * 500_000 + png(1)[33:],
    "empty pixels": png(1)[:33] + chunk(b"IDAT", b"") * 500_000 + png(1)[33:],
    "chunks behind the pixels": png(1)[:-12] + chunk(b"tEXt", b"a\0b") * 500_000 + png(1)[-12:],
    "comments": jpeg_with(b"\xff\xfe\0\3x" * 500_000),
    "fill bytes": jpeg_with(b"\xff" * 9_000_000),
    "junk": jpeg_with(b"\xff\xfe\0\3x" + b"\0" * 9_000_000),
    "ends": jpeg_with((b"\xff\xd9\xff\xfe" + b"\0" * 60_000) * 200),
    "scans": endless_jpeg(),
    "scans of a small film": endless_jpeg(1000, 60_000),
}
"""Megabytes of very little, which decoders would look at for seconds or minutes."""


@pytest.mark.parametrize("name", PIECES)
def test_a_picture_of_endless_small_parts_is_refused_quickly(name):
    started = time.process_time()
    assert code_of(PIECES[name]) == "too_many_parts"
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", ["comments", "fill bytes", "scans of a small film"])
def test_so_is_such_a_stream_in_a_dicom_file(name):
    side = 1000 if "film" in name else 100
    raw = compressed_file(np.zeros((side, side), np.uint8), PIECES[name], JPEGBaseline8Bit)
    started = time.process_time()
    assert code_of(raw) == "too_many_parts"
    assert time.process_time() - started < 1


def test_a_progressive_jpeg_of_an_encoder_is_read():
    stream = BytesIO()
    Image.fromarray(ramp("uint8", 8)).convert("CMYK").save(stream, "JPEG", progressive=True)
    assert decode(stream.getvalue(), DEFAULT).pixels.shape == (100, 100)
