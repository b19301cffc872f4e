"""The format of a backup: a folder of plain files, the same for both databases.

`rows/<table>.jsonl` holds a line that names and types the columns, then one line for each row;
`blobs/` the films as in CXR_HOME; `manifest.json`, written last, the counts and hashes of it all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cxr_core.errors import StoreError
from cxr_core.worklist import disk

FORMAT = 1
MANIFEST = "manifest.json"
ROWS = "rows"
PLACE = "the folder of the backup"

TIME, BYTES, JSON_TEXT, PLAIN = "time", "bytes", "json", "plain"
"""Kinds of columns: aware time, base64, JSON kept letter for letter, and what JSON itself can say."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table in the backup."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Table:
    """How many rows a table has, and the hash of its file."""

    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the backup holds.

    Attributes:
        format: of the backup itself.
        program: version that made it.
        revision: of the tables.
        tables: by name.
        films: in `blobs/`; `size_bytes` of them together.
        missing: SHA-256 of films that were missing or had changed when the backup was made.
        events, broken_at, digest: what verifying the audit trail said.
    """

    format: int
    program: str
    revision: str
    tables: dict[str, Table]
    films: int
    size_bytes: int
    missing: tuple[str, ...]
    events: int
    broken_at: int | None
    digest: str


def write_rows(folder: Path, table: str, columns: Sequence[Column], rows: Iterable[Row]) -> Table:
    """Return count and hash of the file, which is on disk by then."""
    path = folder / ROWS / f"{table}.jsonl"
    digest, number = hashlib.sha256(), 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, disk.PRIVATE_FILE)
    with os.fdopen(handle, "wb") as file:
        head = _line([[column.name, column.kind] for column in columns])
        digest.update(head)
        file.write(head)
        for row in rows:
            number += 1
            line = _line([_encode(value) for value in row])
            digest.update(line)
            file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return Table(number, digest.hexdigest())


def read_rows(folder: Path, table: str) -> tuple[tuple[Column, ...], Iterator[Row]]:
    """Return the columns, and the rows one by one.

    Raises:
        StoreError: the file is not what `write_rows` writes; also while the rows are read.
    """
    lines = _lines(folder / ROWS / f"{table}.jsonl")
    try:
        columns = tuple(Column(name, kind) for name, kind in next(lines))
    except (StopIteration, TypeError, ValueError) as exc:
        raise _damaged() from exc
    return columns, _decoded(lines, [column.kind for column in columns])


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the file that makes the backup complete, and return when all of it is on disk."""
    draft = folder / f"{MANIFEST}.draft"
    disk.write_new(draft, (json.dumps(asdict(manifest), indent=2) + "\n").encode())
    disk.sync_folder(folder / ROWS)
    draft.rename(folder / MANIFEST)
    disk.sync_folder(folder)


def read_manifest(folder: Path) -> Manifest:
    """Return what the backup says that it holds.

    Raises:
        StoreError: there is no manifest, so it is no backup or none that was finished; or it is not ours.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise StoreError(f"no {MANIFEST} there: not a backup, or one that was broken off")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["format"] != FORMAT:
            raise StoreError(f"expected a backup of format {FORMAT}, got {said['format']}")
        tables = {name: Table(**table) for name, table in said.pop("tables").items()}
        return Manifest(tables=tables, missing=tuple(said.pop("missing")), **said)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise _damaged() from exc


def check_tables(folder: Path, manifest: Manifest) -> None:
    """Return if every table's file has the hash and the number of rows that the manifest says.

    Raises:
        StoreError: one has not.
    """
    for name, table in manifest.tables.items():
        digest, lines = hashlib.sha256(), 0
        try:
            with (folder / ROWS / f"{name}.jsonl").open("rb") as file:
                for line in file:
                    digest.update(line)
                    lines += 1
        except FileNotFoundError as exc:
            raise _damaged() from exc
        if (digest.hexdigest(), lines - 1) != (table.sha256, table.rows):
            raise _damaged()


def _damaged() -> StoreError:
    return StoreError("the backup has been damaged or changed; use another one")


def _line(values: list[Any]) -> bytes:
    return (json.dumps(values, separators=(",", ":"), allow_nan=False) + "\n").encode("ascii")


def _lines(path: Path) -> Iterator[list[Any]]:
    try:
        with path.open("rb") as file:
            for line in file:
                yield json.loads(line)
    except (FileNotFoundError, ValueError) as exc:
        raise _damaged() from exc


def _decoded(lines: Iterator[list[Any]], kinds: Sequence[str]) -> Iterator[Row]:
    try:
        for line in lines:
            yield tuple(_decode(kind, value) for kind, value in zip(kinds, line, strict=True))
    except (TypeError, ValueError) as exc:
        raise _damaged() from exc


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value


def _decode(kind: str, value: Any) -> Any:  # noqa: ANN401 -- the column's kind says the type
    if value is None:
        return None
    if kind == TIME:
        return datetime.fromisoformat(value)
    if kind == BYTES:
        return base64.b64decode(value, validate=True)
    return value
