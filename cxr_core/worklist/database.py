"""The database: SQLite in CXR_HOME, or the PostgreSQL that CXR_DATABASE_URL names.

What `write` has returned from is on disk: SQLite with WAL and synchronous FULL, PostgreSQL as its server
is set up.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from cxr_core.errors import SettingsError, StoreError
from cxr_core.settings import Settings
from cxr_core.worklist import disk, faults, migrations

SQLITE_FILE = "neuraray.sqlite3"
BLOBS_FOLDER = "blobs"
LOCK_FILE = "upgrade.lock"

LOCK_WAIT_S = 10.0
"""How long a call waits for another program's lock, or for a connection, before it says Busy."""
_UPGRADE_WAIT_S = 600
_ADVISORY_LOCK = 0x6E657572
"""Any number that nobody else uses: whoever upgrades a PostgreSQL database holds it."""

_WAL_BYTES = 64 * 1024 * 1024
"""To which the write-ahead log is cut back after a long reader let it grow."""
_POOL: dict[str, Any] = {"pool_size": 5, "max_overflow": 15}
_READING = "cxr_reading"


class Database:
    """Sessions on one database.

    Attributes:
        engine: of SQLAlchemy.
        name: "sqlite" or "postgresql", for the few statements that differ.
    """

    engine: Engine
    name: Literal["sqlite", "postgresql"]

    def __init__(self, engine: Engine) -> None:
        """Take over an engine whose schema is the newest."""
        self.engine = engine
        self.name = "sqlite" if engine.dialect.name == "sqlite" else "postgresql"
        options: dict[str, Any] = {_READING: True}
        if self.name == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reading = engine.execution_options(**options)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that sees one moment and cannot write.

        Raises:
            Busy: the database is locked, full, read-only or away; the same call may succeed later.
            StoreError: it is damaged, or a statement is not allowed.
        """
        with faults.told(), Session(self._reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session whose changes are on disk after `with`, or undone if anything is raised inside.

        On SQLite there is one writer at a time. On PostgreSQL there are several (READ COMMITTED): what is
        read in order to be changed is to be locked by `with_for_update()`, which SQLite ignores.

        Raises:
            Busy: the database is locked, full, read-only or away, or another program wrote the same unique
                row at the same moment; nothing was changed, or, where the connection broke during the very
                commit, all of it.
            StoreError: it is damaged, or a statement is not allowed.
        """
        with faults.told(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.engine.dispose()


def open_database(settings: Settings) -> Database:
    """Return the database that the settings name, made or upgraded to the newest schema.

    Raises:
        Busy: it cannot be reached, opened or written now.
        StoreError: a newer version of this program made it, or it is not this program's.
        SettingsError: CXR_DATABASE_URL is not the address of a PostgreSQL database.
    """
    database = connect(settings)
    try:
        with upgrading(database, settings) as connection:
            migrations.upgrade(connection)
    except BaseException:
        database.close()
        raise
    return database


def connect(settings: Settings) -> Database:
    """Return the database as it is: SQLite's file is made where missing, its tables are not."""
    with disk.refusals("CXR_HOME"):
        disk.private_folder(settings.home)
    if settings.database_url:
        return Database(_postgresql(settings.database_url))
    return Database(_sqlite(settings.home / SQLITE_FILE))


@contextmanager
def upgrading(database: Database, settings: Settings) -> Iterator[Connection]:
    """Yield a connection in a transaction while no other program may change the tables."""
    with _alone(settings.home, database.name), faults.told():
        if database.name == "sqlite":
            _make_sqlite(settings.home / SQLITE_FILE)
        with database.engine.begin() as connection:
            if database.name == "postgresql":
                _lock_postgresql(connection)
            yield connection


@contextmanager
def _alone(home: Path, name: str) -> Iterator[None]:
    """Hold the lock file: SQLite cannot wait while a new database is switched to WAL."""
    if name != "sqlite":
        yield
        return
    with disk.refusals("CXR_HOME"):
        handle = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, disk.PRIVATE_FILE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sqlite(file: Path) -> Engine:
    """Return an engine that never makes the file: a database that is gone is an error, not an empty one."""
    engine = create_engine(
        URL.create(
            "sqlite+pysqlite", database=f"file:{quote(str(file))}", query={"mode": "rw", "uri": "true"}
        ),
        connect_args={"timeout": LOCK_WAIT_S},
        hide_parameters=True,
        pool_timeout=LOCK_WAIT_S,
        **_POOL,
    )

    def prepare(connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401 -- the driver's own
        record.info["file"] = _identity(file)
        _prepare_sqlite(connection)

    def check(connection: object, record: ConnectionPoolEntry, proxy: object) -> None:
        """Leave a file that was moved or removed: what is written to it would be lost without a word."""
        if record.info["file"] != _identity(file):
            raise DisconnectionError

    event.listen(engine, "connect", prepare)
    event.listen(engine, "checkout", check)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_sqlite(file: Path) -> None:
    """Make the file where missing, for its owner alone; SQLite gives its companions the same mode."""
    with disk.refusals("CXR_HOME"):
        if not file.exists():
            disk.write_new(file, b"")
            disk.sync_folder(file.parent)


def _prepare_sqlite(connection: Any) -> None:  # noqa: ANN401 -- the driver's own
    """Set up a new connection; all but the first find WAL switched on.

    Raises:
        StoreError: the file system cannot do WAL; network file systems cannot.
    """
    connection.isolation_level = None  # so that the driver leaves BEGIN to us
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreError("CXR_HOME must lie on a local disk: SQLite cannot keep its write-ahead log there")
    for pragma in ("synchronous = FULL", "foreign_keys = ON", f"journal_size_limit = {_WAL_BYTES}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: a reader that turned writer would fail instead of wait."""
    reading = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reading else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _postgresql(url: str) -> Engine:
    expected = "CXR_DATABASE_URL: expected postgresql://user:password@host/name"
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsError(expected) from None  # the cause quotes the password
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise SettingsError(f"{expected}, got {parsed.drivername}:")
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": 5, "keepalives_idle": 30, "application_name": "neuraray"},
        hide_parameters=True,
        pool_pre_ping=True,
        pool_timeout=LOCK_WAIT_S,
        **_POOL,
    )
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_postgresql(connection: Any, record: object) -> None:  # noqa: ANN401 -- the driver's own
    """Bound every wait, also the one of others for a program that hangs inside a transaction."""
    connection.autocommit = True
    connection.execute(f"SET lock_timeout = '{LOCK_WAIT_S}s'")
    connection.execute("SET idle_in_transaction_session_timeout = '5min'")
    connection.execute("SET client_encoding = 'UTF8'")
    connection.autocommit = False


def _lock_postgresql(connection: Connection) -> None:
    """Wait for whoever upgrades the database, and see that it can hold any name.

    Raises:
        StoreError: its encoding is not UTF8.
    """
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise StoreError(f"expected a PostgreSQL database with the encoding UTF8, got {encoding}")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_UPGRADE_WAIT_S}s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
