"""Model folders that keep card, figures and recipe while their network lies elsewhere.

A network may be too large for a repository. Its manifest stays as it was and goes on listing the network's
files by SHA-256, so that the very network can be laid back and nothing else counts as it. What tells such a
folder from a damaged one is a file that says where the network is or how it is made again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

from cxr_core.errors import ModelError
from cxr_core.files import printable
from cxr_core.inference.manifest import NETWORK, WEIGHTS, Manifest

ELSEWHERE = "weights-elsewhere.txt"
"""Stands in a folder of figures only; the one file that no manifest lists."""

NETWORK_FILES = (NETWORK, WEIGHTS)
LONGEST = 500
"""Characters of it that are shown."""


def elsewhere(folder: Path) -> str:
    """Return where the network of a folder of figures only is; empty for every other folder."""
    if any((folder / name).exists() for name in NETWORK_FILES) or not (folder / ELSEWHERE).is_file():
        return ""
    try:
        with (folder / ELSEWHERE).open(encoding="utf-8", errors="replace") as file:
            said = printable(" ".join(file.read(LONGEST).split()))[:LONGEST]
    except OSError:
        said = ""
    return said or "nobody wrote down where its network is"


def refuse(folder: Path) -> None:
    """Return unless the folder holds figures only.

    Raises:
        ModelError: it does, so it can answer no film.
    """
    if where := elsewhere(folder):
        raise ModelError(f"{folder.name}: figures only, its network is not in this copy ({where})")


def strip(folder: Path, manifest: Manifest, to: Path, where: str) -> Path:
    """Move the network out of a folder that was just verified, and return the folder that holds it now.

    Args:
        folder: of the model.
        manifest: as it was verified.
        to: the network's files go to `to/<id>/`.
        where: a sentence for people: where the network is, or how to make it again.

    Raises:
        ModelError: something lies in that place already, or a file cannot be moved; then all is as it was.
    """
    place = to / manifest.id
    taken = [name for name in NETWORK_FILES if (place / name).exists()]
    if taken:
        raise ModelError(f"{place}: holds {taken[0]} already; move it away or name another folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name in NETWORK_FILES:
            _copy(folder / name, place / name, manifest.files[name])
        (folder / ELSEWHERE).write_text(where.strip() + "\n", encoding="utf-8")
    except OSError as exc:
        for name in NETWORK_FILES:
            (place / name).unlink(missing_ok=True)
        raise ModelError(f"{manifest.id}: its network cannot be moved to {place} ({exc.strerror})") from exc
    for name in NETWORK_FILES:  # the copies are on disk and what they should be
        (folder / name).unlink(missing_ok=True)
    return place


def _copy(source: Path, target: Path, sha256: str) -> None:
    """Copy a file so that it outlives a loss of power; raises OSError where the copy is another one."""
    shutil.copyfile(source, target)
    with target.open("rb+") as copied:
        os.fsync(copied.fileno())
        if hashlib.file_digest(copied, "sha256").hexdigest() != sha256:
            raise OSError(errno.EIO, "the copy is not the same", str(target))
