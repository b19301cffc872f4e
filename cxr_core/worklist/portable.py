"""Rows of either database into a backup and back into either, value for value."""

from __future__ import annotations

from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    DateTime,
    LargeBinary,
    MetaData,
    Table,
    Text,
    cast,
    func,
    insert,
    select,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import UserDefinedType

from cxr_core.errors import StoreError
from cxr_core.worklist import archive, migrations
from cxr_core.worklist.schema import AuditHeadRow, Base, UtcTime

_AT_ONCE = 500
NOT_EMPTY = "expected an empty CXR_HOME and an empty database to restore into"


def dump(session: Session, folder: Path) -> dict[str, archive.Table]:
    """Write every table as the session's moment has it, and return what was written by table."""
    return {table.name: _dump(session, table, folder) for table in Base.metadata.sorted_tables}


def load(connection: Connection, folder: Path, manifest: archive.Manifest) -> None:
    """Make the tables of the backup's own revision, fill them, then upgrade them to the newest.

    Raises:
        StoreError: a newer version made the backup, or it does not fit its own revision.
    """
    _reflected(connection).drop_all(connection)
    migrations.upgrade(connection, manifest.revision)
    tables = [table for table in _reflected(connection).sorted_tables if table.name in manifest.tables]
    if len(tables) != len(manifest.tables):
        raise StoreError("the backup does not fit the tables of its own version; use another one")
    for table in tables:
        _fill(connection, table, folder)
    migrations.upgrade(connection)


def refuse_rows(connection: Connection) -> None:
    """Return if the database holds no table, or only ours, with no row that anybody wrote.

    Raises:
        StoreError: it holds more.
    """
    ours = {*Base.metadata.tables, migrations.VERSION_TABLE}
    for table in _reflected(connection).sorted_tables:
        if table.name not in ours:
            raise StoreError(NOT_EMPTY)
        written_by_us = table.name in (AuditHeadRow.__tablename__, migrations.VERSION_TABLE)
        if not written_by_us and connection.execute(select(table).limit(1)).first() is not None:
            raise StoreError(NOT_EMPTY)


def counts(connection: Connection) -> dict[str, int]:
    """Return how many rows each of the newest tables has."""
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in Base.metadata.sorted_tables
    }


class _AsWritten(UserDefinedType[str]):
    """JSON that is handed over as text, so that no digit of it changes."""

    cache_ok = True

    def get_col_spec(self, **options: object) -> str:
        return "JSON"


def _dump(session: Session, table: Table, folder: Path) -> archive.Table:
    columns = [archive.Column(column.name, _kind(column)) for column in table.columns]
    values = [cast(column, Text) if isinstance(column.type, JSON) else column for column in table.columns]
    query = select(*values).order_by(*table.primary_key)
    with session.execute(query, execution_options={"yield_per": _AT_ONCE}) as rows:
        return archive.write_rows(folder, table.name, columns, (tuple(row) for row in rows))


def _fill(connection: Connection, table: Table, folder: Path) -> None:
    columns, rows = archive.read_rows(folder, table.name)
    if {column.name for column in columns} != set(table.columns.keys()):
        raise StoreError("the backup does not fit the tables of its own version; use another one")
    for column in table.columns:
        if isinstance(column.type, JSON):
            column.type = _AsWritten()
    naive = connection.dialect.name == "sqlite"
    connection.execute(table.delete())
    while group := [_named(columns, row, naive) for row in islice(rows, _AT_ONCE)]:
        connection.execute(insert(table), group)
    if connection.dialect.name == "postgresql" and "id" in table.columns:
        _move_sequence(connection, table)


def _named(columns: tuple[archive.Column, ...], row: archive.Row, naive: bool) -> dict[str, Any]:
    """Return a row's values by column; SQLite keeps UTC without saying so."""
    values = {column.name: value for column, value in zip(columns, row, strict=True)}
    for column in columns:
        if naive and column.kind == archive.TIME and values[column.name] is not None:
            values[column.name] = values[column.name].astimezone(UTC).replace(tzinfo=None)
    return values


def _move_sequence(connection: Connection, table: Table) -> None:
    """Let the next row that gets its number from PostgreSQL follow the restored ones."""
    sequence = connection.execute(select(func.pg_get_serial_sequence(table.name, "id"))).scalar_one()
    last = connection.execute(select(func.max(table.columns.id))).scalar_one()
    if sequence and last:
        connection.execute(select(func.setval(sequence, last)))


def _kind(column: Column[Any]) -> str:
    kinds = ((UtcTime, archive.TIME), (DateTime, archive.TIME), (LargeBinary, archive.BYTES))
    for type_, kind in (*kinds, (JSON, archive.JSON_TEXT)):
        if isinstance(column.type, type_):
            return kind
    return archive.PLAIN


def _reflected(connection: Connection) -> MetaData:
    """Return the tables that are there now, as the database itself describes them."""
    found = MetaData()
    found.reflect(connection)
    return found
