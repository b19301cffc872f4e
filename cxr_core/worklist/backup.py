"""A copy of everything, from either database and back into either, verified before anybody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from cxr_core import __version__
from cxr_core.errors import Busy, StoreError
from cxr_core.settings import Settings
from cxr_core.worklist import archive, audit, disk, migrations, portable
from cxr_core.worklist.blobs import Blobs
from cxr_core.worklist.database import BLOBS_FOLDER, Database, connect, upgrading
from cxr_core.worklist.schema import AuditHeadRow, AuditRow, ImageRow, ResultRow, StudyRow

_BYTES_AT_ONCE = 64 * 1024 * 1024
_FILMS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Report:
    """What was copied and verified.

    Attributes:
        studies, films, results: how many there are.
        size_bytes: of the films together.
        missing: SHA-256 of films whose bytes are missing or have changed; everything else is there.
        trail: what verifying the copied audit trail said.
    """

    studies: int
    films: int
    results: int
    size_bytes: int
    missing: tuple[str, ...]
    trail: audit.Verdict

    @property
    def sound(self) -> bool:
        """No film is missing and no audit row was touched."""
        return not self.missing and self.trail.broken_at is None


def backup(database: Database, blobs: Blobs, home: Path, target: Path) -> Report:
    """Return what was copied, after reading all of the copy again. The program may go on meanwhile.

    The rows are those of one moment; the films are copied after them, and a film is on disk before its
    row, so every row finds its film. Without its manifest, which is written last, a copy does not count.

    Raises:
        StoreError: the target is not an empty folder, or lies in CXR_HOME and would be lost with it.
        Busy: the database or a disk cannot be read or written now.
    """
    if target.resolve().is_relative_to(home.resolve()):
        raise StoreError("expected a folder outside CXR_HOME, best on another disk")
    with disk.refusals(archive.PLACE):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StoreError("expected a new or empty folder for the backup")
        disk.private_folder(target / archive.ROWS)
        with database.read() as session:
            revision = migrations.revision(session.connection())
            tables = portable.dump(session, target)
        films = _films(target)
        copies = Blobs(target / BLOBS_FOLDER)
        size, missing = _copy_films(films, blobs, copies)
        trail = _trail(target)
        manifest = archive.Manifest(
            format=archive.FORMAT,
            program=__version__,
            revision=str(revision),
            tables=tables,
            films=len(films) - len(missing),
            size_bytes=size,
            missing=missing,
            events=trail.events,
            broken_at=trail.broken_at,
            digest=trail.digest,
        )
        archive.check_tables(target, manifest)
        _check_films(films, copies, missing)
        archive.write_manifest(target, manifest)
    return _report(manifest, trail)


def restore(
    source: Path, settings: Settings, also: Callable[[Session, Report], None] = lambda session, report: None
) -> Report:
    """Return what was restored from a backup of this or an older version, verified in its new place.

    Args:
        source: what `backup` wrote.
        settings: of the place.
        also: is called inside the transaction, once all is verified, with what is about to be returned.

    Raises:
        StoreError: no whole backup, one of a newer version, or CXR_HOME or the database is not empty.
        Busy: the database or a disk cannot be read or written now; the same call goes on.
    """
    with disk.refusals(archive.PLACE):
        manifest = archive.read_manifest(source)
        archive.check_tables(source, manifest)
        films = _films(source)
    blobs = Blobs(settings.home / BLOBS_FOLDER)
    _refuse_other_films(blobs, films)
    database = connect(settings)
    try:
        with upgrading(database, settings) as connection:
            portable.refuse_rows(connection)
        lost_before = frozenset(manifest.missing)
        wanted = [sha256 for sha256 in films if sha256 not in lost_before]
        _, lost = _copy_films(wanted, Blobs(source / BLOBS_FOLDER), blobs)
        if lost:
            raise StoreError(f"{len(lost)} films of the backup are missing or changed; use another one")
        _check_films(wanted, blobs, ())
        with upgrading(database, settings) as connection:
            portable.refuse_rows(connection)
            portable.load(connection, source, manifest)
            report = _report(manifest, _verified(connection, manifest))
            with Session(connection) as session:
                also(session, report)
                session.flush()
    finally:
        database.close()
    return report


def _films(folder: Path) -> tuple[str, ...]:
    """Return the SHA-256 of every film that the backup's rows speak of."""
    columns, rows = archive.read_rows(folder, ImageRow.__tablename__)
    place = [column.name for column in columns].index("sha256")
    return tuple(row[place] for row in rows)


def _copy_films(films: Iterable[str], source: Blobs, target: Blobs) -> tuple[int, tuple[str, ...]]:
    """Return how many bytes were copied, and which films could not be: missing or changed."""
    total, missing = 0, []
    group: dict[str, bytes] = {}
    group_bytes = 0
    for sha256 in films:
        try:
            group[sha256] = source.get(sha256)
        except Busy:
            raise
        except StoreError:
            missing.append(sha256)
            continue
        group_bytes += len(group[sha256])
        if group_bytes > _BYTES_AT_ONCE or len(group) >= _FILMS_AT_ONCE:
            target.put_many(group)
            total += group_bytes
            group, group_bytes = {}, 0
    target.put_many(group)
    return total + group_bytes, tuple(missing)


def _check_films(films: Iterable[str], copies: Blobs, missing: Iterable[str]) -> None:
    """Read every film that was copied once more.

    Raises:
        StoreError: one is not what it was.
    """
    not_copied = frozenset(missing)
    for sha256 in films:
        if sha256 not in not_copied:
            copies.get(sha256)


def _refuse_other_films(blobs: Blobs, films: tuple[str, ...]) -> None:
    """Return if the folder holds no film but some of these, left by a restore that was broken off.

    Raises:
        StoreError: it holds others.
    """
    known = set(films)
    if any(path.is_file() and path.name not in known for path in blobs.folder.glob("??/*")):
        raise StoreError(portable.NOT_EMPTY)


def _trail(folder: Path) -> audit.Verdict:
    """Return what verifying the audit trail says, read from the backup's own files."""
    columns, rows = archive.read_rows(folder, AuditRow.__tablename__)
    names = [column.name.removesuffix("_utc") for column in columns]
    chain = (audit.Link(**dict(zip(names, row, strict=True))) for row in rows)
    columns, rows = archive.read_rows(folder, AuditHeadRow.__tablename__)
    head = next((dict(zip([column.name for column in columns], row, strict=True)) for row in rows), None)
    return audit.check(chain, head["seq"] if head else None, head["digest"] if head else "")


def _verified(connection: Connection, manifest: archive.Manifest) -> audit.Verdict:
    """Return what verifying the restored audit trail says.

    Raises:
        StoreError: it, or the number of rows of a table, is not what the backup's manifest says.
    """
    there = portable.counts(connection)
    with Session(connection) as session:
        trail = audit.verify(session)
    same_rows = all(there[name] == table.rows for name, table in manifest.tables.items() if name in there)
    if not same_rows or (trail.events, trail.broken_at, trail.digest) != (
        manifest.events,
        manifest.broken_at,
        manifest.digest,
    ):
        raise StoreError("what was restored is not what the backup holds; nothing was kept")
    return trail


def _report(manifest: archive.Manifest, trail: audit.Verdict) -> Report:
    studies, results = (manifest.tables[row.__tablename__].rows for row in (StudyRow, ResultRow))
    return Report(studies, manifest.films, results, manifest.size_bytes, manifest.missing, trail)
