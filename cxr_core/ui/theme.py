"""The reading room's look where Streamlit's own theme falls short."""

from __future__ import annotations

from html import escape
from pathlib import Path

import streamlit as st

from cxr_core.access import Actor
from cxr_core.ui import services

_CSS = Path(__file__).with_name("theme.css").read_text(encoding="utf-8")


def apply() -> None:
    """Add the style sheet to the page."""
    st.html(f"<style>{_CSS}</style>")


def brand() -> None:
    """Show the product's name at the top of the sidebar."""
    st.sidebar.html('<div class="brand"><b>NeuraRay</b><span>chest X-ray triage</span></div>')


def signed_in(user: Actor) -> None:
    """Show who is at the screen, and the way out where they signed in, at the foot of the sidebar."""
    place = "" if user.session else "<br>on this machine only"
    st.sidebar.html(f'<div class="user">{escape(user.name)} · {user.role.value}{place}</div>')
    if user.session:
        st.sidebar.button("Sign out", key="sign-out", on_click=services.sign_out, args=(user,))
