"""Rows that may be there already: the unique keys decide, not a look beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session


def insert_missing(
    session: Session,
    table: type[DeclarativeBase],
    rows: Sequence[dict[str, Any]],
    *returned: InstrumentedAttribute[Any] | ColumnElement[Any],
) -> list[Row[*tuple[Any, ...]]]:
    """Return the columns `returned` of those rows that were new; the others changed nothing, in no order."""
    if not rows:
        return []
    made = table.__table__
    if not isinstance(made, Table):
        raise TypeError(f"{table.__name__} is no table")
    insert = (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert
    statement = insert(made).on_conflict_do_nothing().returning(*returned)
    return list(session.execute(statement, list(rows)).all())
