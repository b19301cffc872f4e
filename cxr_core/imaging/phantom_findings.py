"""Diseases for the phantom: how each changes the patient, and what each adds to the lungs.

Severity runs from 0, the faintest form that still deserves the name, to 1, which nobody overlooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from cxr_core.imaging import phantom_opacities
from cxr_core.imaging.phantom_changes import Case, Change, filled
from cxr_core.imaging.phantom_patient import (
    LEFT,
    RIGHT,
    Patient,
    cage_half_width,
    mediastinum_half_width,
    place,
)
from cxr_core.imaging.phantom_shapes import dome, ellipse, ellipsoid, smoothstep


def affected(patient: Patient, severities: Mapping[str, float], sides: Mapping[str, int]) -> Patient:
    """Return the patient as the diseases shape heart, diaphragm, vessels and lung density."""
    right, left = patient.domes
    if "Emphysema" in severities:
        s = 0.2 + 0.8 * severities["Emphysema"]
        patient = replace(
            patient,
            base=patient.base + 2.4 * s,
            doming=patient.doming * (1 - 0.62 * s),
            heart=patient.heart * (1 - 0.2 * s),
            vessels=patient.vessels * (1 - 0.35 * s),
            aerated=patient.aerated * (1 - 0.5 * s),
        )
        right, left = right + 2.6 * s, left + 2.4 * s
    if "Atelectasis" in severities:
        lift = 0.6 + 1.8 * severities["Atelectasis"]
        right, left = (right - lift, left) if sides["Atelectasis"] == RIGHT else (right, left - lift)
    if "Edema" in severities:
        patient = replace(patient, vessels=patient.vessels * (1.05 + 0.3 * severities["Edema"]))
    if "Cardiomegaly" in severities:
        patient = replace(patient, heart=patient.chest / 13.4 * (1.13 + 0.33 * severities["Cardiomegaly"]))
    return replace(patient, domes=(right, left))


def _cardiomegaly(case: Case) -> Change:
    """The heart itself, already drawn large."""
    return Change(case.anatomy.masks["heart"])


def _effusion(case: Case) -> Change:
    """Fluid that settles in the costophrenic angle and climbs the chest wall as a meniscus."""
    half = cage_half_width(case.grid.y, case.patient.apex, case.patient.chest).astype(np.float32)
    out = np.clip(case.side * case.grid.x / np.maximum(half, 1), 0, 1)
    level = case.patient.dome_y(case.side) + 3.4 - case.severity * 14.5
    climb = np.float32(2.6 + 1.8 * case.severity)
    surface = np.float32(level) - climb * out * out * out + np.float32(0.8) * (1 - out)
    fill = np.float32(0.97) * smoothstep((case.grid.y - surface) / np.float32(1.3)) * case.here
    return filled(case, fill)


def _pneumothorax(case: Case) -> Change:
    """Air between ribs and lung, widest at the apex, without vessels, behind a thin pleural line."""
    drop, narrow = 0.9 + 5.0 * case.severity, 0.45 + 5.6 * case.severity
    top = case.patient.apex + drop
    outer = cage_half_width(case.grid.y, top, case.patient.chest - narrow).astype(np.float32)
    inner = mediastinum_half_width(case.grid.y, replace(case.patient, apex=top)).astype(np.float32)
    inner *= case.grid.y < top + 3
    x, lung = case.side * case.grid.x, case.lung
    gas = (((x > outer) | (x < inner) | (case.grid.y < top)) & lung).astype(np.float32)
    pleura = case.grid.zeros()
    for border in (outer, inner):
        steep = np.hypot(1, np.gradient(border[:, 0], case.grid.y[:, 0]))[:, np.newaxis].astype(np.float32)
        np.maximum(pleura, dome(np.square((x - border) / (steep * np.float32(0.085)))), out=pleura)
    pleura *= np.float32(0.75) * (lung & (case.grid.y > top) & (x > 2.4))
    collapse = np.float32(0.05 + 0.25 * case.severity**2) * (1 - gas) * case.here
    return Change(gas > 0, fill=np.asarray(collapse, dtype=np.float32), gas=gas, water=pleura)


def _emphysema(case: Case) -> Change:
    """Dark lungs over flat domes, already shaped; thin-walled bullae in the upper zones."""
    gas, walls = case.grid.zeros(), case.grid.zeros()
    for _ in range(1 + round(5 * case.severity)):
        where = RIGHT if case.rng.random() < 0.5 else LEFT
        centre = place(case.patient, where, case.uniform(0.5, 0.85), case.uniform(0.05, 0.35))
        q = ellipse(case.grid, centre, (case.uniform(0.8, 1.7), case.uniform(0.8, 1.7)))
        np.maximum(gas, np.float32(0.85) * dome(q), out=gas)
        np.maximum(walls, np.float32(0.35) * dome(np.square((q - 1) / np.float32(0.12))), out=walls)
    lung = case.lungs
    return Change(lung, gas=gas, water=(walls * lung).astype(np.float32))


def _pleural_thickening(case: Case) -> Change:
    """A wavy rind along the chest wall and over the apex."""
    half = cage_half_width(case.grid.y, case.patient.apex, case.patient.chest).astype(np.float32)
    waves = np.sin(case.grid.y * 0.9 + case.uniform(0, 6)) * 0.25 + np.sin(case.grid.y * 0.37) * 0.2
    rind = np.float32(0.35 + 1.1 * case.severity) * (1 + waves).astype(np.float32)
    inward = half - case.side * case.grid.x
    fill = np.float32(0.9) * smoothstep((rind - inward) / np.float32(0.35)) * case.here
    return filled(case, fill)


def _hernia(case: Case) -> Change:
    """Stomach behind the heart: a round shadow with air above a level."""
    radius = 2.6 + 2.2 * case.severity
    centre = (1.6, case.patient.base - 0.35 * radius)
    ball = ellipsoid(case.grid, centre, (radius, radius * 0.9), 1.2 * radius)
    above = smoothstep((np.float32(centre[1] - 0.1 * radius) - case.grid.y) / np.float32(0.12))
    inner = ellipsoid(case.grid, (centre[0], centre[1]), (radius * 0.88, radius * 0.78), 1.0 * radius)
    mask = (ball > 0) & (case.anatomy.masks["heart"] | (case.anatomy.lung > 0.5))
    return Change(mask, water=ball * mask, air=np.float32(0.7) * inner * above * mask)


DRAWN: dict[str, Callable[[Case], Change]] = {
    "Infiltration": phantom_opacities.infiltration,
    "Pneumonia": phantom_opacities.pneumonia,
    "Consolidation": phantom_opacities.consolidation,
    "Edema": phantom_opacities.edema,
    "Atelectasis": phantom_opacities.atelectasis,
    "Fibrosis": phantom_opacities.fibrosis,
    "Nodule": phantom_opacities.nodule,
    "Mass": phantom_opacities.mass,
    "Emphysema": _emphysema,
    "Pneumothorax": _pneumothorax,
    "Cardiomegaly": _cardiomegaly,
    "Effusion": _effusion,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
}
"""How each of the 14 findings is drawn, in the order in which they act: what lies in the lung, gas that
displaces it, then what lies outside the lung."""

TWO_SIDED = frozenset({"Cardiomegaly", "Edema", "Emphysema", "Fibrosis", "Hernia"})
"""Findings that have no side."""
