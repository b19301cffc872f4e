"""What a reader types at the desk: who was told, another urgency and why, a note, the study's details.

One form is open at a time. It closes when what it asks for is done; where that fails, because the study
changed meanwhile, it stays with what was typed. A form that has lost its object becomes a note.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.domain import Study, Urgency
from cxr_core.ui import acts, study_card, study_form, telling
from cxr_core.ui.listed import tier_word
from cxr_core.worklist.opinions import LONGEST_TEXT
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Line, StudyView

_TIER, _REASON, _TYPED = "desk-tier", "desk-reason", "desk-typed"

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
            telling.acknowledge(line)
        elif what == "override":
            _override(line)
        elif what == "note":
            telling.note(line)
        elif what == "details":
            _details(service, actor, view, seen)


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
            args = (line,)
            st.form_submit_button("Override", type="primary", shortcut="Enter", on_click=_ask, args=args)
            st.form_submit_button("Cancel", shortcut="Escape", on_click=acts.close)


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


def _ask(line: Line) -> None:
    """Keep what was typed with what is asked for."""
    said: dict[str, Any] = {"urgency": st.session_state[_TIER], "reason": st.session_state[_REASON]}
    acts.ask(acts.Asked("override", line.study_id, line.version, said, typed=True))
