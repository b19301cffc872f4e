"""Files of other kinds, of two kinds at once, with odd names; and what is no file at all."""

from __future__ import annotations

import gzip
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tests.corpus.rasters import MAGIC, chunk, header, lines
from tests.corpus.seeds import Hostile, grey, saved, seeds
from tests.hostile_text import HOSTILE
from tests.worklist.zips import MIB, changed, linked, overlapping, pack

LONGEST_NAME = 255


def kinds() -> Iterator[Hostile]:
    """Yield what is no film, under the name of one."""
    film = Image.fromarray(grey())
    for name, kind in (
        ("gif", "GIF"),
        ("tiff", "TIFF"),
        ("bmp", "BMP"),
        ("webp", "WEBP"),
        ("jp2", "JPEG2000"),
    ):
        yield Hostile(f"kind-{name}.{name}", saved(film, kind))
        yield Hostile(f"kind-{name}.png", saved(film, kind))
    bodies = {
        "empty": b"",
        "one-byte": b"\x89",
        "nulls": bytes(5000),
        "ones": b"\xff" * 5000,
        "text": b"no film at all\n" * 50,
        "utf-16": "\ufeffno film".encode("utf-16"),
        "pdf": b"%PDF-1.7\n" + b"1 0 obj\n<<>>\n" * 50,
        "html": b"<html><script>alert(1)</script></html>",
        "svg": b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aa">]><svg>&a;</svg>',
        "program": b"\x7fELF\2\1\1" + bytes(200),
        "shell": b"#!/bin/sh\nrm -rf /\n",
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "gzip": gzip.compress(bytes(50 * MIB), mtime=0),
        "magic-png": MAGIC,
        "magic-jpeg": b"\xff\xd8\xff",
        "magic-zip": b"PK\x03\x04",
        "magic-dicom": bytes(128) + b"DICM",
        "tag-only": b"\x08\0\x05\0",
        "tags-of-noise": b"\x08\0" + os.fsencode("noise" * 300),
        "tags-of-nulls": b"\x02\0" + bytes(4000),
    }
    for name, raw in bodies.items():
        for ending in ("png", "dcm"):
            yield Hostile(f"kind-{name}.{ending}", raw)


def polyglots() -> Iterator[Hostile]:
    """Yield files that are two things at once; none may become the one that its name does not say."""
    png, dicom, jpeg = seeds()["grey.png"], seeds()["plain.dcm"], seeds()["plain.jpg"]
    hidden = MAGIC + header() + chunk(b"tEXt", b"a\0" + b"b" * 200)
    both = hidden[:128] + b"DICM" + hidden[132:] + chunk(b"IDAT", lines()) + chunk(b"IEND")
    packed = pack(("film.png", png))
    bodies = {
        "png-and-dicom.png": (both, False),
        "png-and-dicom.dcm": (both, False),
        "jpeg-and-dicom.jpg": (jpeg[:2] + b"\xff\xfe\x01\x00" + bytes(122) + b"DICM" + jpeg[2:], False),
        "png-then-dicom.png": (png + dicom, True),
        "png-then-zip.png": (png + packed, True),
        "zip-then-png.png": (packed + png, False),
        "pdf-then-png.png": (b"%PDF-1.7\n" + png, False),
        "png-then-pdf.png": (png + b"%PDF-1.7\n", True),
        "jpeg-then-html.jpg": (jpeg + b"<script>alert(1)</script>", True),
        "dicom-of-elf.dcm": (b"\x7fELF" + bytes(124) + dicom[128:], True),
        "dicom-of-tiff.dcm": (b"II*\0\x08\0\0\0" + bytes(120) + dicom[128:], True),
        "dicom-of-zip.dcm": (b"PK\x03\x04" + bytes(124) + dicom[128:], True),
        "dicom-then-zip.dcm": (dicom + packed, True),
        "gif-then-png.png": (b"GIF89a" + png, False),
    }
    for name, (raw, passes) in bodies.items():
        yield Hostile(f"two-{name}", raw, passes)


ODD_NAMES = (
    "%2e%2e%2fpasswd",
    "-rf",
    "--json",
    "~",
    "$(reboot)",
    "`id`",
    "CON",
    "a.png.exe",
    "*",
    "?",
    "|",
    ">",
)
ODD_NAMES += (
    "..png",
    ".\u200b.",
    "\u202egnp.exe",
    "\udcff\udc80",
    "\U0001f9ea" * 60,
    " ",
    "\t",
    "\r\n",
    "\x7f",
)


def names() -> Iterator[Hostile]:
    """Yield sound and broken films, no two alike, under names that try to be more than a name."""
    sound = seeds()["grey.png"]
    for number, text in enumerate([*HOSTILE, *ODD_NAMES, "n" * LONGEST_NAME]):
        plain = text.replace("/", "\u2215").replace("\0", "")
        while len(os.fsencode(f"{plain}{number:02}.png")) > LONGEST_NAME:
            plain = plain[:-1]
        marked = sound[:33] + chunk(b"tEXt", b"number\0" + str(number).encode()) + sound[33:]
        whole = number % 2 == 1
        yield Hostile(f"{plain}{number:02}.png", marked if whole else marked[:200], passes=whole)


def zips() -> Iterator[Hostile]:
    """Yield zips; none passes as a whole, though a sound film within one may."""
    png, other = seeds()["grey.png"], seeds()["deep.png"]
    film = pack(("film.png", png), ("good.png", other))
    bodies = {
        "slip": pack(("../../../../tmp/slip.png", png), ("good.png", other)),
        "slip-root": pack(("/etc/slip.png", png)),
        "slip-windows": pack(("..\\..\\slip.png", png), ("C:\\slip.png", png)),
        "names": pack(*((f"{text}.png", png[:99]) for text in HOSTILE if "\0" not in text)),
        "link": pack((linked("film.png", stat.S_IFLNK), b"/etc/passwd")),
        "device": pack((linked("film.png", stat.S_IFCHR), b"")),
        "nested": pack(("inner.zip", film)),
        "nested-renamed": pack(("inner.png", film)),
        "bomb": pack(("bomb.png", bytes(32 * MIB))),
        "bomb-of-films": pack(*((f"{each}.dcm", bytes(MIB)) for each in range(60))),
        "bomb-that-lies": changed(
            pack(("bomb.png", bytes(32 * MIB))), b"bomb.png", 24, struct.pack("<I", 10)
        ),
        "bomb-overlapping": overlapping(),
        "encrypted": changed(film, b"film.png", 8, b"\x01\x00", local=6),
        "twice": pack(("film.png", png), ("film.png", other)),
        "bzip2": pack(("film.png", png), method=zipfile.ZIP_BZIP2),
        "lzma": pack(("film.png", png), method=zipfile.ZIP_LZMA),
        "many": pack(*((f"{each}.png", b"") for each in range(10_001))),
        "empty": pack(),
        "end-only": b"PK\x05\x06" + b"\xff" * 18,
        "cut": film[: len(film) // 2],
        "of-nothing": b"PK\x03\x04" + bytes(400),
        "picture": png,
        "size-lies": changed(film, b"film.png", 24, struct.pack("<I", 2**32 - 1)),
        "sum-wrong": changed(film, b"film.png", 16, b"\0\0\0\0", local=14),
    }
    for name, raw in bodies.items():
        yield Hostile(f"zip-{name}.zip", raw)


def make_no_files(folder: Path) -> list[str]:
    """Return the names of what is put into a folder without being a file; each is to be refused.

    A link to a folder is put there too, which nobody is to follow or to speak of.
    """
    os.mkfifo(folder / "no-file-pipe.png")
    (folder / "no-file-folder.png").symlink_to(".")
    links = {"endless": "/dev/zero", "nowhere": "not/there", "itself": "no-file-itself.png"}
    for name, target in links.items():
        (folder / f"no-file-{name}.png").symlink_to(target)
    return ["no-file-pipe.png", *(f"no-file-{name}.png" for name in links)]
