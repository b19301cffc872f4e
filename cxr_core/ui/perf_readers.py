"""What readers held of the findings: agreement over time with control limits, and where they differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
import streamlit as st

from cxr_core.access import Actor
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.control import LEAST, Event, rolling, weekly
from cxr_core.evaluation.rates import share
from cxr_core.ui import links, perf_readers_plots, plots
from cxr_core.ui.moments import moment
from cxr_core.ui.perf_choice import Chosen
from cxr_core.ui.perf_numbers import named
from cxr_core.ui.perf_tables import Table, percent, with_csv
from cxr_core.worklist.service import Service
from cxr_core.worklist.verdicts import MOST, Discrepancy, Verdict, models_of, of_model

WEEKS = "by week"
POINTS = {"last 20 opinions": 20, "last 50": 50, "last 100": 100, WEEKS: 0}
BASELINES = (50, 100, 200)
PAGE = 10
ANY = ""
_OFFSET, _OF = "rd-offset", "rd-of"
NONE = Interval(math.nan, math.nan, math.nan)
ABOUT = (
    "PPV: findings that the model called and a reader agreed with, of all called ones with an opinion. "
    "Sensitivity: called ones agreed with, of these and those that the model had not called and a reader "
    "disagreed with. Readers mostly opine on what was called, so this sensitivity is too high: what nobody "
    "noticed is in neither count. Two readers of one study count twice; intervals know that."
)


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the shares by finding, the charts and the discrepancies."""
    found = service.verdicts(actor)
    if not found.each:
        st.html(
            '<div class="empty"><b>Nobody has agreed or disagreed with a finding yet.</b><br>'
            "Readers do it on the desk, at each finding of a study; what they say is counted here.</div>"
        )
        return
    models = sorted({model for each in found.each for model in models_of(each)})
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom", key="rd-bar"):
        first = models.index(chosen.model.name) + 1 if chosen.model.name in models else 0
        model = st.selectbox("Of model", [ANY, *models], first, format_func=_any, key="rd-model", width=230)
        those = [each for each in found.each if of_model(each, model or ANY)]
        findings = sorted({each.opinion.finding for each in those})
        finding = st.selectbox(
            "Finding", [ANY, *findings], format_func=lambda x: _any(named(x)), key="rd-finding", width=210
        )
        points = st.selectbox("A point is of", list(POINTS), key="rd-points", width=170) or WEEKS
        base = st.selectbox("Baseline: the first", BASELINES, key="rd-base", width=150) or BASELINES[0]
    picked = [each for each in those if finding in (ANY, each.opinion.finding)]
    if found.older:
        st.caption(f"Only the newest {MOST:,} entries are read; there are older ones.")
    table = by_finding(those)
    st.html(f'<div class="panel perf-table">{_html(table)}</div>')
    with_csv(table, "readers-verdicts", "rd")
    _charts(picked, points, base)
    _discrepancies(service, actor, finding or ANY, model or ANY)


def by_finding(those: Sequence[Verdict]) -> Table:
    """Return for each finding the counts, PPV and the sensitivity of what was opined on."""
    heads: tuple[str, ...] = ("finding", "opinions", "called", "agreed", "PPV", "low", "high")
    heads += ("not called", "disagreed", "sensitivity", "low", "high")
    findings = sorted({each.opinion.finding for each in those})
    rows = []
    for name, kept in [
        ("all", those),
        *((x, [y for y in those if y.opinion.finding == x]) for x in findings),
    ]:
        called = [each for each in kept if each.opinion.positive]
        quiet = [each for each in kept if not each.opinion.positive]
        agreed = sum(each.opinion.agrees for each in called)
        missed = sum(not each.opinion.agrees for each in quiet)
        two = (_ppv(called), _ppv([each for each in kept if _there(each)], by_call=True))
        cells = [(one.value, one.low, one.high) for one in two]
        rows.append((name, len(kept), len(called), agreed, *cells[0], len(quiet), missed, *cells[1]))
    return Table("Verdicts by finding", heads, tuple(rows))


def ppv_events(those: Sequence[Verdict]) -> list[Event]:
    """Return an event for each called finding that a reader opined on: right where the reader agreed."""
    return [Event(x.opinion.at, x.opinion.agrees) for x in those if x.opinion.positive]


def sensitivity_events(those: Sequence[Verdict]) -> list[Event]:
    """Return an event for each finding that a reader holds to be there: right where the model called it."""
    return [Event(x.opinion.at, x.opinion.positive) for x in those if _there(x)]


def _there(verdict: Verdict) -> bool:
    """Return whether the reader holds that the finding is there."""
    return verdict.opinion.agrees == verdict.opinion.positive


def _ppv(those: Sequence[Verdict], *, by_call: bool = False) -> Interval:
    """Return the share agreed with, or called, with limits that know of studies; NaN below LEAST opinions."""
    if len(those) < LEAST:
        return NONE
    hit = np.array([x.opinion.positive if by_call else x.opinion.agrees for x in those], dtype=bool)
    studies = np.unique([x.study_id for x in those], return_inverse=True)[1]
    return share(hit, np.ones(len(hit), dtype=bool), studies).interval


def _html(table: Table) -> str:
    heads = ("finding", "opinions", "called", "agreed", "PPV", "not called", "disagreed", "sensitivity *")
    rows = []
    for row in table.rows:
        name, n, called, agreed, *rest = row
        ppv, sensitivity = (Interval(*rest[k : k + 3]) for k in (0, 5))  # type: ignore[arg-type]
        few = f"not enough data (below {LEAST})"
        cells: tuple[object, ...] = (named(str(name)), n, called, agreed)
        cells += (percent(ppv) if not math.isnan(ppv.value) else few,)
        cells += (*rest[3:5], percent(sensitivity) if not math.isnan(sensitivity.value) else few)
        rows.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f'<table class="ops-table"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _charts(picked: Sequence[Verdict], points: str, base: int) -> None:
    st.caption(f"\\* {ABOUT}")
    left, right = st.columns(2, gap="medium")
    for place, key, title, events in (
        (left, "ppv", "PPV of what readers opined on", ppv_events(picked)),
        (right, "sens", "Sensitivity among what readers say is there *", sensitivity_events(picked)),
    ):
        with place:
            chart = weekly(events, base) if points == WEEKS else rolling(events, POINTS[points], base)
            said = perf_readers_plots.said(chart)
            if chart.points:
                figure = perf_readers_plots.control_chart(title, chart)
                plots.with_downloads(figure, f"rd-{key}", f"{title}. {said}", f"readers-{key}", 320)
            else:
                st.html(f'<div class="empty">{escape(title)}: not enough opinions for a point yet.</div>')
            st.caption(said)
    overlap = "" if points == WEEKS else " Neighbouring points share opinions: a run of crosses is one event."
    st.caption(
        "p-chart: the centre line is the share among the first opinions; a point beyond the exact binomial "
        f"limits of three sigma (0.135 % on each side) is out of control: look why.{overlap} With fewer than "
        f"{LEAST} opinions there are no limits."
    )


def _discrepancies(service: Service, actor: Actor, finding: str, model: str) -> None:
    """Show where readers disagreed, a page of them."""
    if st.session_state.get(_OF) != (finding, model):
        st.session_state[_OF], st.session_state[_OFFSET] = (finding, model), 0
    offset: int = st.session_state[_OFFSET]
    found = service.discrepancies(actor, finding=finding, model=model, offset=offset, limit=PAGE)
    if not found.shown and offset:  # what was on this page was taken back meanwhile
        offset = st.session_state[_OFFSET] = 0
        found = service.discrepancies(actor, finding=finding, model=model, offset=0, limit=PAGE)
    st.html(f'<div class="ops-said"><strong>{found.total:,}</strong> to review: a reader disagrees</div>')
    if not found.shown:
        st.html('<div class="empty">No reader disagrees here.</div>')
        return
    for each in found.shown:
        _line(service, each)
    with st.container(key="rd-pages", horizontal=True, gap="small"):
        st.button("Newer", key="rd-newer", disabled=not offset, on_click=_turn, args=(max(0, offset - PAGE),))
        last = offset + PAGE >= found.total
        st.button("Older", key="rd-older", disabled=last, on_click=_turn, args=(offset + PAGE,))


def _line(service: Service, each: Discrepancy) -> None:
    opinion, key = each.opinion, each.opinion.review
    with st.container(key=f"rd-line-{key}", horizontal=True, vertical_alignment="center", gap="small"):
        st.text(words(each, moment(opinion.at, service.clock())))
        if st.button("Open study", key=f"rd-open-{key}"):
            links.to_study(each.study_id)


def words(each: Discrepancy, when: str) -> str:
    """Return a discrepancy in a line."""
    opinion, said = each.opinion, each.said
    called = "called" if opinion.positive else "not called"
    figures = (
        f"{said.probability:.2f}, threshold {said.threshold:.2f}" if said else "its figure is not kept here"
    )
    holds = "not there" if opinion.positive else "there"
    return (
        f"{named(opinion.finding)}: {called} by {opinion.model} ({figures}); {opinion.by} says it is "
        f"{holds} · {when} · study {each.study_id[:12]}"
    )


def _turn(offset: int) -> None:
    st.session_state[_OFFSET] = offset


def _any(name: str) -> str:
    return name or "any"
