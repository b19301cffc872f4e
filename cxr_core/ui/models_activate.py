"""A model brought into force by a lead, in two steps: first checked and said what changes, then activated."""

from __future__ import annotations

import streamlit as st

from cxr_core.access import Actor
from cxr_core.errors import Conflict, CxrError, ModelError
from cxr_core.files import printable
from cxr_core.ui import models_table, recent, services
from cxr_core.worklist.model_folders import Folder
from cxr_core.worklist.models import Shelf
from cxr_core.worklist.service import Service

_SAID, _NOTE = "mod-said", "mod-note"
_CHECKED = "mod-checked"
"""Manifest of the model that has passed every check; another one has to pass them first."""


def say() -> None:
    """Say once what the last press of a button led to."""
    said: str | CxrError | None = st.session_state.pop(_SAID, None)
    if isinstance(said, str):
        st.success(said)
    elif isinstance(said, Conflict):
        st.warning("Not done: another model came into force meanwhile. What you see is how it stands now.")
    elif isinstance(said, ModelError):
        st.error("Not done: this model must not be used. The one in force stays.")
        st.text(printable(str(said)))
    elif said is not None:
        services.say(said)


def answered_otherwise(service: Service, actor: Actor, shelf: Shelf) -> None:
    """Show how many open studies have an answer of another model, and offer to have them analysed again."""
    if not shelf.otherwise:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(
            f"Open studies answered under another policy, model or gate: {shelf.otherwise}. "
            "They keep that answer until then."
        )
        st.button("Analyse again", key="mod-again", on_click=_again, args=(service, actor))


def _again(service: Service, actor: Actor) -> None:
    try:
        queued = service.reanalyse(actor, None, None)
    except CxrError as exc:
        st.session_state[_SAID] = exc
    else:
        many = "study" if queued == 1 else "studies"
        st.session_state[_SAID] = f"{queued} {many} queued behind all new films."
        recent.forget()


def show(service: Service, actor: Actor, shelf: Shelf, folder: Folder) -> None:
    """Show how to bring a sound model into force."""
    if folder.manifest is None:
        return
    if shelf.answers(folder):
        st.text("is in force")
        return
    with st.popover("Activate", key="mod-activate"):
        st.text(f"{shelf.in_force.model} → {folder.name}")
        answering = shelf.answering
        before = answering.manifest if answering else None
        for sentence in models_table.would_change(before, folder.manifest, service.policy):
            st.text(f"• {sentence}")
        st.caption(
            "Takes effect in every process at once, for films answered from now on. Answers that are there "
            "stay until analysed again."
        )
        checked = st.session_state.get(_CHECKED) == folder.sha256
        st.button(
            "Check this model",
            key="mod-check",
            on_click=_check,
            args=(service, actor, folder.id),
            disabled=checked,
        )
        # Nothing comes or goes between the two steps: a browser may keep on screen what a run left out.
        st.text(
            "✓ Its files, labels, figures and self-test are as its manifest says."
            if checked
            else "Not checked yet: its files, labels, figures and self-test."
        )
        st.text_input("Why", key=_NOTE, max_chars=500, help="Kept with the change; no patient's data.")
        st.button(
            "Activate now",
            key="mod-activate-now",
            type="primary",
            on_click=_activate,
            args=(service, actor, folder.id, shelf.in_force.change),
            disabled=not checked,
        )


def _check(service: Service, actor: Actor, model_id: str) -> None:
    try:
        st.session_state[_CHECKED] = service.try_model(actor, model_id).sha256
    except CxrError as exc:
        st.session_state[_SAID] = exc


def _activate(service: Service, actor: Actor, model_id: str, seen: int) -> None:
    try:
        service.activate_model(actor, model_id, st.session_state.get(_NOTE, ""), seen=seen)
    except CxrError as exc:
        st.session_state[_SAID] = exc
    else:
        st.session_state[_SAID] = f"{service.model} is in force."
        st.session_state.pop(_CHECKED, None)
        st.session_state.pop(_NOTE, None)
        recent.forget()
