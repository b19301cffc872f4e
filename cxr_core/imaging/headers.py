"""What compressed pictures say of their size, and of how many parts they are: read without decoding.

A DICOM file says Rows and Columns, but a decoder believes the JPEG or JPEG 2000 header inside: a
file of 100 × 100 may hold a stream of 65535 × 65535.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import error as StructError
from struct import unpack_from

_SOI = b"\xff\xd8"
_SOS = b"\xff\xda"
_PNG_HEAD, _PNG_FRAME = 8, 12
"""Bytes of the signature, and of a chunk around its data (PNG 5.2, 5.3)."""
_J2K = b"\xff\x4f\xff\x51"
_JP2_SEARCH = 4096
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
_NOT_SKIPPED = _STANDALONE | {0xC8, 0xD8, 0xD9, *range(0xF0, 0xFE)}
"""Markers behind which Pillow goes on byte by byte, whatever length follows."""

_START_OF_SCAN = 0xDA
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""SOF0 … SOF15 without DHT, JPG and DAC (ITU-T T.81 table B.1), and SOF55 of JPEG-LS (T.87)."""


@dataclass(frozen=True, slots=True)
class StreamSize:
    """What the header of a compressed picture says."""

    rows: int
    columns: int
    components: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Of how many pieces a file is.

    Attributes:
        pieces: chunks of a PNG; segments, and bytes between them, before the first scan of a JPEG.
        scans: passes over the picture, in a JPEG.
    """

    pieces: int
    scans: int = 0


def png_parts(raw: bytes, most: int) -> Parts:
    """Return how many chunks a PNG has, counted no further than one beyond `most`."""
    at, pieces = _PNG_HEAD, 0
    while at + _PNG_FRAME <= len(raw) and pieces <= most:
        at += _PNG_FRAME + int(unpack_from(">I", raw, at)[0])
        pieces += 1
    return Parts(pieces)


def jpeg_parts(stream: bytes, most: int) -> Parts:
    """Return how many parts a JPEG has, counted no further than one beyond `most`; none of other streams.

    Decoders look at fill bytes and at what else lies between segments one byte at a time, and go over the
    whole picture for each scan, however little it says. Behind the first scan no data holds FF DA.
    """
    if not stream.startswith(_SOI):
        return Parts(0)
    at, pieces = 2, 0
    while at + 2 <= len(stream) and pieces <= most:
        pieces += 1
        if stream[at] != 0xFF or stream[at + 1] in (0x00, 0xFF):
            at += 1
        elif stream[at + 1] == _START_OF_SCAN:
            break
        elif stream[at + 1] in _NOT_SKIPPED or at + 4 > len(stream):
            at += 2
        else:
            at += 2 + int(unpack_from(">H", stream, at + 2)[0])
    return Parts(pieces, stream.count(_SOS, at))


def stream_size(stream: bytes) -> StreamSize | None:
    """Return the size in the header of a JPEG, JPEG-LS or JPEG 2000 stream, None without one."""
    try:
        if stream.startswith(_SOI):
            return _jpeg(stream)
        start = stream.find(_J2K, 0, _JP2_SEARCH)
        return _jpeg2000(stream, start) if start >= 0 else None
    except StructError:
        return None


def _jpeg(stream: bytes) -> StreamSize | None:
    """Return the size in the one frame header before the first scan (T.81 B.2.2)."""
    found: StreamSize | None = None
    at = 2
    while True:
        prefix, marker = unpack_from(">BB", stream, at)
        if prefix != 0xFF:
            return None
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker == _START_OF_SCAN:
            return found
        elif marker in _FRAMES:
            if found is not None:
                return None
            length, _, rows, columns, components = unpack_from(">HBHHB", stream, at + 2)
            found = StreamSize(rows, columns, components)
            at += 2 + length
        else:
            at += 2 + int(unpack_from(">H", stream, at + 2)[0])


def _jpeg2000(stream: bytes, start: int) -> StreamSize:
    """Return the size in the SIZ segment (ITU-T T.800 A.5.1)."""
    right, bottom, left, top = unpack_from(">IIII", stream, start + 8)
    (components,) = unpack_from(">H", stream, start + 40)
    return StreamSize(bottom - top, right - left, components)
