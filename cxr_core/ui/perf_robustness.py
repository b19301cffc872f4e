"""What noise, blur, tilts, cuts and writing do to the model's answers, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st
from plotly.graph_objects import Figure

from cxr_core.access import Actor
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.changes import CHANGES
from cxr_core.evaluation.robustness import ALL, Effect
from cxr_core.ui import plots
from cxr_core.ui.models_curves import LOOKS
from cxr_core.ui.perf_choice import Chosen
from cxr_core.ui.perf_numbers import named
from cxr_core.ui.perf_tables import NONE, Table, percent, show
from cxr_core.ui.plots import look
from cxr_core.worklist.service import Service

FINDING = "perf-robustness-finding"
FEW = "not enough data"
BLUE, HELD, MOVED = LOOKS[0][0], "#8A949F", LOOKS[1][0]
"""The last two of intervals that hold 0, and of those that leave it out."""


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show each change's effect on the mean, or on one finding."""
    found = service.evidence(actor, chosen.model.id).robustness
    if not found:
        st.html(
            '<div class="empty"><b>What changed films do to this model was not measured.</b><br>'
            "Nothing says how far its answers hold on films that are noisy, blurred, tilted or cut.</div>"
        )
        return
    labels = list(dict.fromkeys(each.label for each in found))
    if st.session_state.get(FINDING) not in labels:
        st.session_state[FINDING] = ALL
    label = st.selectbox("Finding", labels, key=FINDING, format_func=_named, width=230)
    rows = [each for each in found if each.label == label]
    st.caption(_about(rows[0]))
    stem = f"robustness-{chosen.model.id}-{label or 'all'}"
    plots.with_downloads(figure(rows), "perf-robustness", said(rows), stem, 130 + 23 * len(rows))
    show(table(rows), stem, "perf-robustness", digits=3)


def _named(label: str) -> str:
    return "All findings" if label == ALL else named(label)


def _about(row: Effect) -> str:
    mean = f"mean of {row.with_it} finding{'s' * (row.with_it != 1)}, " if row.label == ALL else ""
    return (
        f"{row.films:,} films of val, {row.patients:,} patients; each film was changed one way at a time and "
        f"sent like any other, the gate included. AUC: {mean}of films answered both times, the same patients "
        "drawn for both; orange where the 95 % interval leaves out 0. A film refused when changed is not "
        "flagged, and its state differs. No film of test was looked at."
    )


def figure(rows: Sequence[Effect]) -> Figure:
    """Return two panels of dots: change of AUC, and the share of films of which something else is said."""
    names = [name_of(each.change) for each in rows]
    other = "state differs" if rows[0].label == ALL else "call differs"
    losses = [each.loss for each in rows]
    colours = [MOVED if each.low > 0 or each.high < 0 else HELD for each in losses]
    altered = [each.altered for each in rows]
    lines = [
        _dots(losses, names, ("change of AUC", "x", "+.3f"), colours),
        _dots(altered, names, (f"films whose {other}", "x2", ".0%"), [BLUE] * len(rows)),
    ]
    grid = {"gridcolor": "#222B34", "zeroline": False, "side": "top"}
    ends = [v for each in losses for v in (each.low, each.high) if not math.isnan(v)]
    reach = [1.06 * min([-0.02, *ends]), 1.06 * max([0.02, *ends])]
    top = max([0.02, *(each.high for each in altered)])
    layout = {
        **look(""),
        "xaxis": {**grid, "domain": [0, 0.6], "range": reach, "title": {"text": "change of AUC"}},
        "xaxis2": {
            **grid,
            "domain": [0.65, 1],
            "range": [-0.02 * top, min(1.05 * top, 1.02)],
            "tickformat": ".0%",
            "title": {"text": f"films whose {other}"},
        },
        "yaxis": {"showgrid": True, "gridcolor": "#1A222A", "autorange": "reversed", "automargin": True,
                  "type": "category", "categoryarray": names},
        "shapes": [{"type": "line", "xref": "x", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1,
                    "line": {"color": "#98A2AD", "width": 1.2, "dash": "dash"}}],
        "showlegend": False,
        "margin": {"l": 60, "r": 16, "t": 66, "b": 12},
    }  # fmt: skip
    return Figure(data=lines, layout=layout)


def _dots(
    values: Sequence[Interval], names: Sequence[str], about: tuple[str, str, str], colours: Sequence[str]
) -> dict[str, Any]:
    """Return dots with whiskers; `about`: what they are, their axis, the form of a number."""
    what, axis, form = about
    whiskers = {
        "type": "data",
        "symmetric": False,
        "array": [_length(each.high - each.value) for each in values],
        "arrayminus": [_length(each.value - each.low) for each in values],
        "color": "#7C8792",
        "thickness": 1.6,
        "width": 0,
    }
    return {
        "type": "scatter",
        "name": what,
        "x": [None if math.isnan(each.value) else each.value for each in values],
        "y": list(names),
        "xaxis": axis,
        "error_x": whiskers,
        "mode": "markers",
        "marker": {"size": 9, "color": list(colours)},
        "customdata": [[each.low, each.high] for each in values],
        "hovertemplate": f"%{{y}}<br>{what}: %{{x:{form}}} "
        f"(%{{customdata[0]:{form}}} to %{{customdata[1]:{form}}})<extra></extra>",
    }


def table(rows: Sequence[Effect]) -> Table:
    """Return the same in figures, the films as they are first; of all findings also what the gate did."""
    first, whole = max(rows, key=lambda each: each.answered), rows[0].label == ALL
    heads: tuple[str, ...] = (
        "change",
        "AUC",
        "change of AUC",
        "flagged" if whole else "called",
        "difference",
    )
    heads += ("state differs", "gate warned or refused", "refused") if whole else ("call differs",)
    start: tuple[object, ...] = ("as it is", _area(first.auc), "", _share(first.called), "", "")
    body = [(*start, _share(first.stopped), "") if whole else start]
    for each in rows:
        cells: tuple[object, ...] = (
            name_of(each.change),
            _area(each.auc + each.loss.value),
            signed(each.loss),
            _share(each.called_changed),
            points(each.more),
            percent(each.altered),
        )
        body.append((*cells, _share(each.stopped_changed), _share(each.refused)) if whole else cells)
    return Table("Changed films", heads, tuple(body))


def said(rows: Sequence[Effect]) -> str:
    """Return what the plot shows in words, for who does not see it."""
    parts = "; ".join(
        f"{name_of(each.change)} {signed(each.loss) or FEW}, differs {percent(each.altered)}" for each in rows
    )
    return f"What changed films do to the AUC, and of how many films something else is said: {parts}."


def name_of(change: str) -> str:
    """Return a change for people."""
    return _NAMES.get(change, change.replace("_", " "))


_NAMES = {each.id: f"{each.kind}: {each.strength}" for each in CHANGES}


def signed(value: Interval) -> str:
    """Return a difference of areas with its limits and signs; empty where there is none."""
    if math.isnan(value.value):
        return ""
    one, low, high = (f"{each:+.3f}".replace("-", "−") for each in (value.value, value.low, value.high))
    return f"{one} ({low} to {high})"


def points(value: Interval) -> str:
    """Return a difference of shares in percentage points."""
    if math.isnan(value.value):
        return NONE
    one, low, high = (f"{100 * each:+.1f}".replace("-", "−") for each in (value.value, value.low, value.high))
    return f"{one} ({low} to {high})"


def _area(value: float) -> str | float:
    return FEW if math.isnan(value) else value


def _share(value: float) -> str:
    return NONE if math.isnan(value) else f"{100 * value:.1f} %"


def _length(value: float) -> float:
    return 0.0 if math.isnan(value) else max(0.0, value)
