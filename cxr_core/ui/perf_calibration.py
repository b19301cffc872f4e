"""Whether of films with a probability of 30 % three in ten have the finding."""

from __future__ import annotations

from typing import Any

import streamlit as st
from plotly.graph_objects import Figure

from cxr_core.access import Actor
from cxr_core.evaluation import metrics
from cxr_core.evaluation.metrics import Bin
from cxr_core.ui import plots
from cxr_core.ui.models_curves import LOOKS
from cxr_core.ui.perf_choice import Chosen, kept
from cxr_core.ui.perf_numbers import named, numbers
from cxr_core.ui.perf_tables import Table, show
from cxr_core.ui.plots import look
from cxr_core.worklist.service import Service

FINDING = "perf-calibration-finding"


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the reliability diagram of a finding, and ECE and Brier of all."""
    found = numbers(chosen)
    labels = [row.label for row in found.rows if row.films]
    if not labels:
        st.html('<div class="empty">Nothing is known of these films.</div>')
        return
    if st.session_state.get(FINDING) not in labels:
        st.session_state[FINDING] = labels[0] if found.worst is None else found.worst.label
    left, right = st.columns((1.2, 1), gap="small")
    with left:
        label = st.selectbox("Finding", labels, key=FINDING, format_func=named, width=230)
        bins = kept(chosen, f"bins {label}", lambda: metrics.reliability(*chosen.scored.column(label)))
        plots.with_downloads(
            figure(bins, named(label)),
            "perf-reliability",
            said(bins, named(label)),
            f"calibration-{chosen.model.id}-{chosen.split}-{label}",
            470,
        )
        st.caption(
            "Bins hold equally many films, as most probabilities are small; bars are their number, whiskers "
            "95 % Wilson limits of single films. On films of another mix than the model was calibrated on, "
            "points leave the diagonal: see My site."
        )
    with right:
        rows = tuple(
            (named(row.label), row.positives, row.films, row.ece, row.brier)
            if not row.few
            else (named(row.label), row.positives, row.films, row.why, "")
            for row in sorted(found.rows, key=lambda row: (row.few, -row.ece))
        )
        table = Table("ECE and Brier score", ("finding", "with it", "films", "ECE", "Brier"), rows)
        show(table, f"{chosen.model.id}-{chosen.split}-calibration", "perf-calibration")


def figure(bins: tuple[Bin, ...], name: str) -> Figure:
    """Return observed share against mean probability of each bin, the number of films beneath."""
    top = 1.08 * max([0.01, *(max(each.mean, each.high95) for each in bins)])
    top = min(top, 1.02)
    colour = LOOKS[0][0]
    ideal = {"color": "#98A2AD", "width": 1.2, "dash": "dash"}
    whiskers = {
        "type": "data",
        "symmetric": False,
        "array": [each.high95 - each.observed for each in bins],
        "arrayminus": [each.observed - each.low95 for each in bins],
        "color": colour,
        "thickness": 1.6,
        "width": 3,
    }
    lines: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "x": [0, top],
            "y": [0, top],
            "mode": "lines",
            "name": "perfectly calibrated",
            "line": ideal,
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "x": [each.mean for each in bins],
            "y": [each.observed for each in bins],
            "error_y": whiskers,
            "customdata": [[each.n, each.low, each.high, each.low95, each.high95] for each in bins],
            "mode": "lines+markers",
            "name": "films",
            "line": {"color": colour, "width": 1.5},
            "marker": {"size": 8, "color": colour},
            "hovertemplate": "%{customdata[0]:,} films, probability %{customdata[1]:.3f} to "
            "%{customdata[2]:.3f}<br>mean %{x:.3f}, observed %{y:.3f} (%{customdata[3]:.3f} to "
            "%{customdata[4]:.3f})<extra></extra>",
        },
        {
            "type": "bar",
            "x": [each.mean for each in bins],
            "y": [each.n for each in bins],
            "yaxis": "y2",
            "width": [top / 60] * len(bins),
            "marker": {"color": "#5D6B78"},
            "showlegend": False,
            "hovertemplate": "%{y:,} films<extra></extra>",
        },
    ]
    grid = {"gridcolor": "#222B34", "zeroline": False, "range": [-0.01 * top, top]}
    counted = {"gridcolor": "#222B34", "rangemode": "tozero", "nticks": 3, "title": {"text": "films"}}
    layout = {
        **look(f"{name}: observed against predicted"),
        "xaxis": {**grid, "title": {"text": "probability given"}, "anchor": "y2"},
        "yaxis": {**grid, "title": {"text": "share with the finding"}, "domain": [0.24, 1]},
        "yaxis2": {**counted, "domain": [0, 0.18], "anchor": "x"},
        "legend": {"orientation": "h", "y": -0.16},
    }
    return Figure(data=lines, layout=layout)


def said(bins: tuple[Bin, ...], name: str) -> str:
    """Return what the diagram shows in words, for who does not see it."""
    parts = "; ".join(f"given {each.mean:.3f}, observed {each.observed:.3f}, {each.n} films" for each in bins)
    return f"Reliability diagram of {name}, from the lowest probability up. {parts}."
