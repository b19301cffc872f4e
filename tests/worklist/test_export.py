from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from cxr_core.access import Actor, Role
from cxr_core.worklist import listing
from cxr_core.worklist.export import COLUMNS, guarded
from cxr_core.worklist.schema import AuditRow
from cxr_core.worklist.values import Query, Status
from tests.worklist.rows import identity, image, put, study

LEAD = Actor("Lea", Role.LEAD)


def table(raw: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8"), newline="")))


def test_the_csv_holds_what_the_list_shows_in_its_order(service, clock):
    since = clock.now - timedelta(minutes=30)
    put(
        service.database,
        [
            study(1, "routine", since, age_years=61.0, sex="F", view="PA", reasons=["why"]),
            study(2, "critical", since, findings="|Mass|Effusion|", status="claimed", acquired_utc=since),
        ],
        [identity(1, patient_id="P-1")],
        [image(11, 1), image(12, 2)],
    )
    first, second = table(service.export_csv(LEAD, Query(offset=1, limit=1)))
    assert list(first) == list(COLUMNS)
    assert first == {
        "study": f"{2:032x}",
        "file": "film 12.png",
        "films": "1",
        "patient_id": "",
        "age_years": "",
        "sex": "unknown",
        "view": "unknown",
        "state": "flagged",
        "urgency": "critical",
        "findings": "Mass;Effusion",
        "reason": "",
        "acquired_utc": "2026-01-05 09:00:00",
        "received_utc": "2026-01-05 09:00:00",
        "waits_since_utc": "2026-01-05 09:00:00",
        "waiting_minutes": "30.0",
        "max_wait_minutes": "15",
        "overdue": "yes",
        "status": "claimed",
        "claimed_by": "somebody",
        "acknowledged": "no",
        "source": "cli",
        "films_urgency": "",
        "overridden_by": "",
    }
    assert (second["patient_id"], second["age_years"], second["reason"]) == ("P-1", "61", "why")
    assert second["overdue"] == "no"


def test_what_a_spreadsheet_takes_for_a_formula_opens_as_text(service):
    hostile = '=HYPERLINK("http://example.org";"x")'
    put(
        service.database,
        [study(1)],
        [identity(1, patient_id="+1+cmd|' /C calc'!A0")],
        [image(1, 1, file_name=hostile)],
    )
    (line,) = table(service.export_csv(LEAD, Query()))
    assert line["file"] == f"'{hostile}"
    assert line["patient_id"] == "'+1+cmd|' /C calc'!A0"


@given(st.text())
def test_no_guarded_cell_starts_like_a_formula(text):
    cell = guarded(text)
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert not cell.startswith(("\t", "\r", "\n"))
    assert cell in (text, f"'{text}")


def test_an_export_is_audited_by_count_and_holds_all_pages(service, monkeypatch):
    monkeypatch.setattr(listing, "CHUNK", 3)
    put(service.database, [*(study(number) for number in range(10)), study(99, status="read")])
    lines = table(service.export_csv(LEAD, Query(text="0")))
    assert [int(line["study"], 16) for line in lines] == list(range(10))
    everything = service.export_csv(LEAD, Query(statuses=frozenset(Status)))
    assert len(table(everything)) == 11
    with service.database.read() as session:
        rows = session.execute(select(AuditRow.actor, AuditRow.event, AuditRow.detail)).all()
    assert [(actor, event, json.loads(detail)) for actor, event, detail in rows] == [
        ("Lea", "export", {"studies": 10}),
        ("Lea", "export", {"studies": 11}),
    ]


@pytest.mark.parametrize("empty", [Query(), Query(text="nobody")])
def test_an_empty_list_is_a_header(service, empty):
    assert table(service.export_csv(LEAD, empty)) == []
    assert service.export_csv(LEAD, empty).decode().split("\r\n")[0].split(",") == list(COLUMNS)
