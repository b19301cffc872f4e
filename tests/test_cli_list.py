from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from cxr_core import cli_list, settings
from cxr_core.access import Actor, Role
from cxr_core.cli import app
from cxr_core.cli_list import PAGE, duration
from cxr_core.worklist.database import open_database
from cxr_core.worklist.schema import StudyRow
from cxr_core.worklist.service import open_service
from tests.worklist.rows import identity, image, put, study

KEYS = ["study", "file", "status", "state", "urgency", "waiting_s", "overdue", "findings"]


@pytest.fixture
def cxr(tiny_model, tmp_path, monkeypatch):
    """Run `cxr worklist` on an empty worklist of its own; gives what it printed."""
    for name in [name for name in os.environ if name.startswith("CXR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    monkeypatch.setenv("CXR_MODELS_DIR", str(tiny_model.parent))
    monkeypatch.setenv("CXR_MODEL", tiny_model.name)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["worklist", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def database(cxr):
    opened = open_database(settings.load())
    yield opened
    opened.close()


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_one_json_object_a_line_in_the_lists_order(cxr, database):
    put(
        database,
        [
            study(1, "routine", ago(minutes=1), state=None),
            study(2, "routine", ago(days=9), status="claimed"),
            study(3, "critical", ago(minutes=2), findings="|Pneumothorax|Effusion|"),
            study(4, "routine", ago(days=9), status="read", read_utc=ago(days=8)),
        ],
        [identity(3, patient_id="P-77", patient_name="DOE^JANE")],
        [image(number, number) for number in (1, 2, 3, 4)],
    )
    text = cxr("--json")
    assert "P-77" not in text
    lines = records(text)
    assert [list(line) for line in lines] == [KEYS] * 3
    assert [(line["file"], line["status"], line["overdue"]) for line in lines] == [
        ("film 3.png", "new", False),
        ("film 2.png", "claimed", True),
        ("film 1.png", "new", False),
    ]
    assert (lines[0]["study"], lines[0]["urgency"]) == (f"{3:032x}", "critical")
    assert (lines[0]["state"], lines[0]["findings"]) == ("flagged", ["Pneumothorax", "Effusion"])
    assert lines[0]["waiting_s"] == pytest.approx(120, abs=60)
    assert lines[2]["state"] is None
    last = records(cxr("--json", "--all"))[-1]
    assert (last["status"], last["overdue"]) == ("read", False)
    assert last["waiting_s"] == pytest.approx(86400, abs=60)


def test_every_study_is_printed_once_however_many_pages(cxr, database):
    put(database, [study(number, since=ago(minutes=number)) for number in range(PAGE + 7)])
    assert [int(line["study"], 16) for line in records(cxr("--json"))] == list(range(PAGE + 7))[::-1]
    assert len(records(cxr("--json", "--limit", "3"))) == 3
    assert cxr("--json", "--limit", "0") == ""


def test_people_see_a_table_without_control_characters(cxr, database):
    put(
        database,
        [
            study(1, "urgent", ago(hours=3, minutes=5), status="claimed"),
            study(2, state=None, reasons=["why"]),
        ],
        images=[image(1, 1, file_name="x\x1b[31m[red].png")],
    )
    table = cxr()
    assert "\x1b" not in table
    assert "x\\x1b[31m[red].png" in table
    for shown in ("3 h 05 min overdue", "claimed by somebody", "waiting for an answer", "why"):
        assert shown in table


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 min"), (59, "0 min"), (3599, "59 min"), (3600, "1 h 00 min"), (93_600, "1 d 2 h")],
)
def test_a_wait_is_said_as_people_say_it(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize("leave", [1, 3, 5])
def test_no_study_is_left_out_while_others_are_read(database, monkeypatch, leave):
    """Every study that is open from the first page to the last is told of, once."""
    monkeypatch.setattr(cli_list, "PAGE", 2)
    service = open_service(settings.load())
    put(database, [study(number) for number in range(1, 10)])
    real, pages = service.page, []

    def page(actor, query):
        found = real(actor, query)
        pages.append(found)
        if len(pages) == 3:
            with database.write() as session:
                gone = StudyRow.id.in_([f"{number:032x}" for number in range(1, leave + 1)])
                session.execute(update(StudyRow).where(gone).values(is_open=False, status="read"))
        return found

    monkeypatch.setattr(service, "page", page)
    told = [
        line.study_id
        for line in cli_list._lines(service, Actor("Lea", Role.LEAD), everything=False, limit=None)
    ]
    service.close()
    assert len(told) == len(set(told))
    assert set(told) >= {f"{number:032x}" for number in range(leave + 1, 10)}
