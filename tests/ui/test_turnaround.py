"""The figures show the numbers that were measured, and nothing where there are none."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from cxr_core.domain import Urgency
from cxr_core.ui.operations_turnaround import tiers_html
from cxr_core.ui.turnaround import (
    COLOURS,
    SYMBOLS,
    Measure,
    overdue_by_day,
    overdue_by_hour,
    waits_by_day,
    waits_by_hour,
    waits_by_tier,
)
from cxr_core.worklist.turnaround import Passage, measured

DAY = datetime(2026, 1, 5, tzinfo=UTC)
LIMITS = dict(zip(Urgency, (900.0, 7200.0, 7200.0, 86_400.0, 259_200.0), strict=True))


def passage(urgency, received, **minutes):
    """A study that waits since receipt; what was done with it, in minutes from then."""
    return Passage(
        Urgency(urgency),
        received,
        received,
        **{name: received + timedelta(minutes=each) for name, each in minutes.items()},
    )


def found(*passages):
    return measured(passages, LIMITS, DAY, DAY + timedelta(days=7), DAY + timedelta(days=7), UTC)


TWO_DAYS = found(
    passage("critical", DAY + timedelta(hours=8), viewed=2, acknowledged=4, read=10),
    passage("critical", DAY + timedelta(hours=8), viewed=4, acknowledged=6, read=20),
    passage("critical", DAY + timedelta(days=2, hours=22), viewed=0, read=12),
    passage("urgent", DAY + timedelta(days=1, hours=8), read=60),
)
EMPTY = found()
EVERY = [
    *(lambda of, measure=measure: waits_by_tier(of, measure) for measure in Measure),
    *(lambda of, measure=measure: waits_by_day(of, measure) for measure in Measure),
    *(lambda of, measure=measure: waits_by_hour(of, measure) for measure in Measure),
    overdue_by_day,
    overdue_by_hour,
]


def drawn(figure):
    """What each trace shows, by its name."""
    return {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}


def test_the_wait_until_reading_by_tier_with_its_limit():
    labels = ["Critical<br>n = 3", "Urgent<br>n = 1"]
    assert drawn(waits_by_tier(TWO_DAYS, Measure.READ)) == {
        "median": (labels, [12.0, 60.0]),
        "9 in 10 within": (labels, [20.0, 60.0]),
        "worst": (labels, [20.0, 60.0]),
        "limit by the policy": (labels, [15.0, 120.0]),
    }


def test_only_tiers_of_which_something_was_measured_are_shown():
    assert drawn(waits_by_tier(TWO_DAYS, Measure.ACKNOWLEDGED))["median"] == (["Critical<br>n = 2"], [5.0])


def test_a_view_in_the_very_second_of_receipt_can_be_drawn_on_a_logarithmic_axis():
    only = found(passage("routine", DAY, viewed=0))
    figure = waits_by_tier(only, Measure.VIEWED)
    assert drawn(figure)["median"] == (["Routine<br>n = 1"], [0.1])
    assert figure.layout.yaxis.type == "log"


def test_by_day_there_is_a_gap_where_nothing_of_a_tier_came_in():
    days = [DAY.date() + timedelta(days=each) for each in (0, 1, 2)]
    assert drawn(waits_by_day(TWO_DAYS, Measure.READ)) == {
        "Critical": (days, [15.0, None, 12.0]),
        "Urgent": (days, [None, 60.0, None]),
    }
    assert drawn(overdue_by_day(TWO_DAYS)) == {
        "Critical": (days, [0.5, None, 0.0]),
        "Urgent": (days, [None, 0.0, None]),
    }


def test_by_hour_all_days_are_taken_together():

    def by_hour(values):
        return list(range(24)), [values.get(hour) for hour in range(24)]

    assert drawn(waits_by_hour(TWO_DAYS, Measure.VIEWED)) == {"Critical": by_hour({8: 3.0, 22: 0.1})}
    figure = overdue_by_hour(TWO_DAYS)
    assert drawn(figure) == {"Critical": by_hour({8: 0.5, 22: 0.0}), "Urgent": by_hour({8: 0.0})}
    assert [note for note in figure.data[0].customdata if note] == ["1 of 2", "0 of 1"]


def test_a_day_on_which_nothing_came_in_is_a_gap_too():
    figure = overdue_by_day(found(passage("urgent", DAY, read=5), passage("urgent", DAY + timedelta(days=2))))
    days = [DAY.date() + timedelta(days=each) for each in (0, 1, 2)]
    assert drawn(figure) == {"Urgent": (days, [0.0, None, 1.0])}
    assert not figure.data[0].connectgaps


def test_tiers_are_told_apart_by_shape_as_well_as_by_colour():
    assert set(COLOURS) == set(SYMBOLS) == set(Urgency)
    assert len(set(COLOURS.values())) == len(set(SYMBOLS.values())) == len(Urgency)


@pytest.mark.parametrize("of", [TWO_DAYS, EMPTY], ids=["two days", "empty"])
@pytest.mark.parametrize("draw", EVERY)
def test_every_figure_can_be_sent_to_a_browser_and_asks_for_nothing_outside(draw, of):
    sent = draw(of).to_json()
    assert json.loads(sent)["layout"]["title"]["text"]
    assert "http" not in sent


def test_the_table_says_of_how_many_each_wait_is_and_what_came_late():
    late = Passage(Urgency.CRITICAL, DAY, DAY - timedelta(days=190), read=DAY)
    came = [passage("critical", DAY, viewed=2), passage("critical", DAY, viewed=4, read=10), late]
    html = tiers_html(found(*came).tiers)
    critical = html[html.index("Critical") : html.index("Urgent")]
    assert re.findall(r"<td>(\d+)</td><td", critical) == ["2", "0", "1"]
    assert "<td>3<br><small>1 arrived late, not counted</small></td>" in critical
    assert html.count("arrived late") == 1
