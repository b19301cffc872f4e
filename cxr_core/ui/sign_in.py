"""Signing in by OpenID Connect: who is there, what they see who are not, and how it ends.

Streamlit keeps what the identity provider said in a signed cookie for 30 days. Whether that still counts is
asked of the worklist, at every run of a page, at every call, and every few seconds where nobody touches it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from html import escape
from time import monotonic
from typing import Any, NoReturn

import streamlit as st
from starlette.requests import Request
from streamlit.web.server.starlette.starlette_auth_routes import _get_cookie_value_from_request
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from cxr_core import settings
from cxr_core.access import Action, Actor
from cxr_core.errors import CxrError, Forbidden, SignedOut
from cxr_core.ui import services, theme
from cxr_core.worklist.accounts import Claims
from cxr_core.worklist.service import Service

_OURS = ("is_logged_in", "origin", "tokens")
"""What Streamlit adds to the claims, here or there."""
ENDED = {
    "idle": ("Locked", "Nothing was done here for a while, so nothing is shown any more."),
    "expired": ("Signed out", "This sign-in lasted as long as it may."),
    "revoked": ("Signed out", "An administrator ended this sign-in."),
    "signed_out": ("Signed out", "You signed out, here or elsewhere."),
}

_HELD = "held"
"""In the session's state: when it was last known that the sign-in holds."""

_arrived: dict[str, Actor] = {}
"""Key of a sign-in → who it is, of all that came to this process."""


def person() -> Actor:
    """Return who is signed in, in the role of now; else show what is to be done, and stop the page here."""
    said = st.user.to_dict()
    if not said.get("is_logged_in"):
        _page("Sign in", "Chest X-rays, sorted by how urgently somebody must look at them.", "Sign in")
    if services.LEAVING in st.session_state:
        _not_signed_out(*st.session_state[services.LEAVING])
    service = services.current()
    claims = claims_of(said)
    try:
        look = services.BY_ITSELF in st.session_state
        actor = _arrived[claims.key] = service.arrive(claims, look=look)
    except SignedOut as exc:
        _arrived.pop(claims.key, None)
        _page(*ENDED.get(exc.why, ENDED["signed_out"]), "Sign in again")
    except Forbidden:
        _without_role(claims)
    except CxrError as exc:
        services.say(exc)
        services.again()
        st.stop()
    st.session_state[_HELD] = monotonic()
    return actor


def claims_of(said: Mapping[str, Any]) -> Claims:
    """Return what the identity provider said, as the worklist wants it."""
    own = {name: value for name, value in said.items() if name not in _OURS}
    text = json.dumps(own, sort_keys=True, separators=(",", ":"), default=str)
    issued = own.get("iat")
    return Claims(
        issuer=str(own.get("iss") or ""),
        subject=str(own.get("sub") or ""),
        name=str(own.get("name") or ""),
        email=str(own.get("email") or ""),
        key=hashlib.sha256(text.encode()).hexdigest(),
        issued=datetime.fromtimestamp(issued, UTC) if isinstance(issued, int) else None,
    )


def still(service: Service, actor: Actor) -> None:
    """Show the page anew where the sign-in or the role has gone, so that nothing stays on the screen.

    The same where nobody could tell for as long as a sign-in holds without anybody being there.
    """
    if not actor.session:
        return
    try:
        now = service.permit(actor, Action.VIEW_LIST)
    except (SignedOut, Forbidden):
        services.anew()
    except CxrError:  # the page says that the list cannot be read
        if monotonic() - st.session_state[_HELD] >= 60 * service.settings.idle_minutes:
            services.anew()
        return
    st.session_state[_HELD] = monotonic()
    if now.role is not actor.role:
        services.anew()


def holds(request: Request) -> bool:
    """Return whether a browser that asks for a file, not for a page, is that of a person signed in."""
    table = settings.load()
    if table.sign_in == "off":
        return True
    raw = _get_cookie_value_from_request(request, USER_COOKIE_NAME)
    try:
        actor = _arrived.get(claims_of(json.loads(raw)).key) if raw else None
        if actor is None:
            return False
        services.opened().permit(actor, Action.VIEW_LIST)
    except (CxrError, ValueError):
        return False
    return True


def _page(title: str, words: str, button: str) -> NoReturn:
    def ask() -> None:
        st.button(button, key="sign-in-button", type="primary", on_click=st.login)
        st.html("<p>Not a medical device: it suggests, a clinician decides.</p>")

    _alone(title, words, ask)


def _without_role(claims: Claims) -> NoReturn:
    def tell() -> None:
        st.text(f"issuer   {claims.issuer}\nsubject  {claims.subject}")
        st.button("Sign out", key="sign-out", on_click=st.logout)

    _alone(
        "An administrator must give you a role",
        "You are signed in, but nobody has said yet what you may do here. "
        "Send an administrator these two lines; then reload this page.",
        tell,
    )


def _not_signed_out(actor: Actor, asked: str) -> NoReturn:
    def offer() -> None:
        args = (actor,)
        st.button("Try again", key="sign-out", type="primary", on_click=services.sign_out, args=args)
        st.button("Sign out on this browser only", key="sign-out-here", on_click=st.logout)
        st.caption(f"If you ask about this, quote {asked}.")

    _alone(
        "You are not signed out yet",
        "The worklist cannot take it down just now. Try again to sign out everywhere. On this browser only, "
        "you can leave at once; elsewhere you then stay signed in until nothing was done there for a while.",
        offer,
    )


def _alone(title: str, words: str, body: Callable[[], None]) -> NoReturn:
    """Show nothing but this."""
    theme.apply()
    with st.container(key="sign-in"):
        st.html(
            '<div class="brand"><b>NeuraRay</b><span>chest X-ray triage</span></div>'
            f"<h1>{escape(title)}</h1><p>{escape(words)}</p>"
        )
        body()
    st.stop()
