"""Promise H2: of sound films that were changed in any way, only `Rejected` ever leaves the decoders.

`python tests/fuzz.py --minutes 10 --run 2` goes on from here for as long as one likes.
"""

from __future__ import annotations

import struct
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus.rasters import END, MAGIC, chunk, header, lines, segment
from tests.corpus.seeds import seeds
from tests.fuzz import Found, fault, fuzz

EACH = 190
"""Mutations of each seed: about two thousand in all."""

BYTES = st.binary(max_size=40) | st.integers(0, 2**32 - 1).map(lambda number: struct.pack(">I", number))
CHUNKS = st.sampled_from(
    [
        b"IHDR",
        b"PLTE",
        b"tRNS",
        b"IDAT",
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"iCCP",
        b"tEXt",
        b"zTXt",
        b"iTXt",
        b"eXIf",
    ]
    + [b"pHYs", b"sBIT", b"bKGD", b"acTL", b"fcTL", b"fdAT", b"IEND"]
)
MARKERS = st.integers(0xC0, 0xFE)
KINDS = st.sampled_from(
    [
        b"AE",
        b"AT",
        b"CS",
        b"DA",
        b"DS",
        b"DT",
        b"FD",
        b"IS",
        b"LO",
        b"OB",
        b"OW",
        b"PN",
        b"SQ",
        b"UI",
        b"UN",
        b"US",
    ]
)
TAGS = st.sampled_from(
    [(8, 5), (8, 0x18), (8, 0x60), (0x10, 0x10), (0x18, 0x15), (0x28, 2), (0x28, 4), (0x28, 8), (0x28, 0x10)]
    + [
        (0x28, 0x11),
        (0x28, 0x100),
        (0x28, 0x101),
        (0x28, 0x102),
        (0x28, 0x103),
        (0x28, 0x1050),
        (0x28, 0x1051),
    ]
    + [(0x28, 0x1052), (0x28, 0x1053), (0x28, 0x3000), (0x28, 0x3010), (0x7FE0, 0x10), (0xFFFE, 0xE000)]
)


def no_fault(raw: bytes) -> None:
    """Fail unless the bytes are a film or refused with a code other than `internal`."""
    why = fault(raw)
    assert not why or why.startswith(":"), why


@pytest.mark.parametrize("name", list(seeds()))
def test_h2_two_thousand_mutations_are_films_or_refused(name):
    """In a child: a decoder that crashes, stalls or takes too much memory is found as well."""
    said: Counter[str] = Counter()
    found: list[Found] = list(fuzz([(name, number) for number in range(EACH)], 0, said))
    assert found == []
    assert said.total() == EACH
    assert said[""] > EACH // 20, "some changes must leave something to be decoded"


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(list(seeds())), data=st.data())
def test_h2_bytes_overwritten_anywhere(name, data):
    raw = bytearray(seeds()[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1) | st.integers(0, 400))
        piece = data.draw(BYTES)
        raw[at : at + len(piece)] = piece
    no_fault(bytes(raw))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(CHUNKS, BYTES), max_size=8), st.integers(0, 8))
def test_h2_any_chunks_of_a_png(chunks, place):
    pieces = [chunk(kind, body) for kind, body in chunks]
    pieces[place:place] = [chunk(b"IDAT", lines())]
    no_fault(MAGIC + header() + b"".join(pieces) + END)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(MARKERS, BYTES), max_size=8), st.sampled_from(["plain.jpg", "steps.jpg"]))
def test_h2_any_segments_of_a_jpeg(segments, name):
    raw = seeds()[name]
    no_fault(raw[:2] + b"".join(segment(marker, body) for marker, body in segments) + raw[2:])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(TAGS, KINDS, BYTES), max_size=6),
    st.sampled_from(["plain.dcm", "jpeg.dcm", "j2k.dcm", "rle.dcm"]),
    st.booleans(),
)
def test_h2_any_elements_of_a_dicom_data_set(elements, name, last):
    """Before the film's own, or in their place."""
    raw = seeds()[name]
    start = 144 + struct.unpack_from("<I", raw, 140)[0]
    made = b""
    for (group, element), kind, value in elements:
        value += b"\0" * (len(value) % 2)
        long = kind in (b"OB", b"OW", b"SQ", b"UN")
        size = struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))
        made += struct.pack("<HH", group, element) + kind + size + value
    no_fault(raw[:start] + made + (b"" if last else raw[start:]))
