"""The worklist as a reading room sees it: one live part of tiles, filters, table and the study picked."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from cxr_core.access import Actor
from cxr_core.errors import CxrError
from cxr_core.ui import (
    acts,
    desk,
    listed,
    presence,
    recent,
    selection,
    services,
    worklist_films,
    worklist_filters,
    worklist_lead,
    worklist_strip,
)
from cxr_core.ui.recent import Snapshot
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Query

EVERY_S = 3.0
SILENT_S = 8.0
TABLE_PX, ROW_PX = 388, 44
CHIPS = {
    "▲ Critical": "#B84A00",
    "◆ Urgent": "#7D5600",
    "? Review": "#1C6190",
    "● Significant": "#66600A",
    "○ Routine": "#46505A",
    listed.BY_HAND: "#2B3A48",
}
"""Tier colours darkened until white letters stand out on them (at least 5 : 1)."""


@st.fragment(run_every=EVERY_S)
def live(service: Service, actor: Actor) -> None:
    """Show everything that changes by itself; what cannot be read is said, and tried again."""
    st.session_state.pop(desk.OPENED, None)  # opened again from here, a study is looked at again
    acts.perform(service, actor, selection.chosen())
    head, tiles = st.container(key="wl-head"), st.container()
    with st.container(key="filters", horizontal=True, gap="small", vertical_alignment="center"):
        query = _on_its_page(worklist_filters.ask(service.policy, service.clock()))
        worklist_lead.export(service, actor, query)
        worklist_films.add(service, actor)
    worklist_films.say_what_was_taken()
    selection.remember(query)
    try:
        presence.count(service, actor)
        seen = recent.snapshot(service, actor, query)
        worklist_films.progress(service, actor)
    except CxrError as exc:
        head.html('<div class="wl-head"><h1>Worklist</h1><span class="live late">not live</span></div>')
        services.say(exc)
        st.caption("The list comes back by itself as soon as it can be read.")
        return
    turn = st.session_state["wl-turn"] = 1 - st.session_state.get("wl-turn", 0)
    head.html(
        '<div class="wl-head"><h1>Worklist</h1>'
        f'<span class="live t{turn}" title="Read again every {EVERY_S:.0f} s">live · updated</span></div>'
    )
    tiles.html(listed.tiles_html(seen.tiers, seen.at))
    _say_silence(seen)
    if not seen.page.lines:
        _nothing(query)
        return
    _table(seen)
    worklist_strip.show(service, actor, seen)
    _foot(query, seen)


def _table(seen: Snapshot) -> None:
    """Show the page of the list; the picked study stays picked wherever its row moves."""
    lines = seen.page.lines
    selection.follow(tuple(line.study_id for line in lines))
    with st.container(key="table"):
        st.dataframe(
            seen.table,
            key=selection.TABLE,
            on_select=selection.clicked,
            selection_mode=["single-row", "single-cell"],
            hide_index=True,
            height=TABLE_PX,
            row_height=ROW_PX,
            column_config=_columns(),
            alt="Studies, most pressing first",
        )


def _columns() -> dict[str, ColumnConfig | str | None]:
    column = st.column_config
    return {
        "Film": column.ImageColumn("", width=50),
        "Urgency": column.MultiselectColumn(options=list(CHIPS), color=list(CHIPS.values()), width=122),
        "Findings": column.TextColumn(width=196),
        "Patient ID": column.TextColumn(width=114),
        "Patient": column.TextColumn(width=84),
        "Wait / limit": column.TextColumn(width=132),
        "Due": column.MultiselectColumn("", options=[listed.OVERDUE], color=["#A32020"], width=80),
        "Status": column.TextColumn(width=112),
        "Acquired": column.TextColumn(width=98),
        "Received": column.TextColumn(width=98),
        "Source": column.TextColumn(width=64),
        "Films": column.NumberColumn(width=52),
    }


def _on_its_page(query: Query) -> Query:
    """Return the query at the page last turned to; other filters start at the first."""
    chosen = worklist_filters.chosen()
    if st.session_state.get("wl-filters") != chosen:
        st.session_state["wl-filters"], st.session_state["wl-page"] = chosen, 0
    return replace(query, offset=st.session_state["wl-page"] * query.limit)


def _foot(query: Query, seen: Snapshot) -> None:
    """Show how many there are, the pages, and which keys do what."""
    pages = -(-seen.page.total // query.limit)
    number = query.offset // query.limit
    with st.container(key="wl-foot", horizontal=True, vertical_alignment="center", gap="small"):
        studies = f"{seen.page.total:,} {'study' if seen.page.total == 1 else 'studies'}"
        page = f" · page {number + 1} of {pages}" if pages > 1 else ""
        st.html(
            f'<div class="muted">{studies}{page} · J/K next, previous · T claim, release '
            "· A acknowledge · Enter open · ✎ urgency set by a person</div>"
        )
        if pages > 1:
            st.button("Page back", key="wl-back", disabled=number == 0, on_click=_turn, args=(-1,))
            st.button("Page on", key="wl-on", disabled=number + 1 >= pages, on_click=_turn, args=(1,))


def _turn(pages: int) -> None:
    presence.acted()
    st.session_state["wl-page"] = max(0, st.session_state.get("wl-page", 0) + pages)
    selection.choose("")


def _nothing(query: Query) -> None:
    if query.offset:
        st.session_state["wl-page"] = 0
    plain = replace(query, offset=0) == Query(limit=query.limit)
    if plain:
        words = "<b>Nobody is waiting.</b><br>Films handed in here or by `cxr submit` appear by themselves."
    else:
        words = "<b>No study fits these filters.</b><br>Widen them to see the others."
    st.html(f'<div class="empty">{words}</div>')


def _say_silence(seen: Snapshot) -> None:
    """Say that nobody works on what waits, once that has lasted longer than a worker needs to start."""
    unanswered = any(line.state is None for line in seen.page.lines)
    if seen.workers or not unanswered:
        st.session_state.pop("wl-silent", None)
        return
    since = st.session_state.setdefault("wl-silent", monotonic())
    if monotonic() - since > SILENT_S:
        st.warning(
            "No worker is answering just now. Films that are being assessed are stored and wait; nothing is "
            "lost. The app starts its own worker again; else run `cxr worker`.",
            icon=":material/hourglass_empty:",
        )
