"""Compressed pictures without what stands beside their pixels: comments, application data, what follows."""

from __future__ import annotations

from struct import error as StructError
from struct import unpack_from

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
_SCAN, _COMMENT = 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_J2K, _J2K_TILE, _J2K_COMMENT, _J2K_END = 0xFF4F, 0xFF90, 0xFF64, 0xFFD9


def bare(stream: bytes) -> bytes | None:
    """Return a JPEG, JPEG-LS or JPEG 2000 stream without comments and the like; None where it is none.

    What decoders read of it stays as it is, bit for bit.

    Source: ITU-T T.81 B.1.1, T.87 C.1, T.800 A.2.
    """
    try:
        if stream.startswith(_SOI):
            return _jpeg(stream)
        return _jpeg2000(stream) if unpack_from(">H", stream)[0] == _J2K else None
    except StructError:
        return None


def _jpeg(stream: bytes) -> bytes | None:
    kept, at = [_SOI], 2
    while True:
        prefix, marker = unpack_from(">BB", stream, at)
        if prefix != 0xFF:
            return None
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == _EOI[1]:
            return b"".join([*kept, _EOI])
        elif marker in _STANDALONE:
            kept.append(stream[at : at + 2])
            at += 2
        else:
            end = at + 2 + int(unpack_from(">H", stream, at + 2)[0])
            if marker == _SCAN:
                end = _end_of_scan(stream, end)
            if marker != _COMMENT and marker not in _APPLICATION:
                kept.append(stream[at:end])
            at = end


def _end_of_scan(stream: bytes, at: int) -> int:
    """Return where the next marker is; in a scan FF stands before a zero bit or a restart only."""
    while (at := stream.find(0xFF, at)) >= 0 and at + 1 < len(stream):
        after = stream[at + 1]
        if after >= 0x80 and after != 0xFF and after not in _STANDALONE:
            return at
        at += 1
    raise StructError


def _jpeg2000(stream: bytes) -> bytes | None:
    kept, at = [stream[:2]], 2
    while (marker := unpack_from(">H", stream, at)[0]) != _J2K_TILE:
        end = at + 2 + int(unpack_from(">H", stream, at + 2)[0])
        if marker >> 8 != 0xFF or end <= at + 2:
            return None
        if marker != _J2K_COMMENT:
            kept.append(stream[at:end])
        at = end
    start = at
    while unpack_from(">H", stream, at)[0] == _J2K_TILE:
        length = int(unpack_from(">I", stream, at + 6)[0])
        if length == 0:  # up to the end of the stream
            end = stream.rfind(_EOI, at)
            return None if end < 0 else b"".join([*kept, stream[start:end], _EOI])
        at += length
    if unpack_from(">H", stream, at)[0] != _J2K_END:
        return None
    return b"".join([*kept, stream[start:at], _EOI])
