"""Times and waits in words."""

from datetime import UTC, datetime, timedelta

import pytest

from cxr_core.ui.moments import moment, waited

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "under 1 min"),
        (59, "under 1 min"),
        (720, "12 min"),
        (HOUR + 38 * 60, "1 h 38"),
        (73 * HOUR + 300, "3 d 1 h"),
        (100 * HOUR - 1, "4 d 3 h"),
        (320 * DAY, "320 d 0 h"),
    ],
)
def test_waits(seconds: float, words: str) -> None:
    assert waited(seconds) == words


def test_a_time_is_shown_on_this_machines_clock_with_the_year_only_where_it_is_another() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    local = now.astimezone()
    assert moment(now, now) == f"{local.day} Nov {local:%H:%M}"
    assert moment(now - timedelta(days=365), now).split()[2] == "2025"
    assert moment(None, now) == "–"


def test_a_time_without_zone_is_the_modalitys_own() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert moment(datetime(2026, 11, 21, 2, 41), now) == "21 Nov 02:41"
