"""What a finding does to the phantom's film, and the tools to draw it with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_core.imaging.phantom_anatomy import Anatomy
from cxr_core.imaging.phantom_patient import RIGHT, Patient, on_side, place
from cxr_core.imaging.phantom_shapes import Grid, Mask, Plane, Point, ellipse, smoothstep, texture


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What one finding does to the film.

    Attributes:
        mask: (H, W) bool, its outline.
        fill: share of the lung's air that is replaced by fluid or tissue, 0 to 1, or None.
        gas: share of the lung's tissue that is replaced by air, 0 to 1, or None.
        water: tissue in cm that stands in the lung's place, at most the lung's own depth, or None.
        air: path length in cm through gas outside the lung, or None.
    """

    mask: Mask
    fill: Plane | None = None
    gas: Plane | None = None
    water: Plane | None = None
    air: Plane | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One finding to draw.

    Attributes:
        grid, patient, anatomy: where, in whom.
        severity: 0 to 1.
        side: RIGHT or LEFT; two-sided findings ignore it.
        rng: this finding's own random numbers.
    """

    grid: Grid
    patient: Patient
    anatomy: Anatomy
    severity: float
    side: int
    rng: np.random.Generator

    @property
    def lung(self) -> Mask:
        """The visible lung on the finding's side."""
        return self.anatomy.masks["right_lung" if self.side == RIGHT else "left_lung"]

    @property
    def lungs(self) -> Mask:
        """Both visible lungs."""
        return self.anatomy.masks["right_lung"] | self.anatomy.masks["left_lung"]

    @property
    def here(self) -> Mask:
        """The finding's half of the picture."""
        return on_side(self.grid, self.side)

    def place(self, out: float, down: float) -> Point:
        """Return a point in the lung, see `phantom_patient.place`."""
        return place(self.patient, self.side, out, down)

    def uniform(self, low: float, high: float) -> float:
        """Draw a number."""
        return float(self.rng.uniform(low, high))


def filled(case: Case, fill: Plane, water: Plane | None = None) -> Change:
    """Return the change with its outline: where at least half a centimetre of air gave way."""
    gone = fill * case.anatomy.lung
    if water is not None:
        gone = gone + water
    return Change(np.asarray(gone > 0.5), fill=np.asarray(fill, dtype=np.float32), water=water)


def cloud(case: Case, centre: Point, semi: Point, strength: float, ragged: float = 0.5) -> Plane:
    """Return a soft, uneven patch of at most `strength`."""
    q = ellipse(case.grid, centre, semi, turn=case.uniform(-20, 20))
    noise = texture(case.grid.size, case.rng, 14) + np.float32(0.6) * texture(case.grid.size, case.rng, 34)
    body = smoothstep((np.float32(1.7) - q + np.float32(ragged) * noise) / np.float32(1.9))
    body *= smoothstep((np.float32(2.4) - q) / np.float32(1.4))
    return np.asarray(np.float32(strength) * body, dtype=np.float32)
