"""How long studies waited, as figures: pure, from what the service measured to what plotly shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from plotly.graph_objects import Figure

from cxr_core.domain import Urgency
from cxr_core.ui.plots import blank
from cxr_core.worklist.turnaround import TierTimes, Turnaround, Waits

COLOURS: dict[Urgency, str] = {
    Urgency.CRITICAL: "#E8702A",
    Urgency.URGENT: "#E0A100",
    Urgency.REVIEW: "#56B4E9",
    Urgency.SIGNIFICANT: "#C9BE3B",
    Urgency.ROUTINE: "#8A949F",
}
SYMBOLS: dict[Urgency, str] = {
    Urgency.CRITICAL: "triangle-up",
    Urgency.URGENT: "diamond",
    Urgency.REVIEW: "square",
    Urgency.SIGNIFICANT: "circle",
    Urgency.ROUTINE: "circle-open",
}
"""Tiers are told apart by shape as well as by colour."""

SHORTEST_MIN = 0.1
"""Shown for what took less: a logarithmic axis has no zero."""

_TICKS: dict[float, str] = {
    0.1: "6 s",
    1: "1 min",
    5: "5 min",
    15: "15 min",
    60: "1 h",
    240: "4 h",
    1440: "1 d",
    10_080: "7 d",
    43_200: "30 d",
}


class Measure(StrEnum):
    """Until when the wait is measured."""

    VIEWED = "first view"
    ACKNOWLEDGED = "acknowledgement"
    READ = "reading"

    def of(self, times: TierTimes) -> Waits:
        """Return the waits that this measures."""
        by_name = {
            Measure.VIEWED: times.viewed,
            Measure.ACKNOWLEDGED: times.acknowledged,
            Measure.READ: times.read,
        }
        return by_name[self]


def waits_by_tier(found: Turnaround, measure: Measure) -> Figure:
    """Return per tier the median wait until `measure`, with p90 and worst, and the tier's limit."""
    figure = blank(f"Wait until {measure}, by tier")
    tiers = [each for each in found.tiers if measure.of(each).n]
    labels = [f"{each.urgency.value.capitalize()}<br>n = {measure.of(each).n}" for each in tiers]
    figure.add_scatter(
        name="median",
        x=labels,
        y=[_minutes(measure.of(each).median_s) for each in tiers],
        mode="markers",
        marker={
            "symbol": [SYMBOLS[each.urgency] for each in tiers],
            "size": 16,
            "color": [COLOURS[each.urgency] for each in tiers],
        },
        hovertemplate="%{x}<br>median %{y:.1f} min<extra></extra>",
    )
    points: tuple[tuple[str, str, int, str, Callable[[TierTimes], float | None]], ...] = (
        ("9 in 10 within", "line-ew-open", 16, "#E6E9ED", lambda each: measure.of(each).p90_s),
        ("worst", "x-thin-open", 10, "#E6E9ED", lambda each: measure.of(each).worst_s),
        ("limit by the policy", "line-ew-open", 46, "#E8702A", lambda each: each.limit_s),
    )
    for name, symbol, size, colour, value in points:
        figure.add_scatter(
            name=name,
            x=labels,
            y=[_minutes(value(each)) for each in tiers],
            mode="markers",
            marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2}},
            hovertemplate=f"%{{x}}<br>{name} %{{y:.1f}} min<extra></extra>",
        )
    figure.update_layout(legend={"y": -0.26, "itemsizing": "constant"})
    _minutes_axis(figure)
    return figure


def waits_by_day(found: Turnaround, measure: Measure) -> Figure:
    """Return the median wait until `measure` of each tier, by day of receipt."""
    figure = _lines(
        f"Median wait until {measure}, by day of receipt",
        _every_day(found),
        lambda times: _minutes(measure.of(times).median_s),
        lambda times: f"n = {measure.of(times).n}",
    )
    _minutes_axis(figure)
    _days_axis(figure, found)
    return figure


def waits_by_hour(found: Turnaround, measure: Measure) -> Figure:
    """Return the median wait until `measure` of each tier, by hour of the day of receipt."""
    figure = _lines(
        f"Median wait until {measure}, by hour of receipt",
        _every_hour(found),
        lambda times: _minutes(measure.of(times).median_s),
        lambda times: f"n = {measure.of(times).n}",
    )
    _minutes_axis(figure)
    _hours_axis(figure)
    return figure


def overdue_by_day(found: Turnaround) -> Figure:
    """Return the share of overdue studies of each tier, by day of receipt."""
    figure = _shares("Overdue, by day of receipt", _every_day(found))
    _days_axis(figure, found)
    return figure


def overdue_by_hour(found: Turnaround) -> Figure:
    """Return the share of overdue studies of each tier, by hour of the day of receipt."""
    figure = _shares("Overdue, by hour of receipt", _every_hour(found))
    _hours_axis(figure)
    return figure


def _every_day(found: Turnaround) -> list[tuple[date, tuple[TierTimes, ...]]]:
    """Return the days from the first to the last with studies; one without has no tiers: a gap."""
    if not found.days:
        return []
    first, last, known = found.days[0][0], found.days[-1][0], dict(found.days)
    days = [first + timedelta(days=each) for each in range((last - first).days + 1)]
    return [(day, known.get(day, ())) for day in days]


def _every_hour(found: Turnaround) -> list[tuple[int, tuple[TierTimes, ...]]]:
    """Return all hours of the day; one without studies has no tiers: a gap."""
    known = dict(found.hours)
    return [(hour, known.get(hour, ())) for hour in range(24)]


def _shares(title: str, parts: Iterable[tuple[Any, tuple[TierTimes, ...]]]) -> Figure:
    figure = _lines(
        title,
        parts,
        lambda times: times.overdue_share,
        lambda times: f"{times.overdue} of {times.due}",
    )
    figure.update_yaxes(tickformat=".0%", range=[-0.03, 1.03])
    return figure


def _lines(
    title: str,
    parts: Iterable[tuple[Any, tuple[TierTimes, ...]]],
    value: Callable[[TierTimes], float | None],
    note: Callable[[TierTimes], str],
) -> Figure:
    """Return a line for each tier that has a value anywhere; where it has none, the line has a gap."""
    figure = blank(title)
    parts = list(parts)
    for urgency in Urgency:
        times = [next((each for each in tiers if each.urgency is urgency), None) for _, tiers in parts]
        values = [None if each is None else value(each) for each in times]
        if all(each is None for each in values):
            continue
        figure.add_scatter(
            name=urgency.value.capitalize(),
            x=[place for place, _ in parts],
            y=values,
            customdata=["" if each is None else note(each) for each in times],
            mode="lines+markers",
            connectgaps=False,
            line={"color": COLOURS[urgency], "width": 1.5},
            marker={"symbol": SYMBOLS[urgency], "size": 9},
            hovertemplate="%{x}<br>%{y} (%{customdata})",
        )
    return figure


def _minutes_axis(figure: Figure) -> None:
    figure.update_yaxes(
        type="log", tickmode="array", tickvals=list(_TICKS), ticktext=list(_TICKS.values()), title="wait"
    )


def _days_axis(figure: Figure, found: Turnaround) -> None:
    figure.update_xaxes(type="date", tickformat="%d %b", hoverformat="%a %d %b %Y")
    if found.days and found.days[-1][0] - found.days[0][0] <= timedelta(days=14):
        figure.update_xaxes(dtick=86_400_000)  # else plotly names one day several times


def _hours_axis(figure: Figure) -> None:
    figure.update_xaxes(tickmode="linear", dtick=3, range=[-0.5, 23.5], ticksuffix=":00")


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else max(seconds / 60, SHORTEST_MIN)
