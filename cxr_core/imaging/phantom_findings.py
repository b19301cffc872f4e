"""Diseases for the phantom: how each changes the patient, and what each adds to the lungs.

Severity runs from 0, the faintest form that still deserves the name, to 1, which nobody overlooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from cxr_core.imaging.phantom_anatomy import Anatomy
from cxr_core.imaging.phantom_patient import (
    LEFT,
    RIGHT,
    Patient,
    cage_half_width,
    diaphragm_y,
    hilum,
    on_side,
    place,
)
from cxr_core.imaging.phantom_shapes import (
    Grid,
    Mask,
    Plane,
    curve,
    dome,
    ellipse,
    ellipsoid,
    smoothstep,
    texture,
    tube,
)


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What one finding does to the film.

    Attributes:
        mask: (H, W) bool, its outline.
        fill: share of the lung's air that is replaced by fluid or tissue, 0 to 1, or None.
        gas: share of the lung's tissue that is replaced by air, 0 to 1, or None.
        water: tissue in cm that stands in the lung's place, at most the lung's own depth, or None.
    """

    mask: Mask
    fill: Plane | None = None
    gas: Plane | None = None
    water: Plane | None = None


Draw = Callable[[Grid, Patient, Anatomy, float, int, np.random.Generator], Change]


def affected(patient: Patient, severities: Mapping[str, float], sides: Mapping[str, int]) -> Patient:
    """Return the patient as the diseases shape heart, diaphragm, vessels and lung density."""
    right, left = patient.domes
    if "Emphysema" in severities:
        s = severities["Emphysema"]
        patient = replace(
            patient,
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
        patient = replace(patient, heart=1.17 + 0.3 * severities["Cardiomegaly"])
    return replace(patient, domes=(right, left))


def draw_finding(
    name: str,
    grid: Grid,
    patient: Patient,
    anatomy: Anatomy,
    severity: float,
    side: int,
    rng: np.random.Generator,
) -> Change:
    """Draw one finding by its name in `DRAWN`."""
    return DRAWN[name](grid, patient, anatomy, severity, side, rng)


def _lung(anatomy: Anatomy, side: int) -> Mask:
    return anatomy.masks["right_lung" if side == RIGHT else "left_lung"]


def _both(anatomy: Anatomy) -> Mask:
    return anatomy.masks["right_lung"] | anatomy.masks["left_lung"]


def _cardiomegaly(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """The heart itself, already drawn large."""
    return Change(anatomy.masks["heart"])


def _effusion(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """Fluid that settles in the costophrenic angle and climbs the chest wall as a meniscus."""
    half = cage_half_width(grid.y, patient.apex, patient.chest).astype(np.float32)
    out = np.clip(side * grid.x / np.maximum(half, 1), 0, 1)
    level = patient.dome_y(side) + 3.4 - severity * 14.5
    climb = np.float32(2.6 + 2.6 * severity)
    surface = np.float32(level) - climb * np.square(np.square(out)) + 1.2 * (1 - out)
    fill = np.float32(0.97) * smoothstep((grid.y - surface) / np.float32(1.3)) * on_side(grid, side)
    return Change((fill > 0.3) & _lung(anatomy, side), fill=fill)


def _pneumothorax(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """Air between ribs and lung, widest at the apex, without vessels, behind a thin pleural line."""
    drop, narrow = 0.9 + 5.6 * severity, 0.45 + 6.0 * severity
    half = cage_half_width(grid.y, patient.apex + drop, patient.chest - narrow).astype(np.float32)
    beyond = side * grid.x - half
    here = on_side(grid, side)
    gas = (((beyond > 0) | (grid.y < patient.apex + drop)) & here).astype(np.float32)
    edge = np.abs(beyond) / np.hypot(1, np.gradient(half[:, 0], grid.y[:, 0]))[:, np.newaxis].astype(np.float32)
    lung = _lung(anatomy, side)
    line = np.float32(0.75) * dome(np.square(edge / np.float32(0.085))) * here * lung
    collapse = np.float32(0.05 + 0.25 * severity**2) * (1 - gas) * here
    return Change((gas > 0) & lung, fill=collapse.astype(np.float32), gas=gas, water=line.astype(np.float32))


def _consolidation(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """A lobe's air replaced by fluid, ragged at its border, with open bronchi running through it."""
    centre = place(patient, side, float(rng.uniform(0.4, 0.6)), float(rng.choice([0.3, 0.72])))
    radius = 2.3 + 2.6 * severity
    fill = _cloud(grid, rng, centre, (radius, radius * 0.85), 0.5 + 0.42 * severity)
    bronchi = grid.zeros()
    for target in rng.uniform(-0.8, 0.8, size=(5, 2)) * radius:
        end = (centre[0] + float(target[0]), centre[1] + float(target[1]))
        tube(bronchi, grid, curve([hilum(patient, side), centre, end], 10), np.linspace(0.25, 0.1, 10), 1.0)
    fill = fill * (1 - np.float32(0.4) * bronchi)
    return Change((fill > 0.15) & _lung(anatomy, side), fill=(fill * _lung(anatomy, side)).astype(np.float32))


def _pneumonia(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """A consolidation at the base, paler and patchier."""
    centre = place(patient, side, float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.66, 0.78)))
    radius = 2.3 + 2.2 * severity
    fill = _cloud(grid, rng, centre, (radius * 1.1, radius * 0.8), 0.4 + 0.35 * severity, ragged=0.75)
    return Change((fill > 0.12) & _lung(anatomy, side), fill=(fill * _lung(anatomy, side)).astype(np.float32))


def _infiltration(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """Several faint patches without a border."""
    fill = grid.zeros()
    for _ in range(3 + round(4 * severity)):
        centre = place(patient, side, float(rng.uniform(0.2, 0.75)), float(rng.uniform(0.2, 0.85)))
        radius = float(rng.uniform(1.3, 2.6))
        patch = _cloud(grid, rng, centre, (radius, radius), 0.22 + 0.3 * severity, ragged=0.8)
        np.maximum(fill, patch, out=fill)
    return Change((fill > 0.08) & _lung(anatomy, side), fill=(fill * _lung(anatomy, side)).astype(np.float32))


def _nodule(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """A ball of 0.9 to 2.9 cm."""
    centre = place(patient, side, float(rng.uniform(0.45, 0.75)), float(rng.uniform(0.25, 0.7)))
    radius = 0.45 + 1.0 * severity
    water = ellipsoid(grid, centre, (radius, radius * 0.93), 2.3 * radius, turn=float(rng.uniform(0, 90)))
    lung = _lung(anatomy, side)
    return Change((water > 0) & lung, water=(water * lung).astype(np.float32))


def _mass(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """A lobulated ball of more than 3 cm."""
    x, y = place(patient, side, float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.3, 0.65)))
    radius = 1.6 + 1.7 * severity
    water = ellipsoid(grid, (x, y), (radius, radius * 0.9), 1.8 * radius, turn=float(rng.uniform(0, 90)))
    for angle in rng.uniform(0, 2 * np.pi, size=5):
        at = (x + 0.55 * radius * float(np.cos(angle)), y + 0.55 * radius * float(np.sin(angle)))
        lobe = float(rng.uniform(0.5, 0.68)) * radius
        np.maximum(water, ellipsoid(grid, at, (lobe, lobe), 2.2 * lobe), out=water)
    lung = _lung(anatomy, side)
    return Change((water > 0) & lung, water=(water * lung).astype(np.float32))


def _atelectasis(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """Plate-like bands above a raised diaphragm and a hazy, crowded base."""
    plates = grid.zeros()
    for i in range(2 + round(2 * severity)):
        start = place(patient, side, float(rng.uniform(0.18, 0.3)), 0.80 - 0.10 * i)
        end = place(patient, side, float(rng.uniform(0.72, 0.92)), 0.84 - 0.12 * i + float(rng.uniform(-0.03, 0.03)))
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + float(rng.uniform(0.1, 0.4)))
        width = 0.16 + 0.22 * severity
        tube(plates, grid, curve([start, middle, end], 16), width * np.sin(np.linspace(0.5, 2.4, 16)), 1.0)
    haze = _cloud(grid, rng, place(patient, side, 0.4, 0.93), (4.8, 1.4 + 1.8 * severity), 0.25 + 0.4 * severity)
    lung = _lung(anatomy, side)
    fill = np.maximum(haze, (0.35 + 0.35 * severity) * plates) * lung
    return Change((fill > 0.08) & lung, fill=fill.astype(np.float32))


def _edema(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """A haze round both hila like wings, with short septal lines at the bases."""
    fill, lines = grid.zeros(), grid.zeros()
    for wing in (RIGHT, LEFT):
        x, y = hilum(patient, wing)
        cloud = _cloud(grid, rng, (x + wing * 1.6, y + 1.6), (4.2 + 1.8 * severity, 6.0 + 2 * severity), 1, ragged=0.4)
        np.maximum(fill, (0.25 + 0.45 * severity) * cloud, out=fill)
        for step in np.linspace(0.55, 0.93, 5 + round(5 * severity)):
            end, start = place(patient, wing, 0.99, float(step)), place(patient, wing, 0.86, float(step) - 0.006)
            tube(lines, grid, np.array([start, end]), 0.06, 0.35 + 0.4 * severity)
    lung = _both(anatomy)
    mask = ((fill > 0.08) | (lines > 0)) & lung
    return Change(mask, fill=(fill * lung).astype(np.float32), water=(lines * lung).astype(np.float32))


def _emphysema(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """Dark lungs over flat domes, already shaped; thin-walled bullae in the upper zones."""
    gas, walls = grid.zeros(), grid.zeros()
    for _ in range(round(6 * severity)):
        where = RIGHT if rng.random() < 0.5 else LEFT
        centre = place(patient, where, float(rng.uniform(0.5, 0.85)), float(rng.uniform(0.05, 0.35)))
        q = ellipse(grid, centre, (float(rng.uniform(0.8, 1.7)), float(rng.uniform(0.8, 1.7))))
        np.maximum(gas, np.float32(0.85) * dome(q), out=gas)
        np.maximum(walls, np.float32(0.35) * dome(np.square((q - 1) / np.float32(0.12))), out=walls)
    lung = _both(anatomy)
    return Change(lung, gas=gas, water=(walls * lung).astype(np.float32))


def _fibrosis(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """A net of fine lines, densest at the bases and along the ribs."""
    net = dome(np.square(texture(grid.size, rng, 88) / np.float32(0.28)))
    np.maximum(net, dome(np.square(texture(grid.size, rng, 60) / np.float32(0.2))), out=net)
    half = cage_half_width(grid.y, patient.apex, patient.chest).astype(np.float32)
    rim = smoothstep((np.abs(grid.x) / np.maximum(half, 1) - np.float32(0.35)) / np.float32(0.6))
    base = smoothstep((grid.y - np.float32(patient.domes[0] - 13)) / np.float32(12))
    weight = np.clip(base * (np.float32(0.35) + rim), 0, 1)
    lung = _both(anatomy)
    water = (0.5 + 0.9 * severity) * net * weight * lung
    fill = (0.1 + 0.2 * severity) * weight * lung
    return Change((weight > 0.12) & lung, fill=fill.astype(np.float32), water=water.astype(np.float32))


def _pleural_thickening(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """A wavy rind along the chest wall and over the apex."""
    half = cage_half_width(grid.y, patient.apex, patient.chest).astype(np.float32)
    waves = np.sin(grid.y * 0.9 + float(rng.uniform(0, 6))) * 0.25 + np.sin(grid.y * 0.37) * 0.2
    rind = np.float32(0.35 + 1.1 * severity) * (1 + waves).astype(np.float32)
    inward = half - side * grid.x
    fill = np.float32(0.9) * smoothstep((rind - inward) / np.float32(0.35)) * on_side(grid, side)
    lung = _lung(anatomy, side)
    return Change((fill > 0.2) & lung, fill=(fill * lung).astype(np.float32))


def _hernia(
    grid: Grid, patient: Patient, anatomy: Anatomy, severity: float, side: int, rng: np.random.Generator
) -> Change:
    """Stomach behind the heart: a round shadow with air above a level."""
    radius = 2.6 + 2.2 * severity
    centre = (1.6, min(patient.domes) - 0.35 * radius)
    ball = ellipsoid(grid, centre, (radius, radius * 0.9), 1.7 * radius)
    above = smoothstep((np.float32(centre[1] - 0.1 * radius) - grid.y) / np.float32(0.12))
    inner = ellipsoid(grid, (centre[0], centre[1]), (radius * 0.88, radius * 0.78), 1.5 * radius)
    anatomy.airways[...] += inner * above
    return Change(ball > 0, water=np.where(anatomy.lung > 0.5, ball, 0).astype(np.float32))


def _cloud(
    grid: Grid,
    rng: np.random.Generator,
    centre: tuple[float, float],
    semi: tuple[float, float],
    strength: float,
    ragged: float = 0.5,
) -> Plane:
    """Return a soft, uneven patch of at most `strength`."""
    q = ellipse(grid, centre, semi, turn=float(rng.uniform(-20, 20)))
    noise = texture(grid.size, rng, 26) + np.float32(0.6) * texture(grid.size, rng, 64)
    body = smoothstep((np.float32(1.35) - q + np.float32(ragged) * noise) / np.float32(1.35))
    body *= smoothstep((np.float32(2.4) - q) / np.float32(1.2))
    return (np.float32(strength) * body).astype(np.float32)


DRAWN: dict[str, Draw] = {
    "Atelectasis": _atelectasis,
    "Cardiomegaly": _cardiomegaly,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
    "Mass": _mass,
    "Nodule": _nodule,
    "Pneumonia": _pneumonia,
    "Pneumothorax": _pneumothorax,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Emphysema": _emphysema,
    "Fibrosis": _fibrosis,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
}
"""How each of the 14 findings is drawn."""

TWO_SIDED = frozenset({"Cardiomegaly", "Edema", "Emphysema", "Fibrosis", "Hernia"})
"""Findings that have no side."""
