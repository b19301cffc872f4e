"""The picked study beneath the list: what it is, and what a person can do with it."""

from __future__ import annotations

from datetime import datetime
from html import escape

import streamlit as st

from cxr_core.access import Actor
from cxr_core.reports.words import MARKS
from cxr_core.triage.policy import Policy
from cxr_core.ui import acts, links, listed, selection, telling, worklist_lead
from cxr_core.ui.moments import moment
from cxr_core.ui.recent import Snapshot
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Line, Query, Status


def show(service: Service, actor: Actor, seen: Snapshot) -> None:
    """Show the strip; without a picked study, how to pick one."""
    line = _line(service, actor, seen)
    if line is not None:
        telling.settle(line)
    with st.container(key="strip", gap="small"):
        # Each in a place of its own: a form beneath must not move, for what is typed in it would be lost.
        with st.container(key="strip-said", gap="small"):
            acts.say(stays=line is not None and telling.asked(line))
        with st.container(key="strip-about", gap="small"):
            if line is not None:
                _about(line, service.policy, seen.at)
            else:
                st.html('<div class="muted">Pick a study by a click, or with J.</div>')
        if line is not None and telling.asked(line):
            telling.show(line)
        else:
            _buttons(service, actor, line)


def _line(service: Service, actor: Actor, seen: Snapshot) -> Line | None:
    """Return the picked study, also where it stands on another page or no longer fits the filters."""
    study_id = selection.chosen()
    if not study_id:
        return None
    found = [line for line in seen.page.lines if line.study_id == study_id]
    if not found:
        query = Query(statuses=frozenset(Status), text=study_id, limit=2)
        found = [line for line in service.page(actor, query).lines if line.study_id == study_id]
    return found[0] if found else None


def _about(line: Line, policy: Policy, now: datetime) -> None:
    mark = MARKS[line.urgency]
    word = f"{listed.tier_word(line.urgency)} · {listed.said(line, policy)}"
    st.html(f'<div class="about" style="--tier:{mark.colour}">{escape(word)}</div>')
    parts = (
        f"ID {line.patient_id}" if line.patient_id else "no patient ID",
        listed.person(line),
        f"acquired {moment(line.acquired, now)}",
        f"received {moment(line.received, now)}",
        listed.standing(line),
        line.file,
    )
    st.text(" · ".join(parts))
    if said := listed.set_by(line):
        st.text(said)


def _buttons(service: Service, actor: Actor, line: Line | None) -> None:
    with st.container(key="acts", horizontal=True, gap="small", vertical_alignment="center"):
        if line is not None:
            if st.button("Open", key="wl-open", type="primary", shortcut="Enter"):
                links.to_study(line.study_id)
            acts.show(actor, line)
            worklist_lead.reanalyse(service, actor, line)
        st.button("Next", key="wl-next", shortcut="J", on_click=selection.step, args=(1,))
        st.button("Previous", key="wl-previous", shortcut="K", on_click=selection.step, args=(-1,))
