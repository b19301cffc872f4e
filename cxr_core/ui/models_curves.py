"""Training curves of several models over one another: told apart by colour, marker and dash. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from plotly.graph_objects import Figure

from cxr_core.ui.plots import blank
from cxr_core.worklist.model_folders import Curve

LOOKS = (
    ("#56B4E9", "circle"),
    ("#E69F00", "diamond"),
    ("#009E73", "square"),
    ("#F0E442", "triangle-up"),
    ("#CC79A7", "x"),
    ("#D55E00", "cross"),
    ("#E6E9ED", "star"),
    ("#8A949F", "hexagon"),
)
"""Colours of Okabe and Ito that show on a dark ground, each with a marker of its own."""


def loss_figure(curves: Sequence[Curve]) -> Figure:
    """Return the loss by epoch: on films held back as a line, on those learned from dashed."""
    figure = blank("Loss by epoch")
    for curve, first, colour, symbol in _looks(curves):
        _line(figure, curve, curve.train_loss, "learned from", colour, symbol, first=first, dashed=True)
        _line(figure, curve, curve.val_loss, "held back", colour, symbol, first=first)
    figure.update_yaxes(title="loss")
    return _of_epochs(figure)


def judged_figure(curves: Sequence[Curve], judged_by: str) -> Figure:
    """Return by epoch the figure on held-back films that these models were judged by."""
    figure = blank(f"{_words(judged_by)} on held-back films, by epoch")
    for curve, first, colour, symbol in _looks(curves):
        if _kind(curve) == judged_by:
            _line(figure, curve, curve.judged, "", colour, symbol, first=first)
    figure.update_yaxes(title=_words(judged_by))
    return _of_epochs(figure)


def judges(curves: Sequence[Curve]) -> tuple[str, ...]:
    """Return by what figures these were judged, each once, where any epoch has one."""
    found = (_kind(each) for each in curves if any(value is not None for value in each.judged))
    return tuple(dict.fromkeys(found))


def _kind(curve: Curve) -> str:
    """Return what a model was judged by; the mean over labels and the figure of the only one are one kind."""
    return curve.judged_by.removeprefix("mean_")


def said(curves: Sequence[Curve]) -> str:
    """Return what the plots show in one sentence, for who does not see them."""
    models = dict.fromkeys(each.model for each in curves)
    parts = []
    for model in models:
        its = [each for each in curves if each.model == model]
        members = f"{len(its)} member{'s' if len(its) > 1 else ''}"
        parts.append(f"{model}: {members}, up to epoch {max(each.epochs[-1] for each in its)}")
    return "; ".join(parts)


def _looks(curves: Sequence[Curve]) -> list[tuple[Curve, bool, str, str]]:
    """Return each curve, whether it is its model's first, and its model's colour and marker."""
    models = list(dict.fromkeys(each.model for each in curves))
    seen: set[str] = set()
    found = []
    for curve in curves:
        colour, symbol = LOOKS[models.index(curve.model) % len(LOOKS)]
        found.append((curve, curve.model not in seen, colour, symbol))
        seen.add(curve.model)
    return found


def _line(
    figure: Figure,
    curve: Curve,
    values: Sequence[float | None],
    what: str,
    colour: str,
    symbol: str,
    *,
    first: bool,
    dashed: bool = False,
) -> None:
    """Add a line; a model of several members has one entry in the legend for all of them."""
    if all(value is None for value in values):
        return
    name = f"{curve.model}, {what}" if what else curve.model
    figure.add_scatter(
        name=escape(name),
        legendgroup=name,
        showlegend=first,
        x=curve.epochs,
        y=list(values),
        mode="lines+markers",
        connectgaps=True,
        line={"color": colour, "width": 1.5, "dash": "dot" if dashed else "solid"},
        marker={"symbol": f"{symbol}-open" if dashed else symbol, "size": 5 if dashed else 7},
        hovertemplate=f"epoch %{{x}}: %{{y:.4f}}<br>member {escape(str(curve.member))}",
    )


def _of_epochs(figure: Figure) -> Figure:
    figure.update_xaxes(title="epoch", tickformat=",d", rangemode="tozero")
    figure.update_layout(legend={"y": -0.22, "itemsizing": "constant"})
    return figure


def _words(judged_by: str) -> str:
    """Return a figure's name as people write it: `recall_precision` is "Recall precision"."""
    known = {"auc": "AUC", "ap": "AP", "": "Figure"}
    return escape(known.get(judged_by, judged_by.replace("_", " ").capitalize()))
