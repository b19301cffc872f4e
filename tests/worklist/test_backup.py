from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select, text

from cxr_core.errors import StoreError
from cxr_core.settings import Settings
from cxr_core.worklist import archive, audit
from cxr_core.worklist.backup import backup, restore
from cxr_core.worklist.blobs import Blobs
from cxr_core.worklist.database import BLOBS_FOLDER, Database, open_database
from cxr_core.worklist.schema import AuditRow, Base, ResultRow, ReviewRow, StudyRow
from tests.worklist import rows
from tests.worklist.conftest import BOTH

FILMS = 7


def fill(database: Database, blobs: Blobs, clock) -> tuple[str, ...]:
    """Write something of every kind into every table: unicode, NULL, JSON null, bytes, long floats."""
    films = {hashlib.sha256(bytes([i])).hexdigest(): bytes([i]) for i in range(FILMS)}
    blobs.put_many(films)
    now = clock.now
    rows.put(
        database,
        studies=[
            rows.study(
                i, since=clock.advance(0.000_001), age_years=0.1 + 0.2, reasons=["ü", '"'], typed=typed
            )
            for i, typed in enumerate(({"age_years": 54.25, "sex": "F"}, None))
        ],
        identities=[rows.identity(0, patient_name="Ågren^李")],
        images=[
            rows.image(i, i % 2, sha256=sha256, thumbnail=b"\x89PNG\x00" if i else None)
            for i, sha256 in enumerate(films)
        ],
        results=[
            rows.result(
                i + 1,
                i,
                "tiny 1",
                "p1",
                sha256=sha256,
                heatmaps=bytes(range(256)),
                body={"p": 1e-17, "n": None},
            )
            for i, sha256 in enumerate(films)
        ],
    )
    rows.put_people(database)
    rows.put_models(database, 0, next(iter(films)))
    worker = {"started_utc": now, "seen_utc": now, "answered": 3}
    batch = {"created_utc": now, "seen_utc": now, "actor": "a", "source": "cli", "total": 1}
    with database.write() as session:
        session.execute(insert(Base.metadata.tables["worker"]), {"id": "w", **worker})
        session.execute(insert(Base.metadata.tables["batch"]), {"id": "b", **batch})
        session.execute(
            insert(Base.metadata.tables["batch_item"]),
            {"batch_id": "b", "position": 0, "name": "a\nb.dcm", "code": "", "message": "", "hint": ""},
        )
        session.add(ReviewRow(study_id=f"{0:032x}", at_utc=now, actor="a", kind="claim", data={"x": "y"}))
        for sha256 in films:
            audit.append(session, at=clock.advance(1), actor="w", event="result", subject=sha256)
    return tuple(films)


def everything(database: Database) -> dict[str, list[tuple]]:
    with database.read() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key))]
            for table in Base.metadata.sorted_tables
        }


def copied(database, blobs, store_settings, folder: Path):
    return backup(database, blobs, store_settings.home, folder)


@pytest.fixture
def elsewhere(request, tmp_path: Path, home: Settings) -> Iterator[Settings]:
    """A new CXR_HOME, and a new database of the kind that the parameter names."""
    fresh = replace(home, home=tmp_path / "elsewhere")
    if request.param == "sqlite":
        yield fresh
        return
    postgres = request.getfixturevalue("postgres")
    yield replace(fresh, database_url=postgres.create("elsewhere"))
    postgres.drop("elsewhere")


@pytest.mark.parametrize("elsewhere", BOTH, indirect=True)
def test_r8_a_backup_restores_and_verifies_hashes_counts_and_audit_chain(
    database, blobs, store_settings, clock, tmp_path, elsewhere
):
    films = fill(database, blobs, clock)
    before = everything(database)
    assert all(before.values()), "every table has rows to lose"
    made = copied(database, blobs, store_settings, tmp_path / "copy")
    assert (made.studies, made.films, made.results, made.size_bytes) == (2, FILMS, FILMS, FILMS)
    assert made.sound
    assert made.trail.events == FILMS

    assert restore(tmp_path / "copy", elsewhere) == made
    again = open_database(elsewhere)
    there = Blobs(elsewhere.home / BLOBS_FOLDER)
    try:
        assert everything(again) == before
        assert [there.get(sha256) for sha256 in films] == [blobs.get(sha256) for sha256 in films]
        with again.write() as session:
            audit.append(session, at=clock.now, actor="a", event="claim")
            row = rows.result(0, 0, "other", "p1", sha256=films[0])
            del row["id"]
            session.add(ResultRow(**row))
            session.flush()
            assert session.scalar(select(func.count()).select_from(ResultRow)) == FILMS + 1
            assert audit.verify(session).events == FILMS + 1
    finally:
        again.close()


def test_null_and_json_null_stay_what_they_were(database, blobs, store_settings, home, clock, tmp_path):
    fill(database, blobs, clock)
    kinds = "SELECT count(*) FROM study WHERE typed IS NULL"
    with database.write() as session:
        session.execute(text(f"UPDATE study SET typed = NULL WHERE id = '{0:032x}'"))  # noqa: S608
        before = session.execute(text(kinds)).scalar_one()
    copied(database, blobs, store_settings, tmp_path / "copy")
    fresh = replace(home, home=tmp_path / "fresh")
    restore(tmp_path / "copy", fresh)
    again = open_database(fresh)
    with again.read() as session:
        assert session.execute(text(kinds)).scalar_one() == before
    again.close()


def test_a_backup_is_its_owners_alone(database, blobs, store_settings, clock, tmp_path):
    fill(database, blobs, clock)
    folder = tmp_path / "copy"
    copied(database, blobs, store_settings, folder)
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_film_that_was_lost_or_changed_does_not_hinder_the_backup_of_the_others_but_is_named(
    database, blobs, store_settings, home, clock, tmp_path
):
    films = fill(database, blobs, clock)
    (blobs.folder / films[0][:2] / films[0]).unlink()
    (blobs.folder / films[1][:2] / films[1]).write_bytes(b"x")
    made = copied(database, blobs, store_settings, tmp_path / "copy")
    assert (set(made.missing), made.films, made.sound) == (set(films[:2]), FILMS - 2, False)
    assert restore(tmp_path / "copy", replace(home, home=tmp_path / "fresh")) == made


def test_a_broken_audit_trail_is_copied_and_named(database, blobs, store_settings, home, clock, tmp_path):
    fill(database, blobs, clock)
    with database.write() as session:
        session.execute(delete(AuditRow).where(AuditRow.seq == 3))
    made = copied(database, blobs, store_settings, tmp_path / "copy")
    assert (made.trail.broken_at, made.sound) == (3, False)
    assert restore(tmp_path / "copy", replace(home, home=tmp_path / "fresh")).trail.broken_at == 3


def test_writing_goes_on_during_a_backup_which_shows_one_moment(
    database, blobs, store_settings, clock, tmp_path, monkeypatch
):
    fill(database, blobs, clock)
    write_rows = archive.write_rows

    def meanwhile(folder, table, columns, rows):
        with database.write() as session:
            audit.append(session, at=clock.now, actor="a", event="claim")
        return write_rows(folder, table, columns, rows)

    monkeypatch.setattr(archive, "write_rows", meanwhile)
    made = copied(database, blobs, store_settings, tmp_path / "copy")
    assert (made.trail.events, made.trail.broken_at) == (FILMS, None)
    with database.read() as session:
        assert audit.verify(session).events > FILMS


def test_a_backup_goes_only_into_an_empty_folder_outside_home(database, blobs, store_settings, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").touch()
    with pytest.raises(StoreError, match="new or empty folder"):
        copied(database, blobs, store_settings, tmp_path / "copy")
    with pytest.raises(StoreError, match="outside CXR_HOME"):
        copied(database, blobs, store_settings, store_settings.home / "copy")


def test_restoring_refuses_a_home_or_database_that_is_not_empty(
    database, blobs, store_settings, clock, tmp_path
):
    films = fill(database, blobs, clock)
    before = everything(database)
    copied(database, blobs, store_settings, tmp_path / "copy")
    with pytest.raises(StoreError, match="expected an empty"):
        restore(tmp_path / "copy", store_settings)
    assert everything(database) == before
    other_films = replace(store_settings, home=tmp_path / "other")
    Blobs(other_films.home / BLOBS_FOLDER).put(b"x", hashlib.sha256(b"x").hexdigest())
    with pytest.raises(StoreError, match="expected an empty"):
        restore(tmp_path / "copy", other_films)
    assert all(blobs.has(sha256) for sha256 in films)


@pytest.mark.postgres
def test_restoring_refuses_a_database_of_somebody_else(postgres, home, tmp_path, clock):
    source = open_database(replace(home, home=tmp_path / "source"))
    backup(source, Blobs(tmp_path / "none"), tmp_path / "source", tmp_path / "copy")
    source.close()
    target = replace(home, database_url=postgres.create("foreign"))
    database = open_database(target)
    with database.write() as session:
        session.execute(text("CREATE TABLE accounts (id INT)"))
    database.close()
    with pytest.raises(StoreError, match="expected an empty"):
        restore(tmp_path / "copy", target)
    postgres.drop("foreign")


@pytest.mark.parametrize("what", ["rows", "manifest", "unfinished", "film", "newer", "format", "audit"])
def test_a_backup_that_is_not_whole_is_refused_and_leaves_nothing(
    home, blobs, clock, tmp_path, what, newest_sqlite
):
    source = open_database(home)
    films = fill(source, blobs, clock)
    folder = tmp_path / "copy"
    backup(source, blobs, home.home, folder)
    source.close()
    said = json.loads((folder / "manifest.json").read_text())
    if what == "rows":
        rows_file = folder / "rows" / "study.jsonl"
        rows_file.write_text(rows_file.read_text() + "[]\n")
    elif what == "manifest":
        (folder / "manifest.json").write_text("{}")
    elif what == "unfinished":
        (folder / "manifest.json").unlink()
    elif what == "film":
        (folder / BLOBS_FOLDER / films[0][:2] / films[0]).write_bytes(b"x")
    else:
        said |= {"newer": {"revision": "9999"}, "format": {"format": 2}, "audit": {"digest": "0" * 64}}[what]
        (folder / "manifest.json").write_text(json.dumps(said))
    fresh = replace(home, home=tmp_path / "fresh")
    with pytest.raises(StoreError):
        restore(folder, fresh)
    database = open_database(fresh)
    with database.read() as session:
        assert session.scalars(select(StudyRow)).all() == []
    database.close()


def test_a_restore_that_was_broken_off_can_be_run_again(
    database, blobs, store_settings, home, clock, tmp_path, monkeypatch
):
    fill(database, blobs, clock)
    made = copied(database, blobs, store_settings, tmp_path / "copy")
    fresh = replace(home, home=tmp_path / "fresh")

    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cxr_core.worklist.portable.load", cut)
        with pytest.raises(KeyboardInterrupt):
            restore(tmp_path / "copy", fresh)
    assert restore(tmp_path / "copy", fresh) == made
