"""Control charts of readers' verdicts: a share over time, its limits, and what lies outside them. Pure."""

from __future__ import annotations

from plotly.graph_objects import Figure

from cxr_core.evaluation.control import Chart
from cxr_core.ui.plots import blank

BLUE, ORANGE, GREY = "#56B4E9", "#E8702A", "#8A949F"
INSIDE, OUTSIDE = "within limits", "out of control"


def control_chart(title: str, chart: Chart) -> Figure:
    """Return the points; those out of control are crosses in another colour. Without a baseline no limits."""
    plot = blank(title)
    at = [point.at for point in chart.points]
    if chart.baseline is not None:
        for name, values in (
            ("limits (3 sigma)", [point.high for point in chart.points]),
            ("", [point.low for point in chart.points]),
        ):
            plot.add_scatter(
                name=name,
                showlegend=bool(name),
                x=at,
                y=values,
                mode="lines",
                line={"color": GREY, "width": 1, "dash": "dot", "shape": "hvh"},
                hoverinfo="skip",
            )
        plot.add_hline(chart.baseline.share, line={"color": GREY, "width": 1.5})
    plot.add_scatter(
        x=at,
        y=[point.rate.share for point in chart.points],
        mode="lines",
        line={"color": BLUE, "width": 1},
        showlegend=False,
        hoverinfo="skip",
    )
    for name, colour, symbol in ((INSIDE, BLUE, "circle"), (OUTSIDE, ORANGE, "x")):
        points = [point for point in chart.points if point.outside == (name == OUTSIDE)]
        plot.add_scatter(
            name=name,
            x=[point.at for point in points],
            y=[point.rate.share for point in points],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 8 if symbol == "circle" else 11},
            customdata=[[point.rate.count, point.rate.of] for point in points],
            hovertemplate="%{x|%d %b %Y}: %{y:.0%}, %{customdata[0]} of %{customdata[1]}<extra></extra>",
        )
    plot.update_yaxes(range=[-0.03, 1.05], tickformat=".0%")
    return plot


def said(chart: Chart) -> str:
    """Return what the chart shows in words."""
    if not chart.points:
        return "There are not enough opinions for a point yet."
    last = chart.points[-1].rate
    parts = [f"Last point {last.share:.0%} ({last.count} of {last.of})."]
    if chart.baseline is None:
        parts.append("Not enough data for control limits.")
    else:
        base, out = chart.baseline, sum(point.outside for point in chart.points)
        parts.append(f"Centre line {base.share:.0%}, of the first {base.of} opinions.")
        parts.append(f"{out} of {len(chart.points)} points out of control.")
    return " ".join(parts)
