"""What a person does with a study, on whatever page it is shown: asked, then done before the next look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import streamlit as st

from cxr_core.access import Action, Actor, Role
from cxr_core.domain import Correction, Urgency
from cxr_core.errors import Conflict, CxrError, Invalid, SignedOut
from cxr_core.ui import recent, services
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Line, Status

_SAID, _ASKED, _FORM, _FAILED = "wl-said", "wl-asked", "wl-form", "wl-failed"
LABELS = {
    "claim": ("Claim", "T"),
    "release": ("Release", "T"),
    "acknowledge": ("Acknowledge", "A"),
    "read": ("Mark read", None),
}
"""What can be asked: words and key (C and R belong to Streamlit)."""


def _correct(
    service: Service, actor: Actor, study_id: str, version: int, *, sha256: str, correction: Correction
) -> None:
    """Have a film of the study hung anew."""
    service.correct(actor, sha256, correction, version)


_CALLS: dict[str, Callable[..., None]] = {
    "claim": Service.claim,
    "release": Service.release,
    "read": Service.mark_read,
    "correct": _correct,
    "told": Service.acknowledge,
    "opine": Service.opine,
    "override": Service.override,
    "note": Service.note,
    "undo": Service.undo,
}
FORMS = ("acknowledge", "override", "note", "details")
"""What asks for something to be typed first."""
LASTS_S = 20.0
"""How long it is said what came of something: long enough to be read though the page is drawn anew."""


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


@dataclass(frozen=True, slots=True)
class Said:
    """What came of something done with the study picked then, and when (seconds of the process's clock)."""

    words: CxrError | str
    of: str
    at: float = field(default_factory=time.monotonic)

    @property
    def fresh(self) -> bool:
        """Whether it is still to be said; who is signed out is told once."""
        return time.monotonic() - self.at < LASTS_S and not isinstance(self.words, SignedOut)


_NOTHING = Said("", "")


def perform(service: Service, actor: Actor, picked: str) -> None:
    """Do what was asked for last, if the study that it was asked of is still the picked one.

    To be called before anything is read. Under load several keys arrive together, and the study may
    not be the one that the person had in mind any more; then nothing is done, and that is said.
    """
    asked: Asked | None = st.session_state.pop(_ASKED, None)
    st.session_state.pop(_FAILED, None)
    if asked is not None or st.session_state.get(_SAID, _NOTHING).of != picked:
        st.session_state.pop(_SAID, None)
    if asked is None:
        return
    if asked.study_id != picked:
        trouble = "Not done: another study was picked at the same moment. Look again."
        st.session_state[_SAID] = Said(trouble, picked)
        return
    if asked.what in FORMS and not asked.typed:
        begin(asked.study_id, asked.what)
        return
    try:
        _CALLS[asked.what](service, actor, asked.study_id, asked.version, **asked.said)
    except CxrError as exc:
        st.session_state[_SAID], st.session_state[_FAILED] = Said(exc, picked), asked
    else:
        if asked.typed:
            close()
    recent.forget()


def failed() -> Asked | None:
    """Return once what was asked for last, if it could not be done."""
    asked: Asked | None = st.session_state.pop(_FAILED, None)
    return asked


def ask(asked: Asked) -> None:
    """Keep what is asked for until the page looks again; a button's `on_click`."""
    st.session_state[_ASKED] = asked


def form(study_id: str) -> str:
    """Return which of FORMS is open for this study, or empty text."""
    where, what, _ = st.session_state.get(_FORM, ("", "", ""))
    return what if where == study_id else ""


def started_with() -> str:
    """Return what the open form's text is to begin with.

    It goes with every drawing as the field's default. A field's state, once set, is sent with one drawing
    only, and that one never reaches a browser where the page is drawn again too soon.
    """
    text: str = st.session_state.get(_FORM, ("", "", ""))[2]
    return text


def begin(study_id: str, what: str, text: str = "") -> None:
    """Open one of FORMS for this study, with a text to begin with."""
    st.session_state[_FORM] = (study_id, what, text)


def close() -> None:
    """Close the form; what was typed, and what was said of it, is forgotten."""
    st.session_state.pop(_FORM, None)
    st.session_state.pop(_SAID, None)


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
    """Return whether the study is critical and nobody has told anybody."""
    return line.urgency is Urgency.CRITICAL and not line.acknowledged


def say(*, stays: bool = False) -> None:
    """Say for a while what went wrong with what was asked for last; if it `stays`, until more is asked."""
    said: Said | None = st.session_state.get(_SAID)
    if said is None:
        return
    if not said.fresh and not (stays and isinstance(said.words, Conflict | Invalid)):
        st.session_state.pop(_SAID)
    if isinstance(said.words, CxrError):
        services.say(said.words)
    else:
        st.warning(said.words)
