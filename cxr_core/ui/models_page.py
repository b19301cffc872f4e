"""The models page: which model answers, all there are side by side, and one of them looked at closely."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.errors import CxrError, ModelError
from cxr_core.files import printable
from cxr_core.ui import (
    literal,
    models_activate,
    models_card,
    models_curves,
    models_table,
    on_demand,
    perf_training,
    services,
)
from cxr_core.worklist.model_folders import Folder
from cxr_core.worklist.models import Shelf
from cxr_core.worklist.service import Service

_CSS = "".join(
    Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("operations.css", "models.css")
)
_CHOSEN, _COMPARED = "mod-chosen", "mod-compared"
TABS = ("Card", "Training", "History")


def show(service: Service, actor: Actor) -> None:
    """Show the page; what cannot be read is said."""
    st.html(f'<style>{_CSS}</style><div class="wl-head"><h1>Models</h1></div>')
    _show(service, actor)


@st.fragment
def _show(service: Service, actor: Actor) -> None:
    try:
        with st.spinner("Checking the files of the models"):
            shelf = service.models(actor)
            table = models_table.table_html(shelf, partial(_naive_ap, service, actor))
    except CxrError as exc:
        services.say(exc)
        return
    with st.container(key="models"):
        _in_force(service, shelf)
        models_activate.say()
        if actor.may(Action.REANALYSE):
            models_activate.answered_otherwise(service, actor, shelf)
        if not shelf.folders:
            st.html(
                '<div class="empty"><b>There is no model.</b><br>The folder that CXR_MODELS_DIR names holds '
                "none; restore it, then reload this page.</div>"
            )
            return
        st.html(table)
        _closely(service, actor, shelf)


def _naive_ap(service: Service, actor: Actor, folder: Folder, split: str) -> float | None:
    """Return the naive model's mean average precision on a split of a model; None where nobody knows it."""
    if folder.figure(split, "ap") is None:
        return None
    try:
        return _kept_naive_ap(folder.sha256, split, service, actor, folder)
    except (ModelError, OSError, ValueError, KeyError, TypeError, ArithmeticError):
        return None  # no tables, or some of a form that is not known: the model is listed all the same


@st.cache_resource(max_entries=256, show_spinner=False)
def _kept_naive_ap(
    sha256: str, split: str, _service: Service, _actor: Actor, _folder: Folder
) -> float | None:
    """Return the same of a model whose manifest, which lists its tables by SHA-256, is this one."""
    evaluation = _service.evaluation(_actor, _folder.id, split)
    return models_table.naive_ap(_folder.figure(split, "ap"), evaluation)


def _in_force(service: Service, shelf: Shelf) -> None:
    if shelf.in_force.fault:
        st.error("No film is answered now: the model in force cannot be used. Films wait; nothing is lost.")
        st.text(printable(shelf.in_force.fault))
    st.html(models_table.in_force_html(shelf, service.clock()))


def _closely(service: Service, actor: Actor, shelf: Shelf) -> None:
    """Show one model: its card, how it was trained, and what a lead may do with it."""
    ids = [each.id for each in shelf.folders]
    if st.session_state.get(_CHOSEN) not in ids:
        st.session_state[_CHOSEN] = shelf.in_force.id if shelf.in_force.id in ids else ids[0]
    with st.container(horizontal=True, vertical_alignment="bottom", key="mod-bar"):
        chosen = st.selectbox("Model", ids, key=_CHOSEN, width=300)
        folder = shelf.folder(chosen)
        if folder is None:
            return
        if not folder.fault:
            _bundle(service, actor, folder)
            if folder.answers and actor.may(Action.ACTIVATE_MODEL):
                models_activate.show(service, actor, shelf, folder)
    if folder.fault:
        st.error("This model must not be used: it is not what its manifest says, or cannot be checked.")
        st.text(folder.fault)
    elif folder.elsewhere:
        st.info("Figures only: the weights of this model are not in this copy, so it answers no film.")
        st.text(folder.elsewhere)
    tabs = st.tabs(TABS, key="mod-tab", on_change="rerun")
    for tab, draw in zip(tabs, (_card, _training, _history), strict=True):
        if tab.open:
            with tab, services.plainly():
                draw(service, actor, shelf, folder)


def _bundle(service: Service, actor: Actor, folder: Folder) -> None:
    on_demand.button(
        "Bundle",
        lambda: service.export_model(actor, folder.id),
        f"{folder.name.replace(' ', '-')}-{folder.sha256[:12]}.zip",
        "application/zip",
        key="mod-bundle",
        help="The whole model folder as a zip file; noted in the audit trail.",
    )


def _card(service: Service, actor: Actor, shelf: Shelf, folder: Folder) -> None:
    """Show the card of a sound model alone: what altered another may have altered its card."""
    if folder.fault:
        st.html('<div class="empty">The card of a model that is not sound is not shown.</div>')
        return
    card = service.model_card(actor, folder.id)
    st.html(models_table.facts_html(folder))
    if card.strip():
        st.html(models_card.card_html(card))
    else:
        st.html('<div class="empty">This model has no card: nobody wrote down what it is for.</div>')


def _training(service: Service, actor: Actor, shelf: Shelf, folder: Folder) -> None:
    """Show the curves of several models over one another."""
    trained = [each.id for each in shelf.folders if each.epochs and not each.fault]
    if not trained:
        st.html('<div class="empty">No model here says how it was trained.</div>')
        return
    if not set(st.session_state.get(_COMPARED, [])) & set(trained):
        first = [each for each in (folder.id, shelf.in_force.id) if each in trained]
        st.session_state[_COMPARED] = list(dict.fromkeys(first)) or trained[:1]
    else:
        st.session_state[_COMPARED] = [each for each in st.session_state[_COMPARED] if each in trained]
    most = len(models_curves.LOOKS)
    compared = st.multiselect("Models", trained, key=_COMPARED, max_selections=most)
    if folder.id not in trained:
        literal.caption(f"{folder.id} does not say how it was trained.")
    curves = service.training_curves(actor, compared)
    if not curves:
        st.caption("Nothing to draw: these do not say how their loss fell, or none is chosen.")
        return
    perf_training.lay(curves, "mod-curves")


def _history(service: Service, actor: Actor, shelf: Shelf, folder: Folder) -> None:
    if not shelf.changes:
        st.html(
            '<div class="empty">Nobody has activated a model yet: the one that the settings name '
            "answers.</div>"
        )
        return
    st.dataframe(models_table.changes_table(shelf, service.clock()), hide_index=True, key="mod-changes")
