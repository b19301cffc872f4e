"""Who the phantom is: the measures of one invented patient, and the outlines that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import View
from cxr_core.imaging.phantom_shapes import Grid, Mask, Plane, Point, dome

APEX_X = 4.7
"""Distance of a lung's top from the midline, cm."""
RIGHT, LEFT = -1, 1
"""The patient's side as the sign of x; on a PA film the patient's right is at the picture's left."""


@dataclass(frozen=True, slots=True)
class Patient:
    """Measures in cm; see `make_patient` for the usual ranges.

    Attributes:
        female: has breasts and a slighter frame.
        lean: sideways lean, cm per cm.
        chest: greatest half width of the rib cage.
        apex: height (y) of the lung tops.
        depth: thickness of the trunk along the beam.
        domes: y of the right and left diaphragm dome.
        base: y of the right dome as the breath alone would set it; heart and ribs follow it.
        doming: drop of the diaphragm from the dome to the costophrenic angle.
        heart: scale of the heart, 1 is a cardiothoracic ratio of about 0.46.
        vessels: scale of the pulmonary vessels' calibre.
        aerated: density of lung relative to water.
        shoulder: y of the shoulder's top at the neck.
        clavicle: y of the clavicles' inner ends.
        scapula: how far the shoulder blades lie over the lungs; more on AP films.
    """

    female: bool
    lean: float
    chest: float
    apex: float
    depth: float
    domes: tuple[float, float]
    base: float
    doming: float
    heart: float
    vessels: float
    aerated: float
    shoulder: float
    clavicle: float
    scapula: float

    def dome_y(self, side: int) -> float:
        """Return the height of the diaphragm dome on one side."""
        return self.domes[0] if side == RIGHT else self.domes[1]


def make_patient(rng: np.random.Generator, view: View) -> Patient:
    """Draw a patient; an AP film has less breath, a larger heart, blades over the lungs."""
    ap = view is View.AP
    right = rng.uniform(25.6, 27.2) - 1.8 * ap
    female = bool(rng.random() < 0.5)
    chest = float(rng.uniform(12.9, 13.9) - 0.5 * female)
    return Patient(
        female=female,
        lean=float(rng.uniform(-0.012, 0.012)),
        chest=chest,
        apex=float(rng.uniform(4.9, 5.6)),
        depth=float(rng.uniform(20.0, 23.0)),
        domes=(float(right), float(right + rng.uniform(0.9, 1.6))),
        base=float(right),
        doming=float(rng.uniform(3.8, 4.8)),
        heart=float(chest / 13.4 * (rng.uniform(0.90, 1.00) + 0.12 * ap)),
        vessels=float(rng.uniform(0.9, 1.1)),
        aerated=float(rng.uniform(0.25, 0.30)),
        shoulder=float(rng.uniform(2.2, 3.2)),
        clavicle=float(rng.uniform(9.3, 10.1) - 1.2 * ap),
        scapula=float(rng.uniform(0.0, 0.5) + 2.2 * ap),
    )


def cage_half_width(y: NDArray[np.floating], apex: float, widest: float) -> NDArray[np.float64]:
    """Return the half width of the inner rib cage at each height, cm; `APEX_X` above the apex."""
    rise = np.clip((29.0 - y) / (29.0 - apex), 0.0, 1.0)
    return np.asarray(APEX_X + (widest - APEX_X) * (1 - rise**2.3) ** (1 / 1.9), dtype=np.float64)


def mediastinum_half_width(y: NDArray[np.floating], patient: Patient) -> NDArray[np.float64]:
    """Return the half width of the tissue between the lungs, heart and great vessels apart, cm."""
    rounding = 1 - np.sqrt(1 - (1 - np.clip((y - patient.apex) / 3.0, 0, 1)) ** 2)
    return np.asarray(2.3 + (APEX_X - 2.3) * rounding + 0.03 * np.maximum(y - 12, 0), dtype=np.float64)


def trunk_depth(y: NDArray[np.floating], patient: Patient) -> NDArray[np.float64]:
    """Return the thickness of the trunk in the midline, cm; it grows from the neck to the heart."""
    rise = np.clip((y - patient.apex) / 17.0, 0, 1)
    return np.asarray(patient.depth * (0.70 + 0.30 * rise * (2 - rise)), dtype=np.float64)


def diaphragm_y(x: Plane, patient: Patient, side: int) -> Plane:
    """Return the height of one half of the diaphragm at each x, cm; steep at the chest wall."""
    top, centre = patient.dome_y(side), 6.0
    offset = side * x - centre
    outer = offset / np.float32(patient.chest - centre + 0.05)
    inner = offset / np.float32(centre + 1.5)
    drop = np.where(offset > 0, patient.doming * (1 - dome(outer * outer)), 2.2 * (1 - dome(inner * inner)))
    return np.asarray(top + drop, dtype=np.float32)


def on_side(grid: Grid, side: int) -> Mask:
    """Return the pixels on one side of the midline."""
    return np.asarray(grid.x * np.float32(side) > 0)


def place(patient: Patient, side: int, out: float, down: float) -> Point:
    """Return a point in a lung: `out` 0 at the mediastinum to 1 at the ribs, `down` 0 apex to 1 dome."""
    top, bottom = patient.apex + 1.5, patient.dome_y(side) - 0.5
    y = top + (bottom - top) * down
    inner = float(mediastinum_half_width(np.array(y), patient))
    outer = float(cage_half_width(np.array(y), patient.apex, patient.chest))
    return side * (inner + (outer - inner) * out), y


def hilum(patient: Patient, side: int) -> Point:
    """Return the root of one lung; the left lies a little higher."""
    return (side * 4.3, 17.6 if side == RIGHT else 16.9)
