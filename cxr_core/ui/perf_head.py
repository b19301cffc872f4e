"""Head of the performance page: model, others beside it and split; and always what the films are."""

from __future__ import annotations

from html import escape

import streamlit as st

from cxr_core.access import Actor
from cxr_core.errors import ModelError
from cxr_core.ui import plots
from cxr_core.ui.perf_choice import Chosen
from cxr_core.worklist.model_folders import Folder
from cxr_core.worklist.models import Shelf
from cxr_core.worklist.service import Service

MODEL, OTHERS, SPLIT = "perf-model", "perf-others", "perf-split"
MOST_OTHERS = 3
SPLITS = {"val": "held back (val)", "test": "official test"}

NOT_FOR = (
    "Frontal films of adults only: not for lateral films or children. Devices, drains and wires as "
    "confounders: unmeasured; it may know a disease by its treatment. Not a medical device."
)


def choose(service: Service, actor: Actor) -> Chosen | None:
    """Show the pickers and return what was picked; None, with the reason shown, where there is nothing."""
    with st.spinner("Checking the files of the models"):
        shelf = service.models(actor)
    if not shelf.folders:
        _empty(
            "There is no model.",
            "The folder that CXR_MODELS_DIR names holds none; restore it, then reload this page.",
        )
        return None
    with st.container(horizontal=True, vertical_alignment="center", key="perf-bar"):
        folder = _model(shelf)
        splits = () if folder.fault else service.splits(actor, folder.id)
        others = _others(service, actor, shelf, folder) if splits else ()
        split = _split(folder, splits) if splits else ""
        if splits:
            plots.pick_format()
    if folder.fault:
        st.error("This model is not measured here: it is not what its manifest says, or cannot be checked.")
        st.text(folder.fault)
        return None
    if not splits:
        _empty(
            f"{folder.id} came without tables of what it answered.",
            "An imported model has none until it is scored: see docs/evaluation.md.",
        )
        return None
    scored = service.scored(actor, folder.id, split)
    chosen = Chosen(folder, others, split, scored, service.evaluation(actor, folder.id, split))
    st.html(about_html(chosen))
    return chosen


def _model(shelf: Shelf) -> Folder:
    ids = [each.id for each in shelf.folders]
    if st.session_state.get(MODEL) not in ids:
        st.session_state[MODEL] = shelf.in_force.id if shelf.in_force.id in ids else ids[0]
    names = {each.id: each.name for each in shelf.folders}
    st.selectbox(
        "Model",
        ids,
        key=MODEL,
        width=290,
        format_func=lambda each: names.get(each, each),
        label_visibility="collapsed",
    )
    found = shelf.folder(st.session_state[MODEL])
    return found if found is not None else shelf.folders[0]


def _others(service: Service, actor: Actor, shelf: Shelf, folder: Folder) -> tuple[Folder, ...]:
    """Return the models to lay over it; offered only where there are any."""
    able = {
        each.id: each for each in shelf.folders if each.id != folder.id and _has_tables(service, actor, each)
    }
    if not able:
        return ()
    picked = [each for each in st.session_state.get(OTHERS, []) if each in able]
    st.session_state[OTHERS] = picked[:MOST_OTHERS]
    st.multiselect(
        "Compare with",
        list(able),
        key=OTHERS,
        max_selections=MOST_OTHERS,
        width=300,
        placeholder="+ compare",
        label_visibility="collapsed",
    )
    return tuple(able[each] for each in st.session_state[OTHERS])


def _has_tables(service: Service, actor: Actor, folder: Folder) -> bool:
    try:
        return not folder.fault and bool(service.splits(actor, folder.id))
    except ModelError:
        return False


def _split(folder: Folder, splits: tuple[str, ...]) -> str:
    if st.session_state.get(SPLIT) not in splits:
        st.session_state[SPLIT] = splits[-1]
    sizes = folder.manifest.data.split if folder.manifest else {}

    def named(split: str) -> str:
        its = sizes.get(split)
        of = f" · {its.films:,} films · {its.patients:,} patients" if its else ""
        return f"{SPLITS.get(split, split)}{of}"

    picked: str = st.selectbox(
        "Films", splits, key=SPLIT, width=330, format_func=named, label_visibility="collapsed"
    )
    return picked


def about_html(chosen: Chosen) -> str:
    """Return the line above all: which model, on what films of how many patients, and what it is not for.

    Films of other populations cannot be chosen as a split: figures on them stand in a tab of their own.
    """
    films = chosen.scored
    patients = films.table["patient"].nunique()
    split = SPLITS.get(films.split, films.split)
    listed = chosen.model.manifest.files if chosen.model.manifest else {}
    others = any(name.startswith("evaluation/external-") for name in listed)
    elsewhere = " Its answers to films of other populations: see Elsewhere." if others else ""
    said = (
        f"<b>{escape(films.model)}</b> on {escape(films.data)}, {escape(split)}: "
        f"{len(films.table):,} films of {patients:,} patients.{elsewhere} {escape(NOT_FOR)}"
    )
    return f'<p class="perf-about">{said}</p>'


def _empty(head: str, text: str) -> None:
    st.html(f'<div class="empty"><b>{escape(head)}</b><br>{escape(text)}</div>')
