"""The picked study beneath the list: what it is, and what a person can do with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from html import escape

import streamlit as st

from cxr_core.access import Action, Actor, Role
from cxr_core.domain import Urgency
from cxr_core.errors import CxrError
from cxr_core.reports.words import MARKS
from cxr_core.triage.policy import Policy
from cxr_core.ui import listed, recent, selection, services, worklist_lead
from cxr_core.ui.moments import moment
from cxr_core.ui.recent import Snapshot
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Line, Query, Status

_SAID, _TELLING = "wl-said", "wl-telling"


def show(service: Service, actor: Actor, seen: Snapshot) -> None:
    """Show the strip; without a picked study, how to pick one."""
    line = _line(service, actor, seen)
    with st.container(key="strip", gap="small"):
        if (trouble := st.session_state.pop(_SAID, None)) is not None:
            services.say(trouble)
        if line is not None:
            _about(line, service.policy, seen.at)
        else:
            st.html('<div class="muted">Pick a study by a click, or with J.</div>')
        if line is not None and st.session_state.get(_TELLING) == line.study_id and _alarming(line):
            _telling(service, actor, line)
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


def _buttons(service: Service, actor: Actor, line: Line | None) -> None:
    """Show what can be done; every button names study and version that were on the screen."""
    with st.container(key="acts", horizontal=True, gap="small", vertical_alignment="center"):
        if line is not None:
            if st.button("Open", key=f"open-{line.study_id}", type="primary", shortcut="Enter"):
                st.switch_page("pages/triage.py", query_params={"study": line.study_id})
            _claiming(service, actor, line)
            if _alarming(line) and actor.may(Action.ACKNOWLEDGE):
                st.button(
                    "Acknowledge",
                    key=f"ack-{line.study_id}",
                    shortcut="A",
                    on_click=_ask_whom,
                    args=(line.study_id,),
                )
            if actor.may(Action.READ) and line.status is not Status.READ and not _alarming(line):
                _act("Mark read", "read", line, service.mark_read, actor)
            worklist_lead.reanalyse(service, actor, line)
        st.button("Next", key="wl-next", shortcut="J", on_click=selection.step, args=(1,))
        st.button("Previous", key="wl-previous", shortcut="K", on_click=selection.step, args=(-1,))


def _claiming(service: Service, actor: Actor, line: Line) -> None:
    if not actor.may(Action.CLAIM) or line.status is Status.READ:
        return
    if line.claimed_by is None:
        _act("Claim", "claim", line, service.claim, actor, shortcut="T")
    elif line.claimed_by == actor.name or actor.role.covers(Role.LEAD):
        _act("Release", "release", line, service.release, actor, shortcut="T")


def _act(
    label: str,
    key: str,
    line: Line,
    call: Callable[[Actor, str, int], None],
    actor: Actor,
    shortcut: str | None = None,
) -> None:
    st.button(
        label,
        key=f"{key}-{line.study_id}",
        shortcut=shortcut,
        on_click=_done,
        args=(call, actor, line.study_id, line.version),
    )


def _done(call: Callable[[Actor, str, int], None], actor: Actor, study_id: str, version: int) -> None:
    """Do it, and keep what went wrong for the showing that follows."""
    try:
        call(actor, study_id, version)
    except CxrError as exc:
        st.session_state[_SAID] = exc
    recent.forget()


def _alarming(line: Line) -> bool:
    return line.urgency is Urgency.CRITICAL and not line.acknowledged


def _ask_whom(study_id: str) -> None:
    st.session_state[_TELLING] = study_id


def _telling(service: Service, actor: Actor, line: Line) -> None:
    """Ask who was told and how; all of it may stay empty."""
    with (
        st.form(f"telling-{line.study_id}", border=False),
        st.container(horizontal=True, vertical_alignment="bottom", gap="small"),
    ):
        told = st.text_input("Who was told", key=f"told-{line.study_id}", max_chars=120, width=220)
        how = st.selectbox(
            "How", ["", "by telephone", "in person", "by message"], key=f"how-{line.study_id}", width=150
        )
        back = st.checkbox("They read it back", key=f"back-{line.study_id}")
        sent = st.form_submit_button("Acknowledge", type="primary", shortcut="Enter")
        left = st.form_submit_button("Cancel", shortcut="Escape")
    if not sent and not left:
        st.session_state["wl-telling-version"] = line.version
        return
    st.session_state.pop(_TELLING, None)
    version = st.session_state.pop("wl-telling-version", line.version)
    if sent:
        _done(
            lambda who, study_id, at: service.acknowledge(
                who, study_id, at, told=told, how=how, read_back=back
            ),
            actor,
            line.study_id,
            version,
        )
    st.rerun(scope="fragment")
