"""The worklist on both databases: every test that asks for `database` or `service` runs on each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from cxr_core.settings import Settings
from cxr_core.worklist.blobs import Blobs
from cxr_core.worklist.database import BLOBS_FOLDER, SQLITE_FILE, Database, open_database
from cxr_core.worklist.schema import Base
from tests.worklist.cluster import Cluster, find_programs
from tests.worklist.films import Films

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))
"""For `parametrize` of tests that make their own databases."""


class Clock:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A running server; tests that stop it start it again."""
    programs = find_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server: /usr/lib/postgresql/*/bin is not there")
    cluster = Cluster(programs)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="session")
def newest_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of the newest schema; to be copied."""
    home = tmp_path_factory.mktemp("newest")
    open_database(Settings(home=home)).close()
    return home / SQLITE_FILE


@pytest.fixture(scope="session")
def newest_postgresql(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a database of the newest schema; whoever uses it empties it first."""
    url = postgres.create("newest")
    open_database(Settings(home=tmp_path_factory.mktemp("newest"), database_url=url)).close()
    return url


@pytest.fixture
def home(tmp_path: Path, tiny_model: Path) -> Settings:
    """Settings with a CXR_HOME of this test's own and the tiny model, on the embedded database."""
    return Settings(home=tmp_path / "home", model=tiny_model.name, models_dir=tiny_model.parent)


@pytest.fixture(params=BOTH)
def store_settings(request: pytest.FixtureRequest, home: Settings) -> Settings:
    """Settings of an empty database of the newest schema, on each of the two kinds."""
    if request.param == "sqlite":
        home.home.mkdir(mode=0o700)
        shutil.copy(request.getfixturevalue("newest_sqlite"), home.home / SQLITE_FILE)
        return home
    settings: Settings = request.getfixturevalue("postgresql_settings")
    return settings


@pytest.fixture
def postgresql_settings(newest_postgresql: str, home: Settings) -> Settings:
    """Settings of an empty PostgreSQL database of the newest schema."""
    empty(newest_postgresql)
    return replace(home, database_url=newest_postgresql)


def empty(url: str) -> None:
    """Make a PostgreSQL database as new; ten times as fast as a new one."""
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY")
        connection.execute("INSERT INTO audit_head VALUES (1, 0, repeat('0', 64))")


@pytest.fixture
def database(store_settings: Settings) -> Iterator[Database]:
    opened = open_database(store_settings)
    yield opened
    opened.close()


@pytest.fixture
def blobs(home: Settings) -> Blobs:
    return Blobs(home.home / BLOBS_FOLDER)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(database: Database, blobs: Blobs, store_settings: Settings, clock: Clock) -> Service:
    """The service with the tiny model's name and the policy of the checkout, at the clock's time."""
    from cxr_core.inference.manifest import read_manifest
    from cxr_core.triage.policy import read_policy
    from cxr_core.worklist.policies import register
    from cxr_core.worklist.service import Service

    model = read_manifest(store_settings.models_dir / store_settings.model).model
    return Service(
        database,
        blobs,
        register(database, read_policy(store_settings.policy), clock()),
        model=f"{model.id} {model.version}",
        settings=store_settings,
        clock=clock,
    )


@pytest.fixture(scope="session")
def films() -> Films:
    return Films()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the server itself is marked so; the parameters of `database` are marked above."""
    for item in items:
        if "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker("postgres")
