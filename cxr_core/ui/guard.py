"""Who is at the screen and what that person may do; every page's first statement is `require`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import streamlit as st

from cxr_core import settings
from cxr_core.errors import SettingsError


class Role(StrEnum):
    """What a person may do; each role may do what those before it may."""

    VIEWER = "viewer"
    CLINICIAN = "clinician"
    LEAD = "lead"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Return whether this role may do what `needed` may."""
        roles = list(Role)
        return roles.index(self) >= roles.index(needed)


@dataclass(frozen=True, slots=True)
class User:
    """The person at the screen."""

    name: str
    role: Role


def current_user() -> User:
    """Return the one local user of the embedded default.

    Raises:
        SettingsError: a setting cannot be used.
    """
    table = settings.load()
    return User(table.local_user, Role(table.local_role))


def require(role: Role) -> User:
    """Return the user, or say what is missing and stop the page here.

    A page can be opened without the entry script having run, so each page asks for itself.
    """
    try:
        user = current_user()
    except SettingsError as exc:
        st.error("NeuraRay cannot start: a setting cannot be used.")
        st.text(str(exc))
        st.stop()
    if not user.role.covers(role):
        st.error(f"This page needs the role {role}; you are signed in as {user.role}.")
        st.stop()
    return user
