"""From one study on the desk to the next: through the part of the list that was looked at last."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from cxr_core.access import Actor
from cxr_core.errors import CxrError
from cxr_core.ui import recent, selection, services
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Query

_SAID = "desk-step-said"


def step(service: Service, actor: Actor, study_id: str, by: int) -> None:
    """Put the next study of the list on the desk, or the one before; a button's `on_click`."""
    try:
        found = neighbour(service, actor, study_id, by)
    except CxrError as exc:
        st.session_state[_SAID] = exc
        return
    if not found:
        st.session_state[_SAID] = "Nothing is left of the part of the list that was looked at last."
    elif found == study_id:
        st.session_state[_SAID] = f"This is the {'last' if by > 0 else 'first'} study of the list."
    else:
        st.query_params["study"] = found


def say() -> None:
    """Say once why the last step led nowhere."""
    said: CxrError | str | None = st.session_state.pop(_SAID, None)
    if isinstance(said, CxrError):
        services.say(said)
    elif said is not None:
        st.caption(said)


def neighbour(service: Service, actor: Actor, study_id: str, by: int) -> str:
    """Return the study before (-1) or after (1), also on another page; the first where this one has left.

    Empty text where the list is empty, the study itself at the list's end.

    Raises:
        CxrError: the list cannot be read.
    """
    asked = selection.remembered()
    ids, total = _page(service, actor, asked)
    if study_id not in ids and asked.offset:
        asked = replace(asked, offset=0)
        ids, total = _page(service, actor, asked)
        selection.remember(asked)
    if study_id not in ids:
        return ids[0] if ids else ""
    place = ids.index(study_id) + by
    if 0 <= place < len(ids):
        return ids[place]
    turned = asked.offset + by * asked.limit
    if not 0 <= turned < total:
        return study_id
    asked = replace(asked, offset=turned)
    ids, _ = _page(service, actor, asked)
    if not ids:
        return study_id
    selection.remember(asked)
    return ids[0 if by > 0 else -1]


def _page(service: Service, actor: Actor, query: Query) -> tuple[list[str], int]:
    page = recent.snapshot(service, actor, query).page
    return [line.study_id for line in page.lines], page.total
