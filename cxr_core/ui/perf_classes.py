"""What is mistaken for what; of models with one label or exclusive classes also their own confusion."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from plotly.graph_objects import Figure

from cxr_core.access import Actor
from cxr_core.evaluation import metrics
from cxr_core.inference.manifest import Task
from cxr_core.ui import perf_curves, plots
from cxr_core.ui.perf_choice import Chosen, kept
from cxr_core.ui.perf_numbers import named, numbers, usable
from cxr_core.ui.perf_tables import Table, with_csv
from cxr_core.ui.plots import blank
from cxr_core.worklist.service import Service

NEVER = (
    "A film is never called by its largest probability: every finding is called by its own threshold, and a "
    "film may have several. This table only shows what looks alike to the model."
)


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the confusion that fits the model's task."""
    scored = chosen.scored
    task = scored.manifest.model.task
    if task is Task.BINARY:
        _binary(chosen)
        return
    if task is Task.MULTICLASS:
        _curves(chosen)
    names, matrix = kept(
        chosen,
        "single",
        lambda: metrics.single_label_confusion(scored.probabilities, scored.truth, scored.labels),
    )
    films = int(matrix.sum())
    if not films:
        st.html('<div class="empty">No film here has exactly one finding.</div>')
        return
    if task is Task.MULTICLASS:
        right = int(np.trace(matrix))
        head = f"{films:,} films, each of exactly one class; {right:,} have it as the largest probability."
        st.caption(f"{head} The classes exclude one another, so here the largest probability is the answer.")
    else:
        st.caption(f"{films:,} films with exactly one finding. {NEVER}")
    kept_rows = [k for k in range(len(names)) if matrix[k].sum()]
    plots.with_downloads(
        figure(names, matrix, kept_rows),
        "perf-single",
        said(names, matrix),
        f"confusion-{chosen.model.id}-{chosen.split}",
        140 + 32 * len(kept_rows),
    )
    rows = tuple((names[k], *(int(n) for n in matrix[k])) for k in range(len(names)))
    table = Table("Confusion", ("films with", *names), rows)
    with_csv(table, f"{chosen.model.id}-{chosen.split}-confusion", "perf-single")


def figure(names: Sequence[str], matrix: NDArray[np.int64], rows: Sequence[int]) -> Figure:
    """Return films as shares of their row, with counts: what they have against what looks likeliest."""
    counts = matrix[list(rows)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    plot = blank("")
    plot.add_heatmap(
        z=shares,
        x=[named(name) for name in names],
        y=[f"{named(names[k])} (n = {matrix[k].sum():,})" for k in rows],
        text=counts,
        texttemplate="%{text}",
        colorscale=[[0, "#11161B"], [0.25, "#1D4E6E"], [0.6, "#56B4E9"], [1, "#E6F5FF"]],
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "share of row"}, "thickness": 10, "tickformat": ".0%"},
        hovertemplate="has %{y}<br>largest probability: %{x}<br>%{text} films, %{z:.0%}<extra></extra>",
    )
    plot.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    plot.update_xaxes(title="largest probability", showgrid=False, tickangle=-35, automargin=True)
    plot.update_layout(margin={"l": 10, "r": 10, "t": 20, "b": 10}, showlegend=False)
    return plot


def said(names: Sequence[str], matrix: NDArray[np.int64]) -> str:
    """Return for each finding how often it is likeliest where it is the only one, and what is instead."""
    parts = []
    for k, name in enumerate(names):
        if not matrix[k].sum():
            continue
        most = int(matrix[k].argmax())
        parts.append(f"{named(name)} {matrix[k, k]} of {matrix[k].sum()}, most often {named(names[most])}")
    return f"Films with one finding and the likeliest finding of each: {'; '.join(parts)}."


def _curves(chosen: Chosen) -> None:
    scored = chosen.scored
    labels = list(usable(scored))[:8]
    curves = {
        label: kept(chosen, f"curves  {label}", partial(perf_curves.curves_of, scored, label))
        for label in labels
    }
    plots.with_downloads(
        perf_curves.figure([(scored, curves, None)], labels),
        "perf-class-curves",
        perf_curves.said(scored, numbers(chosen), labels),
        f"curves-{chosen.model.id}-{chosen.split}",
        360,
    )


def _binary(chosen: Chosen) -> None:
    scored = chosen.scored
    (label,) = scored.labels
    left, right = st.columns((1.6, 1), gap="small")
    with left:
        _curves(chosen)
    with right:
        counts = metrics.confusion(*scored.column(label), scored.rules.thresholds[0])
        matrix = np.array([[counts.tp, counts.fn], [counts.fp, counts.tn]])
        plots.with_downloads(
            binary_figure(label, matrix),
            "perf-binary",
            f"At its threshold: {counts.tp} found, {counts.fn} missed, {counts.fp} called without the "
            f"finding, {counts.tn} passed without it.",
            f"confusion-{chosen.model.id}-{chosen.split}",
            330,
        )
    table = Table(
        "Confusion",
        ("films", "called", "passed"),
        (("with", counts.tp, counts.fn), ("without", counts.fp, counts.tn)),
    )
    with_csv(table, f"{chosen.model.id}-{chosen.split}-confusion", "perf-binary")


def binary_figure(label: str, matrix: NDArray[np.int64]) -> Figure:
    """Return called and passed among films with and without the one label."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    plot = blank(f"{named(label)} at the model's threshold")
    plot.add_heatmap(
        z=shares,
        x=["called", "passed"],
        y=["with it", "without"],
        text=matrix,
        texttemplate="%{text}",
        colorscale=[[0, "#11161B"], [0.25, "#1D4E6E"], [0.6, "#56B4E9"], [1, "#E6F5FF"]],
        zmin=0,
        zmax=1,
        showscale=False,
        hovertemplate="%{y}, %{x}: %{text} films, %{z:.0%}<extra></extra>",
    )
    plot.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    plot.update_xaxes(showgrid=False)
    plot.update_layout(showlegend=False)
    return plot
