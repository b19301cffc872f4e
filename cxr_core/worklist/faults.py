"""What goes wrong in a database, said in our words: no SQL, no values, no patient."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, TimeoutError

from cxr_core.errors import Busy, StoreError

_SQLITE = {
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_LOCKED: "is locked by another program",
    sqlite3.SQLITE_PROTOCOL: "is locked by another program",
    sqlite3.SQLITE_READONLY: "cannot be written: it, its folder or its disk is read-only",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk is full or failing",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: it is missing, or its folder is read-only or somebody else's",
    sqlite3.SQLITE_NOMEM: "has no memory left",
}
"""Primary result codes that pass."""

_POSTGRESQL = {
    "08": "cannot be reached",
    "57P": "is shutting down or starting up",
    "57014": "took too long",
    "55": "is locked by another program",
    "40": "is locked by another program",
    "53": "has no disk, memory or connections left",
    "58": "cannot be read or written: its disk fails",
    "25": "cannot be written: it is read-only",
}
"""Beginnings of SQLSTATE that pass. Source: PostgreSQL manual, appendix A."""

_UNIQUE = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, "23505"}


@contextmanager
def told() -> Iterator[None]:
    """Turn what the database or its driver raises inside `with` into one sentence.

    Raises:
        Busy: locked, full, read-only or away, or another program wrote the same at the same moment.
        StoreError: damaged, or a statement that the tables do not allow.
    """
    try:
        yield
    except (IntegrityError, DataError) as exc:
        # PostgreSQL quotes the row in these: nobody may print the cause.
        raise in_our_words(exc) from None
    except (DBAPIError, TimeoutError) as exc:
        raise in_our_words(exc) from exc


def in_our_words(exc: DBAPIError | TimeoutError) -> StoreError:
    """Return the error to raise instead."""
    if isinstance(exc, TimeoutError):
        return _busy("has no connection free")
    code = _code(exc.orig)
    if code in _UNIQUE:
        return Busy("another program wrote the same at the same moment; nothing was changed, try again")
    if isinstance(exc, (IntegrityError, DataError)):
        return StoreError(f"the tables of the database do not allow this ({type(exc).__name__})")
    why = _SQLITE.get(code & 0xFF) if isinstance(code, int) else _passing(code)
    if why:
        return _busy(why)
    return StoreError(
        f"the database is damaged or not this program's ({type(exc.orig).__name__} {code}); "
        "restore it from a backup"
    )


def _busy(why: str) -> Busy:
    return Busy(f"the database {why}; nothing was changed, try again")


def _code(orig: BaseException | None) -> int | str:
    """Return SQLite's extended result code or PostgreSQL's SQLSTATE, "" for a connection that failed."""
    found: int | str | None = getattr(orig, "sqlite_errorcode", None) or getattr(orig, "sqlstate", None)
    return found or ""


def _passing(state: str) -> str | None:
    """Return why PostgreSQL could not do it now, or None where it never will."""
    if not state:
        return "cannot be reached"
    return next((why for start, why in _POSTGRESQL.items() if state.startswith(start)), None)
