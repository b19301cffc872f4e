"""Sizes read from compressed streams that real encoders made."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from cxr_core.imaging.headers import StreamSize, stream_size
from tests.imaging.dicom_files import dataset

PIXELS = np.add.outer(np.arange(70), np.arange(90)).astype(np.uint8)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"\xff\xc0 not a header"}])
def test_jpeg(options):
    stream = BytesIO()
    Image.fromarray(PIXELS).save(stream, "JPEG", **options)
    assert stream_size(stream.getvalue()) == StreamSize(70, 90, 1)
    stream = BytesIO()
    Image.fromarray(PIXELS).convert("RGB").save(stream, "JPEG", **options)
    assert stream_size(stream.getvalue()) == StreamSize(70, 90, 3)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_jpeg_ls_and_jpeg_2000(syntax):
    made = dataset(PIXELS)
    made.compress(syntax, generate_instance_uid=False)
    assert stream_size(get_frame(made.PixelData, 0, number_of_frames=1)) == StreamSize(70, 90, 1)


def test_the_offset_of_a_jpeg_2000_image_counts():
    size = struct.pack(">HHIIIIIIIIHBBB", 41, 0, 110, 80, 20, 10, 110, 80, 0, 0, 1, 7, 1, 1)
    assert stream_size(b"\xff\x4f\xff\x51" + size) == StreamSize(70, 90, 1)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"hello",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xc0\x00",
        b"\xff\xd8\x00\x00",
        b"\xff\xd8\xff\xda\x00\x08",
        b"\xff\x4f\xff\x51\x00",
        b"\xff\xd8" + (b"\xff\xc0" + struct.pack(">HBHHB", 8, 8, 9, 9, 1)) * 2 + b"\xff\xda",
    ],
)
def test_without_one_whole_header_there_is_no_size(stream):
    assert stream_size(stream) is None
