"""The performance page: what is looked at above, on what films, and a tab for each question."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import streamlit as st

from cxr_core.access import Actor, Role
from cxr_core.errors import CxrError
from cxr_core.ui import perf_head, services
from cxr_core.worklist.service import Service

_CSS = "".join(
    Path(__file__).with_name(name).read_text(encoding="utf-8")
    for name in ("operations.css", "models.css", "performance.css")
)

TABS: tuple[tuple[str, str, Role], ...] = (
    ("perf_overview", "Overview", Role.VIEWER),
    ("perf_point", "Operating point", Role.VIEWER),
    ("perf_calibration", "Calibration", Role.VIEWER),
    ("perf_spread", "Spread", Role.VIEWER),
    ("perf_classes", "Classes", Role.VIEWER),
    ("perf_heatmaps", "Heatmaps", Role.VIEWER),
    ("perf_elsewhere", "Elsewhere", Role.VIEWER),
    ("perf_robustness", "Robustness", Role.VIEWER),
    ("perf_fairness", "Fairness", Role.VIEWER),
    ("perf_readers", "Readers", Role.LEAD),
    ("perf_simulator", "Simulator", Role.VIEWER),
    ("perf_site", "My site", Role.LEAD),
    ("perf_training", "Training", Role.VIEWER),
    ("perf_card", "Card", Role.VIEWER),
)
"""Module in `cxr_core.ui` with `draw(service, actor, chosen)`, the tab's title, the least role.

A module is imported when its tab is first opened: what measures is heavy.
"""


def show(service: Service, actor: Actor) -> None:
    """Show the page; what cannot be read is said."""
    st.html(f'<style>{_CSS}</style><div class="wl-head"><h1>Performance</h1></div>')
    _show(service, actor)


@st.fragment
def _show(service: Service, actor: Actor) -> None:
    with st.container(key="perf"):
        try:
            chosen = perf_head.choose(service, actor)
        except CxrError as exc:
            services.say(exc)
            return
        if chosen is None:
            return
        tabs = [each for each in TABS if actor.role.covers(each[2])]
        opened = st.tabs([title for _, title, _ in tabs], key="perf-tab", on_change="rerun")
        for tab, (module, _, _) in zip(opened, tabs, strict=True):
            if tab.open:
                with tab, services.plainly():
                    import_module(f"cxr_core.ui.{module}").draw(service, actor, chosen)
