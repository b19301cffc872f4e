"""Plots in the reading room's look."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import streamlit as st
from plotly.graph_objects import Figure

GROUND = "#0D1014"
FORMAT = "plots-format"
"""In the session's state: as what a plot is saved."""


class Picture(StrEnum):
    """As what a plot can be saved."""

    PNG = "PNG"
    SVG = "SVG"


def blank(title: str) -> Figure:
    """Return an empty figure in the app's colours."""
    return Figure(layout=look(title))


def look(title: str = "") -> dict[str, Any]:
    """Return the layout of a figure in the app's colours."""
    return {
        "title": {"text": title, "font": {"size": 15}, "x": 0, "xref": "paper"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "#E6E9ED", "family": "Source Sans, sans-serif"},
        "xaxis": {"gridcolor": "#222B34"},
        "yaxis": {"gridcolor": "#222B34"},
        "margin": {"l": 60, "r": 20, "t": 50, "b": 40},
        "legend": {"orientation": "h", "y": -0.18},
        "showlegend": True,
    }


def show(figure: Figure, key: str, alt: str, height: int = 300) -> None:
    """Draw it, as high as told, without the buttons that float over it."""
    figure.update_layout(height=height)
    st.plotly_chart(figure, theme=None, key=key, alt=alt, config={"displayModeBar": False})


def pick_format() -> None:
    """Let the person pick as what plots are saved."""
    st.session_state.setdefault(FORMAT, Picture.PNG)
    st.segmented_control(
        "Save plots as",
        list(Picture),
        key=FORMAT,
        required=True,
        format_func=lambda form: f"plots as {form}",
        label_visibility="collapsed",
    )


def with_downloads(figure: Figure, key: str, alt: str, name: str, height: int = 300) -> None:
    """Draw it with a button that saves it as what `pick_format` says; the browser makes the file, offline.

    Args:
        figure: in the look of `blank`.
        key: of the element, unique on the page.
        alt: what it shows, for who does not see it.
        name: of the file, without its ending.
        height: in px.
    """
    bar = {"color": "#8A949F", "activecolor": "#E6E9ED", "bgcolor": "rgba(0,0,0,0)"}
    figure.update_layout(height=height, modebar=bar, paper_bgcolor=GROUND)  # light text needs its dark ground
    form = Picture(st.session_state.get(FORMAT) or Picture.PNG)
    config = {
        "displayModeBar": True,
        "displaylogo": False,
        "modeBarButtons": [["toImage"]],
        "toImageButtonOptions": {"format": form.value.lower(), "filename": name, "scale": 2},
    }
    st.plotly_chart(figure, theme=None, key=key, alt=alt, config=config)
