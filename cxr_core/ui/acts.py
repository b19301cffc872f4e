"""What a person does with a study, on whatever page it is shown: asked, then done before the next look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import streamlit as st

from cxr_core.access import Action, Actor, Role
from cxr_core.domain import Urgency
from cxr_core.errors import CxrError
from cxr_core.ui import recent, services
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Line, Status

_SAID, _ASKED, _FORM = "wl-said", "wl-asked", "wl-form"
_TOLD, _HOW, _BACK = "wl-told", "wl-how", "wl-read-back"
WAYS = ("", "by telephone", "in person", "by message")
LABELS = {
    "claim": ("Claim", "T"),
    "release": ("Release", "T"),
    "acknowledge": ("Acknowledge", "A"),
    "read": ("Mark read", None),
}
"""What can be asked: words and key (C and R belong to Streamlit)."""

_CALLS: dict[str, Callable[..., None]] = {
    "claim": Service.claim,
    "release": Service.release,
    "read": Service.mark_read,
    "told": Service.acknowledge,
    "opine": Service.opine,
    "override": Service.override,
    "note": Service.note,
    "undo": Service.undo,
}
FORMS = ("acknowledge", "override", "note", "details")
"""What asks for something to be typed first."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for, of the study and version that were on the screen.

    Attributes:
        what: a key of the table of calls; or, before anything is typed, of FORMS.
        said: what the call takes besides.
        typed: it comes from the open form, which closes when it is done.
    """

    what: str
    study_id: str
    version: int
    said: dict[str, Any] = field(default_factory=dict, repr=False)
    typed: bool = False


def perform(service: Service, actor: Actor, picked: str) -> tuple[Asked, CxrError | None] | None:
    """Do what was asked for last, if the study that it was asked of is still the picked one; return both.

    To be called before anything is read. Under load several keys arrive together, and the study may
    not be the one that the person had in mind any more; then nothing is done, and that is said.
    """
    asked: Asked | None = st.session_state.pop(_ASKED, None)
    if asked is None:
        return None
    if asked.study_id != picked:
        st.session_state[_SAID] = "Not done: another study was picked at the same moment. Look again."
        return None
    if asked.what in FORMS and not asked.typed:
        begin(asked.study_id, asked.what)
        return None
    trouble = None
    try:
        _CALLS[asked.what](service, actor, asked.study_id, asked.version, **asked.said)
    except CxrError as exc:
        st.session_state[_SAID] = trouble = exc
    else:
        if asked.typed:
            close()
    recent.forget()
    return asked, trouble


def ask(asked: Asked) -> None:
    """Keep what is asked for until the page looks again; a button's `on_click`."""
    st.session_state[_ASKED] = asked


def form(study_id: str) -> str:
    """Return which of FORMS is open for this study, or empty text."""
    where, what = st.session_state.get(_FORM, ("", ""))
    return what if where == study_id else ""


def begin(study_id: str, what: str) -> None:
    """Open one of FORMS for this study."""
    st.session_state[_FORM] = (study_id, what)


def close() -> None:
    """Close the form; what was typed is forgotten."""
    st.session_state.pop(_FORM, None)


def show(actor: Actor, line: Line, *, foremost: str = "") -> None:
    """Show what can be done, `foremost` first in weight; each names the study and version on the screen.

    Keys are the same for all studies: two studies' buttons are never on the page at once, also not
    while one replaces the other, so that a key is never heard twice.
    """
    for what in possible(actor, line):
        asked = Asked(what, line.study_id, line.version)
        kind: Literal["primary", "secondary"] = "primary" if what == foremost else "secondary"
        label, key = LABELS[what]
        st.button(label, key=f"wl-{what}", type=kind, shortcut=key, on_click=ask, args=(asked,))


def possible(actor: Actor, line: Line) -> Iterator[str]:
    """Yield what this person can do with the study as it stands."""
    unread = line.status is not Status.READ
    if actor.may(Action.CLAIM) and unread:
        if line.claimed_by is None:
            yield "claim"
        elif line.claimed_by == actor.name or actor.role.covers(Role.LEAD):
            yield "release"
    if alarming(line) and actor.may(Action.ACKNOWLEDGE):
        yield "acknowledge"
    elif actor.may(Action.READ) and unread and line.claimed_by in (None, actor.name):
        yield "read"


def alarming(line: Line) -> bool:
    """Return whether the study is critical and nobody has taken note."""
    return line.urgency is Urgency.CRITICAL and not line.acknowledged


def telling(line: Line) -> bool:
    """Return whether the study's reader is being asked who was told."""
    return form(line.study_id) == "acknowledge" and alarming(line)


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
        st.selectbox("How", WAYS, key=_HOW, width=150)
        st.checkbox("They read it back", key=_BACK)
        args = (line.study_id, line.version)
        st.form_submit_button("Acknowledge", type="primary", shortcut="Enter", on_click=_tell, args=args)
        st.form_submit_button("Cancel", shortcut="Escape", on_click=close)


def _tell(study_id: str, version: int) -> None:
    """Keep what was typed with what was asked; a submitted form's fields are gone when the page is drawn."""
    state = st.session_state
    said = {"told": state[_TOLD], "how": state[_HOW], "read_back": state[_BACK]}
    ask(Asked("told", study_id, version, said, typed=True))
