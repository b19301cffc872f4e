"""The alert that stays on every page until every critical study is acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from cxr_core.access import Actor
from cxr_core.domain import Urgency
from cxr_core.errors import CxrError, SignedOut
from cxr_core.reports.words import MARKS
from cxr_core.ui import links, recent, services
from cxr_core.ui.moments import waited
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Alert

SHOWN = 3
"""Studies named; the others are counted."""


def show(service: Service, actor: Actor) -> None:
    """Show the alert as it is now; it lies over the sidebar, also where that is folded away."""
    try:
        alerts = recent.alerts(service, actor)
    except SignedOut as exc:
        services.say(exc)
        return
    except CxrError:
        with st.container(key="alert", gap=None):
            st.html(_box("Alerts cannot be read", "there may be critical studies"))
        return
    if not alerts:
        return
    with st.container(key="alert", gap=None):
        st.html(_box(headline(alerts)))
        for line in lines(alerts, service.clock()):
            st.text(line)
        if st.button("Show", key="alert-show", width="stretch"):
            links.to_study(alerts[0].study_id)


def headline(alerts: Sequence[Alert]) -> str:
    """Return how many studies wait for somebody to take note: `2 critical not acknowledged`."""
    return f"{len(alerts)} critical not acknowledged"


def lines(alerts: Sequence[Alert], now: datetime) -> list[str]:
    """Return patient id and wait of the longest waiting; shown as plain text."""
    shown = [
        f"{alert.patient_id or 'no patient ID'} · {waited((now - alert.since).total_seconds())}"
        for alert in alerts[:SHOWN]
    ]
    return shown + ([f"and {len(alerts) - SHOWN} more"] if len(alerts) > SHOWN else [])


def _box(text: str, beneath: str = "") -> str:
    shape = MARKS[Urgency.CRITICAL].shape
    more = f"<span>{beneath}</span>" if beneath else ""
    return f'<div class="alarm" role="alert"><b>{shape} {text}</b>{more}</div>'
