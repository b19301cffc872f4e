"""Groups of films side by side: forest plots on one axis of groups, and heat maps of two facts. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from cxr_core.evaluation.bootstrap import Interval
from cxr_core.ui.plots import blank

BLUE, ORANGE, GREY = "#56B4E9", "#E69F00", "#8A949F"
NOT_ENOUGH = "not enough data"
LOOKS = {
    "holds 0, or no gap": (BLUE, "circle"),
    "gap leaves out 0": (ORANGE, "diamond-open"),
    "gap leaves out 0, and is left among all that were looked at": (ORANGE, "diamond"),
}
"""What a mark stands for → its colour and shape."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of a group.

    Attributes:
        value: with limits; None where there is not enough data.
        of: what it is of: `n+ = 34`.
        look: one of LOOKS.
    """

    value: Interval | None
    of: str
    look: str = next(iter(LOOKS))


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of every group; `zero` where a vertical line stands, NaN for none."""

    title: str
    cells: Sequence[Cell]
    zero: float = math.nan
    percent: bool = False


def forest(names: Sequence[str], panels: Sequence[Panel]) -> Figure:
    """Return a line a group, a column a panel; a group with not enough data says so in grey."""
    plot = make_subplots(1, len(panels), shared_yaxes=True, horizontal_spacing=0.03)
    plot.update_layout(blank("").layout)
    seen: set[str] = set()
    for nth, panel in enumerate(panels, 1):
        for look, (colour, symbol) in LOOKS.items():
            rows = [
                (name, cell)
                for name, cell in zip(names, panel.cells, strict=True)
                if cell.look == look and cell.value is not None
            ]
            if rows:
                _marks(plot, nth, panel, rows, look, colour, symbol, legend=look not in seen)
                seen.add(look)
        _few(plot, nth, panel, names)
        if not math.isnan(panel.zero):
            plot.add_vline(panel.zero, line={"color": GREY, "width": 1, "dash": "dot"}, col=nth, row=1)
        plot.update_xaxes(
            title=panel.title, gridcolor="#222B34", tickformat=".0%" if panel.percent else None, col=nth
        )
    plot.update_yaxes(
        categoryorder="array", categoryarray=list(names), autorange="reversed", gridcolor="#222B34"
    )
    plot.update_yaxes(automargin=True, col=1)
    plot.update_layout(legend={"y": 0, "yref": "container", "yanchor": "bottom"}, margin={"b": 90})
    return plot


def heat_map(title: str, rows: Sequence[tuple[str, str, Cell]], *, percent: bool, about_zero: bool) -> Figure:
    """Return a cell a pair of groups with its figure in it, empty pairs left out.

    Args:
        title: of the figure.
        rows: (line, column, figure).
        percent: whether it is a share.
        about_zero: whether colours are of how far it lies from 0, either way.
    """
    lines, columns = list(dict.fromkeys(row[0] for row in rows)), list(dict.fromkeys(row[1] for row in rows))
    known = {(line, column): cell for line, column, cell in rows}
    values, texts = [], []
    for line in lines:
        cells = [known.get((line, column)) for column in columns]
        values.append([_value(cell) for cell in cells])
        texts.append(["" if _value(cell) is None else _text(cell, percent) for cell in cells])
    plot = blank(title)
    sizes = [abs(value) for row in values for value in row if value is not None]
    plot.add_heatmap(
        z=values,
        x=columns,
        y=lines,
        text=texts,
        texttemplate="%{text}",
        hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
        xgap=2,
        ygap=2,
        showscale=False,
        hoverongaps=False,
        zmin=-max(sizes, default=1) if about_zero else 0,
        zmax=max(sizes, default=1) or 1,
        colorscale=[[0, "#7A4A00"], [0.5, "#151B21"], [1, "#1D4E6E"]]
        if about_zero
        else [[0, "#151B21"], [1, "#1D4E6E"]],
    )
    for (line, column), cell in known.items():
        if cell.value is None:
            words = {"text": _text(cell, percent), "font": {"color": GREY, "size": 11}, "showarrow": False}
            plot.add_annotation(x=column, y=line, **words)
    plot.update_xaxes(side="top", showgrid=False)
    plot.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    plot.update_layout(showlegend=False, margin={"t": 90})
    return plot


def said(interval: Interval, *, percent: bool = False, signed: bool = False) -> str:
    """Return a figure as text: `−0.08 (−0.15 to −0.01)`, `12 % (8 to 17)`."""
    value, low, high = (
        (f"{100 * each:+.1f}" if signed else f"{100 * each:.0f}")
        if percent
        else f"{each:{'+' if signed else ''}.2f}"
        for each in (interval.value, interval.low, interval.high)
    )
    unit = " %" if percent else ""
    return f"{value}{unit} ({low} to {high})".replace("-", "−")


def _marks(
    plot: Figure,
    column: int,
    panel: Panel,
    rows: Sequence[tuple[str, Cell]],
    look: str,
    colour: str,
    symbol: str,
    *,
    legend: bool,
) -> None:
    at = [(name, cell.of, cell.value) for name, cell in rows if cell.value is not None]
    plot.add_scatter(
        row=1,
        col=column,
        name=look,
        legendgroup=look,
        showlegend=legend,
        x=[value.value for *_, value in at],
        y=[name for name, *_ in at],
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 10, "line": {"width": 2, "color": colour}},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [value.high - value.value for *_, value in at],
            "arrayminus": [value.value - value.low for *_, value in at],
            "color": colour,
            "thickness": 1.5,
            "width": 0,
        },
        customdata=[
            [said(value, percent=panel.percent, signed=not math.isnan(panel.zero)), of] for _, of, value in at
        ],
        hovertemplate=f"%{{y}}: {panel.title} %{{customdata[0]}}, %{{customdata[1]}}<extra></extra>",
    )


def _few(plot: Figure, column: int, panel: Panel, names: Sequence[str]) -> None:
    """Say at each group without a figure that there is not enough data."""
    rows = [(name, cell.of) for name, cell in zip(names, panel.cells, strict=True) if cell.value is None]
    known = [cell.value for cell in panel.cells if cell.value is not None]
    ends = [end for value in known for end in (value.low, value.high)]
    middle = (min(ends) + max(ends)) / 2 if ends else 0.5
    plot.add_scatter(
        row=1,
        col=column,
        x=[middle] * len(rows),
        y=[name for name, _ in rows],
        text=[f"{NOT_ENOUGH} ({of})" for _, of in rows],
        mode="text",
        textfont={"color": GREY, "size": 11.5},
        showlegend=False,
        hoverinfo="skip",
    )


def _value(cell: Cell | None) -> float | None:
    return None if cell is None or cell.value is None else cell.value.value


def _text(cell: Cell | None, percent: bool) -> str:
    if cell is None:
        return ""
    if cell.value is None:
        return f"{NOT_ENOUGH}<br>{cell.of}"
    return f"{said(cell.value, percent=percent)}<br>{cell.of}"
