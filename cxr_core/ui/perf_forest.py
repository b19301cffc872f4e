"""Areas under the ROC curve with their intervals, a finding a line; others on the same films beside. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plotly.graph_objects import Figure

from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.metrics import NAIVE_AUC
from cxr_core.ui.models_curves import LOOKS
from cxr_core.ui.perf_numbers import Numbers, named
from cxr_core.ui.plots import blank

GREY = "#C3CAD1"
PUBLISHED = ("circle-open", "square-open", "triangle-up-open", "diamond-open", "x-thin-open", "star-open")
NAIVE = "#E69F00"


@dataclass(frozen=True, slots=True)
class Beside:
    """Somebody else's areas.

    Attributes:
        name: for the legend.
        areas: label → area, with limits where there are any.
        note: said on hovering.
    """

    name: str
    areas: Mapping[str, Interval]
    note: str = ""


def figure(
    name: str,
    found: Numbers,
    others: Sequence[Beside] = (),
    reference: Beside | None = None,
    published: Sequence[Beside] = (),
    same: Beside | None = None,
) -> Figure:
    """Return the forest plot: labels from the largest area down, those with too few films last.

    Args:
        name: of the model looked at.
        found: its figures.
        others: models laid over it.
        reference: another model on some of the films.
        published: figures on other films.
        same: the model looked at on the reference's films.
    """
    enough = sorted((row for row in found.rows if not row.few), key=lambda row: -row.auc.value)
    few = [row for row in found.rows if row.few]
    rows = [*enough, *few]
    places = {row.label: len(rows) - 1 - nth for nth, row in enumerate(rows)}
    plot = blank("")
    plot.add_scatter(
        x=[NAIVE_AUC, NAIVE_AUC],
        y=[-0.5, len(rows) - 0.5],
        mode="lines",
        name=f"always the same answer: {NAIVE_AUC:g}",
        line={"color": NAIVE, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )
    shown = [Beside(name, {row.label: row.auc for row in enough}), *others]
    step = 0.0 if len(shown) == 1 else 0.56 / (len(shown) - 1)
    for nth, beside in enumerate(shown):
        colour, symbol = LOOKS[nth]
        shift = 0.28 - step * nth if len(shown) > 1 else 0.0
        _points(plot, beside, places, shift, colour, symbol if nth else "circle")
    if reference is not None:
        _points(plot, reference, places, -0.26, GREY, "diamond", bars=False)
    if same is not None:
        _points(plot, same, places, -0.26, LOOKS[0][0], "circle-open", bars=False)
    for nth, beside in enumerate(published):
        _points(plot, beside, places, -0.22, "#98A2AD", PUBLISHED[nth % len(PUBLISHED)], bars=False)
    for row in few:
        plot.add_annotation(
            x=0.53,
            y=places[row.label],
            text=row.why,
            showarrow=False,
            xanchor="left",
            font={"color": "#98A2AD"},
        )
    values = [each for beside in shown for its in beside.areas.values() for each in (its.value, its.low)]
    least = min([NAIVE_AUC, *(each for each in values if not math.isnan(each))])
    plot.update_xaxes(range=[max(0.0, least - 0.03), 1.01], dtick=0.1, tickformat=".1f", zeroline=False)
    plot.update_yaxes(
        tickmode="array",
        tickvals=list(places.values()),
        ticktext=[named(label) for label in places],
        range=[-0.6, len(rows) - 0.4],
        showgrid=False,
        zeroline=False,
    )
    plot.update_layout(
        title={"text": "AUC by finding", "font": {"size": 14}},
        margin={"l": 118, "r": 12, "t": 34, "b": 30},
        legend={"y": -0.06, "itemsizing": "constant", "font": {"size": 12}},
    )
    return plot


def said(name: str, found: Numbers) -> str:
    """Return what the plot shows in words, for who does not see it."""
    parts = []
    for row in found.rows:
        limits = "" if math.isnan(row.auc.low) else f" ({row.auc.low:.2f} to {row.auc.high:.2f})"
        parts.append(f"{named(row.label)} {row.why if row.few else f'{row.auc.value:.2f}{limits}'}")
    return f"Area under the ROC curve of {name} by finding: {'; '.join(parts)}."


def _points(
    plot: Figure,
    beside: Beside,
    places: Mapping[str, int],
    shift: float,
    colour: str,
    symbol: str,
    *,
    bars: bool = True,
) -> None:
    """Add one model's points; where limits are known, with bars."""
    drawn = {
        label: its for label, its in beside.areas.items() if label in places and not math.isnan(its.value)
    }
    limits = [
        ("" if math.isnan(its.low) else f" ({its.low:.3f} to {its.high:.3f})") for its in drawn.values()
    ]
    error = {
        "type": "data",
        "symmetric": False,
        "array": [0.0 if math.isnan(its.high) else its.high - its.value for its in drawn.values()],
        "arrayminus": [0.0 if math.isnan(its.low) else its.value - its.low for its in drawn.values()],
        "color": colour,
        "thickness": 2,
        "width": 0,
    }
    plot.add_scatter(
        name=beside.name,
        x=[its.value for its in drawn.values()],
        y=[places[label] + shift for label in drawn],
        customdata=[
            f"{named(label)}: {its.value:.3f}{limit}"
            for (label, its), limit in zip(drawn.items(), limits, strict=True)
        ],
        mode="markers",
        marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1.5, "color": colour}},
        error_x=error if bars else None,
        hovertemplate=f"%{{customdata}}<br>{beside.note}",
    )
