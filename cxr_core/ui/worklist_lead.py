"""What only a lead does on the list: take it away as CSV, have studies analysed again."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.errors import CxrError
from cxr_core.inference.manifest import MANIFEST
from cxr_core.inference.stripped import elsewhere
from cxr_core.ui import acts, on_demand, recent, services
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Line, Query

_QUEUED = "wl-queued"


def export(service: Service, actor: Actor, query: Query) -> None:
    """Show the button for what fits the filters as CSV; made when it is pressed."""
    if actor.may(Action.EXPORT):
        on_demand.button(
            "CSV",
            lambda: service.export_csv(actor, query),
            "neuraray-worklist.csv",
            "text/csv",
            key="wl-csv",
            icon=None,
            help="All studies that fit the filters",
        )


def reanalyse(service: Service, actor: Actor, line: Line) -> None:
    """Show the choice of model, for this study or for all open ones."""
    if not actor.may(Action.REANALYSE):
        return
    with st.popover("Re-analyse", key="wl-again"):
        models = models_in(service.settings.models_dir)
        ours = service.model_in_force.id
        known = models.index(ours) if ours in models else 0
        model = st.selectbox("Model", models, known, key="wl-model")
        st.caption("The answers there are stay until the new ones come.")
        for label, ids in (("This study", [line.study_id]), ("All open studies answered otherwise", None)):
            args = (service, actor, line, ids, model)
            st.button(label, key=f"wl-again-{bool(ids)}", on_click=_again, args=args)
        said: acts.Said | None = st.session_state.get(_QUEUED)
        if said is None or said.of != line.study_id:
            return
        if not said.fresh:
            st.session_state.pop(_QUEUED)
        if isinstance(said.words, CxrError):
            services.say(said.words)
        else:
            st.caption(said.words)


@st.cache_resource(ttl=recent.FRESH_S, max_entries=4, show_spinner=False)
def models_in(folder: Path) -> list[str]:
    """Return the ids of the models there that hold a network, as they were at most a second ago."""
    found = (path.parent for path in folder.glob(f"*/{MANIFEST}"))
    return sorted(folder.name for folder in found if not elsewhere(folder))


def _again(service: Service, actor: Actor, line: Line, ids: list[str] | None, model: str) -> None:
    words: CxrError | str
    try:
        queued = service.reanalyse(actor, ids, model)
        words = f"{queued} studies queued." if queued != 1 else "1 study queued."
    except CxrError as exc:
        words = exc
    st.session_state[_QUEUED] = acts.Said(words, line.study_id)
    recent.forget()
