"""The audit trail as whoever answers for it searches it, verifies it and takes it away."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text

from cxr_core.access import Actor, Role
from cxr_core.errors import Forbidden, Invalid
from cxr_core.worklist import audit
from cxr_core.worklist import trail as trails
from cxr_core.worklist.schema import AuditRow
from cxr_core.worklist.trail import EVERYTHING, LARGEST_PAGE, Form, Search
from tests.worklist.rows import id_of, image, note, put, sha, study

ANN = Actor("Ann", Role.CLINICIAN)
LEAD = Actor("Lea", Role.LEAD)
NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def ago(**span):
    return NOW - timedelta(**span)


@pytest.fixture
def trail(service):
    """The service with five events on two studies and a film of the first."""
    put(service.database, [study(1), study(2)], images=[image(9, 1)])
    note(
        service,
        (ago(hours=5), "Ann", "submit", sha(9), {"study": id_of(1)}),
        (ago(hours=4), "w1", "result", sha(9)),
        (ago(hours=3), "Ann", "view", id_of(1)),
        (ago(hours=2), "Ben 100%", "view", id_of(2)),
        (ago(hours=1), "Lea", "export"),
    )
    return service


def numbers(service, **asked):
    return [link.seq for link in service.search_audit(LEAD, Search(**asked)).links]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"actor": "ann"}, [3, 1]),
        ({"actor": "%"}, [4]),
        ({"event": "view"}, [4, 3]),
        ({"event": "vie"}, []),
        ({"subject": id_of(1)}, [3, 2, 1]),
        ({"subject": sha(9)}, [2, 1]),
        ({"subject": id_of(2), "event": "view", "actor": "Ben"}, [4]),
        ({"subject": id_of(2), "actor": "Ann"}, []),
        ({"since": ago(hours=4)}, [5, 4, 3, 2]),
        ({"until": ago(hours=4)}, [1]),
        ({"since": ago(hours=4), "until": ago(hours=2)}, [3, 2]),
        ({"actor": "A\0"}, []),
        ({"subject": "\ud800"}, []),
        ({"event": "' OR 1=1 --"}, []),
    ],
)
def test_the_audit_trail_is_searched_by_actor_event_subject_and_time(trail, asked, found):
    assert numbers(trail, **asked) == found


def test_pages_of_the_audit_trail_stay_where_they_are_while_events_happen(trail):
    first = trail.search_audit(LEAD, Search(limit=2))
    assert ([link.seq for link in first.links], first.next) == ([5, 4], 4)
    trail.claim(ANN, id_of(1), 1)
    second = trail.search_audit(LEAD, Search(limit=2, before=first.next))
    assert ([link.seq for link in second.links], second.next) == ([3, 2], 2)
    last = trail.search_audit(LEAD, Search(limit=2, before=second.next))
    assert ([link.seq for link in last.links], last.next) == ([1], None)


def test_a_page_of_exactly_the_rest_is_the_last(trail):
    assert trail.search_audit(LEAD, Search(limit=5)).next is None
    assert trail.search_audit(LEAD, Search(limit=0)).next == 5
    assert len(trail.search_audit(LEAD, Search(limit=10 * LARGEST_PAGE)).links) == 5


def test_what_is_found_is_the_row_as_it_is_stored_and_looking_changes_nothing(trail):
    with trail.database.read() as session:
        stored = {link.seq: link for link in audit.links(session)}
    assert all(stored[link.seq] == link for link in trail.search_audit(LEAD, Search()).links)
    trail.health(LEAD)
    with trail.database.read() as session:
        assert session.scalar(select(func.count()).select_from(AuditRow)) == 5
    with pytest.raises(Forbidden):
        trail.search_audit(ANN, Search())


def test_a_search_counts_what_fits_on_all_pages_and_knows_the_study_of_a_film(trail, monkeypatch):
    found = trail.search_audit(LEAD, Search(limit=2, before=5))
    assert (found.total, found.studies) == (5, {id_of(1): id_of(1), id_of(2): id_of(2)})
    films = trail.search_audit(LEAD, Search(event="submit"))
    assert (films.total, films.studies) == (1, {sha(9): id_of(1)})
    monkeypatch.setattr(trails, "MOST", 3)
    assert trail.search_audit(LEAD, Search()).total == 4


def test_verifying_tells_how_far_it_is_and_finds_an_edit(trail, monkeypatch):
    monkeypatch.setattr(audit, "_AT_ONCE", 2)
    told = []
    verdict = trail.verify_audit(LEAD, lambda done, of: told.append((done, of)))
    assert (verdict.events, verdict.broken_at, told) == (5, None, [(0, 5), (2, 5), (4, 5)])
    with trail.database.write() as session:
        session.execute(text("UPDATE audit SET actor = 'x' WHERE seq = 3"))
    assert trail.verify_audit(LEAD).broken_at == 3
    with pytest.raises(Forbidden):
        trail.verify_audit(ANN)


def test_an_export_holds_what_fits_the_oldest_first_and_is_an_event_itself(trail):
    lines = trail.export_audit(LEAD, Search(event="view"), Form.JSON_LINES).decode().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [3, 4]
    whole = trail.export_audit(LEAD, EVERYTHING, Form.JSON_LINES).decode().splitlines()
    assert [json.loads(line)["event"] for line in whole][-2:] == ["audit_export", "audit_export"]
    assert [json.loads(json.loads(line)["detail"]) for line in whole][-2:] == [
        {"form": "jsonl", "all": False},
        {"form": "jsonl", "all": True},
    ]
    with pytest.raises(Forbidden):
        trail.export_audit(ANN, EVERYTHING, Form.CSV)


def test_an_export_as_csv_holds_no_formula(trail):
    note(trail, (NOW, '=HYPERLINK("http://evil.example")', "view", id_of(1)))
    rows = list(csv.reader(io.StringIO(trail.export_audit(LEAD, EVERYTHING, Form.CSV).decode())))
    assert tuple(rows[0]) == trails.CSV_COLUMNS
    assert rows[6][2] == '\'=HYPERLINK("http://evil.example")'
    assert (rows[3][3], "DICOM" in rows[3][9]) == ("view", True)
    assert len(rows) == 8


def test_too_many_events_for_a_browser_are_refused_and_nothing_is_noted(trail, monkeypatch):
    monkeypatch.setattr(trails, "MOST", 4)
    with pytest.raises(Invalid, match="at most 4 events"):
        trail.export_audit(LEAD, EVERYTHING, Form.CSV)
    assert trail.search_audit(LEAD, Search(event="audit_export")).links == ()
    assert trail.export_audit(LEAD, Search(actor="Ann"), Form.CSV).count(b"\n") == 3


def test_text_that_no_database_holds_finds_nothing_to_export(trail):
    assert trail.export_audit(LEAD, Search(actor="A\0"), Form.JSON_LINES) == b""
