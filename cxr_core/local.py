"""Who is at this machine when nobody signs in: the command line's person, and the page's for now."""

from __future__ import annotations

from cxr_core.access import Actor, Role
from cxr_core.settings import Settings


def local_actor(settings: Settings) -> Actor:
    """Return the person that the settings name, with the role that they give."""
    return Actor(settings.local_user, Role(settings.local_role))
