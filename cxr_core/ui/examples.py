"""Invented films to try the product with; they go the way of any upload."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from cxr_core.imaging.phantom import make_phantom, phantom_png


@dataclass(frozen=True, slots=True)
class Example:
    """A button and the phantom behind it."""

    button: str
    file: str
    seed: int
    findings: tuple[tuple[str, float], ...] = ()


EXAMPLES = (
    Example("Film without findings", "synthetic-1.png", 1),
    Example("Film with findings", "synthetic-2.png", 2, (("Effusion", 0.9), ("Cardiomegaly", 0.8))),
)


@st.cache_data(max_entries=4, show_spinner="Drawing a synthetic film")
def file_of(number: int) -> tuple[str, bytes]:
    """Return name and bytes of an example."""
    example = EXAMPLES[number]
    return example.file, phantom_png(make_phantom(example.seed, dict(example.findings)))
