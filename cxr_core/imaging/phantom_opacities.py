"""Findings of the phantom that make lung denser: fluid, tissue and scars in its air."""

from __future__ import annotations

import numpy as np

from cxr_core.imaging.phantom_changes import Case, Change, cloud, filled
from cxr_core.imaging.phantom_patient import LEFT, RIGHT, cage_half_width, hilum, place
from cxr_core.imaging.phantom_shapes import curve, dome, ellipsoid, smoothstep, texture, tube


def consolidation(case: Case) -> Change:
    """A lobe's air replaced by fluid, ragged at its border, with open bronchi running through it."""
    centre = case.place(case.uniform(0.4, 0.6), float(case.rng.choice([0.3, 0.72])))
    radius = 2.3 + 2.6 * case.severity
    fill = cloud(case, centre, (radius, radius * 0.85), 0.5 + 0.4 * case.severity, ragged=0.4)
    bronchi = case.grid.zeros()
    for target in case.rng.uniform(-0.8, 0.8, size=(5, 2)) * radius:
        end = (centre[0] + float(target[0]), centre[1] + float(target[1]))
        tube(
            bronchi,
            case.grid,
            curve([hilum(case.patient, case.side), centre, end], 10),
            np.linspace(0.25, 0.12, 10),
            1.0,
        )
    return filled(case, fill * (1 - np.float32(0.25) * bronchi) * case.here)


def pneumonia(case: Case) -> Change:
    """A consolidation at the base, paler and patchier."""
    centre = case.place(case.uniform(0.4, 0.6), case.uniform(0.66, 0.78))
    radius = 2.3 + 2.2 * case.severity
    fill = cloud(case, centre, (radius * 1.1, radius * 0.8), 0.38 + 0.27 * case.severity, ragged=0.6)
    return filled(case, fill * case.here)


def infiltration(case: Case) -> Change:
    """Several faint patches without a border."""
    fill = case.grid.zeros()
    for _ in range(3 + round(4 * case.severity)):
        centre = case.place(case.uniform(0.2, 0.75), case.uniform(0.2, 0.85))
        radius = case.uniform(1.3, 2.6)
        patch = cloud(case, centre, (radius, radius), 0.2 + 0.2 * case.severity, ragged=0.8)
        np.maximum(fill, patch, out=fill)
    return filled(case, fill * case.here)


def nodule(case: Case) -> Change:
    """A ball of 0.9 to 2.9 cm."""
    centre = case.place(case.uniform(0.45, 0.75), case.uniform(0.25, 0.7))
    radius = 0.45 + 1.0 * case.severity
    water = ellipsoid(case.grid, centre, (radius, radius * 0.93), 2.3 * radius, turn=case.uniform(0, 90))
    lung = case.lung
    return Change((water > 0) & lung, water=(water * lung).astype(np.float32))


def mass(case: Case) -> Change:
    """A lobulated ball of more than 3 cm."""
    x, y = case.place(case.uniform(0.4, 0.6), case.uniform(0.3, 0.65))
    radius = 1.6 + 1.7 * case.severity
    water = ellipsoid(case.grid, (x, y), (radius, radius * 0.9), 1.8 * radius, turn=case.uniform(0, 90))
    for angle in case.rng.uniform(0, 2 * np.pi, size=5):
        at = (x + 0.55 * radius * float(np.cos(angle)), y + 0.55 * radius * float(np.sin(angle)))
        lobe = case.uniform(0.5, 0.68) * radius
        np.maximum(water, ellipsoid(case.grid, at, (lobe, lobe), 2.2 * lobe), out=water)
    lung = case.lung
    return Change((water > 0) & lung, water=(water * lung).astype(np.float32))


def atelectasis(case: Case) -> Change:
    """Plate-like bands above a raised diaphragm and a hazy, crowded base."""
    plates = case.grid.zeros()
    for i in range(2 + round(2 * case.severity)):
        start = case.place(case.uniform(0.2, 0.3), 0.74 - 0.11 * i)
        end = case.place(case.uniform(0.72, 0.92), 0.78 - 0.12 * i + case.uniform(-0.03, 0.03))
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + case.uniform(0.1, 0.4))
        width = 0.16 + 0.22 * case.severity
        taper = np.sin(np.linspace(0.3, 2.9, 16))
        tube(
            plates,
            case.grid,
            curve([start, middle, end], 16),
            width * taper,
            (1.1 + 1.1 * case.severity) * taper,
        )
    haze = cloud(case, case.place(0.4, 0.97), (5.0, 1.3 + 1.3 * case.severity), 0.2 + 0.3 * case.severity)
    plates *= case.here
    return filled(case, haze * case.here, plates)


def edema(case: Case) -> Change:
    """A haze round both hila like wings, with short septal lines at the bases."""
    fill, lines = case.grid.zeros(), case.grid.zeros()
    for wing in (RIGHT, LEFT):
        x, y = hilum(case.patient, wing)
        wings = (4.2 + 1.8 * case.severity, 6.0 + 2 * case.severity)
        strength = 0.2 + 0.28 * case.severity
        np.maximum(fill, cloud(case, (x + wing * 1.6, y + 1.6), wings, strength, ragged=0.45), out=fill)
        for step in np.linspace(0.55, 0.93, 5 + round(5 * case.severity)):
            end, start = (
                place(case.patient, wing, 0.99, float(step)),
                place(case.patient, wing, 0.86, float(step) - 0.006),
            )
            tube(lines, case.grid, np.array([start, end]), 0.06, 0.35 + 0.4 * case.severity)
    return filled(case, fill, lines * case.lungs)


def fibrosis(case: Case) -> Change:
    """A net of fine lines, densest at the bases and along the ribs."""
    net = dome(np.square(texture(case.grid.size, case.rng, 66) / np.float32(0.28)))
    np.maximum(net, dome(np.square(texture(case.grid.size, case.rng, 44) / np.float32(0.2))), out=net)
    half = cage_half_width(case.grid.y, case.patient.apex, case.patient.chest).astype(np.float32)
    rim = smoothstep((np.abs(case.grid.x) / np.maximum(half, 1) - np.float32(0.35)) / np.float32(0.6))
    base = smoothstep((case.grid.y - np.float32(case.patient.domes[0] - 13)) / np.float32(12))
    weight = np.clip(base * (np.float32(0.35) + rim), 0, 1)
    lung = case.lungs
    water = (0.5 + 0.9 * case.severity) * net * weight * lung
    fill = (0.1 + 0.2 * case.severity) * weight * lung
    return Change((weight > 0.12) & lung, fill=fill.astype(np.float32), water=water.astype(np.float32))
