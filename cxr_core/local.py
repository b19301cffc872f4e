"""Who is at this machine when nobody signs in: the command line's person, and the page's for now."""

from __future__ import annotations

from cxr_core.access import MARK, Actor, Role
from cxr_core.errors import SettingsError
from cxr_core.settings import Settings


def local_actor(settings: Settings) -> Actor:
    """Return the person that the settings name, with the role that they give.

    Raises:
        SettingsError: the name could be taken for that of somebody who signed in.
    """
    if MARK in settings.local_user:
        raise SettingsError(
            f"CXR_LOCAL_USER: expected a name without {MARK}, by which those who sign in are told apart"
        )
    return Actor(settings.local_user, Role(settings.local_role))
