"""PNG and JPEG files that lie, swell, loop or end too soon."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image

from tests.corpus.seeds import SIDE, Hostile, grey, saved, seeds
from tests.worklist.hostile import endless_jpeg

MAGIC = b"\x89PNG\r\n\x1a\n"
MIB = 2**20


def chunk(kind: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    """A PNG chunk with its right CRC, whatever length it claims."""
    size = len(body) if length is None else length
    return struct.pack(">I", size) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(
    width: int = SIDE, height: int = SIDE, depth: int = 8, colour: int = 0, rest: tuple = (0, 0, 0)
) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, *rest))


@cache
def zeros(megabytes: int) -> bytes:
    """A zlib stream that inflates to so many megabytes."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(megabytes)) + packer.flush()


def lines(channels: int = 1) -> bytes:
    """A zlib stream of a sound film's lines."""
    flat = np.repeat(grey()[..., None], channels, axis=2).reshape(SIDE, -1)
    return zlib.compress(b"".join(b"\0" + line.tobytes() for line in flat))


END = chunk(b"IEND")


def pngs() -> Iterator[Hostile]:
    sound = chunk(b"IDAT", lines())
    for width, height in ((65535, 65535), (2**31 - 1, 2**31 - 1), (0, 0), (0, 500), (1, 1), (63, 500)):
        yield Hostile(f"size-{width}x{height}.png", MAGIC + header(width, height) + sound + END)
    for width, height in ((20_001, 64), (64, 20_001), (30_000, 30_000), (8_001, 8_001), (2**32 - 1, 100)):
        yield Hostile(f"bomb-{width}x{height}.png", MAGIC + header(width, height) + chunk(b"IDAT", zeros(64)))
    for depth, colour in ((3, 0), (32, 0), (0, 0), (16, 3), (8, 1), (8, 5), (8, 7), (8, 255), (4, 2)):
        head = header(depth=depth, colour=colour)
        yield Hostile(f"depth-{depth}-colour-{colour}.png", MAGIC + head + sound + END)
    for number, rest in enumerate(((1, 0, 0), (0, 9, 0), (0, 0, 7), (255, 255, 255))):
        yield Hostile(f"method-{number}.png", MAGIC + header(rest=rest) + sound + END, passes=True)
    whole = {
        "no-header": sound + END,
        "no-pixels": header() + END,
        "empty-pixels": header() + chunk(b"IDAT") + END,
        "end-first": END + header() + sound,
        "short-pixels": header() + chunk(b"IDAT", zlib.compress(bytes(900))) + END,
        "no-zlib": header() + chunk(b"IDAT", b"no zlib at all") + END,
        "wild-filters": header() + chunk(b"IDAT", zlib.compress(b"\x09" * (SIDE + 1) * SIDE)) + END,
        "header-twice": header() + header(500, 500) + sound + END,
        "header-short": chunk(b"IHDR", b"\0" * 5) + sound + END,
        "header-late": chunk(b"tEXt", b"a\0b") + header() + sound + END,
        "chunk-of-2-gigabytes": header() + chunk(b"tEXt", b"x", length=2**31 - 1) + sound + END,
        "chunk-of-4-gigabytes": header() + chunk(b"zTXt", b"x", length=2**32 - 1) + sound + END,
        "pixels-of-1-gigabyte": header() + chunk(b"IDAT", lines(), length=2**30) + END,
        "wrong-sums": header() + sound[:-4] + b"\0\0\0\0" + END,
        "unknown-critical": header() + chunk(b"EVIL", b"x") + sound + END,
        "chunk-of-signs": header() + chunk(b"\0\1\xff\n", b"x") + sound + END,
        "palette-missing": header(colour=3) + sound + END,
        "palette-huge": header(colour=3) + chunk(b"PLTE", bytes(3 * 1000)) + sound + END,
        "palette-short": header(colour=3) + chunk(b"PLTE", bytes(3)) + sound + END,
        "palette-odd": header(colour=3) + chunk(b"PLTE", bytes(7)) + sound + END,
        "transparent-long": header(colour=3)
        + chunk(b"PLTE", bytes(768))
        + chunk(b"tRNS", bytes(9000))
        + sound
        + END,
        "transparent-short": header() + chunk(b"tRNS", b"\1") + sound + END,
        "swelling-pixels": header() + chunk(b"IDAT", zeros(500)) + END,
        "swelling-text": header() + chunk(b"zTXt", b"a\0\0" + zeros(300)) + sound + END,
        "swelling-words": header() + chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(300)) + sound + END,
        "swelling-profile": header() + chunk(b"iCCP", b"a\0\0" + zeros(300)) + sound + END,
        "late-swelling-text": header() + sound + chunk(b"zTXt", b"a\0\0" + zeros(300)) * 20 + END,
        "many-texts": header() + chunk(b"tEXt", b"a\0b") * 200_000 + sound + END,
        "many-empty-pixels": header() + chunk(b"IDAT") * 200_000 + sound + END,
        "many-sound-texts": header() + chunk(b"zTXt", b"a\0\0" + zeros(1)) * 80 + sound + END,
        "long-text": header() + chunk(b"tEXt", b"a\0" + b"b" * 20 * MIB) + sound + END,
        "exif-loop": header() + chunk(b"eXIf", exif_loop()) + sound + END,
        "exif-bomb": header() + chunk(b"eXIf", exif_bomb()) + sound + END,
        "frames-two-billion": header() + chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)) + sound + END,
        "frames-none": header() + chunk(b"acTL", struct.pack(">II", 0, 0)) + sound + END,
        "frames-short": header() + chunk(b"acTL", b"\0") + sound + END,
        "gamma-nil": header() + chunk(b"gAMA", bytes(4)) + chunk(b"pHYs", bytes(3)) + sound + END,
        "tail": header() + sound + END + b"tail" * 5000,
    }
    refused = {"no-header", "no-pixels", "empty-pixels", "end-first", "short-pixels", "no-zlib"}
    refused |= {"header-short", "many-texts", "many-empty-pixels"}
    refused |= {"frames-two-billion", "swelling-profile", "swelling-text"}
    for name, body in whole.items():
        yield Hostile(f"{name}.png", MAGIC + body, passes=name not in refused)
    film = Image.fromarray(grey())
    moving = saved(film, save_all=True, append_images=[Image.fromarray(255 - grey())] * 3)
    yield Hostile("moving.png", moving)
    yield Hostile("by-mail-as-text.png", saved(film).replace(b"\r\n", b"\n"))
    yield Hostile("interlaced-short.png", MAGIC + header(rest=(0, 0, 1)) + sound + END, passes=True)
    for mode in ("1", "P", "LA", "RGBA", "RGB", "I;16"):
        yield Hostile(f"mode-{mode.strip(';')}.png", saved(film.convert(mode)), passes=True)


def exif_loop() -> bytes:
    """A TIFF directory whose next one is itself, with an Exif directory that is itself too."""
    entry = struct.pack(">HHII", 0x8769, 4, 1, 8) + struct.pack(">HHII", 0x0112, 3, 1, 6 << 16)
    return b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", 2) + entry + struct.pack(">I", 8)


def exif_bomb() -> bytes:
    """A TIFF directory of 65,535 entries, each of which claims 4 billion values."""
    return b"MM\0*" + struct.pack(">IH", 8, 65535) + struct.pack(">HHII", 0x0112, 5, 2**32 - 1, 8) * 5000


def segment(marker: int, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, (len(body) + 2 if length is None else length) & 0xFFFF) + body


def behind_start(raw: bytes, more: bytes) -> bytes:
    """The JPEG with `more` behind its first marker."""
    return raw[:2] + more + raw[2:]


def sized(raw: bytes, height: int, width: int, frame: int = 0xC0) -> bytes:
    """The JPEG with another size, and another kind, in its frame header."""
    at = raw.index(b"\xff\xc0")
    return (
        raw[:at]
        + bytes([0xFF, frame])
        + raw[at + 2 : at + 5]
        + struct.pack(">HH", height, width)
        + raw[at + 9 :]
    )


def jpegs() -> Iterator[Hostile]:
    raw = seeds()["plain.jpg"]
    for height, width in ((65535, 65535), (65535, 64), (0, SIDE), (SIDE, 0), (1, 1), (63, 900), (9000, 9000)):
        yield Hostile(f"size-{height}x{width}.jpg", sized(raw, height, width))
    yield Hostile("larger-than-its-data.jpg", sized(raw, 7000, 7000), passes=True)
    for frame in (0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA, 0xCB, 0xF7):
        yield Hostile(f"frame-{frame:02x}.jpg", sized(raw, SIDE, SIDE, frame), passes=True)
    frame_at, scan_at = raw.index(b"\xff\xc0"), raw.index(b"\xff\xda")
    tables_at = raw.index(b"\xff\xdb")
    frame = raw[frame_at : frame_at + 13]
    whole = {
        "start-only": raw[:2],
        "start-and-end": b"\xff\xd8\xff\xd9",
        "starts": b"\xff\xd8" * 5000 + raw[2:],
        "no-frame": raw[:frame_at] + raw[frame_at + 13 :],
        "two-frames": behind_start(raw, frame),
        "no-tables": raw[:tables_at] + raw[frame_at:],
        "no-codes": raw[: frame_at + 13] + raw[scan_at:],
        "no-scan": raw[:scan_at] + b"\xff\xd9",
        "scan-of-noise": raw[:scan_at] + raw[scan_at : scan_at + 10] + bytes(range(255)) * 200,
        "scan-of-restarts": raw[: scan_at + 10] + b"\xff\xd0" * 500_000 + b"\xff\xd9",
        "fill-bytes": behind_start(raw, b"\xff" * 8 * MIB),
        "comments": behind_start(raw, segment(0xFE, b"x") * 500_000),
        "applications": behind_start(raw, segment(0xE1, b"Exif\0\0") * 300_000),
        "long-applications": behind_start(raw, segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 200),
        "profiles": behind_start(raw, segment(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(60_000)) * 255),
        "length-0": behind_start(raw, segment(0xE1, b"", 0)),
        "length-1": behind_start(raw, segment(0xE1, b"", 1)),
        "length-65535": behind_start(raw, segment(0xE1, b"x", 65535)),
        "exif-loop": behind_start(raw, segment(0xE1, b"Exif\0\0" + exif_loop())),
        "exif-bomb": behind_start(raw, segment(0xE1, b"Exif\0\0" + exif_bomb())),
        "pictures-many": behind_start(raw, segment(0xE2, b"MPF\0" + exif_bomb())),
        "adobe-short": behind_start(raw, segment(0xEE, b"Adobe\0")),
        "jfif-short": behind_start(raw, segment(0xE0, b"JFIF\0")),
        "codes-too-many": behind_start(raw, segment(0xC4, b"\0" + b"\xff" * 16 + bytes(4080))),
        "codes-short": behind_start(raw, segment(0xC4, b"\0")),
        "tables-short": behind_start(raw, segment(0xDB, b"\xf0")),
        "tables-nil": raw.replace(raw[tables_at + 5 : tables_at + 69], bytes(64)),
        "parts-255": raw[: frame_at + 9] + b"\xff" + raw[frame_at + 10 :],
        "parts-0": raw[: frame_at + 9] + b"\0" + raw[frame_at + 10 :],
        "sampling-0": raw[: frame_at + 11] + b"\0" + raw[frame_at + 12 :],
        "sampling-ff": raw[: frame_at + 11] + b"\xff" + raw[frame_at + 12 :],
        "depth-12": raw[: frame_at + 4] + b"\x0c" + raw[frame_at + 5 :],
        "depth-255": raw[: frame_at + 4] + b"\xff" + raw[frame_at + 5 :],
        "scan-parts-4": raw[: scan_at + 4] + b"\4" + raw[scan_at + 5 :],
        "tail": raw + b"tail" * 5000,
        "twice": raw + raw,
        "endless": endless_jpeg(),
        "endless-small": endless_jpeg(1000, 60_000),
    }
    refused = {"start-only", "start-and-end", "no-frame", "two-frames", "no-scan", "fill-bytes", "comments"}
    refused |= {"applications", "endless", "endless-small", "parts-0", "parts-255"}
    for name, body in whole.items():
        yield Hostile(f"{name}.jpg", body, passes=name not in refused)
    film = Image.fromarray(grey())
    for mode in ("CMYK", "RGB"):
        yield Hostile(f"mode-{mode}.jpg", saved(film.convert(mode), "JPEG"), passes=True)
