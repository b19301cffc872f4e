"""Invented films to try the product with; they go the way of any upload."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from cxr_core.domain import View
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.phantom_dicom import phantom_dicom


@dataclass(frozen=True, slots=True)
class Example:
    """A button and the phantom behind it; `view` is what the file's tags say."""

    button: str
    file: str
    seed: int
    findings: tuple[tuple[str, float], ...] = ()
    view: View | None = None


# Seed 25 was picked because the bundled model 1.3.1 calls it "No disease detected", so that this card can be
# seen; of seeds with no finding drawn nearly all are flagged. Real films are measured on the model's card.
EXAMPLES = (
    Example("Film with findings", "synthetic-findings.dcm", 4, (("Effusion", 0.9),)),
    Example("Film without findings", "synthetic-normal.dcm", 25),
    Example("Film that is refused", "synthetic-lateral.dcm", 3, view=View.LATERAL),
)


@st.cache_data(max_entries=4, show_spinner="Drawing a synthetic film")
def file_of(number: int) -> tuple[str, bytes]:
    """Return name and DICOM bytes of an example."""
    example = EXAMPLES[number]
    phantom = make_phantom(example.seed, dict(example.findings))
    return example.file, phantom_dicom(phantom, patient_id=f"SYNTHETIC-{example.seed}", view=example.view)
