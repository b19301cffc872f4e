"""Films' bytes under their SHA-256: written once, never changed, on disk before anybody says so."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import inf
from pathlib import Path
from uuid import uuid4

from cxr_core.errors import Busy, StoreError
from cxr_core.worklist.disk import private_folder, refusals, sync_folder, write_new

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLACE = "the folder of films"
_LEFTOVER_S = 3600.0
_THREADS = 8
"""That wait for the disk together: it makes several files durable in one go."""


class Blobs:
    """Files `ab/abcdef…` in one folder; `tmp/` holds those being written.

    The order is: write to tmp, fsync, rename, fsync of the folder. So a name that can be seen has all its
    bytes, and after `put` it survives a power cut.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made at the first `put`."""
        self.folder = folder
        self._tmp = folder / "tmp"
        self._sweep_at = -inf

    def put(self, raw: bytes, sha256: str) -> None:
        """Return when the bytes are on disk; the same film again changes nothing.

        Raises:
            Busy: the disk is full, read-only or failing; no half film is left.
        """
        self.put_many({sha256: raw})

    def put_many(self, raws: Mapping[str, bytes]) -> None:
        """Return when all of the films are on disk, with one fsync for each folder.

        Args:
            raws: bytes by their SHA-256.

        Raises:
            Busy: the disk is full, read-only or failing; whole films may have been kept, no half one.
        """
        paths = {sha256: self._path(sha256) for sha256 in raws}
        with refusals(_PLACE):
            private_folder(self._tmp)
            for parent in {path.parent for path in paths.values()}:
                private_folder(parent)
            sync_folder(self.folder)  # whoever made a folder in it may not have come as far as this
            new = [sha256 for sha256 in raws if not self._whole(sha256)]
            self._write({paths[sha256]: raws[sha256] for sha256 in new})
            # Also for films that were there: whoever wrote them may not have come as far as this.
            _each(sync_folder, {path.parent for path in paths.values()})
        self._sweep_by_and_by()

    def get(self, sha256: str) -> bytes:
        """Return the film's bytes, checked against their name.

        Raises:
            StoreError: the film is missing or its bytes have changed.
            Busy: the disk cannot be read.
        """
        try:
            with refusals(_PLACE):
                raw = self._path(sha256).read_bytes()
        except Busy as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                raise StoreError(f"film {sha256[:12]} is missing; restore it from a backup") from exc
            raise
        if hashlib.sha256(raw).hexdigest() != sha256:
            raise StoreError(f"film {sha256[:12]} has changed on disk; restore it from a backup")
        return raw

    def has(self, sha256: str) -> bool:
        """Return whether a film of this name is there; `get` also looks at its bytes."""
        return self._path(sha256).is_file()

    def sweep(self) -> None:
        """Remove what writers that were killed left in tmp/ more than an hour ago."""
        with refusals(_PLACE):
            if not self._tmp.is_dir():
                return
            for path in self._tmp.iterdir():
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                        path.unlink()

    def _sweep_by_and_by(self) -> None:
        """Sweep if this process has not done so for an hour; a disk that fails then fails nobody."""
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + _LEFTOVER_S
            with suppress(Busy):
                self.sweep()

    def _path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise StoreError("expected a SHA-256 of 64 hexadecimal digits as the name of a film")
        return self.folder / sha256[:2] / sha256

    def _whole(self, sha256: str) -> bool:
        """Return whether the film is there and unchanged; one that has changed is written anew."""
        if not self.has(sha256):
            return False
        try:
            self.get(sha256)
        except StoreError:
            return False
        return True

    def _write(self, raws: Mapping[Path, bytes]) -> None:
        drafts = {path: self._tmp / uuid4().hex for path in raws}
        try:
            _each(lambda path: write_new(drafts[path], raws[path]), raws)
            for path, draft in drafts.items():
                draft.rename(path)
        except BaseException:
            for draft in drafts.values():
                with suppress(OSError):
                    draft.unlink(missing_ok=True)
            raise


def _each(work: Callable[[Path], None], paths: Iterable[Path]) -> None:
    """Do the work for all of them, side by side where there are several, and raise the first failure."""
    todo = list(paths)
    if len(todo) < 2:
        for path in todo:
            work(path)
        return
    with ThreadPoolExecutor(min(_THREADS, len(todo)), thread_name_prefix="blobs") as pool:
        list(pool.map(work, todo))
