"""The page of whoever keeps it running: how it stands above, by itself; what to look into beneath."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.ui import (
    operations_audit,
    operations_given_up,
    operations_now,
    operations_people,
    operations_refusals,
    operations_turnaround,
    policy_panel,
    services,
)
from cxr_core.worklist.service import Service

_CSS = Path(__file__).with_name("operations.css").read_text(encoding="utf-8")

TABS: tuple[tuple[str, Action, Callable[[Service, Actor], None]], ...] = (
    ("Now", Action.HEALTH, operations_now.show),
    ("Given up", Action.RETRY, operations_given_up.show),
    ("Refusals", Action.HEALTH, operations_refusals.show),
    ("Turnaround", Action.TURNAROUND, operations_turnaround.show),
    ("Audit", Action.AUDIT, operations_audit.show),
    ("People", Action.USERS, operations_people.show),
    ("Policy", Action.VIEW_POLICY, policy_panel.show),
)


def show(service: Service, actor: Actor) -> None:
    """Show how it stands, then the tab chosen; only that one is read and drawn."""
    st.html(f"<style>{_CSS}</style>")
    operations_now.lights(service, actor)
    tabs = [each for each in TABS if actor.may(each[1])]
    opened = st.tabs([name for name, _, _ in tabs], key="ops-tab", on_change="rerun", bind="query-params")
    for tab, (_, _, draw) in zip(opened, tabs, strict=True):
        if tab.open:
            with tab, services.plainly():
                draw(service, actor)
