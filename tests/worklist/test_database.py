from __future__ import annotations

import stat
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from cxr_core.errors import Busy, SettingsError, StoreError
from cxr_core.settings import Settings
from cxr_core.worklist.database import SQLITE_FILE, open_database
from cxr_core.worklist.schema import WorkerRow


def worker(clock, name="w1"):
    return WorkerRow(id=name, started_utc=clock.now, seen_utc=clock.now)


def count(database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(WorkerRow))


def test_what_was_written_is_there_after_opening_anew(store_settings, clock):
    first = open_database(store_settings)
    with first.write() as session:
        session.add(worker(clock))
    first.close()
    second = open_database(store_settings)
    with second.read() as session:
        found = session.scalars(select(WorkerRow)).one()
    second.close()
    assert (found.started_utc, found.started_utc.utcoffset()) == (clock.now, timedelta(0))


def test_an_exception_undoes_everything_and_passes(database, clock):
    def fails_halfway() -> None:
        with database.write() as session:
            session.add(worker(clock))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fails_halfway()
    assert count(database) == 0


def test_reading_cannot_write(database):
    with pytest.raises(StoreError), database.read() as session:
        session.execute(text("DELETE FROM audit_head"))
    with database.write() as session:
        session.execute(text("DELETE FROM audit_head"))


def test_reading_sees_one_moment(database, clock):
    with database.read() as session:
        before = session.scalar(select(func.count()).select_from(WorkerRow))
        with database.write() as other:
            other.add(worker(clock))
        assert session.scalar(select(func.count()).select_from(WorkerRow)) == before
    assert count(database) == before + 1


def test_the_same_row_twice_is_busy_and_says_nothing_of_it(database, clock):
    with database.write() as session:
        session.add(worker(clock, "SECRET-NAME"))
    with pytest.raises(Busy) as error, database.write() as session:
        session.add(worker(clock, "SECRET-NAME"))
    assert "SECRET" not in str(error.value)
    assert "INSERT" not in str(error.value)
    assert count(database) == 1


def test_a_statement_that_cannot_be_is_a_store_error_without_its_text(database):
    with pytest.raises(StoreError) as error, database.write() as session:
        session.execute(text("SELECT * FROM nothing WHERE name = :name"), {"name": "SECRET-NAME"})
    assert "SECRET" not in str(error.value.__cause__)
    assert "nothing" not in str(error.value)


def test_sqlite_is_set_up_to_lose_nothing(home):
    database = open_database(home)
    with database.write() as session:
        values = {
            pragma: session.execute(text(f"PRAGMA {pragma}")).scalar_one()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_only_the_owner_reads_what_lies_in_home(home):
    home.home.mkdir(mode=0o755)
    database = open_database(home)
    with database.write() as session:
        session.execute(text("CREATE TABLE x (y INT)"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.home.iterdir()}
    database.close()
    assert stat.S_IMODE(home.home.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert {SQLITE_FILE, f"{SQLITE_FILE}-wal"} <= set(modes)


@pytest.mark.parametrize("url", ["mysql://u:SECRET@h/d", "sqlite:///x", "no address SECRET"])
def test_an_address_of_something_else_is_refused_without_its_password(tmp_path, url):
    with pytest.raises((SettingsError, Busy)) as error:
        open_database(Settings(home=tmp_path, database_url=url))
    assert "SECRET" not in str(error.value)


@pytest.mark.postgres
def test_a_database_that_cannot_hold_every_name_is_refused(postgres, home):
    name = "latin"
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    with pytest.raises(StoreError, match="encoding UTF8, got LATIN1"):
        open_database(Settings(home=home.home, database_url=postgres.url(name)))
    postgres.drop(name)
