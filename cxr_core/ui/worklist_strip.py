"""The picked study beneath the list: what it is, and what a person can do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
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

_SAID, _ASKED, _TELLING = "wl-said", "wl-asked", "wl-telling"
_TOLD, _HOW, _BACK = "wl-told", "wl-how", "wl-read-back"
LABELS = {
    "claim": ("Claim", "T"),
    "release": ("Release", "T"),
    "acknowledge": ("Acknowledge", "A"),
    "read": ("Mark read", None),
}
"""What can be asked: words and key (C and R belong to Streamlit)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for, of the study and version that were on the screen."""

    what: str
    study_id: str
    version: int
    told: str = ""
    how: str = ""
    read_back: bool = False


def show(service: Service, actor: Actor, seen: Snapshot) -> None:
    """Show the strip; without a picked study, how to pick one."""
    line = _line(service, actor, seen)
    with st.container(key="strip", gap="small"):
        if (trouble := st.session_state.pop(_SAID, None)) is not None:
            _say(trouble)
        if line is not None:
            _about(line, service.policy, seen.at)
        else:
            st.html('<div class="muted">Pick a study by a click, or with J.</div>')
        if line is not None and st.session_state.get(_TELLING) == line.study_id and _alarming(line):
            _telling(line)
        else:
            _buttons(service, actor, line)


def _say(trouble: CxrError | str) -> None:
    if isinstance(trouble, CxrError):
        services.say(trouble)
    else:
        st.warning(trouble)


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


def perform(service: Service, actor: Actor) -> None:
    """Do what was asked for last, if the study that it was asked of is still the picked one.

    To be called before the list is read. Under load several keys arrive together, and the study may
    not be the one that the person had in mind any more; then nothing is done, and that is said.
    """
    asked: Asked | None = st.session_state.pop(_ASKED, None)
    if asked is None:
        return
    if asked.study_id != selection.chosen():
        st.session_state[_SAID] = "Not done: another study was picked at the same moment. Look again."
        return
    if asked.what == "acknowledge":
        st.session_state[_TELLING] = asked.study_id
        return
    calls: dict[str, Callable[[Actor, str, int], None]] = {
        "claim": service.claim,
        "release": service.release,
        "read": service.mark_read,
        "told": partial(service.acknowledge, told=asked.told, how=asked.how, read_back=asked.read_back),
    }
    _tried(lambda: calls[asked.what](actor, asked.study_id, asked.version))


def _tried(call: Callable[[], None]) -> None:
    """Do it, and keep what went wrong for the showing that follows."""
    try:
        call()
    except CxrError as exc:
        st.session_state[_SAID] = exc
    recent.forget()


def _buttons(service: Service, actor: Actor, line: Line | None) -> None:
    """Show what can be done; every button names study and version that are on the screen.

    Keys are the same for all studies: two studies' buttons are never on the page at once, also not
    while one replaces the other, so that a key is never heard twice.
    """
    with st.container(key="acts", horizontal=True, gap="small", vertical_alignment="center"):
        if line is not None:
            if st.button("Open", key="wl-open", type="primary", shortcut="Enter"):
                st.switch_page("pages/triage.py", query_params={"study": line.study_id})
            for what in _possible(actor, line):
                st.button(
                    LABELS[what][0],
                    key=f"wl-{what}",
                    shortcut=LABELS[what][1],
                    on_click=_ask,
                    args=(Asked(what, line.study_id, line.version),),
                )
            worklist_lead.reanalyse(service, actor, line)
        st.button("Next", key="wl-next", shortcut="J", on_click=selection.step, args=(1,))
        st.button("Previous", key="wl-previous", shortcut="K", on_click=selection.step, args=(-1,))


def _possible(actor: Actor, line: Line) -> Iterator[str]:
    """Yield what this person can do with the study as it stands."""
    unread = line.status is not Status.READ
    if actor.may(Action.CLAIM) and unread:
        if line.claimed_by is None:
            yield "claim"
        elif line.claimed_by == actor.name or actor.role.covers(Role.LEAD):
            yield "release"
    if _alarming(line) and actor.may(Action.ACKNOWLEDGE):
        yield "acknowledge"
    elif actor.may(Action.READ) and unread and line.claimed_by in (None, actor.name):
        yield "read"


def _ask(asked: Asked | None) -> None:
    st.session_state[_ASKED] = asked
    st.session_state.pop(_TELLING, None)


def _alarming(line: Line) -> bool:
    return line.urgency is Urgency.CRITICAL and not line.acknowledged


def _telling(line: Line) -> None:
    """Ask who was told and how; all of it may stay empty."""
    with (
        st.form(f"telling-{line.study_id}", border=False),
        st.container(horizontal=True, vertical_alignment="bottom", gap="small"),
    ):
        st.text_input("Who was told", key=_TOLD, max_chars=120, width=220)
        st.selectbox("How", ["", "by telephone", "in person", "by message"], key=_HOW, width=150)
        st.checkbox("They read it back", key=_BACK)
        asked = Asked("told", line.study_id, line.version)
        st.form_submit_button("Acknowledge", type="primary", shortcut="Enter", on_click=_tell, args=(asked,))
        st.form_submit_button("Cancel", shortcut="Escape", on_click=_ask, args=(None,))


def _tell(asked: Asked) -> None:
    """Keep what was typed with what was asked; a submitted form's fields are gone when the page is drawn."""
    state = st.session_state
    _ask(replace(asked, told=state[_TOLD], how=state[_HOW], read_back=state[_BACK]))
