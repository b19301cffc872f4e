"""Promise A4: what is done in somebody's name leaves its row, and the trail shows whether it was touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import combinations
from typing import Any

import pydicom.sr._cid_dict as cids
import pytest
from pydicom.sr.codedict import codes
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from cxr_core.access import Action, Actor, Role
from cxr_core.cli import app
from cxr_core.errors import Forbidden, SignedOut
from cxr_core.worklist import audit, queue
from cxr_core.worklist.audit import Link
from cxr_core.worklist.audit_events import EVENTS
from cxr_core.worklist.schema import AuditHeadRow, AuditRow, StudyRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Source
from tests.worklist.calls import CALLS, World, claims, signed_in

OTHERS = {
    "arrive": {"sign_in"},
    "sign_out": {"sign_out"},
    "check": {"lock"},
    "opine": {"disagree"},
    "a worker": {"result", "dead_letter"},
    "two films with one SOPInstanceUID": {"conflict"},
    "cxr": {"backup", "restore"},
}
"""Events that the table of calls does not leave, and who does; each has a test here or one of its own."""


def links(service: Service, after: int = 0) -> list[Link]:
    with service.database.read() as session:
        return list(audit.links(session, AuditRow.seq > after))


def last(service: Service) -> int:
    with service.database.read() as session:
        return session.scalar(select(func.max(AuditRow.seq))) or 0


def test_a4_each_call_leaves_exactly_its_rows_in_the_actors_name(service):
    actor, world = signed_in(service, Role.ADMIN, "ana"), World(service)
    for name, call in CALLS.items():
        start = last(service)
        call.make(service, actor, world)
        left = [link for link in links(service, start) if link.actor == actor.name]
        assert tuple(link.event for link in left) == call.events, name
        assert all(link.dicom == EVENTS[link.event] and link.dicom.code for link in left), name
    with service.database.read() as session:
        assert audit.verify(session).broken_at is None


def test_a4_every_event_is_left_by_something_and_has_a_dicom_name():
    left = {event for call in CALLS.values() for event in call.events}.union(*OTHERS.values())
    assert left == EVENTS.keys()
    for event in EVENTS.values():
        assert event.code == _code(400, event.name)
        if event.type:
            assert event.type == _code(401, event.type_name)


def _code(cid: int, meaning: str) -> str:
    keywords = cids.cid_concepts[cid]["DCM"]
    found = [getattr(codes.DCM, keyword) for keyword in keywords]
    return next(each.value for each in found if each.meaning.casefold() == meaning.casefold())


def test_a4_a_word_that_has_no_dicom_name_cannot_be_written(service, clock):
    with service.database.write() as session, pytest.raises(ValueError, match="is called looked"):
        audit.append(session, at=clock.now, actor="a", event="looked")
    assert links(service) == []


def test_a4_signing_in_out_and_being_locked_leave_one_row_each(service, clock):
    ana = signed_in(service, Role.VIEWER, "ana")
    for _ in range(3):
        service.arrive(claims("ana"))
        service.check(ana, Action.VIEW_LIST)
    service.sign_out(ana)
    service.sign_out(ana)
    clock.advance(1)
    ben = service.arrive(claims("ana", 2))
    clock.advance(timedelta(minutes=15).total_seconds())
    for _ in range(3):
        with pytest.raises(SignedOut):
            service.check(ben, Action.VIEW_LIST)
    with pytest.raises(Forbidden):
        service.arrive(claims("without a role"))
    found = links(service)
    words = ["account", "sign_in", "sign_out", "sign_in", "lock", "sign_in"]
    assert [link.event for link in found] == words
    assert {link.dicom.name for link in found[1:]} == {"User Authentication"}
    assert [link.dicom.type_name for link in found[1:]] == ["Login", "Logout", "Login", "Logout", "Login"]
    assert [link.actor for link in found[1:5]] == [ana.name] * 4


def test_a4_disagreeing_and_a_film_given_up_leave_one_row_each(service):
    actor, world = Actor("lead", Role.LEAD), World(service)
    study_id = world.study()
    start = last(service)
    service.opine(actor, study_id, 2, "Mass", agrees=False)
    receipt = service.submit(actor, Incoming("film", b"no film"), source=Source.CLI)
    for _ in range(service.settings.attempts):
        with service.database.write() as session:
            session.execute(update(StudyRow).values(not_before_utc=None))
        (job,) = queue.claim(service, "w1", 1)
        queue.failed(service, "w1", job, receipt.sha256, "decoder_died")
    assert [(link.event, link.actor) for link in links(service, start)] == [
        ("disagree", "lead"),
        ("submit", "lead"),
        ("dead_letter", "w1"),
    ]


# ---- what somebody who can write to the database may try

TABLE = AuditRow.__table__
EVENTS_THERE = 6
COLUMNS = tuple(column.name for column in TABLE.columns)
Tampering = Callable[[Session], object]


def _set(which: int, /, **values: object) -> Tampering:
    return lambda session: session.execute(update(AuditRow).where(AuditRow.seq == which).values(values))


def _row(session: Session, seq: int) -> dict[str, Any]:
    return dict(session.execute(select(TABLE).where(AuditRow.seq == seq)).one()._mapping)


def _sealed(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the digest that the program would give it."""
    said = json.loads(audit.as_json(Link(*(row[name] for name in COLUMNS))))
    covered = audit.canonical({name: said[name] for name in ("seq", "at", *COLUMNS[2:6])})
    return row | {"digest": hashlib.sha256((row["previous"] + covered).encode()).hexdigest()}


def _edits() -> Iterator[tuple[str, Tampering]]:
    """Every column of every event, and an edit whose digest was made to fit."""

    def edit(column: str, seq: int) -> Tampering:
        def do(session: Session) -> None:
            value = _row(session, seq)[column]
            other = {"seq": 99, "previous": "f" * 64, "digest": "f" * 64, "event": "undo"}
            if column == "at_utc":
                other[column] = value + timedelta(microseconds=1)
            _set(seq, **{column: other[column] if column in other else f"{value[1:]}x"})(session)

        return do

    def sealed(seq: int) -> Tampering:
        return lambda session: _set(seq, **_sealed(_row(session, seq) | {"actor": "x"}))(session)

    for seq in range(1, EVENTS_THERE + 1):
        yield from ((f"edit {column} of {seq}", edit(column, seq)) for column in COLUMNS)
        yield f"edit {seq} and its digest", sealed(seq)


def _removals() -> Iterator[tuple[str, Tampering]]:
    """Every event, also with those behind it moved up; every number of events at the end."""

    def remove(first: int, until: int) -> Tampering:
        return lambda session: session.execute(
            delete(AuditRow).where(AuditRow.seq >= first, AuditRow.seq <= until)
        )

    def closed(seq: int) -> Tampering:
        def do(session: Session) -> None:
            remove(seq, seq)(session)
            for after in range(seq + 1, EVENTS_THERE + 1):
                _set(after, seq=after - 1)(session)

        return do

    for seq in range(1, EVENTS_THERE + 1):
        yield f"remove {seq}", remove(seq, seq)
        yield f"remove {seq} and close the gap", closed(seq)
        yield f"cut off from {seq} on", remove(seq, EVENTS_THERE)


def _reorders() -> Iterator[tuple[str, Tampering]]:
    """Any two events that change places, with or without their digests."""

    def swap(one: int, two: int, columns: tuple[str, ...]) -> Tampering:
        def do(session: Session) -> None:
            first, second = _row(session, one), _row(session, two)
            for seq, other in ((one, second), (two, first)):
                _set(seq, **{column: other[column] for column in columns})(session)

        return do

    for one, two in combinations(range(1, EVENTS_THERE + 1), 2):
        yield f"swap {one} and {two}", swap(one, two, COLUMNS[1:])
        yield f"swap what {one} and {two} say", swap(one, two, COLUMNS[1:6])


def _insertions() -> Iterator[tuple[str, Tampering]]:
    """An event that fits to the one before, at every place."""

    def add(seq: int) -> Tampering:
        def do(session: Session) -> None:
            for after in range(EVENTS_THERE, seq - 1, -1):
                _set(after, seq=after + 1)(session)
            before = _row(session, seq - 1) if seq > 1 else {**_row(session, 2), "digest": audit.START}
            made = before | {"seq": seq, "actor": "x", "previous": before["digest"]}
            session.execute(insert(AuditRow), [_sealed(made)])

        return do

    for seq in range(1, EVENTS_THERE + 2):
        yield f"insert {seq}", add(seq)


def _heads() -> Iterator[tuple[str, Tampering]]:
    yield "no head", lambda session: session.execute(delete(AuditHeadRow))
    for values in ({"seq": EVENTS_THERE + 1}, {"seq": EVENTS_THERE - 1}, {"seq": 0}, {"digest": "f" * 64}):
        yield (
            f"head {values}",
            lambda session, values=values: session.execute(update(AuditHeadRow).values(values)),
        )


TAMPERINGS = dict([*_edits(), *_removals(), *_reorders(), *_insertions(), *_heads()])


@pytest.fixture
def trailed(service):
    """The service with EVENTS_THERE events, left by real calls."""
    actor, world = signed_in(service, Role.ADMIN, "ana"), World(service)
    for name in ("submit", "study", "export_csv"):
        CALLS[name].make(service, actor, world)
    assert last(service) == EVENTS_THERE
    return service


def test_a4_any_edit_removal_reorder_truncation_or_insertion_is_found(trailed):
    for name, tamper in TAMPERINGS.items():
        with suppress(_Undone), trailed.database.write() as session:
            assert audit.verify(session).broken_at is None
            tamper(session)
            session.flush()
            assert audit.verify(session).broken_at is not None, name
            raise _Undone


class _Undone(Exception):
    """Ends a transaction of which nothing is to stay."""


@pytest.mark.parametrize(
    "name",
    ["edit detail of 2", "remove 3", "swap 2 and 3", "cut off from 5 on", "insert 4", "insert 7", "no head"],
)
def test_a4_cxr_audit_verify_says_so_and_exits_1(trailed, store_settings, monkeypatch, name):
    monkeypatch.setenv("CXR_HOME", str(store_settings.home))
    if store_settings.database_url:
        monkeypatch.setenv("CXR_DATABASE_URL", store_settings.database_url)
    assert CliRunner().invoke(app, ["audit", "verify"]).exit_code == 0
    with trailed.database.write() as session:
        session.execute(delete(AuditRow).where(AuditRow.seq > EVENTS_THERE))
        head = _row(session, EVENTS_THERE)
        session.execute(update(AuditHeadRow).values(seq=head["seq"], digest=head["digest"]))
        TAMPERINGS[name](session)
    for _ in range(2):
        done = CliRunner().invoke(app, ["audit", "verify"])
        assert done.exit_code == 1, "also after the look itself was noted"
        assert done.stdout.startswith("BROKEN at event")


@pytest.mark.parametrize("column", ["at_utc", "actor", "detail", "digest"])
def test_a4_what_is_no_time_or_text_is_found_too(home, clock, column):
    """SQLite keeps a value of any kind in any column."""
    service = open_service(home, clock=clock)
    signed_in(service, Role.ADMIN, "ana")
    with service.database.write() as session:
        session.execute(text(f"UPDATE audit SET {column} = x'ff' WHERE seq = 2"))  # noqa: S608
    with service.database.read() as session:
        verdict = audit.verify(session)
    assert verdict.broken_at in (1, 2)
    service.close()
