"""What every page has around it: style, the worklist's service, its worker, the alert."""

from __future__ import annotations

import streamlit as st

from cxr_core.access import Actor
from cxr_core.ui import alert, on_demand, services, sign_in, theme, worker_watch
from cxr_core.worklist.service import Service

PULSE_S = 3.0


def opened(actor: Actor) -> Service:
    """Return the service with everything around the page shown; stops the page where there is none."""
    st.session_state.pop(services.BY_ITSELF, None)  # every guard of this run has seen it
    theme.apply()
    if "entered" not in st.session_state:  # opened by its address on a fresh server: the entry has not run
        theme.brand()
        st.sidebar.html('<a class="home" href="./" target="_self">All pages</a>')
    service = services.current()
    on_demand.forget()
    _pulse(service, actor)
    return service


@st.fragment(run_every=PULSE_S)
def _pulse(service: Service, actor: Actor) -> None:
    """Keep a worker going and the alert up, also where nobody touches the page."""
    sign_in.still(service, actor)
    on_demand.say()
    worker_watch.ensure(service.settings)
    alert.show(service, actor)
