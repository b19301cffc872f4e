"""R5: full disk, read-only disk, locked or lost database: clear error, no half row, recovers by itself."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, text

from cxr_core.access import Actor, Role
from cxr_core.errors import Busy, StoreError
from cxr_core.settings import Settings
from cxr_core.worklist import audit
from cxr_core.worklist import database as database_module
from cxr_core.worklist.blobs import Blobs
from cxr_core.worklist.database import BLOBS_FOLDER, SQLITE_FILE, Database, open_database
from cxr_core.worklist.schema import AuditRow, ImageRow, StudyRow, WorkerRow
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Incoming, Source

SUBMITTER = Actor("Dr. Test", Role.CLINICIAN)
SMALL_MB = 6


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(database_module, "LOCK_WAIT_S", 0.5)


def as_root(*command: str) -> subprocess.CompletedProcess[bytes]:
    sudo = () if os.geteuid() == 0 else ("sudo", "-n")
    return subprocess.run([*sudo, *command], capture_output=True, check=False)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A real file system of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    options = f"size={SMALL_MB}m,mode=700,uid={os.geteuid()},gid={os.getegid()}"
    mounted = as_root("mount", "-t", "tmpfs", "-o", options, "none", str(place))
    if mounted.returncode:
        pytest.skip(f"a small disk can only be mounted by root: {mounted.stderr.decode().strip()}")
    yield place
    as_root("umount", "-l", str(place)).check_returncode()


def on(disk: Path, settings: Settings, **values: object) -> Settings:
    """Move CXR_HOME to the disk, with what lies in it."""
    if settings.home.exists():
        shutil.copytree(settings.home, disk / "home")
    names = {name: getattr(settings, name) for name in ("model", "models_dir", "database_url")}
    return Settings(home=disk / "home", **{**names, "min_free_mb": 0, **values})


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    try:
        yield database
    finally:
        database.close()


def fill_up(disk: Path) -> Path:
    """Write until nothing more goes in, and return the file that has to go."""
    ballast = disk / "ballast"
    handle = os.open(ballast, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(handle, bytes(4096))
    except OSError:
        return ballast
    finally:
        os.close(handle)


def note(database: Database, clock, name: str) -> None:
    """Write a row and its audit row in one transaction."""
    with database.write() as session:
        session.add(WorkerRow(id=name, started_utc=clock.now, seen_utc=clock.now))
        audit.append(session, at=clock.now, actor=name, event="claim")


def noted(database: Database) -> list[str]:
    """Return the names written, after checking that rows, audit rows and chain agree."""
    with database.read() as session:
        names = list(session.scalars(select(WorkerRow.id).order_by(WorkerRow.id)))
        actors = list(session.scalars(select(AuditRow.actor).order_by(AuditRow.actor)))
        assert audit.verify(session).broken_at is None
    assert names == actors
    return names


def busy(call: Callable[[], object]) -> str:
    """Return what the refusal says; it must not take long and must not name what was written."""
    start = time.monotonic()
    with pytest.raises(Busy) as error:
        call()
    assert time.monotonic() - start < 20
    assert "SECRET" not in str(error.value)
    return str(error.value)


def test_r5_full_disk_database(small_disk, home, clock):
    with opened(on(small_disk, home)) as database:
        note(database, clock, "before")
        ballast = fill_up(small_disk)
        for attempt in range(3):
            assert "disk is full" in busy(lambda n=attempt: note(database, clock, f"SECRET {n}"))
            assert noted(database) == ["before"]
        ballast.unlink()
        note(database, clock, "later")
        assert noted(database) == ["before", "later"]


def test_r5_full_disk_films(small_disk, clock):
    blobs = Blobs(small_disk / "blobs")
    blobs.put(b"before", "a" * 64)
    ballast = fill_up(small_disk)
    many = {f"{i:064x}": bytes(1_000_000) for i in range(3)}
    assert "No space left" in busy(lambda: blobs.put_many(many))
    assert list((small_disk / "blobs" / "tmp").iterdir()) == []
    assert not any(blobs.has(sha256) for sha256 in many)
    ballast.unlink()
    blobs.put_many(many)
    assert all(blobs.has(sha256) for sha256 in many)


def test_r5_full_disk_submit(small_disk, store_settings, films, clock):
    settings = on(small_disk, store_settings)
    with opened(settings) as database:
        service = make_service(database, settings, clock)
        service.submit(SUBMITTER, Incoming("a.png", films.png(1)), source=Source.CLI)
        ballast = fill_up(small_disk)
        with ballast.open("r+b") as file:
            file.truncate(ballast.stat().st_size - 16 * 4096)  # room for the film, or a part of it
        for number in range(2, 40):
            try:
                service.submit(SUBMITTER, Incoming("SECRET.png", films.png(number)), source=Source.CLI)
            except Busy as error:
                assert "SECRET" not in str(error)  # noqa: PT017 -- not the first one fails
                break
        else:
            pytest.fail("the disk was never full")
        whole(service)
        ballast.unlink()
        receipt = service.submit(SUBMITTER, Incoming("b.png", films.png(number)), source=Source.CLI)
        assert receipt.new, "what was refused had left nothing"
        whole(service)


def test_r5_disk_nearly_full_is_refused_at_the_door(small_disk, store_settings, films, clock):
    settings = on(small_disk, store_settings, min_free_mb=SMALL_MB)
    with opened(settings) as database:
        service = make_service(database, settings, clock)
        busy(lambda: service.submit(SUBMITTER, Incoming("a.png", films.png(1)), source=Source.CLI))
        assert not any(service.blobs.folder.rglob("?" * 64))
        whole(service)


def test_r5_files_that_may_not_grow(home, clock):
    """Needs no root: the system refuses to make any file longer than now."""
    with opened(home) as database:
        blobs = Blobs(home.home / BLOBS_FOLDER)
        note(database, clock, "before")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            said = busy(lambda: note(database, clock, "SECRET"))
            assert "File too large" in busy(lambda: blobs.put(bytes(100_000), "a" * 64))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert "disk is full" in said
        assert noted(database) == ["before"]
        assert not blobs.has("a" * 64)
        note(database, clock, "later")
        assert noted(database) == ["before", "later"]


def test_r5_read_only_disk(small_disk, home, clock):
    settings = on(small_disk, home)
    blobs = Blobs(settings.home / BLOBS_FOLDER)
    with opened(settings) as database:
        note(database, clock, "before")
        blobs.put(b"before", "a" * 64)
        database.close()  # a disk with files open for writing cannot be made read-only by hand
        as_root("mount", "-o", "remount,ro", str(small_disk)).check_returncode()
        try:
            busy(lambda: note(database, clock, "SECRET"))
            busy(lambda: open_database(settings))
            assert "Read-only" in busy(lambda: blobs.put(b"later", "b" * 64))
        finally:
            as_root("mount", "-o", "remount,rw", str(small_disk)).check_returncode()
        note(database, clock, "later")
        blobs.put(b"later", "b" * 64)
        assert noted(database) == ["before", "later"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the read-only disk stands for it")
def test_r5_read_only_folder(home, clock):
    with opened(home) as database:
        database.close()
        home.home.chmod(0o500)
        try:
            busy(lambda: open_database(home))
        finally:
            home.home.chmod(0o700)
        note(database, clock, "later")
        assert noted(database) == ["later"]


HOLD_SQLITE = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(600)
"""
HOLD_POSTGRESQL = """
import psycopg, sys, time
connection = psycopg.connect(sys.argv[1])
connection.execute("LOCK TABLE worker, audit_head IN ACCESS EXCLUSIVE MODE")
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def locked_by_another_process(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    code, address = HOLD_SQLITE, str(settings.home / SQLITE_FILE)
    if settings.database_url:
        code, address = HOLD_POSTGRESQL, settings.database_url
    holder = subprocess.Popen([sys.executable, "-c", code, address], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_r5_database_locked_by_another_process_that_is_then_killed(store_settings, clock):
    with opened(store_settings) as database:
        note(database, clock, "before")
        with locked_by_another_process(store_settings):
            assert "is locked" in busy(lambda: note(database, clock, "SECRET"))
        for _ in range(100):
            try:
                note(database, clock, "later")
                break
            except Busy:
                time.sleep(0.1)
        assert noted(database) == ["before", "later"]


def test_r5_a_lock_that_is_let_go_in_time_is_waited_for(store_settings, clock, monkeypatch):
    monkeypatch.setattr(database_module, "LOCK_WAIT_S", 60)
    with opened(store_settings) as database, locked_by_another_process(store_settings) as holder:
        threading.Timer(0.5, holder.kill).start()
        note(database, clock, "patient")
        assert noted(database) == ["patient"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_r5_postgresql_stopped_and_started_again(postgres, postgresql_settings, clock, films, how):
    with opened(postgresql_settings) as database:
        service = make_service(database, postgresql_settings, clock)
        service.submit(SUBMITTER, Incoming("a.png", films.png(1)), source=Source.CLI)
        film = Incoming("SECRET.png", films.png(2))
        postgres.stop(how)
        try:
            busy(lambda: noted(database))
            busy(lambda: service.submit(SUBMITTER, film, source=Source.CLI))
            busy(lambda: open_database(postgresql_settings))
        finally:
            postgres.start()
        whole(service, studies=1)
        assert service.submit(SUBMITTER, film, source=Source.CLI).new
        whole(service, studies=2)


def test_r5_postgresql_lost_in_the_middle_of_a_transaction(postgres, postgresql_settings, clock):
    with opened(postgresql_settings) as database:
        note(database, clock, "before")

        def cut_off() -> None:
            with database.write() as session:
                session.add(WorkerRow(id="SECRET", started_utc=clock.now, seen_utc=clock.now))
                session.flush()
                postgres.stop(signal.SIGQUIT)

        try:
            busy(cut_off)
        finally:
            postgres.start()
        note(database, clock, "later")
        assert noted(database) == ["before", "later"]


def test_r5_a_database_file_that_was_moved_away_and_comes_back(home, clock):
    with opened(home) as database:
        note(database, clock, "before")
        database.engine.dispose()
        note(database, clock, "before too")
        file, away = home.home / SQLITE_FILE, home.home / "away"
        with database.engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        file.rename(away)
        assert "is missing" in busy(lambda: note(database, clock, "SECRET"))
        assert not file.exists(), "no empty database was made in its place"
        away.rename(file)
        note(database, clock, "later")
        assert noted(database) == ["before", "before too", "later"]


def test_r5_a_damaged_database_says_so_and_is_not_written_to(home):
    open_database(home).close()
    file = home.home / SQLITE_FILE
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="damaged or not this program's.*restore it from a backup") as error:
        open_database(home)
    assert not isinstance(error.value, Busy)
    assert file.read_bytes() == b"no database" * 1000


@pytest.mark.parametrize(
    ("state", "passes"),
    [
        *(
            (state, True)
            for state in ("53100", "53200", "53300", "57014", "40001", "40P01", "55P03", "58030")
        ),
        *((state, True) for state in ("57P01", "57P03", "08006", "25006")),
        *((state, False) for state in ("XX001", "42601", "22001", "23502")),
    ],
)
def test_r5_what_postgresql_reports_is_busy_if_it_passes(postgresql_settings, state, passes):
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'SECRET' USING ERRCODE = '{state}'; END $$")  # noqa: S608
    with opened(postgresql_settings) as database:
        with pytest.raises(StoreError) as error, database.write() as session:
            session.execute(raising)
        assert isinstance(error.value, Busy) is passes
        assert "SECRET" not in str(error.value)


def make_service(database: Database, settings: Settings, clock) -> Service:
    from cxr_core.triage.policy import load_policy

    blobs = Blobs(settings.home / BLOBS_FOLDER)
    policy = load_policy(settings.policy)
    return Service(database, blobs, policy, model="tiny 1", settings=settings, clock=clock)


def whole(service: Service, studies: int | None = None) -> None:
    """Assert that every study has its film, every film its bytes, and the audit trail one row for each."""
    with service.database.read() as session:
        found = session.scalars(select(StudyRow.id)).all()
        images = session.execute(select(ImageRow.sha256, ImageRow.study_id)).all()
        submitted = session.scalars(select(AuditRow.subject).where(AuditRow.event == "submit")).all()
        assert audit.verify(session).broken_at is None
    assert sorted(image.study_id for image in images) == sorted(found)
    assert sorted(submitted) == sorted(image.sha256 for image in images)
    assert all(service.blobs.has(image.sha256) for image in images)
    assert studies in (None, len(found))
