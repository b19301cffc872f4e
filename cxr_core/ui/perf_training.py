"""How the model was trained, and those beside it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from cxr_core.access import Actor
from cxr_core.ui import literal, models_curves, plots
from cxr_core.ui.perf_choice import Chosen
from cxr_core.worklist.model_folders import Curve
from cxr_core.worklist.service import Service


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show loss, and what the model was judged by, by epoch."""
    curves = service.training_curves(actor, [each.id for each in (chosen.model, *chosen.others)])
    if not curves:
        st.html('<div class="empty">This model does not say how it was trained.</div>')
        return
    lay(curves, f"perf-training-{chosen.model.id}")


def lay(curves: Sequence[Curve], key: str) -> None:
    """Draw the loss, and what models were judged by, two plots beside one another."""
    said = models_curves.said(curves)
    figures = [models_curves.loss_figure(curves)]
    figures += [models_curves.judged_figure(curves, each) for each in models_curves.judges(curves)]
    columns = st.columns(2)
    for place, figure in enumerate(figures):
        with columns[place % 2]:
            plots.with_downloads(figure, f"{key}-{place}", said, f"training-{place + 1}", 380)
    literal.caption(f"{said}. A model of several members has a line for each.")
