"""How often a heatmap's peak lay where a radiologist drew the finding."""

from __future__ import annotations

import streamlit as st
from plotly.graph_objects import Figure

from cxr_core.access import Actor
from cxr_core.evaluation.localise import LEAST_BOXES, HitRate
from cxr_core.ui import plots
from cxr_core.ui.models_curves import LOOKS
from cxr_core.ui.perf_choice import Chosen
from cxr_core.ui.perf_numbers import named
from cxr_core.ui.perf_tables import Table, show
from cxr_core.ui.plots import look
from cxr_core.worklist.service import Service

NOT_MEASURED = "not measured"
MEANS = (
    "A heatmap shows where the model looked, not where disease is. Hit: the peak lies inside the box that a "
    "radiologist drew (pointing game). Chance: the mean share of the film inside the boxes, which points "
    "thrown at random would hit. IoU: overlap of the outer contour with the box. Below "
    f"{LEAST_BOXES} boxes nothing is said."
)


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the hit rate of each finding with its interval and chance beside it."""
    with st.spinner("Counting on these films"):
        hits = service.evidence(actor, chosen.model.id).hits
    if not hits:
        st.html('<div class="empty">Where this model looks was not measured: it came without boxes.</div>')
        return
    shown = {name: rate for name, rate in hits.items() if rate.measured}
    if shown:
        plots.with_downloads(
            figure(shown), "perf-hits", said(hits), f"heatmaps-{chosen.model.id}", 150 + 34 * len(shown)
        )
    st.caption(MEANS)
    if any(rate.learned for rate in hits.values()):
        st.caption("Marked *: films of train are among them, because there are too few others.")
    rows = tuple(_row(name, rate) for name, rate in hits.items())
    heads = ("finding", "boxes", "patients", "hits", "hit rate", "chance", "IoU", "no region stood out")
    show(Table("Heatmap hits", heads, rows), f"{chosen.model.id}-heatmaps", "perf-hits", digits=2)


def figure(hits: dict[str, HitRate]) -> Figure:
    """Return hit rates with whiskers, and the chance level of each finding."""
    names = [_name(name, rate) for name, rate in hits.items()]
    colour = LOOKS[0][0]
    whiskers = {
        "type": "data",
        "symmetric": False,
        "array": [rate.hit.high - rate.hit.value for rate in hits.values()],
        "arrayminus": [rate.hit.value - rate.hit.low for rate in hits.values()],
        "color": colour,
        "thickness": 2,
        "width": 0,
    }
    lines = [
        {
            "type": "scatter",
            "name": "hit rate",
            "x": [rate.hit.value for rate in hits.values()],
            "y": names,
            "error_x": whiskers,
            "mode": "markers",
            "marker": {"size": 10, "color": colour},
            "customdata": [[rate.hits, rate.n, rate.hit.low, rate.hit.high] for rate in hits.values()],
            "hovertemplate": "%{y}: %{x:.0%} (%{customdata[2]:.0%} to %{customdata[3]:.0%}), "
            "%{customdata[0]} of %{customdata[1]} boxes<extra></extra>",
        },
        {
            "type": "scatter",
            "name": "chance",
            "x": [rate.chance for rate in hits.values()],
            "y": names,
            "mode": "markers",
            "marker": {"symbol": "line-ns-open", "size": 16, "color": LOOKS[1][0], "line": {"width": 3}},
            "hovertemplate": "%{y}: %{x:.0%} by chance<extra></extra>",
        },
    ]
    layout = {
        **look("Heatmap's peak inside the radiologist's box"),
        "xaxis": {"gridcolor": "#222B34", "tickformat": ".0%", "range": [-0.02, 1.02], "zeroline": False},
        "yaxis": {"showgrid": False, "autorange": "reversed", "automargin": True},
    }
    return Figure(data=lines, layout=layout)


def said(hits: dict[str, HitRate]) -> str:
    """Return the rates in words, for who does not see the plot."""
    parts = [
        f"{named(name)} {rate.hits} of {rate.n}, {rate.chance:.0%} by chance"
        if rate.measured
        else f"{named(name)} {NOT_MEASURED} ({rate.n} boxes)"
        for name, rate in hits.items()
    ]
    return f"How often the heatmap's peak lay inside the radiologist's box: {'; '.join(parts)}."


def _name(name: str, rate: HitRate) -> str:
    return f"{named(name)}{' *' if rate.learned else ''} (n = {rate.n})"


def _row(name: str, rate: HitRate) -> tuple[object, ...]:
    label = f"{named(name)}{' *' if rate.learned else ''}"
    if not rate.measured:
        return label, rate.n, rate.patients, rate.hits, NOT_MEASURED, "", "", rate.empty
    return label, rate.n, rate.patients, rate.hits, rate.hit, rate.chance, rate.iou, rate.empty
