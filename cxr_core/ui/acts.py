"""What a person can do with a study, beneath the list as on its card: claim, acknowledge, mark read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st

from cxr_core.access import Action, Actor, Role
from cxr_core.domain import Urgency
from cxr_core.errors import CxrError
from cxr_core.ui import recent, services
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Line, Status

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


def perform(service: Service, actor: Actor, picked: str) -> None:
    """Do what was asked for last, if the study that it was asked of is still the picked one.

    To be called before anything is read. Under load several keys arrive together, and the study may
    not be the one that the person had in mind any more; then nothing is done, and that is said.
    """
    asked: Asked | None = st.session_state.pop(_ASKED, None)
    if asked is None:
        return
    if asked.study_id != picked:
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


def show(actor: Actor, line: Line) -> None:
    """Show what can be done; every button names the study and version that are on the screen.

    Keys are the same for all studies: two studies' buttons are never on the page at once, also not
    while one replaces the other, so that a key is never heard twice.
    """
    for what in _possible(actor, line):
        st.button(
            LABELS[what][0],
            key=f"wl-{what}",
            shortcut=LABELS[what][1],
            on_click=_ask,
            args=(Asked(what, line.study_id, line.version),),
        )


def telling(line: Line) -> bool:
    """Return whether the study's reader is being asked who was told."""
    return st.session_state.get(_TELLING) == line.study_id and _alarming(line)


def say() -> None:
    """Say once what went wrong with what was asked for last."""
    trouble: CxrError | str | None = st.session_state.pop(_SAID, None)
    if isinstance(trouble, CxrError):
        services.say(trouble)
    elif trouble is not None:
        st.warning(trouble)


def ask_whom(line: Line) -> None:
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


def _tell(asked: Asked) -> None:
    """Keep what was typed with what was asked; a submitted form's fields are gone when the page is drawn."""
    state = st.session_state
    _ask(replace(asked, told=state[_TOLD], how=state[_HOW], read_back=state[_BACK]))
