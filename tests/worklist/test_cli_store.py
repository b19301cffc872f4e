from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from sqlalchemy import select, text
from typer.testing import CliRunner, Result

from cxr_core.cli import app
from cxr_core.errors import Busy
from cxr_core.settings import Settings
from cxr_core.worklist import accounts, audit
from cxr_core.worklist import backup as copying
from cxr_core.worklist.blobs import Blobs
from cxr_core.worklist.database import BLOBS_FOLDER, open_database
from cxr_core.worklist.schema import SignInRow
from tests.worklist.released.__main__ import fill


@pytest.fixture
def cxr(home: Settings, monkeypatch: pytest.MonkeyPatch):
    """Run a command of a lead on a CXR_HOME that holds a little of everything."""
    monkeypatch.setenv("CXR_HOME", str(home.home))
    monkeypatch.setenv("CXR_LOCAL_ROLE", "lead")
    database = open_database(home)
    fill(database, Blobs(home.home / BLOBS_FOLDER))
    database.close()

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(each) for each in arguments])

    return run


def events(home: Settings) -> list[str]:
    database = open_database(home)
    with database.read() as session:
        found = [link.event for link in audit.links(session)]
    database.close()
    return found


def test_audit_verify_says_how_many_and_the_last_digest(cxr, home):
    done = cxr("audit", "verify")
    assert done.exit_code == 0
    assert re.fullmatch(r"whole: 3 events, the last one [0-9a-f]{64}\n", done.stdout)
    assert events(home)[3:] == ["audit_verify"], "looking is an event after what was looked at"


def test_audit_verify_finds_an_edit_and_exits_1(cxr, home):
    database = open_database(home)
    with database.write() as session:
        session.execute(text("UPDATE audit SET actor = 'x' WHERE seq = 2"))
    database.close()
    done = cxr("audit", "verify")
    assert (done.exit_code, done.stdout) == (
        1,
        "BROKEN at event 2: it was changed; 1 events before it are sound\n",
    )


@pytest.mark.parametrize("command", [("audit", "verify"), ("audit", "export"), ("backup", "copy")])
def test_the_audit_trail_and_a_copy_of_everything_are_for_leads(cxr, command, monkeypatch, home):
    monkeypatch.setenv("CXR_LOCAL_ROLE", "clinician")
    done = cxr(*command)
    assert done.exit_code == 1
    assert "needs the role lead" in done.stderr
    assert done.stdout == ""
    assert len(events(home)) == 3


def test_audit_export_writes_every_event_its_own_too(cxr, home, tmp_path):
    done = cxr("audit", "export")
    assert done.exit_code == 0
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == events(home)
    assert events(home)[-1] == "audit_export"
    assert {json.loads(line)["EventName"] for line in done.stdout.splitlines()} == {
        "Import",
        "Procedure Record",
        "Audit Log Used",
    }
    out = tmp_path / "audit.jsonl"
    assert cxr("audit", "export", "--out", out).exit_code == 0
    assert len(out.read_text().splitlines()) == 5
    again = cxr("audit", "export", "--out", out)
    assert again.exit_code == 1
    assert "File exists" in again.stderr


def test_backup_and_restore_by_command(cxr, home, tmp_path, monkeypatch):
    done = cxr("backup", tmp_path / "copy")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(
        "copied and verified: 2 studies, 2 films (0.0 MB), 1 results\naudit trail whole"
    )
    assert events(home)[-1] == "backup"
    refused = cxr("restore", tmp_path / "copy")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "expected an empty CXR_HOME" in refused.stderr

    monkeypatch.setenv("CXR_HOME", str(tmp_path / "fresh"))
    restored = cxr("restore", tmp_path / "copy")
    assert restored.exit_code == 0, restored.stderr
    assert restored.stdout == done.stdout.replace("copied", "restored")
    assert cxr("audit", "verify").stdout.startswith("whole: 4 events")
    database = open_database(replace(home, home=tmp_path / "fresh"))
    with database.read() as session:
        assert [row.ended_why for row in session.scalars(select(SignInRow))] == ["revoked"]
    database.close()


def test_nothing_is_restored_whose_sign_ins_cannot_be_ended_with_it(cxr, home, tmp_path, monkeypatch):
    assert cxr("backup", tmp_path / "copy").exit_code == 0
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "fresh"))

    def cut(*_):
        raise Busy("the database has no connection free")

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "end", cut)
        assert cxr("restore", tmp_path / "copy").exit_code == 1
    assert cxr("restore", tmp_path / "copy").exit_code == 0, "it goes on: no row is there"


@pytest.mark.parametrize("wrong", ["DELETE FROM audit_head", "UPDATE audit_head SET seq = 1"])
def test_a_trail_that_takes_no_event_hinders_no_restore(cxr, home, tmp_path, monkeypatch, wrong):
    database = open_database(home)
    with database.write() as session:
        session.execute(text(wrong))
    copying.backup(database, Blobs(home.home / BLOBS_FOLDER), home.home, tmp_path / "copy")
    database.close()
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "fresh"))
    restored = cxr("restore", tmp_path / "copy")
    assert (restored.exit_code, "BROKEN at event" in restored.stdout) == (1, True)
    database = open_database(replace(home, home=tmp_path / "fresh"))
    with database.read() as session:
        assert [row.ended_why for row in session.scalars(select(SignInRow))] == ["revoked"]
    database.close()


def test_backup_names_what_is_missing_and_exits_1(cxr, home, tmp_path):
    film = next((home.home / BLOBS_FOLDER).glob("??/*"))
    film.unlink()
    done = cxr("backup", tmp_path / "copy")
    assert done.exit_code == 1
    assert f"MISSING: film {film.name}" in done.stdout
