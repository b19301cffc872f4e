"""How far a batch is: no file is counted twice."""

from __future__ import annotations

from datetime import UTC, datetime

from cxr_core.domain import Notice
from cxr_core.ui.worklist_films import outcome, sentence, settled, share
from cxr_core.worklist.values import BatchView

NOTICE = Notice("lateral_view", "The tags say that this is a lateral film.", "")


def batch(total: int, stored: int, answered: int, *, away: int = 0, gate: int = 0) -> BatchView:
    refused = tuple((f"{number}.dcm", NOTICE) for number in range(away + gate))
    created = datetime(2026, 1, 5, tzinfo=UTC)
    return BatchView("b", created, "page", total, stored, 0, answered, refused, away, broken_off=False)


def test_films_that_the_gate_refused_do_not_end_a_batch_whose_files_still_come() -> None:
    half = batch(10, 5, 5, gate=5)
    assert not settled(half)
    assert share(half) == 0.5


def test_a_file_refused_at_the_door_is_dealt_with_for_good() -> None:
    assert share(batch(4, 0, 0, away=2)) == 0.5
    assert not settled(batch(4, 2, 1, away=2))
    assert settled(batch(4, 2, 2, away=2, gate=1))
    assert share(batch(4, 2, 2, away=2, gate=1)) == 1.0


def test_stored_and_turned_away_add_up_and_refused_ones_are_part_of_the_answered() -> None:
    said = sentence(batch(33, 30, 30, away=3, gate=2), "21 Nov 02:41")
    assert said == "33 files, 21 Nov 02:41: 30 stored, 3 refused at the door; 30 answered, 2 of them refused"
    assert sentence(batch(1, 1, 0), "now") == "1 file, now: 1 stored; 0 answered"


def test_what_is_answered_stands_in_one_line() -> None:
    now = datetime(2026, 1, 5, 1, tzinfo=UTC)
    one, other = batch(1, 1, 1, gate=1), batch(30, 28, 28, away=2)
    assert outcome([one], now).endswith(": 1 stored; 1 answered · 1 refused, and why")
    assert outcome([one, other], now) == ("2 uploads, 31 files: 29 stored; 29 answered · 3 refused, and why")
    assert outcome([batch(2, 2, 2)], now).endswith(": 2 stored; 2 answered")
