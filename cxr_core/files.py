"""Which files of a folder are films, and their names as plain text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from errno import EINVAL
from pathlib import Path, PurePosixPath

from cxr_core.errors import StoreError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2"}
)
"""Pictures that cannot be decoded are here too: a film in the wrong format is refused, not overlooked."""

HEAD_BYTES = 132
"""How much of a file says whether it is DICOM: 128 bytes of preamble, then `DICM` (PS3.10 7.1)."""


@dataclass(frozen=True, slots=True)
class Found:
    """Files to be answered, each once, and how many others a folder held."""

    films: tuple[Path, ...]
    others: int


def find(paths: Iterable[Path]) -> Found:
    """Return the named files as they are, and the image and DICOM files of the named folders, sorted.

    In a folder a file counts by its extension or by `DICM` at byte 128; hidden files and DICOMDIR
    are others. Links to folders are not followed.

    Raises:
        StoreError: a path does not exist or a folder cannot be listed.
    """
    films: dict[Path, None] = {}
    others = 0
    for path in paths:
        if not path.exists():
            raise StoreError(f"{printable(name(path))}: no such file or folder")
        if not path.is_dir():
            films[path] = None
            continue
        for file in _walk(path):
            if _is_film(file):
                films[file] = None
            else:
                others += 1
    return Found(tuple(films), others)


def name(path: Path) -> str:
    """Return the path as text that every encoding can write; bytes that are not UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """Return text without control characters, which a terminal would obey."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would compute it instead of showing it; full-width signs count too."""
    return text.startswith(("\t", "\r", "\n")) or text.lstrip().startswith(tuple("=+-@＝＋－＠"))


def _walk(folder: Path) -> list[Path]:
    def unreadable(error: OSError) -> None:
        raise StoreError(f"{printable(name(Path(error.filename)))}: the folder cannot be listed") from error

    found = [Path(root) / file for root, _, files in os.walk(folder, onerror=unreadable) for file in files]
    return sorted(found)


def read(path: Path, most: int) -> bytes:
    """Return a regular file, of a longer one the first `most` bytes.

    Raises:
        OSError: it is a pipe, a device or a folder, or cannot be read.
    """
    if not path.is_file():  # a pipe would never end
        raise OSError(EINVAL, os.strerror(EINVAL))
    with path.open("rb") as handle:
        return handle.read(most)


def is_film(name: str, head: Callable[[], bytes]) -> bool:
    """Return whether a file of a folder or a zip is a film, by its name or else its first bytes.

    Args:
        name: with or without folders.
        head: gives the first HEAD_BYTES; asked only where the name leaves it open.
    """
    base = PurePosixPath(name)
    if base.name.startswith(".") or base.name.upper() == "DICOMDIR":
        return False
    return base.suffix.lower() in SUFFIXES or head()[128:HEAD_BYTES] == b"DICM"


def _is_film(file: Path) -> bool:
    return is_film(file.name, lambda: _head(file))


def _head(file: Path) -> bytes:
    """Return the first bytes of a file, none where it cannot be read."""
    try:
        return read(file, HEAD_BYTES)
    except OSError:
        return b""
