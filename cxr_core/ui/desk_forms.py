"""What a reader types at the desk: who was told, another urgency and why, a note, the study's details.

One form is open at a time. It closes when what it asks for is done; where that fails, because the study
changed meanwhile, it stays with what was typed. A form that has lost its object becomes a note.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.domain import Study, Urgency
from cxr_core.errors import CxrError
from cxr_core.ui import acts, study_card, study_form
from cxr_core.ui.listed import tier_word
from cxr_core.worklist.actions import LONGEST_NOTE
from cxr_core.worklist.opinions import LONGEST_TEXT
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Line, StudyView

_TOLD, _HOW, _BACK = "desk-told", "desk-how", "desk-read-back"
_TIER, _REASON, _NOTE, _TYPED = "desk-tier", "desk-reason", "desk-note", "desk-typed"

OPENS = {
    "override": ("Override urgency", Action.OVERRIDE),
    "note": ("Note", Action.NOTE),
    "details": ("Study details", Action.COMPLETE),
}
"""Forms with a button of their own; the acknowledgement's is among the acts."""


def buttons(actor: Actor, line: Line) -> None:
    """Show what opens a form, as far as the person may use it."""
    for what, (label, action) in OPENS.items():
        if actor.may(action):
            asked = acts.Asked(what, line.study_id, line.version)
            st.button(label, key=f"desk-{what}", on_click=acts.ask, args=(asked,))


def settle(done: tuple[acts.Asked, CxrError | None] | None, line: Line) -> None:
    """Let what was typed of a telling go on as a note, where there is nothing left to acknowledge."""
    if done is None or done[1] is None or done[0].what != "told" or acts.alarming(line):
        return
    said = done[0].said
    back = ", read back" if said["read_back"] else ""
    st.session_state[_NOTE] = f"Told {said['told']} {said['how']}{back}."
    acts.begin(line.study_id, "note")


def show(service: Service, actor: Actor, view: StudyView, seen: int) -> None:
    """Show the form that is open.

    Args:
        service: whose study it is.
        actor: at the screen.
        view: the study.
        seen: its version that was on the screen when the form was sent.
    """
    line, what = view.line, acts.form(view.line.study_id)
    with st.container(key="desk-form"):
        if what == "acknowledge":
            _acknowledge(line)
        elif what == "override":
            _override(line)
        elif what == "note":
            _note(line)
        elif what == "details":
            _details(service, actor, view, seen)


def _acknowledge(line: Line) -> None:
    with st.form("desk-acknowledge", border=False):
        st.html(
            "<b>Acknowledge a critical result</b>"
            '<div class="muted">Say whom you told and how; the time is noted by itself. '
            "This does not mark it read.</div>"
        )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            st.text_input("Who was told", key=_TOLD, max_chars=LONGEST_NOTE, width=260)
            st.selectbox("How", acts.WAYS, key=_HOW, width=170)
            st.checkbox("They read it back", key=_BACK)
            _send(line, "told", "Acknowledge")


def _override(line: Line) -> None:
    with st.form("desk-override", border=False):
        st.html(
            "<b>Override the urgency</b>"
            '<div class="muted">The list goes by your word until it is undone. What the model said stays, '
            "and a graver answer that comes later still raises it.</div>"
        )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            others = list(Urgency)
            st.selectbox("Urgency", others, others.index(line.urgency), tier_word, key=_TIER, width=170)
            st.text_input("Reason", key=_REASON, max_chars=LONGEST_TEXT, width=420)
            _send(line, "override", "Override")


def _note(line: Line) -> None:
    with st.form("desk-note-form", border=False):
        st.text_area("Note", key=_NOTE, max_chars=LONGEST_TEXT, height=90)
        with st.container(horizontal=True, gap="small"):
            _send(line, "note", "Save note", enter=False)


def _details(service: Service, actor: Actor, view: StudyView, seen: int) -> None:
    """Show the study's form; what was typed and not kept stands in it again."""
    study_id = view.line.study_id
    draft: tuple[str, int, Study] = st.session_state.get(_TYPED, ("", 0, view.study))
    turn, study = (draft[1], draft[2]) if draft[0] == study_id else (0, view.study)
    typed = study_form.ask(study, f"desk-{study_id[:16]}-{turn}")
    st.button("Cancel", key="desk-cancel", on_click=_cancel)
    if typed is None:
        return
    if study_card.complete(service, actor, study_id, typed, seen):
        _cancel()
        st.rerun()
    st.session_state[_TYPED] = study_id, turn + 1, typed


def _cancel() -> None:
    st.session_state.pop(_TYPED, None)
    acts.close()


def _send(line: Line, what: str, label: str, *, enter: bool = True) -> None:
    """Show the form's two buttons; a note may have several lines, so that Enter does not send it."""
    args = (what, line.study_id, line.version)
    shortcut = "Enter" if enter else None
    st.form_submit_button(label, type="primary", shortcut=shortcut, on_click=_ask, args=args)
    st.form_submit_button("Cancel", shortcut="Escape", on_click=acts.close)


def _ask(what: str, study_id: str, version: int) -> None:
    """Keep what was typed with what is asked for."""
    state = st.session_state
    said: dict[str, dict[str, Any]] = {
        "told": {"told": _TOLD, "how": _HOW, "read_back": _BACK},
        "override": {"urgency": _TIER, "reason": _REASON},
        "note": {"text": _NOTE},
    }
    told = {name: state[key] for name, key in said[what].items()}
    if what == "told":
        told["in_full"] = True
    acts.ask(acts.Asked(what, study_id, version, told, typed=True))
