"""The one worklist service of this process, and what is said when it cannot answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import streamlit as st

from cxr_core import logs, settings
from cxr_core.access import Actor
from cxr_core.errors import (
    Busy,
    Changed,
    Conflict,
    CxrError,
    Forbidden,
    Invalid,
    ModelError,
    PolicyError,
    SignedOut,
    StoreError,
)
from cxr_core.inference.manifest import read_manifest
from cxr_core.logs import Log
from cxr_core.worklist.service import Service, open_service

_log = Log(__name__)
RETRY_S = 3.0
"""How often a page that could not be shown tries again by itself."""

BY_ITSELF = "by-itself"
"""In the session's state: nobody asked for this run of the page."""
LEAVING = "leaving"
"""In the session's state: who could not be signed out, and what to quote."""


@st.cache_resource(max_entries=1, show_spinner="Opening the worklist", on_release=Service.close)
def _service(table: settings.Settings) -> Service:
    return open_service(table)


def opened() -> Service:
    """Return the service; raises as `open_service`."""
    return _service(settings.load())


def current() -> Service:
    """Return the service, or say why there is none, try again by and by, and stop the page here."""
    try:
        return opened()
    except (ModelError, PolicyError) as exc:
        st.error("No film can be assessed: the model or the policy cannot be used.", icon=":material/error:")
        st.text(str(exc))
        st.text(
            "Restore the model folder or the policy, or choose another by CXR_MODEL, then reload this page."
        )
    except CxrError as exc:
        say(exc)
        again()
    st.stop()


@st.fragment(run_every=RETRY_S)
def again() -> None:
    """Show the page as soon as the worklist can be opened and read."""
    st.caption("Trying again every few seconds. Nothing that was stored is lost.")
    try:
        opened().refresh()
    except CxrError:
        return
    anew()


def anew() -> NoReturn:
    """Show the page anew by itself, which does not count as somebody being there."""
    st.session_state[BY_ITSELF] = True
    st.rerun()


def sign_out(actor: Actor) -> None:
    """Sign the person out: everywhere here, and at the identity provider where it has a way.

    Where the sign-ins cannot be ended, the person decides: the page shows nothing but that.
    """
    try:
        opened().sign_out(actor)
    except CxrError as exc:
        asked = logs.begin()
        _log.error("sign_out_failed", **logs.traced(exc))
        st.session_state[LEAVING] = actor, asked
        return
    st.logout()


def say(exc: CxrError) -> None:
    """Say plainly what went wrong and what happens next; our own words, then the error's as plain text.

    Who is no longer signed in is shown nothing more.
    """
    if isinstance(exc, SignedOut):
        st.rerun()
    if isinstance(exc, Changed):
        st.warning("Not done: the study changed meanwhile. What you see now is its present state.")
    elif isinstance(exc, Conflict | Invalid):
        st.warning("Not done.")
    elif isinstance(exc, Forbidden):
        st.error("Not done: your role does not allow it.")
    elif isinstance(exc, PolicyError):
        st.error("Not done: this program cannot read the policy that decides here.")
    elif isinstance(exc, Busy):
        st.error("The worklist cannot take this just now. Nothing that was stored is lost; try again soon.")
    else:
        st.error("The worklist cannot be read or written just now. Nothing that was stored is lost.")
    st.text(str(exc))
    if isinstance(exc, StoreError | PolicyError):
        quote("store_refused" if isinstance(exc, StoreError) else "policy_unreadable", exc)


def quote(event: str, exc: Exception) -> None:
    """Log where an error arose, without its words, and show what a person quotes who asks about it."""
    asked = logs.request()
    _log.error(event, **logs.traced(exc))
    st.caption(f"If you ask about this, quote {asked}.")


@contextmanager
def plainly() -> Iterator[None]:
    """Say what goes wrong within the block, instead of a fault of the page."""
    try:
        yield
    except CxrError as exc:
        say(exc)


@st.cache_resource(max_entries=16, show_spinner=False)
def _evaluation(table: settings.Settings, model: str) -> Mapping[str, float]:
    try:
        manifest = read_manifest(table.models_dir / model.split(" ")[0])
    except ModelError:
        return {}
    return manifest.evaluation if f"{manifest.id} {manifest.version}" == model else {}


def evaluation(service: Service, model: str) -> Mapping[str, float]:
    """Return the measured figures of a model named "id version"; none where that model is not here."""
    return _evaluation(service.settings, model)
