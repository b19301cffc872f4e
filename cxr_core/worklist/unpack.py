"""Films out of a zip, one after the other and in memory: nothing is written, no name is used as a path."""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from cxr_core.domain import Notice
from cxr_core.errors import Rejected
from cxr_core.files import HEAD_BYTES, is_film
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.refusals import refusal, reject
from cxr_core.worklist.values import Incoming

_MIB = 1024 * 1024
_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
"""Of the first entry, or of the end of an empty zip (APPNOTE 4.3.7, 4.3.16)."""
_ENCRYPTED = 0x1 | 0x40
"""Bits of the general purpose flag: encrypted, strongly encrypted (APPNOTE 4.4.4)."""
_PIECE = _MIB
_DIRECTORY_BYTES_PER_ENTRY = 512
_OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:|\0|(^|[/\\])\.\.([/\\]|$)")
_FAULTS = (
    BadZipFile,
    LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises for broken or hostile files; UnicodeDecodeError is a ValueError."""


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """Bounds on one zip.

    Attributes:
        entries: files and folders in it.
        entry_bytes: of one unpacked file; the decoder's own limit.
        total_bytes: of all unpacked films.
        ratio: unpacked to packed size of a file of more than a megabyte; films reach about 50.
    """

    entries: int = 10_000
    entry_bytes: int = Limits().max_bytes
    total_bytes: int = 4096 * _MIB
    ratio: float = 200.0


@dataclass(frozen=True, slots=True)
class Turned:
    """An entry that is not taken, and why.

    Attributes:
        name: of the entry; shown, never used as a path, never logged.
    """

    name: str = field(repr=False)
    notice: Notice


def is_zip(name: str, head: bytes) -> bool:
    """Return whether a file is to be opened as a zip: by its first bytes, or because its name says so."""
    return head.startswith(_MAGIC) or name.lower().endswith(".zip")


class Archive:
    """The films of a zip, in its order; see `Turned` for what is refused. Use with `with`.

    Attributes:
        films: how many films and refusals iterating gives.
        others: how many files are no films by the rule of `files.find`.
    """

    films: int
    others: int

    def __init__(self, source: bytes | Path, limits: ZipLimits | None = None) -> None:
        """Read the directory; no film is unpacked yet.

        Raises:
            Rejected: broken_zip, zip_entries, zip_bytes or unreadable_file: nothing of it can be taken.
        """
        self._limits = limits or ZipLimits()
        self._file = _opened(source, self._limits)
        try:
            self._zip = self._directory()
            self._check_total()
            self._todo = list(self._sorted_out())
        except BaseException:
            self._file.close()
            raise
        self.films = len(self._todo)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def __iter__(self) -> Iterator[Incoming | Turned]:
        """Yield each film, or why it is refused; one film is held at a time."""
        for info, why in self._todo:
            if why is not None:
                yield Turned(info.filename, why)
                continue
            try:
                yield Incoming(info.filename, self._unpacked(info))
            except Rejected as exc:
                yield Turned(info.filename, _notice(exc))

    def _directory(self) -> ZipFile:
        if not self._file.head().startswith(_MAGIC):  # zipfile would also open a picture with a zip behind it
            raise reject("broken_zip")
        try:
            archive = ZipFile(self._file)
        except _FAULTS as exc:
            raise reject("broken_zip") from exc
        if len(archive.infolist()) > self._limits.entries:
            raise reject("zip_entries", found=len(archive.infolist()), limit=self._limits.entries)
        return archive

    def _check_total(self) -> None:
        """Refuse a zip that states more than it may hold, or whose entries share their packed bytes."""
        infos = self._zip.infolist()
        total = sum(info.file_size for info in infos)
        if total > self._limits.total_bytes:
            limit = self._limits.total_bytes // _MIB
            raise reject("zip_bytes", found=total // _MIB, limit=limit)
        if sum(info.compress_size for info in infos) > self._file.size:
            raise reject("broken_zip")

    def _sorted_out(self) -> Iterator[tuple[ZipInfo, Notice | None]]:
        """Yield each entry that is a film or must be refused; count the others."""
        self.others = 0
        seen: set[str] = set()
        for info in self._zip.infolist():
            if info.filename.endswith("/") and not info.file_size:
                continue
            why = _closed(info)
            if why is None and not is_film(info.filename, partial(self._head, info)):
                self.others += 1
                continue
            if why is None and info.filename in seen:
                why = refusal("zip_twice")
            seen.add(info.filename)
            yield info, why or self._too_large(info)

    def _too_large(self, info: ZipInfo) -> Notice | None:
        """Return why an entry is not unpacked, by the sizes that the directory states."""
        limit = self._limits.entry_bytes
        if info.file_size > limit:
            found, most = (f"{size / _MIB:.1f}" for size in (info.file_size, limit))
            return _notice(reject("too_many_bytes", found=found, limit=most))
        if info.file_size > _MIB and info.file_size > self._limits.ratio * info.compress_size:
            return refusal("zip_ratio")
        return None

    def _head(self, info: ZipInfo) -> bytes:
        """Return the first bytes of an entry, or none where it is broken: unpacking it will say so."""
        try:
            with self._zip.open(info) as entry:
                return entry.read(HEAD_BYTES)
        except _FAULTS:
            return b""

    def _unpacked(self, info: ZipInfo) -> bytes:
        """Return an entry's bytes; more than the directory states are never unpacked.

        Raises:
            Rejected: broken_zip.
        """
        pieces = []
        try:
            with self._zip.open(info) as entry:
                while piece := entry.read(_PIECE):
                    pieces.append(piece)
        except _FAULTS as exc:
            raise reject("broken_zip") from exc
        raw = b"".join(pieces)
        if len(raw) != info.file_size:
            raise reject("broken_zip")
        return raw


class _Bounded:
    """A file that refuses to be read in one large piece, as `zipfile` does with the whole directory."""

    def __init__(self, file: BinaryIO, limits: ZipLimits) -> None:
        self._file = file
        self._entries = limits.entries
        self._allowed = max(_PIECE, limits.entries * _DIRECTORY_BYTES_PER_ENTRY)
        self.size = file.seek(0, 2)

    def head(self) -> bytes:
        self._file.seek(0)
        return self._file.read(4)

    def read(self, size: int = -1) -> bytes:
        if size > self._allowed:
            raise reject("zip_entries", found="too many", limit=self._entries)
        return self._file.read(self._allowed if size < 0 else size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()


def _closed(info: ZipInfo) -> Notice | None:
    """Return why an entry must not or cannot be looked into, by what the directory says of it."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if not info.filename or _OUTSIDE.search(info.orig_filename):
        return refusal("zip_name")
    if kind not in (0, stat.S_IFREG):
        return refusal("zip_link")
    if is_zip(info.filename, b""):
        return refusal("zip_nested")
    if info.flag_bits & _ENCRYPTED:
        return refusal("zip_encrypted")
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return refusal("zip_method")
    return None


def _notice(exc: Rejected) -> Notice:
    return Notice(exc.code, exc.message, exc.hint)


def _opened(source: bytes | Path, limits: ZipLimits) -> _Bounded:
    if isinstance(source, bytes):
        return _Bounded(BytesIO(source), limits)
    try:
        return _Bounded(source.open("rb"), limits)
    except OSError as exc:
        raise reject("unreadable_file") from exc
