"""Files that are within every limit on size and still cost their decoder its time or memory."""

from __future__ import annotations

import io
import struct

from PIL import Image


def endless_jpeg(side: int = 4000, scans: int = 16_000) -> bytes:
    """A progressive JPEG of 16 megapixels and 700 kB: each of its scans says "nothing" of 250,000 blocks.

    Source: ITU-T T.81 G.1.2.2, end-of-band runs.
    """
    quantisation = b"\xff\xdb" + struct.pack("!HB", 67, 0) + bytes([1] * 64)
    frame = b"\xff\xc2" + struct.pack("!HBHHBBBB", 11, 8, side, side, 1, 1, 0x11, 0)
    blocks = (side // 8) ** 2
    zero_difference, run_of_blocks = 0x00, 0xE0  # DC category 0; EOB14: a run of 2**14 + 14 bits
    tables = b"".join(
        b"\xff\xc4" + struct.pack("!HB", 20, place) + bytes([1] + [0] * 15) + bytes([symbol])
        for place, symbol in ((0x00, zero_difference), (0x10, run_of_blocks))
    )
    dc = b"\xff\xda" + struct.pack("!HBBBBBB", 8, 1, 1, 0, 0, 0, 0) + bytes(blocks // 8)
    runs = -(-blocks // (2**14))
    bits = ("0" + "0" * 14) * runs
    bits += "1" * (-len(bits) % 8)
    empty = int(bits, 2).to_bytes(len(bits) // 8, "big")
    ac = b"\xff\xda" + struct.pack("!HBBBBBB", 8, 1, 1, 0, 1, 63, 0) + empty
    return b"\xff\xd8" + quantisation + frame + tables + dc + ac * scans + b"\xff\xd9"


def large_png(side: int = 5000) -> bytes:
    """A blank film of many pixels and few bytes."""
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def slow_png(side: int = 7990) -> bytes:
    """A film within every limit that takes seconds to decode: colours and transparency of 64 megapixels."""
    buffer = io.BytesIO()
    Image.new("RGBA", (side, side), (1, 2, 3, 7)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
