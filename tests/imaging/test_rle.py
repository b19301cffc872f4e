"""RLE by Pillow's PackBits decoder, beside pydicom's own."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.rle import _rle_decode_frame
from pydicom.uid import RLELossless

from cxr_core.errors import Rejected
from cxr_core.imaging.rle import unpack
from tests.films import blobs
from tests.imaging.dicom_files import dataset, ramp


def frame_of(pixels: np.ndarray) -> bytes:
    made = dataset(pixels)
    made.compress(RLELossless, generate_instance_uid=False)
    return get_frame(made.PixelData, 0, number_of_frames=1)


def segments(*parts: bytes, starts: tuple[int, ...] | None = None) -> bytes:
    if starts is None:
        starts = tuple(64 + sum(map(len, parts[:number])) for number in range(len(parts)))
    return struct.pack("<16I", len(starts), *starts, *[0] * (15 - len(starts))) + b"".join(parts)


@pytest.mark.parametrize(
    "pixels",
    [
        ramp("uint8", 8),
        ramp("uint16", 16),
        blobs(1),
        blobs(1).astype(np.uint16) * 257,
        np.zeros((64, 300), np.uint16),
        np.arange(64 * 65, dtype=np.uint16).reshape(64, 65),
    ],
    ids=["noise", "deep noise", "film", "deep film", "nothing", "odd rows"],
)
def test_it_gives_the_pixels_that_were_packed_and_those_that_pydicom_gives(pixels):
    bits = pixels.dtype.itemsize * 8
    found = unpack(frame_of(pixels), *pixels.shape, bits)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)
    theirs = _rle_decode_frame(frame_of(pixels), *pixels.shape, 1, bits)
    assert found.tobytes() == bytes(theirs)


def test_a_run_may_go_on_in_the_next_row_and_what_follows_is_ignored():
    run = bytes([257 - 100, 7]) * 3
    np.testing.assert_array_equal(unpack(segments(run + b"\x80\x80rest"), 20, 15, 8), np.full((20, 15), 7))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x01\0\0\0",
        segments(b"\x81\x07" * 2),
        segments(b"\x80" * 500),
        segments(b"\x7f" + b"x" * 20),
        segments(b"\x81\x07" * 99, starts=()),
        segments(b"\x81\x07" * 99, starts=(64, 64)),
        segments(b"\x81\x07" * 99, starts=(2**31,)),
        segments(b"\x81\x07" * 99, starts=(64,) * 15),
        b"\xff" * 64 + b"\x81\x07" * 99,
    ],
)
def test_what_does_not_hold_the_picture_is_refused(frame):
    with pytest.raises(Rejected, match="broken_pixels"):
        unpack(frame, 20, 20, 8)


def test_runs_of_nothing_or_of_single_bytes_keep_nobody_busy():
    started = time.process_time()
    assert (unpack(segments(b"\0\7" * 15_000_000), 5000, 3000, 8) == 7).all()
    with pytest.raises(Rejected):
        unpack(segments(b"\x80" * 30_000_000), 5000, 3000, 8)
    assert time.process_time() - started < 2
