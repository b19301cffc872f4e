from __future__ import annotations

import json
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text

from cxr_core.errors import Busy, StoreError
from cxr_core.settings import Settings
from cxr_core.worklist import audit, migrations
from cxr_core.worklist.backup import restore
from cxr_core.worklist.blobs import Blobs
from cxr_core.worklist.database import BLOBS_FOLDER, SQLITE_FILE, Database, connect, open_database
from cxr_core.worklist.schema import Base, ImageRow, ResultRow
from tests.worklist.conftest import BOTH

RELEASED = Path(__file__).parent / "released"
"""For each released revision `<revision>.sql`, what SQLite's `.dump` wrote, and `<revision>/`, a backup."""

REVISIONS = tuple(
    script.revision for script in ScriptDirectory.from_config(migrations.config()).walk_revisions()
)
FILMS = 2
EVENTS = 3


@pytest.fixture(params=BOTH)
def nothing(request, home: Settings, tmp_path: Path):
    """Settings of a database in which there is not even a table."""
    if request.param == "sqlite":
        yield home
        return
    postgres = request.getfixturevalue("postgres")
    yield replace(home, database_url=postgres.create("nothing"))
    postgres.drop("nothing")


def differences(database: Database) -> list[object]:
    with database.engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection), Base.metadata)


def indexes(database: Database) -> set[tuple[str, str]]:
    """Return name and full text of every index, conditions included, which Alembic does not compare."""
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if database.name == "sqlite"
        else "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    )
    with database.read() as session:
        return {(name, said) for name, said in session.execute(text(query)) if "alembic_version" not in said}


def test_the_migrated_schema_equals_the_declared_one(nothing):
    migrated = open_database(nothing)
    assert differences(migrated) == []
    made = indexes(migrated)
    Base.metadata.drop_all(migrated.engine)
    Base.metadata.create_all(migrated.engine)
    assert made == indexes(migrated)
    migrated.close()


def test_a_declared_column_that_no_revision_makes_is_found(nothing):
    migrated = open_database(nothing)
    with migrated.write() as session:
        session.execute(text("ALTER TABLE worker DROP COLUMN answered"))
    assert "answered" in str(differences(migrated))
    migrated.close()


def sound(database: Database, settings: Settings, revision: str) -> None:
    """Assert that what the released fixtures hold is there, whole, in the newest tables."""
    assert differences(database) == []
    blobs = Blobs(settings.home / BLOBS_FOLDER)
    with database.read() as session:
        verdict = audit.verify(session)
        assert (verdict.events, verdict.broken_at) == (EVENTS, None)
        assert session.scalar(select(func.count()).select_from(ImageRow)) == FILMS
        for sha256 in session.scalars(select(ImageRow.sha256)):
            assert blobs.get(sha256)
    with database.write() as session:
        tables = json.loads((RELEASED / revision / "manifest.json").read_text(encoding="utf-8"))["tables"]
        for name, table in tables.items():
            rows = session.scalar(select(func.count()).select_from(Base.metadata.tables[name]))
            assert rows == table["rows"] > 0, name


@pytest.mark.parametrize("revision", REVISIONS)
def test_r8_every_released_schema_upgrades_in_place(home, revision):
    home.home.mkdir()
    with sqlite3.connect(home.home / SQLITE_FILE) as old:
        old.executescript((RELEASED / f"{revision}.sql").read_text(encoding="utf-8"))
    old.close()
    shutil.copytree(RELEASED / revision / BLOBS_FOLDER, home.home / BLOBS_FOLDER)
    database = open_database(home)
    sound(database, home, revision)
    database.close()


@pytest.mark.parametrize("revision", REVISIONS)
def test_r8_a_backup_of_every_released_schema_restores_and_upgrades(nothing, revision):
    assert restore(RELEASED / revision, nothing).sound
    database = open_database(nothing)
    sound(database, nothing, revision)
    database.close()


@pytest.mark.parametrize("revision", [each for each in REVISIONS if each < "0004"])
def test_what_an_older_version_answered_is_of_the_film_as_it_was_sent_and_names_no_gate(nothing, revision):
    restore(RELEASED / revision, nothing)
    database = open_database(nothing)
    with database.write() as session:
        old = session.scalars(select(ResultRow)).one()
        assert {old.correction, *session.scalars(select(ImageRow.correction))} == {""}
        assert old.gate == ""
        columns = {each.key: getattr(old, each.key) for each in ResultRow.__table__.columns}
        session.add(ResultRow(**(columns | {"id": 2, "correction": "turn=2"})))
        session.add(ResultRow(**(columns | {"id": 3, "gate": "1.0.0+0badcafe"})))
    with pytest.raises(Busy), database.write() as session:
        session.add(ResultRow(**(columns | {"id": 4})))
    database.close()


def test_a_backup_keeps_how_films_were_hung_and_which_gate_they_passed(nothing):
    restore(RELEASED / "0004", nothing)
    database = open_database(nothing)
    with database.read() as session:
        assert set(session.scalars(select(ImageRow.correction))) == {"", "turn=2"}
        result = session.scalars(select(ResultRow)).one()
        assert (result.correction, result.gate) == ("turn=2", "1.0.0+0badcafe")
    database.close()


def test_an_upgrade_that_fails_changes_nothing(nothing, monkeypatch):
    run = migrations.command.upgrade

    def fails_at_the_end(*args: object) -> None:
        run(*args)
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(migrations.command, "upgrade", fails_at_the_end)
        with pytest.raises(RuntimeError):
            open_database(nothing)
    database = connect(nothing)
    with database.engine.connect() as connection:
        assert migrations.revision(connection) is None
        assert not database.engine.dialect.has_table(connection, "study")
    database.close()
    open_database(nothing).close()


def test_a_database_of_a_newer_version_is_refused(nothing):
    database = open_database(nothing)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StoreError, match="a newer version of this program"):
        open_database(nothing)


def test_many_programs_that_start_at_once_upgrade_once(nothing):
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(open_database, [nothing] * 8))
    with opened[0].read() as session:
        assert audit.verify(session).broken_at is None
    for database in opened:
        database.close()
