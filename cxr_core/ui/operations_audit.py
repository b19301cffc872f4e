"""The audit trail: who did what, whether anything of it was touched, and a copy to take away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial

import pandas as pd
import streamlit as st

from cxr_core.access import Actor
from cxr_core.errors import CxrError
from cxr_core.ui import links, on_demand, services
from cxr_core.ui.worklist_filters import ANY_TIME, ON_A_DAY, SPANS, received
from cxr_core.worklist.audit import Link, Verdict
from cxr_core.worklist.audit_events import EVENTS
from cxr_core.worklist.service import Service
from cxr_core.worklist.trail import MOST, Events, Form, Search

PAGE = 50
ROW_PX, ROWS = 35, 12
KEYS = ("ops-actor", "ops-event", "ops-subject", "ops-when", "ops-on")
_BEFORE, _FILTERS, _VERDICT = "ops-before", "ops-filters", "ops-verdict"
TABLE = "ops-trail"


@st.fragment
def show(service: Service, actor: Actor) -> None:
    """Show what fits the filters, the newest first; verify and take away."""
    with services.plainly():
        query = _on_its_page(_ask(service.clock()))
        found = service.search_audit(actor, query)
        with st.container(key="ops-trail-head", horizontal=True, gap="small", vertical_alignment="center"):
            st.html(f'<div class="ops-said"><strong>{counted(found.total)}</strong> found</div>')
            _export(service, actor, query, found.total)
            if st.button("Verify the whole trail", key="ops-verify", icon=":material/fact_check:"):
                _verify(service, actor)
        _say_verdict()
        if not found.links:
            st.html('<div class="empty"><b>No event fits these filters.</b></div>')
            return
        _table(found)
        _pages(found)


def _ask(now: datetime) -> Search:
    with st.container(key="ops-filters-row", horizontal=True, gap="small", vertical_alignment="bottom"):
        who = st.text_input("Who", key="ops-actor", max_chars=100, width=170, placeholder="part of a name")
        event = st.selectbox("Event", ["", *sorted(EVENTS)], format_func=_event, key="ops-event", width=230)
        subject = st.text_input(
            "Study or film",
            key="ops-subject",
            max_chars=64,
            width=250,
            placeholder="id, or SHA-256 of a film",
        )
        span = st.selectbox("When", [ANY_TIME, *SPANS, ON_A_DAY], key="ops-when", width=130)
        day = None
        if span == ON_A_DAY:
            chosen = st.date_input("Day", "today", key="ops-on", width=130)
            day = chosen if isinstance(chosen, date) else None
    since, until = received(span, day, now)
    return Search(
        actor=who.strip(), event=event, subject=subject.strip(), since=since, until=until, limit=PAGE
    )


def _event(word: str) -> str:
    return f"{word} · {EVENTS[word].name}" if word else "Any event"


def _on_its_page(query: Search) -> Search:
    """Return the query at the page last turned to; other filters start at the newest."""
    chosen = tuple(st.session_state.get(key) for key in KEYS)
    if st.session_state.get(_FILTERS) != chosen:
        st.session_state[_FILTERS], st.session_state[_BEFORE] = chosen, ()
    turned: tuple[int, ...] = st.session_state[_BEFORE]
    return replace(query, before=turned[-1] if turned else None)


def _table(found: Events) -> None:
    """Show a row an event; names are plain text, whatever they hold. A picked one can be followed."""
    picked = st.dataframe(
        table(found.links),
        hide_index=True,
        key=TABLE,
        on_select="rerun",
        selection_mode="single-row",
        row_height=ROW_PX,
        height=ROW_PX * (min(len(found.links), ROWS) + 1) + 3,
        column_config={
            "No": st.column_config.NumberColumn(width=70, format="%d"),
            "When": st.column_config.DatetimeColumn(format="D MMM YYYY HH:mm:ss", width=160),
            "Who": st.column_config.TextColumn(width=150),
            "Event": st.column_config.TextColumn(width=110),
            "In DICOM": st.column_config.TextColumn(width=230),
            "Of": st.column_config.TextColumn(width=110),
        },
        alt="Events of the audit trail, the newest first",
    )
    rows: Sequence[int] = picked["selection"]["rows"]
    if rows and rows[0] < len(found.links):
        _follow(found.links[rows[0]], found.studies)


def _follow(link: Link, studies: dict[str, str]) -> None:
    """Show one event in full, and the way to its study."""
    with st.container(key="ops-event-picked", gap="small"):
        st.text(f"event {link.seq} · {link.actor} · {link.event} · {link.subject or 'no subject'}")
        st.text(link.detail)
        st.text(f"digest {link.digest}\nbefore {link.previous}")
        study = studies.get(link.subject)
        if study and st.button("Open study", key="ops-follow"):
            links.to_study(study)


def table(found: Sequence[Link]) -> pd.DataFrame:
    """Return number, time on this machine's clock, who, what, of what, and the details."""
    rows = [
        (
            link.seq,
            link.at.astimezone().replace(tzinfo=None),
            link.actor,
            link.event,
            in_dicom(link.event),
            link.subject,
            "" if link.detail == "{}" else link.detail,
        )
        for link in found
    ]
    return pd.DataFrame(rows, columns=["No", "When", "Who", "Event", "In DICOM", "Of", "Details"])


def in_dicom(word: str) -> str:
    """Return DICOM's name of the event, with that of its type where it has one."""
    event = EVENTS.get(word)
    if event is None:
        return "unknown"
    return f"{event.name} · {event.type_name}" if event.type_name else event.name


def _pages(found: Events) -> None:
    with st.container(key="ops-pages", horizontal=True, gap="small"):
        turned = st.session_state[_BEFORE]
        st.button("Newer", key="ops-newer", disabled=not turned, on_click=_turn, args=(turned[:-1],))
        last = found.next is None
        st.button("Older", key="ops-older", disabled=last, on_click=_turn, args=((*turned, found.next),))


def _turn(turned: tuple[int, ...]) -> None:
    st.session_state[_BEFORE] = turned


def counted(total: int) -> str:
    """Return how many events fit; beyond MOST they are not counted."""
    return f"{total:,}" if total <= MOST else f"over {MOST:,}"


def _export(service: Service, actor: Actor, query: Search, total: int) -> None:
    """Show the buttons for what fits the filters; the file is made when one is pressed."""
    for form, label, mime in (
        (Form.CSV, "CSV", "text/csv"),
        (Form.JSON_LINES, "JSON lines", "application/jsonl"),
    ):
        on_demand.button(
            label,
            partial(service.export_audit, actor, query, form),
            f"neuraray-audit.{form.value}",
            mime,
            key=f"ops-export-{form.value}",
            disabled=total > MOST,
            help="All events that fit the filters; that it was taken away is an event too"
            if total <= MOST
            else f"At most {MOST:,} events: choose a shorter time, or run `cxr audit export`",
        )


def _verify(service: Service, actor: Actor) -> None:
    bar = st.progress(0.0, text="Verifying")

    def watch(done: int, of: int) -> None:
        bar.progress(min(1.0, done / max(1, of)), text=f"Verifying: {done:,} of {of:,} events")

    try:
        st.session_state[_VERDICT] = service.verify_audit(actor, watch), service.clock()
    except CxrError as exc:
        services.say(exc)
    bar.empty()


def _say_verdict() -> None:
    """Say what the last verifying of this session found."""
    if _VERDICT not in st.session_state:
        return
    verdict: Verdict
    verdict, at = st.session_state[_VERDICT]
    when = f"{at.astimezone():%H:%M:%S}"
    if verdict.broken_at is None:
        st.success(f"Whole at {when}: {verdict.events:,} events.", icon=":material/verified:")
        st.text(
            f"last digest {verdict.digest}; kept elsewhere, it proves later that nothing was written anew"
        )
    else:
        st.error(f"Broken at event {verdict.broken_at:,} (verified at {when}).", icon=":material/gpp_bad:")
        st.text(f"{verdict.why}; the {verdict.events:,} events before it are sound")
