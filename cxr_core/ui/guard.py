"""Who is at the screen; every page's first statement is `require`."""

from __future__ import annotations

import streamlit as st

from cxr_core import logs, settings
from cxr_core.access import Actor, Role
from cxr_core.errors import SettingsError
from cxr_core.local import local_actor
from cxr_core.ui import sign_in

__all__ = ["Role", "require"]


def require(role: Role) -> Actor:
    """Return the person at the screen, or say what is missing and stop the page here.

    A page can be opened without the entry script having run, so each page asks for itself. The
    service asks again at every call.
    """
    logs.begin()
    try:
        table = settings.load()
        local = local_actor(table)
    except SettingsError as exc:
        st.error("NeuraRay cannot start: a setting cannot be used.")
        st.text(str(exc))
        st.stop()
    actor = local if table.sign_in == "off" else sign_in.person()
    if not actor.role.covers(role):
        st.error(f"This page needs the role {role}; you are signed in as {actor.role}.")
        st.stop()
    return actor
