"""Which part of the list to show: one row of choices becomes a query."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import streamlit as st

from cxr_core.domain import Urgency
from cxr_core.reports.words import name_of
from cxr_core.triage.policy import Policy
from cxr_core.ui import presence
from cxr_core.ui.listed import tier_word
from cxr_core.worklist.values import Query, Status

PAGE = 50
KEYS = ("f-tier", "f-finding", "f-status", "f-span", "f-day", "f-text")
ANY_TIME, ON_A_DAY = "Any time", "On a day …"
SPANS = {"Last 24 h": 24, "Last 72 h": 72, "Last 7 days": 168}
STATUSES: dict[str, frozenset[Status]] = {
    "Not read": frozenset(),
    **{status.value.capitalize(): frozenset({status}) for status in Status},
    "All": frozenset(Status),
}


def ask(policy: Policy, now: datetime) -> Query:
    """Show the choices and return the query, its page the first."""
    tier = st.selectbox(
        "Urgency",
        ["", *Urgency],
        format_func=_tier,
        label_visibility="collapsed",
        width=150,
        key="f-tier",
        on_change=presence.acted,
    )
    finding = st.selectbox(
        "Finding",
        ["", *policy.labels],
        format_func=lambda label: name_of(label, policy) if label else "Any finding",
        label_visibility="collapsed",
        width=150,
        key="f-finding",
        on_change=presence.acted,
    )
    status = st.selectbox(
        "Status",
        list(STATUSES),
        label_visibility="collapsed",
        width=125,
        key="f-status",
        on_change=presence.acted,
    )
    span = st.selectbox(
        "Received",
        [ANY_TIME, *SPANS, ON_A_DAY],
        label_visibility="collapsed",
        width=125,
        key="f-span",
        on_change=presence.acted,
    )
    day = None
    if span == ON_A_DAY:
        day = st.date_input(
            "Day",
            "today",
            label_visibility="collapsed",
            width=125,
            key="f-day",
            on_change=presence.acted,
        )
    text = st.text_input(
        "Search",
        placeholder="Patient ID, accession …",
        label_visibility="collapsed",
        width=180,
        max_chars=64,
        key="f-text",
        on_change=presence.acted,
    )
    since, until = received(span, day, now)
    return Query(
        urgencies=frozenset({Urgency(tier)} if tier else ()),
        statuses=STATUSES[status],
        finding=finding,
        since=since,
        until=until,
        text=text.strip(),
        limit=PAGE,
    )


def chosen() -> tuple[object, ...]:
    """Return the choices as they stand; unlike the query they do not move with the clock."""
    return tuple(st.session_state.get(key) for key in KEYS)


def received(span: str, day: date | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the first moment and the one after the last, for spans to the minute, for days by this clock."""
    if span in SPANS:
        return now.replace(second=0, microsecond=0) - timedelta(hours=SPANS[span]), None
    if day is not None:
        start = datetime.combine(day, time()).astimezone()
        return start, datetime.combine(day + timedelta(days=1), time()).astimezone()
    return None, None


def _tier(urgency: str) -> str:
    return tier_word(Urgency(urgency)) if urgency else "All tiers"
