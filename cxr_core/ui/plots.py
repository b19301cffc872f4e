"""Plots in the reading room's look."""

from __future__ import annotations

import streamlit as st
from plotly.graph_objects import Figure


def blank(title: str) -> Figure:
    """Return an empty figure in the app's colours."""
    return Figure(
        layout={
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
    )


def show(figure: Figure, key: str, alt: str, height: int = 300) -> None:
    """Draw it, as high as told, without the buttons that float over it."""
    figure.update_layout(height=height)
    st.plotly_chart(figure, theme=None, key=key, alt=alt, config={"displayModeBar": False})
