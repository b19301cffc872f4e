"""Sound files made unsound: by bits, by pieces, and by the structure of PNG, JPEG and DICOM."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from tests.corpus.rasters import MAGIC, chunk, segment
from tests.corpus.seeds import seeds

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    63,
    64,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    2**16,
    2**24,
    2**31 - 1,
    2**31,
)
NUMBERS += (2**32 - 2, 2**32 - 1)
TEXTS = (
    b"",
    b" ",
    b"0",
    b"-1",
    b"1e308",
    b"nan",
    b"9" * 64,
    b"\\" * 50,
    b"1\\2\\3",
    b"\0\0",
    b"\xff" * 64,
    b"\x1b$B",
)
TEXTS += (
    b"MONOCHROME1",
    b"20260229",
    b"+1400",
    b"1.2.840.10008.1.2.4.90",
    b"ISO 2022 IR 149",
    b"^=^=^",
    b"A" * 70_000,
)
KINDS = (
    b"SQ",
    b"UN",
    b"OB",
    b"OW",
    b"US",
    b"SS",
    b"IS",
    b"DS",
    b"UI",
    b"PN",
    b"CS",
    b"AT",
    b"FD",
    b"ZZ",
    b"\0\0",
)
LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"OD", b"OF", b"OL", b"OV")

LARGEST = 4 * 2**20
"""Bytes: what doubles and doubles would soon take more memory than there is."""

Rng = np.random.Generator
Pieces = list[tuple[bytes, bytes]]
"""Name and body of each chunk, segment or element."""


def mutated(number: int, name: str, run: int = 0) -> bytes:
    """Return the seed of that name with one to five changes; the same for the same numbers."""
    rng = np.random.default_rng((run, number, zlib.crc32(name.encode())))
    raw = seeds()[name]
    for _ in range(min(5, int(rng.geometric(0.6)))):
        by_structure = rng.random() < 0.6
        with suppress(struct.error, IndexError, ValueError, zlib.error):  # no longer a file with structure
            changed = (_structured if by_structure else _plain)(raw, rng)
            raw = changed if len(changed) <= LARGEST else raw
    return raw


def pick(rng: Rng, among: tuple | list) -> object:
    return among[int(rng.integers(len(among)))]


def _plain(raw: bytes, rng: Rng) -> bytes:
    """Change bytes without a thought."""
    at = int(rng.integers(len(raw)))
    if rng.random() < 0.5:  # most of what is read lies in front
        at = int(rng.integers(min(len(raw), 700)))
    length = int(rng.integers(1, 2 ** int(rng.integers(1, 12))))
    what = int(rng.integers(8))
    if what == 0:
        return raw[:at] + bytes([raw[at] ^ (1 << int(rng.integers(8)))]) + raw[at + 1 :]
    if what == 1:
        return raw[:at] + bytes([int(rng.integers(256))]) + raw[at + 1 :]
    if what == 2:
        return raw[:at] + _number(rng) + raw[at + 4 :]
    if what == 3:
        return raw[:at] + raw[at + length :]
    if what == 4:
        return raw[:at] + raw[at : at + length] * int(rng.integers(2, 40)) + raw[at + length :]
    if what == 5:
        return raw[:at] + rng.bytes(length) + raw[at + length :]
    if what == 6:
        other = seeds()[str(pick(rng, list(seeds())))]
        start = int(rng.integers(len(other)))
        return raw[:at] + other[start : start + length] + raw[at:]
    return raw[:at]


def _number(rng: Rng) -> bytes:
    form = str(pick(rng, ("<H", ">H", "<I", ">I")))
    most = 2 ** (8 * struct.calcsize(form)) - 1
    return struct.pack(form, min(int(pick(rng, NUMBERS)), most))  # type: ignore[call-overload]


def _structured(raw: bytes, rng: Rng) -> bytes:
    """Change what the file is made of, and put it together as a writer would."""
    if raw.startswith(MAGIC):
        return MAGIC + b"".join(_chunk(*each, rng) for each in _changed(_chunks(raw), rng, _in_chunk))
    if raw.startswith(b"\xff\xd8"):
        return _jpeg(raw, rng)
    head, pieces = _elements(raw)
    return head + b"".join(_element(*each, rng) for each in _changed(pieces, rng, _in_element))


def _changed(pieces: Pieces, rng: Rng, inside: Callable[[bytes, bytes, Rng], tuple[bytes, bytes]]) -> Pieces:
    """Return the pieces with one dropped, doubled, moved, or changed inside."""
    at, to = int(rng.integers(len(pieces))), int(rng.integers(len(pieces)))
    if rng.random() < 0.35:  # mostly the pixels
        at = max(range(len(pieces)), key=lambda place: len(pieces[place][1]))
    what = int(rng.integers(10))
    if what == 0:
        return pieces[:at] + pieces[at + 1 :]
    if what == 1:
        times = int(rng.integers(2, 300 if len(pieces[at][1]) < 5000 else 10))
        return pieces[:at] + [pieces[at]] * times + pieces[at + 1 :]
    if what == 2:
        pieces[at], pieces[to] = pieces[to], pieces[at]
        return pieces
    if what == 3:
        pieces[at] = (pieces[at][0], pieces[to][1])
        return pieces
    pieces[at] = inside(*pieces[at], rng)
    return pieces


def _chunks(raw: bytes) -> Pieces:
    at, found = len(MAGIC), []
    while at < len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        found.append((raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _in_chunk(kind: bytes, body: bytes, rng: Rng) -> tuple[bytes, bytes]:
    what = int(rng.integers(5))
    if kind == b"IDAT" and what < 2:
        return kind, zlib.compress(_plain(zlib.decompress(body), rng))
    if what == 2:
        kinds = (
            b"PLTE",
            b"tRNS",
            b"gAMA",
            b"iCCP",
            b"eXIf",
            b"acTL",
            b"fcTL",
            b"fdAT",
            b"zTXt",
            b"iTXt",
            b"IDAT",
        )
        return bytes(pick(rng, kinds)), body[:3000]  # type: ignore[arg-type]
    return kind, _plain(body or b"\0", rng)


def _chunk(kind: bytes, body: bytes, rng: Rng) -> bytes:
    """Return a chunk with its right CRC; a few claim another length."""
    if rng.random() < 0.03:
        return chunk(kind, body, length=int(pick(rng, NUMBERS)))  # type: ignore[call-overload]
    return chunk(kind, body)


def _jpeg(raw: bytes, rng: Rng) -> bytes:
    """Change the segments before the first scan, or what comes with and behind it."""
    at, found = 2, []
    while raw[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", raw, at + 2)
        found.append((raw[at + 1 : at + 2], raw[at + 4 : at + 2 + length]))
        at += 2 + length
    if rng.random() < 0.3:
        return raw[:at] + _plain(raw[at:], rng)
    changed = _changed(
        found, rng, lambda marker, body, rng: (_marker(marker, rng), _plain(body or b"\0", rng))
    )
    return raw[:2] + b"".join(segment(marker[0], body) for marker, body in changed) + raw[at:]


def _marker(marker: bytes, rng: Rng) -> bytes:
    others = (0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC9, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xF7, 0xFE)
    return marker if rng.random() < 0.8 else bytes([int(pick(rng, others))])  # type: ignore[call-overload]


def _elements(raw: bytes) -> tuple[bytes, Pieces]:
    """Return what stands before the data set, and its elements: tag with kind, and value with any length."""
    at = 144 + int(struct.unpack_from("<I", raw, 140)[0])
    head, found = raw[:at], []
    while at + 8 <= len(raw):
        kind = raw[at + 4 : at + 6]
        long = kind in LONG
        (length,) = struct.unpack_from("<I" if long else "<H", raw, at + (8 if long else 6))
        start = at + (12 if long else 8)
        end = len(raw) if length == 0xFFFFFFFF else start + length
        found.append((raw[at : at + 6], raw[start:end]))
        at = end
    return head, found


def _in_element(tag: bytes, value: bytes, rng: Rng) -> tuple[bytes, bytes]:
    what = int(rng.integers(6))
    if tag[:4] == b"\xe0\x7f\x10\0" and value[:4] == b"\xfe\xff\0\xe0" and what < 4:
        return tag, _in_frame(value, rng)
    if what == 0:
        return tag[:4] + bytes(pick(rng, KINDS)), value  # type: ignore[arg-type]
    if what == 1:
        return tag, _number(rng)
    if what == 2:
        return tag, bytes(pick(rng, TEXTS))  # type: ignore[arg-type]
    if what == 3:
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(tag) + len(value) + 2)
        return tag[:4] + b"SQ", item + tag + struct.pack("<H", len(value) & 0xFFFF) + value
    return tag, _plain(value or b"\0\0", rng)


def _in_frame(value: bytes, rng: Rng) -> bytes:
    """Return encapsulated pixels whose stream was changed by its own structure, its length put right."""
    start = 16 + int(struct.unpack_from("<I", value, 4)[0])
    (length,) = struct.unpack_from("<I", value, start - 4)
    frame = value[start : start + length]
    changed = _jpeg(frame, rng) if frame.startswith(b"\xff\xd8") else _plain(frame, rng)
    changed += b"\0" * (len(changed) % 2)
    return value[: start - 4] + struct.pack("<I", len(changed)) + changed + value[start + length :]


def _element(tag: bytes, value: bytes, rng: Rng) -> bytes:
    """Return an element with its right length, undefined for encapsulated pixels; a few claim another."""
    value += b"\0" * (len(value) % 2)
    length = 0xFFFFFFFF if value[:4] == b"\xfe\xff\0\xe0" and tag[:2] == b"\xe0\x7f" else len(value)
    if rng.random() < 0.01:
        length = int(pick(rng, NUMBERS))  # type: ignore[call-overload]
    if tag[4:6] in LONG:
        return tag + struct.pack("<HI", 0, length & 0xFFFFFFFF) + value
    return tag + struct.pack("<H", length & 0xFFFF) + value
