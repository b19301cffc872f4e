from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from cxr_core.errors import StoreError
from cxr_core.worklist import audit
from cxr_core.worklist.audit import Event


def fill(database, clock, number: int = 5) -> None:
    with database.write() as session:
        for i in range(number):
            audit.append(
                session,
                at=clock.advance(0.123457),
                actor=f"Dr. Ågren {i}",
                event="claim",
                subject=f"study {i}",
                detail={"n": i, "again": None, "ok": True, "why": "ü|\"'"},
            )


def verdict(database) -> audit.Verdict:
    with database.read() as session:
        return audit.verify(session)


def spoil(database, *statements: str) -> None:
    with database.write() as session:
        for statement in statements:
            session.execute(text(statement))


def test_an_untouched_trail_is_whole(database, clock):
    assert verdict(database) == audit.Verdict(0, None, "", "0" * 64)
    fill(database, clock)
    with database.write() as session:
        audit.append_many(session, [Event(clock.now, "w", "result"), Event(clock.now, "w", "result")])
        audit.append_many(session, [])
    found = verdict(database)
    assert (found.events, found.broken_at, found.why) == (7, None, "")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("actor", "'somebody else'"),
        ("event", "'release'"),
        ("subject", "'study 4'"),
        ("detail", "'{}'"),
        ("at_utc", "'2026-01-05 09:30:00.000001'"),
        ("digest", f"'{'a' * 64}'"),
        ("previous", f"'{'a' * 64}'"),
        ("seq", "77"),
    ],
)
def test_any_edit_is_found(database, clock, column, value):
    fill(database, clock)
    spoil(database, f"UPDATE audit SET {column} = {value} WHERE seq = 3")  # noqa: S608
    assert (verdict(database).broken_at, verdict(database).events) == (3, 2)


@pytest.mark.parametrize("seq", [1, 3, 5])
def test_any_removal_is_found(database, clock, seq):
    fill(database, clock)
    spoil(database, f"DELETE FROM audit WHERE seq = {seq}")  # noqa: S608
    assert verdict(database).broken_at == seq


def test_any_reorder_is_found(database, clock):
    fill(database, clock)
    spoil(
        database,
        "UPDATE audit SET seq = 99 WHERE seq = 2",
        "UPDATE audit SET seq = 2 WHERE seq = 3",
        "UPDATE audit SET seq = 3 WHERE seq = 99",
    )
    assert verdict(database).broken_at == 2


def test_truncation_is_found_also_of_everything(database, clock):
    fill(database, clock)
    spoil(database, "DELETE FROM audit WHERE seq > 2")
    assert (verdict(database).broken_at, verdict(database).why) == (3, "events 3 to 5 were cut off")
    spoil(database, "DELETE FROM audit")
    assert verdict(database).broken_at == 1


def test_a_head_that_was_set_back_or_removed_is_found(database, clock):
    fill(database, clock)
    spoil(database, "UPDATE audit_head SET seq = 4")
    assert verdict(database).why == "the head was changed"
    spoil(database, "DELETE FROM audit_head")
    assert verdict(database).why == "the head is missing"
    with pytest.raises(StoreError, match="lost its head"):
        fill(database, clock)


def test_a_chain_written_anew_from_a_row_on_is_found_by_the_digest_kept_elsewhere(database, clock):
    fill(database, clock)
    kept = verdict(database).digest
    spoil(
        database,
        "DELETE FROM audit WHERE seq > 4",
        "UPDATE audit_head SET seq = 4, digest = (SELECT digest FROM audit WHERE seq = 4)",
    )
    fill(database, clock, 1)
    assert (verdict(database).events, verdict(database).broken_at) == (5, None)
    assert verdict(database).digest != kept


def test_a_rolled_back_event_leaves_no_gap(database, clock):
    fill(database, clock, 2)

    def fails() -> None:
        with database.write() as session:
            audit.append(session, at=clock.now, actor="a", event="claim")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    fill(database, clock, 2)
    assert (verdict(database).events, verdict(database).broken_at) == (4, None)


def test_many_writers_make_one_chain(database, clock):
    threads = [
        threading.Thread(target=lambda: [fill(database, clock, 2) for _ in range(5)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (verdict(database).events, verdict(database).broken_at) == (40, None)


def test_the_digest_can_be_computed_from_the_export_as_the_documentation_says(database):
    at = datetime(2026, 1, 5, 10, 30, 0, 250, tzinfo=timezone(timedelta(hours=1)))
    with database.write() as session:
        audit.append(session, at=at, actor="A. Ünal", event="view", subject="s", detail={"b": 1, "a": "x"})
    with database.read() as session:
        (line,) = [audit.as_json(link) for link in audit.links(session)]
    said = json.loads(line)
    assert datetime.fromisoformat(said["at"]) == at.astimezone(UTC)
    covered = (
        r'{"actor":"A. \u00dcnal","at":"2026-01-05T09:30:00.000250+00:00",'
        r'"detail":"{\"a\":\"x\",\"b\":1}","event":"view","seq":1,"subject":"s"}'
    )
    assert said["digest"] == hashlib.sha256(("0" * 64 + covered).encode()).hexdigest()
