"""Control charts of what readers held of a model: is it still as good as when it was looked at first? Pure.

A p-chart (Shewhart 1931; Montgomery, Introduction to Statistical Quality Control, ch. 7): the centre line is
the share of a baseline; beyond its limits a count lies by chance as seldom as beyond three sigma. They are
exact binomial ones, since the usual symmetrical ones are wrong near 1 and for few opinions.

Only findings that somebody opined on are counted, and most people opine where the model called something. So
agreement with called findings is a fair guess at the positive predictive value, and what is named sensitivity
here is too high: what the model and the readers overlooked together is in neither count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from scipy.stats import binom, norm

from cxr_core.triage.budget import FEW_POSITIVES, Rate

TAIL = float(norm.sf(3.0))
"""Probability beyond three sigma, on each side: 0.00135."""
LEAST = FEW_POSITIVES
"""Opinions that it takes for a baseline."""
MOST_POINTS = 500


@dataclass(frozen=True, slots=True)
class Event:
    """An opinion that counts, and whether it speaks for the model."""

    at: datetime
    right: bool


@dataclass(frozen=True, slots=True)
class Point:
    """A share of the chart.

    Attributes:
        at: of its last opinion, or the first day of its week.
        rate: opinions for the model, of all.
        low, high: control limits of as many opinions; NaN without a baseline.
    """

    at: datetime
    rate: Rate
    low: float
    high: float

    @property
    def outside(self) -> bool:
        """Whether it lies out of control."""
        return self.rate.share < self.low or self.rate.share > self.high


@dataclass(frozen=True, slots=True)
class Chart:
    """Points and what they are held against; `baseline` is None of fewer than LEAST opinions."""

    baseline: Rate | None
    points: tuple[Point, ...]


def rolling(events: Sequence[Event], last: int, baseline: int) -> Chart:
    """Return a point for each opinion from the `last`-th on: the share among as many up to it.

    Neighbours share all but one opinion, so a run of points out of control is one event and not many.

    Args:
        events: in order of time.
        last: opinions a point is of, at least 1.
        baseline: of the first so many opinions, or of all where there are fewer.
    """
    base = _baseline(events, baseline)
    right = [0]
    for each in events:
        right.append(right[-1] + each.right)
    ends = range(last, len(events) + 1)[-MOST_POINTS:]
    points = [_point(events[end - 1].at, right[end] - right[end - last], last, base) for end in ends]
    return Chart(base, tuple(points))


def weekly(events: Sequence[Event], baseline: int, zone: tzinfo | None = None) -> Chart:
    """Return a point for each week, Monday to Sunday in a zone, in which somebody opined; see `rolling`.

    Without a zone weeks are those of this machine's clock, also the one in which it is changed.
    """
    base = _baseline(events, baseline)
    weeks: dict[date, list[bool]] = {}
    for each in events:
        day = each.at.astimezone(zone).date()
        weeks.setdefault(day - timedelta(days=day.weekday()), []).append(each.right)
    points = [
        _point(datetime.combine(monday, time(), zone).astimezone(zone), sum(right), len(right), base)
        for monday, right in sorted(weeks.items())
    ]
    return Chart(base, tuple(points[-MOST_POINTS:]))


def limits(base: Rate, of: int) -> tuple[float, float]:
    """Return the shares between which `of` opinions lie unless something changed.

    >>> limits(Rate(40, 50), 20)
    (0.5, 1.0)
    """
    share = (base.count + 0.5) / (base.of + 1)  # one miss after a baseline without any is no alarm
    return float(binom.ppf(TAIL, of, share)) / of, float(binom.isf(TAIL, of, share)) / of


def _baseline(events: Sequence[Event], baseline: int) -> Rate | None:
    first = events[:baseline]
    return Rate(sum(each.right for each in first), len(first)) if len(first) >= LEAST else None


def _point(at: datetime, right: int, of: int, base: Rate | None) -> Point:
    low, high = limits(base, of) if base else (float("nan"), float("nan"))
    return Point(at, Rate(right, of), low, high)
