"""How well the model does, on one screen."""

from __future__ import annotations

import streamlit as st

from cxr_core.access import Actor
from cxr_core.ui.perf_choice import Chosen
from cxr_core.worklist.service import Service


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the overview."""
    st.text(f"{len(chosen.scored.table)} films")
