"""A CSV file that grows by whole rows and survives a kill: append, fsync, repair, go on."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cxr_core.errors import StoreError


class Ledger:
    """Rows under fixed columns, the first of which names the row.

    Attributes:
        done: first column of every whole row that was there when the file was opened.
    """

    done: frozenset[str]

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Name the file; nothing happens before `with`."""
        self._path = path
        self._columns = list(columns)

    def __enter__(self) -> Self:
        """Open or create the file, lock it, cut off a half last row and read what is done.

        Raises:
            StoreError: the file has other columns, is in use, or cannot be opened.
        """
        try:
            self._file = self._path.open("a+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self._file.close()
            raise StoreError(f"{self._path.name}: another run is writing to it") from exc
        except OSError as exc:
            raise StoreError(f"{self._path.name}: cannot be opened for writing ({exc.strerror})") from exc
        try:
            self._resume()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, which also unlocks it."""
        self._file.close()

    def append(self, rows: Sequence[Sequence[str]]) -> None:
        """Write whole rows and return when they are on disk.

        Raises:
            StoreError: the disk is full or refuses.
        """
        if not rows:
            return
        try:
            self._file.write("".join(_line(row) for row in rows).encode("utf-8"))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise StoreError(f"{self._path.name}: cannot be written ({exc.strerror})") from exc

    def _resume(self) -> None:
        self._file.seek(0)
        data = self._file.read()
        whole = whole_rows(data)
        if whole < len(data):
            self._file.truncate(whole)
        rows = _parsed(data[:whole], self._path.name)
        if not rows:
            self.done = frozenset()
            self.append([self._columns])
            _sync_folder(self._path.parent)
            return
        if rows[0] != self._columns or any(len(row) != len(self._columns) for row in rows):
            raise StoreError(
                f"{self._path.name}: expected the columns {', '.join(self._columns)}; "
                "name another file or remove this one"
            )
        self.done = frozenset(row[0] for row in rows[1:])


def whole_rows(data: bytes) -> int:
    r"""Return how many bytes hold whole CSV rows: up to the last line end outside quotes.

    >>> whole_rows(b'a,b\n"x\ny",1\nhal')
    12
    """
    end = position = 0
    quoted = False
    for line in data.split(b"\n")[:-1]:
        position += len(line) + 1
        if line.count(b'"') % 2:
            quoted = not quoted
        if not quoted:
            end = position
    return end


def check_maker(out: Path, maker: Mapping[str, str]) -> None:
    """Note beside `out` what makes its rows, or refuse if something else made the rows that are there.

    Raises:
        StoreError: rows of another model would be mixed with these.
    """
    note = out.with_suffix(".model.json")
    try:
        if note.exists() and out.exists():
            if json.loads(note.read_text(encoding="utf-8")) != dict(maker):
                raise StoreError(f"{out.name}: another model or gate made its rows; name another file")
            return
        note.write_text(json.dumps(maker, indent=2) + "\n", encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise StoreError(f"{note.name}: cannot be read or written") from exc


def _line(row: Sequence[str]) -> str:
    """Return one CSV row (RFC 4180); `csv.writer` would leave a lone carriage return unquoted."""
    quoted = ('"' + field.replace('"', '""') + '"' if set(field) & set('",\r\n') else field for field in row)
    return ",".join(quoted) + "\n"


def _parsed(data: bytes, file: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error) as exc:
        raise StoreError(f"{file}: is not a CSV file of this program") from exc


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
