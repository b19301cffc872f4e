"""How long studies waited in a period: figures by tier first, then the plots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from html import escape

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.reports.words import MARKS
from cxr_core.ui import plots, turnaround
from cxr_core.ui.listed import tier_word
from cxr_core.ui.moments import moment
from cxr_core.ui.turnaround import Measure
from cxr_core.worklist.service import Service
from cxr_core.worklist.turnaround import TierTimes, Turnaround, Waits

PERIODS = {"24 hours": 1, "7 days": 7, "30 days": 30}
CHOSEN_DAYS = "Days …"
LONGEST_DAYS = 366
FRESH_S = 60


def show(service: Service, actor: Actor) -> None:
    """Show the figures and plots of the period chosen."""
    with st.container(key="ops-period", horizontal=True, gap="small", vertical_alignment="bottom"):
        period = st.selectbox("Received in the last", [*PERIODS, CHOSEN_DAYS], 1, key="ops-span", width=170)
        days = _days() if period == CHOSEN_DAYS else None
        measure = st.segmented_control(
            "Wait until", list(Measure), default=Measure.READ, required=True, key="ops-measure"
        )
    if period == CHOSEN_DAYS and days is None:
        st.caption(f"Choose the first and the last day, at most {LONGEST_DAYS} days.")
        return
    service.check(actor, Action.TURNAROUND, look=True)
    since, until = span(period, days, service.clock())
    found = _found(f"{id(service)} {since} {until}", service, actor, since, until)
    if not any(tier.studies for tier in found.tiers):
        st.html('<div class="empty"><b>No study came in in this time.</b></div>')
        return
    st.html(tiers_html(found.tiers))
    _plots(found, Measure(measure or Measure.READ))
    st.caption(
        f"Counted {moment(found.at, service.clock())} from the audit trail. A wait runs from when the film "
        "was taken, where it says so, else from receipt. n: of those it has happened for. "
        "p90: nine in ten did not wait longer. Arrived late: overdue before the "
        "first film came in."
    )


@st.cache_resource(ttl=FRESH_S, max_entries=16, show_spinner="Reading the audit trail")
def _found(asked: str, _service: Service, _actor: Actor, _since: datetime, _until: datetime) -> Turnaround:
    return _service.turnaround(_actor, _since, _until)


def _days() -> tuple[date, date] | None:
    today = date.today()  # noqa: DTZ011 -- the day by this machine's clock, as people at it mean it
    chosen = st.date_input("Days", (today - timedelta(days=1), today), key="ops-days", width=240)
    if not isinstance(chosen, tuple) or len(chosen) != 2 or (chosen[1] - chosen[0]).days >= LONGEST_DAYS:
        return None
    return chosen


def span(period: str, days: tuple[date, date] | None, now: datetime) -> tuple[datetime, datetime]:
    """Return the first moment and the one after the last, to the minute, in this machine's zone."""
    if days is not None:
        first, last = (datetime.combine(day, time()).astimezone() for day in days)
        return first, datetime.combine(last.date() + timedelta(days=1), time()).astimezone()
    until = now.astimezone().replace(second=0, microsecond=0) + timedelta(minutes=1)
    return until - timedelta(days=PERIODS[period]), until


def _plots(found: Turnaround, measure: Measure) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        plots.show(turnaround.waits_by_tier(found, measure), "ops-waits", f"Wait until {measure}, by tier")
        plots.show(turnaround.waits_by_hour(found, measure), "ops-hour", f"Wait until {measure}, by hour")
    with right:
        plots.show(turnaround.waits_by_day(found, measure), "ops-day", f"Wait until {measure}, by day")
        plots.show(turnaround.overdue_by_day(found), "ops-late-day", "Overdue share by day of receipt")
    plots.show(turnaround.overdue_by_hour(found), "ops-late-hour", "Overdue share by hour of receipt")


def tiers_html(tiers: Sequence[TierTimes]) -> str:
    """Return a row a tier: studies, limit, then n, median, p90 and worst of each wait, overdue share."""
    heads = "".join(f'<th colspan="4" class="group">until {measure}</th>' for measure in Measure)
    sub = (
        '<th title="of those it has happened for">n</th><th>median</th><th>p90</th><th class="end">worst</th>'
        * len(Measure)
    )
    rows = "".join(_row(tier) for tier in tiers)
    return (
        '<div class="panel"><table class="ops-table waits">'
        f'<tr><th rowspan="2">tier</th><th rowspan="2">studies</th><th rowspan="2">limit</th>{heads}'
        f'<th rowspan="2">overdue</th></tr><tr>{sub}</tr>{rows}</table></div>'
    )


def _row(tier: TierTimes) -> str:
    waits = "".join(_four(measure.of(tier), tier.limit_s) for measure in Measure)
    share = tier.overdue_share
    late = "–" if share is None else f"{share:.0%}"
    level = ' class="late"' if tier.overdue else ""
    colour = MARKS[tier.urgency].colour
    apart = f"<br><small>{tier.arrived_late:,} arrived late, not counted</small>" if tier.arrived_late else ""
    reopened = f' title="{tier.reopened} put back on the list after they were read"' if tier.reopened else ""
    return (
        f'<tr{reopened}><td style="--tier:{colour}" class="tier">{escape(tier_word(tier.urgency))}</td>'
        f"<td>{tier.studies:,}{apart}</td><td>{took(tier.limit_s)}</td>{waits}"
        f"<td{level}>{late} <small>{tier.overdue:,} of {tier.due:,}</small></td></tr>"
    )


def _four(waits: Waits, limit_s: float) -> str:
    cells = [f"<td>{waits.n:,}</td>"]
    for place, value in enumerate((waits.median_s, waits.p90_s, waits.worst_s)):
        late = " late" if value is not None and value > limit_s else ""
        end = "end" if place == 2 else ""
        cells.append(f'<td class="{end}{late}">{"–" if value is None else took(value)}</td>')
    return "".join(cells)


def took(seconds: float) -> str:
    """Return a wait for a narrow column: `40 s`, `12 min`, `1 h 38`, `3.2 d`."""
    minutes = int(seconds) // 60
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60:02}" if minutes % 60 else "")
    return f"{minutes / 1440:.1f} d".replace(".0 d", " d")
