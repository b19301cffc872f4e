"""Which files of a folder are films, and their names as plain text."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxr_core.errors import StoreError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2"}
)
"""Pictures that cannot be decoded are here too: a film in the wrong format is refused, not overlooked."""

_DICOM_MAGIC_AT = 128


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
            raise StoreError(f"{name(path)}: no such file or folder")
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


def _walk(folder: Path) -> list[Path]:
    def unreadable(error: OSError) -> None:
        raise StoreError(f"{name(Path(error.filename))}: the folder cannot be listed") from error

    found = [Path(root) / file for root, _, files in os.walk(folder, onerror=unreadable) for file in files]
    return sorted(found)


def _is_film(file: Path) -> bool:
    if file.name.startswith(".") or file.name.upper() == "DICOMDIR":
        return False
    if file.suffix.lower() in SUFFIXES:
        return True
    try:
        if not file.is_file():
            return False
        with file.open("rb") as handle:
            return handle.read(_DICOM_MAGIC_AT + 4)[_DICOM_MAGIC_AT:] == b"DICM"
    except OSError:
        return False
