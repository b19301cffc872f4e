"""Files and folders that survive a power cut and that only their owner reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxr_core.errors import Busy

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


@contextmanager
def refusals(place: str) -> Iterator[None]:
    """Turn what the operating system refuses inside `with` into one sentence without file names.

    Raises:
        Busy: the disk is full, read-only or failing, or the folder belongs to somebody else.
    """
    try:
        yield
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise Busy(f"{place} cannot be read or written ({why}); try again when the disk allows it") from exc


def private_folder(folder: Path) -> None:
    """Return when the folder is there, durable, and its owner's alone; parents are made where missing.

    A folder that belongs to somebody else, or is shared by all users as /tmp is, keeps its mode.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        sync_folder(each.parent)
    found = folder.stat()
    if found.st_uid == os.geteuid() and found.st_mode & 0o077 and not found.st_mode & stat.S_ISVTX:
        folder.chmod(PRIVATE_FOLDER)


def write_new(path: Path, raw: bytes) -> None:
    """Write a new file and return when its bytes are on disk; its name is only after `sync_folder`."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        left = memoryview(raw)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Return when the names in the folder are on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
