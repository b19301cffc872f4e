"""RLE of DICOM, unpacked by Pillow's PackBits decoder: the same code (PS3.5 G.3.1), in C.

It stops where the picture is full; a decoder written in Python is kept busy for long by runs of nothing.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_core.imaging.refusals import reject

_HEADER = struct.Struct("<16I")


def unpack(frame: bytes, rows: int, columns: int, allocated: int) -> NDArray[np.unsignedinteger]:
    """Return (rows, columns) stored words of a grey frame, uint8 or uint16; what follows them is ignored.

    Args:
        frame: header and segments, that of the most significant bytes first.
        rows: as the tags say, within bounds.
        columns: as well.
        allocated: bits, 8 or 16.

    Raises:
        Rejected: broken_pixels, if header and segments do not hold them.

    Source: DICOM PS3.5 annex G.
    """
    planes, size = allocated // 8, rows * columns
    try:
        count, *starts = _HEADER.unpack_from(frame)
    except struct.error as exc:
        raise reject("broken_pixels", found="no RLE header") from exc
    if count != planes:
        raise reject("broken_pixels", found=f"not the {planes} RLE segments of {allocated} bits")
    words = np.empty((size, planes), dtype=np.uint8)
    for plane, end in enumerate([*starts[1:planes], len(frame)]):
        try:
            row = Image.frombytes("L", (size, 1), frame[starts[plane] : end], "packbits", "L")
        except ValueError as exc:
            raise reject("broken_pixels", found="an RLE segment ends too soon") from exc
        words[:, plane] = np.asarray(row).reshape(-1)
    whole = words.view(">u2" if planes == 2 else np.uint8).reshape(rows, columns)
    return whole.astype(np.uint16 if planes == 2 else np.uint8, copy=False)
