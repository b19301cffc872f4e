"""ROC and precision–recall curves side by side; hovering shows the threshold. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure

from cxr_core.evaluation import metrics
from cxr_core.evaluation.bootstrap import drawn, roc_limits
from cxr_core.evaluation.measure import is_enough
from cxr_core.evaluation.metrics import Curve
from cxr_core.evaluation.scored import Scored
from cxr_core.ui.models_curves import LOOKS
from cxr_core.ui.perf_numbers import MOST_POINTS, Numbers, findings_of, named
from cxr_core.ui.plots import look

DASHES = ("solid", "dash", "dot", "dashdot")
"""Models are told apart by dashes, findings by colour and marker."""
MICRO = "all findings (micro)"
WHITE = "#FFFFFF"

RESAMPLES = 500
"""Of patients, for the band."""
BAND_AT = np.linspace(0, 1, 101)
"""Shares of false alarms at which it is computed."""

Band = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Lowest and highest sensitivity at each of BAND_AT."""
Two = tuple[Curve, Curve]
Trace = dict[str, Any]
PLACES: tuple[Trace, ...] = ({}, {"xaxis": "x2", "yaxis": "y2"})
"""Left, right."""


def curves_of(scored: Scored, label: str) -> Two:
    """Return both curves of a label, thin enough to draw."""
    scores, truth = scored.column(label)
    return _thin(metrics.roc(scores, truth)), _thin(_begun(metrics.precision_recall(scores, truth)))


def micro_of(scored: Scored) -> Two:
    """Return both curves of all findings' answers as one."""
    scores, truth = metrics.micro(*findings_of(scored))
    return _thin(metrics.roc(scores, truth)), _thin(_begun(metrics.precision_recall(scores, truth)))


def band_of(scored: Scored, label: str) -> Band | None:
    """Return the band of a label's ROC curve, patients drawn anew; None where there is not enough data."""
    place = scored.labels.index(label)
    scores, truth = scored.probabilities[:, place], scored.truth[:, place]
    if not is_enough(truth, scored.patients):
        return None
    low, high = roc_limits(scores, truth, drawn(scored.patients, resamples=RESAMPLES), BAND_AT)
    return None if np.isnan(low).any() else (low, high)


def _thin(curve: Curve) -> Curve:
    return curve.thinned(MOST_POINTS)


def _begun(curve: Curve) -> Curve:
    """Return a precision–recall curve from the first film found: before, precision is a convention."""
    found = curve.x > 0
    return Curve(curve.x[found], curve.y[found], curve.thresholds[found])


def figure(
    models: Sequence[tuple[Scored, dict[str, Two], Two | None]],
    labels: Sequence[str],
    band: Band | None = None,
) -> Figure:
    """Return ROC beside precision–recall.

    Args:
        models: each with its curves by label and those of all findings; the first is the one looked at.
        labels: drawn, each in its own colour and marker.
        band: of the first label's ROC curve, where there is one.
    """
    diagonal = {"color": "#6B7681", "width": 1}
    lines: list[Trace] = [
        {
            "x": [0, 1],
            "y": [0, 1],
            "mode": "lines",
            "line": diagonal,
            "showlegend": False,
            "hoverinfo": "skip",
        }
    ]
    if band is not None:
        lines += _banded(labels[0], band)
    for place, (scored, curves, micro) in enumerate(models):
        whose = f" · {scored.manifest.id}" if len(models) > 1 else ""
        for nth, label in enumerate(labels):
            if label not in curves:
                continue
            colour, symbol = LOOKS[nth % len(LOOKS)]
            lines += _two(curves[label], named(label) + whose, colour, symbol, DASHES[place])
            if place == 0:
                lines += _point(scored, label, named(label) + whose, colour, symbol)
        if micro is not None:
            lines += _two(micro, MICRO + whose, WHITE, None, "dash" if place == 0 else DASHES[place])
    # One dictionary: plotly takes ten times as long to be told the same step by step.
    return Figure(data=[{"type": "scatter", **line} for line in lines], layout=_layout())


def _layout() -> Trace:
    return {
        **look(),
        "margin": {"l": 52, "r": 14, "t": 34, "b": 40},
        "xaxis": _axis("1 − specificity", domain=[0, 0.445], anchor="y"),
        "yaxis": _axis("sensitivity", anchor="x"),
        "xaxis2": _axis("recall", domain=[0.555, 1], anchor="y2"),
        "yaxis2": _axis("precision", anchor="x2"),
        "annotations": [
            {"text": text, "x": x, "y": 1.0, "xref": "paper", "yref": "paper", "xanchor": "left",
             "yanchor": "bottom", "yshift": 6, "showarrow": False, "font": {"size": 14}}
            for text, x in (("ROC", 0.0), ("Precision–recall", 0.555))
        ],
        "legend": {"orientation": "h", "y": -0.2, "itemsizing": "constant", "font": {"size": 12}},
    }  # fmt: skip


def _axis(title: str, **more: object) -> Trace:
    return {
        "title": {"text": title, "standoff": 6},
        "range": [-0.02, 1.02],
        "gridcolor": "#222B34",
        "zeroline": False,
        "tickformat": ".1f",
        **more,
    }


def said(scored: Scored, found: Numbers, labels: Sequence[str]) -> str:
    """Return what the curves show in one sentence, for who does not see them."""
    areas = ", ".join(f"{named(each)} {found.row(each).auc.value:.2f}" for each in labels)
    return (
        f"ROC and precision–recall curves of {scored.model} on {scored.split}. Area under the ROC curve: "
        f"{areas or 'no finding chosen'}; all findings together {found.micro_auc.value:.2f}."
    )


def _two(two: Two, name: str, colour: str, symbol: str | None, dash: str) -> list[Trace]:
    """Return a label's line in both plots; one entry in the legend for both."""
    kinds = (("1 − specificity", "sensitivity"), ("recall", "precision"))
    return [
        {
            **PLACES[place],
            "x": curve.x,
            "y": curve.y,
            "customdata": curve.thresholds,
            "name": escape(name),
            "legendgroup": name,
            "showlegend": place == 0,
            "mode": "lines+markers" if symbol else "lines",
            "line": {"color": colour, "width": 2 if symbol else 2.4, "dash": dash},
            "marker": {"symbol": symbol or "circle", "size": 6, "maxdisplayed": 7},
            "hovertemplate": f"threshold %{{customdata:.4f}}<br>{across} %{{x:.3f}}, {up} %{{y:.3f}}",
        }
        for place, (curve, (across, up)) in enumerate(zip(two, kinds, strict=True))
    ]


def _banded(label: str, band: Band) -> list[Trace]:
    """Return the area between the limits, in the label's colour."""
    colour = LOOKS[0][0]
    edge = {"mode": "lines", "line": {"width": 0, "color": colour}, "hoverinfo": "skip"}
    fill = f"rgba({int(colour[1:3], 16)}, {int(colour[3:5], 16)}, {int(colour[5:], 16)}, 0.22)"
    name = f"{named(label)}: 95 % band"
    return [
        {**edge, "x": BAND_AT, "y": band[0], "showlegend": False, "legendgroup": name},
        {**edge, "x": BAND_AT, "y": band[1], "fill": "tonexty", "fillcolor": fill, "name": name,
         "legendgroup": name},
    ]  # fmt: skip


def _point(scored: Scored, label: str, name: str, colour: str, symbol: str) -> list[Trace]:
    """Return where the model's threshold lies, if it can be reached."""
    threshold = scored.rules.thresholds[scored.labels.index(label)]
    if threshold > 1:
        return []
    at = metrics.confusion(*scored.column(label), threshold)
    points = ((1 - at.specificity, at.sensitivity), (at.sensitivity, at.ppv))
    marker = {"symbol": symbol, "size": 12, "color": colour, "line": {"color": WHITE, "width": 1.5}}
    return [
        {
            **PLACES[place],
            "x": [x],
            "y": [y],
            "name": f"{named(label)}: the model's threshold",
            "legendgroup": name,
            "showlegend": False,
            "mode": "markers",
            "marker": marker,
            "hovertemplate": f"the model's threshold, {threshold:.4f}<br>%{{x:.3f}}, %{{y:.3f}}",
        }
        for place, (x, y) in enumerate(points)
    ]
