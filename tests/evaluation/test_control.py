"""Control charts: points and limits by hand, an alarm where a share falls, next to none where it does not."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.stats import binom

from cxr_core.evaluation.control import LEAST, TAIL, Event, limits, rolling, weekly
from cxr_core.triage.budget import Rate

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def events(rights, hours=1.0):
    return [Event(MONDAY + timedelta(hours=hours * k), bool(right)) for k, right in enumerate(rights)]


def test_a_point_is_of_the_last_so_many_opinions():
    chart = rolling(events([1, 1, 0, 1, 0, 0]), 4, 50)
    assert [(point.rate.count, point.rate.of) for point in chart.points] == [(3, 4), (2, 4), (1, 4)]
    assert chart.points[0].at == MONDAY + timedelta(hours=3)
    assert chart.baseline is None, f"six opinions are fewer than {LEAST}"
    assert not any(point.outside for point in chart.points), "without a baseline nothing is out of control"
    assert rolling(events([1, 1]), 4, 50).points == ()


def test_a_week_begins_on_monday_and_has_the_limits_of_as_many_opinions():
    rights = [1] * 16 + [0] * 4 + [1] * 5
    chart = weekly(events(rights, hours=12), 20, UTC)
    assert [(point.at.day, point.rate.of) for point in chart.points] == [(5, 14), (12, 11)]
    assert chart.baseline == Rate(16, 20)
    first, second = chart.points
    assert first.low > second.low, "fewer opinions, wider limits"


def test_a_week_in_which_the_clock_is_changed_is_one(monkeypatch: pytest.MonkeyPatch):
    """Summer time ended on Sunday, 25 October 2026."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        at = [datetime(2026, 10, day, hour, tzinfo=UTC) for day, hour in ((24, 12), (25, 20), (26, 12))]
        chart = weekly([Event(moment, True) for moment in at], 20)
        assert [(point.at.date().isoformat(), point.rate.of) for point in chart.points] == [
            ("2026-10-19", 2),
            ("2026-10-26", 1),
        ]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_limits_leave_out_three_sigma_on_either_side():
    assert pytest.approx(0.00135, abs=1e-5) == TAIL
    share = 40.5 / 51
    low, high = limits(Rate(40, 50), 60)
    assert binom.cdf(round(low * 60) - 1, 60, share) < TAIL <= binom.cdf(round(low * 60), 60, share)
    assert binom.sf(round(high * 60), 60, share) <= TAIL < binom.sf(round(high * 60) - 1, 60, share)


def test_one_miss_after_a_baseline_without_any_is_no_alarm_but_a_fall_is():
    good = [1] * 60
    assert not any(point.outside for point in rolling(events([*good, 0, 1, 1]), 20, 50).points)
    fallen = rolling(events([*good, *[0, 0, 1] * 10]), 20, 50)
    assert fallen.points[-1].outside
    assert not fallen.points[0].outside


def test_where_nothing_changes_next_to_no_week_is_out_of_control():
    rng = np.random.default_rng(0)
    chart = weekly(events(rng.random(24 * 7 * 400) < 0.8), 2000, UTC)
    assert len(chart.points) == 400
    assert sum(point.outside for point in chart.points) <= 4
