"""The history of the tables: one revision for each released schema, run by Alembic inside the program."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from cxr_core.errors import StoreError

VERSION_TABLE = "alembic_version"
"""Alembic's own table: the revision of the others."""


def config() -> Config:
    """Return Alembic's configuration; there is no alembic.ini."""
    made = Config()
    made.set_main_option("script_location", "cxr_core.worklist:migrations")
    return made


def head() -> str:
    """Return the newest revision that this program knows."""
    return str(ScriptDirectory.from_config(config()).get_current_head())


def revision(connection: Connection) -> str | None:
    """Return the revision of a database, or None where no table of ours is."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the tables to a revision, inside the connection's transaction.

    Raises:
        StoreError: a newer version of this program made the database.
    """
    wanted = head() if to == "head" else to
    if revision(connection) == wanted:
        return
    made = config()
    made.attributes["connection"] = connection
    try:
        command.upgrade(made, wanted)
    except CommandError as exc:
        raise StoreError(
            "a newer version of this program made the database; use that version, or restore a backup"
        ) from exc
