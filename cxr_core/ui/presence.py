"""What a person does in a part of a page that refreshes by itself counts as being there.

Such a part only looks when it runs, whoever or whatever made it run; so widgets' callbacks say that it was a
person, and the next run counts it.
"""

from __future__ import annotations

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.worklist.service import Service

_ACTED = "acted"


def acted() -> None:
    """Note that a person did something; a widget's callback."""
    st.session_state[_ACTED] = True


def count(service: Service, actor: Actor) -> None:
    """Have what was noted keep the person signed in.

    Raises:
        SignedOut: the sign-in has ended before.
    """
    if st.session_state.pop(_ACTED, False):
        service.check(actor, Action.VIEW_LIST)
