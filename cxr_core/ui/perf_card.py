"""The model's own card, beside its figures."""

from __future__ import annotations

import streamlit as st

from cxr_core.access import Actor
from cxr_core.ui import models_card, models_table
from cxr_core.ui.perf_choice import Chosen
from cxr_core.worklist.service import Service


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show what the manifest says, then the card."""
    card = service.model_card(actor, chosen.model.id)
    st.html(models_table.facts_html(chosen.model))
    if card.strip():
        st.html(models_card.card_html(card))
    else:
        st.html('<div class="empty">This model has no card: nobody wrote down what it is for.</div>')
