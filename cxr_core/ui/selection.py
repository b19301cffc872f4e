"""Which study is picked: by its id, so that it stays picked when the list moves under it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cxr_core.ui import presence
from cxr_core.worklist.values import Query

TABLE = "wl-table"
_CHOSEN, _SHOWN, _ASKED = "wl-chosen", "wl-shown", "wl-query"


def chosen() -> str:
    """Return the id of the picked study, or empty text."""
    picked: str = st.session_state.get(_CHOSEN, "")
    return picked


def choose(study_id: str) -> None:
    """Pick a study, or none; the address names it, so that a reload keeps it."""
    st.session_state[_CHOSEN] = study_id
    if study_id:
        st.query_params["study"] = study_id
    else:
        st.query_params.pop("study", None)


def follow(ids: tuple[str, ...]) -> None:
    """Have the table mark the picked study where it stands now; to be called before the table is shown."""
    if _CHOSEN not in st.session_state:
        st.session_state[_CHOSEN] = st.query_params.get("study", "")
    st.session_state[_SHOWN] = ids
    wanted = [ids.index(chosen())] if chosen() in ids else []
    marked = _selected()
    if marked.get("rows", []) != wanted or marked.get("cells"):
        st.session_state[TABLE] = {"selection": {"rows": wanted, "columns": [], "cells": []}}


def clicked() -> None:
    """Pick the study whose row, or any of whose cells, was clicked."""
    presence.acted()
    ids: tuple[str, ...] = st.session_state.get(_SHOWN, ())
    marked = _selected()
    cells, rows = marked.get("cells") or [], marked.get("rows") or []
    places = [cells[0][0]] if cells else rows
    choose(ids[places[0]] if places and places[0] < len(ids) else "")


def step(by: int) -> None:
    """Pick the next study, or the one before; without one picked, the first."""
    presence.acted()
    ids: tuple[str, ...] = st.session_state.get(_SHOWN, ())
    if not ids:
        return
    place = ids.index(chosen()) + by if chosen() in ids else 0
    choose(ids[min(max(place, 0), len(ids) - 1)])


def remember(query: Query) -> None:
    """Keep which part of the list is looked at, so that the desk steps through the same."""
    st.session_state[_ASKED] = query


def remembered() -> Query:
    """Return which part of the list was looked at last; without any the first page of all that is open."""
    asked: Query = st.session_state.get(_ASKED, Query())
    return asked


def _selected() -> dict[str, Any]:
    state = st.session_state.get(TABLE) or {}
    marked: dict[str, Any] = dict(state.get("selection", {}))
    return marked
