"""The live part of the desk: how long the study waits, and whether anybody changed it meanwhile."""

from __future__ import annotations

from datetime import datetime
from html import escape

import streamlit as st

from cxr_core.access import Actor
from cxr_core.errors import CxrError
from cxr_core.reports.words import MARKS, wait
from cxr_core.ui import acts, desk_history, listed, services
from cxr_core.ui.moments import moment, waited
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Line, Status

EVERY_S = 2.0


@st.fragment(run_every=EVERY_S)
def live(service: Service, actor: Actor, line: Line, known: int) -> None:
    """Show the wait; once the study has changed, show it anew, unless something is being typed.

    Args:
        service: whose study it is.
        actor: at the screen.
        line: of the study as the page shows it.
        known: how many entries of its history the page shows.
    """
    now = service.clock()
    try:
        changed = service.version(actor, line.study_id) != line.version
        if changed and not acts.form(line.study_id):
            services.anew()
        line, news = meanwhile(service, actor, line, known, now) if changed else (line, "")
    except CxrError:
        st.html('<div class="stand"><span class="live late">not live</span></div>')
        return
    turn = st.session_state["desk-turn"] = 1 - st.session_state.get("desk-turn", 0)
    st.html(stand_html(line, now, turn))
    if news:
        with st.container(key="meanwhile"):
            st.text(f"Changed meanwhile. {news} What you type stays; send it to see the new state.")


def stand_html(line: Line, now: datetime, turn: int) -> str:
    """Return wait and status: `waits 12 min of 15 min · new`."""
    seconds = line.waiting_s if line.status is Status.READ else (now - line.since).total_seconds()
    verb = "waited" if line.status is Status.READ else "waits"
    late = line.status is not Status.READ and seconds > line.limit_s
    waiting = f"{verb} {waited(seconds)} of {wait(round(line.limit_s / 60))}"
    mark = MARKS[line.urgency]
    return (
        f'<div class="stand" style="--tier:{mark.colour}"><b>{escape(listed.tier_word(line.urgency))}</b>'
        f"<span>{escape(listed.standing(line))}</span><span>{escape(waiting)}"
        f"{' <em>overdue</em>' if late else ''}</span>"
        f'<span class="live t{turn}" title="Read again every {EVERY_S:.0f} s">live · updated</span></div>'
    )


def meanwhile(service: Service, actor: Actor, line: Line, known: int, now: datetime) -> tuple[Line, str]:
    """Return the study's line as it is now, and what happened since the page was shown.

    Looked up once for each change. Arguments are those of `live`.
    """
    version = service.version(actor, line.study_id)
    shown = (line.study_id, line.version, version)
    kept: tuple[tuple[str, int, int], Line, str] | None = st.session_state.get("desk-news")
    if kept is None or kept[0] != shown:
        view = service.study(actor, line.study_id, audited=False)
        told = [
            f"{each.actor} {desk_history.words(each, service.policy)} ({moment(each.at, now)})."
            for each in view.reviews[known:]
        ]
        happened = " ".join(told) or "The model answered."
        kept = shown, view.line, f"{retiered(line, view.line)} {happened}".strip()
        st.session_state["desk-news"] = kept
    return kept[1], kept[2]


def retiered(before: Line, now: Line) -> str:
    """Return how the urgency changed, in one sentence; nothing where it did not."""
    if before.urgency is now.urgency:
        return ""
    return f"Now {listed.tier_word(now.urgency)}, was {listed.tier_word(before.urgency)}."
