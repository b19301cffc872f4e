"""A seeded, invented chest radiograph: anatomy projected by closed-form path lengths.

Beer-Lambert through water, lung and bone, scatter, detector noise, then a film-like tone curve.
It carries SYNTHETIC in its picture and no trace of any real film.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxr_core.domain import View
from cxr_core.imaging.phantom_anatomy import Anatomy, draw_anatomy
from cxr_core.imaging.phantom_changes import Case, Change
from cxr_core.imaging.phantom_findings import DRAWN, TWO_SIDED, affected
from cxr_core.imaging.phantom_patient import LEFT, RIGHT, Patient, make_patient
from cxr_core.imaging.phantom_shapes import Grid, Mask, Plane, blurred, make_grid, softened, texture

MIN_SIZE = 64
MAX_SIZE = 4096
WATER_PER_CM = 0.185
"""Attenuation of water at about 70 keV, narrow beam."""
BONE_PER_CM = 0.31
"""What bone attenuates beyond water."""
PHOTONS = 900_000.0
"""Quanta per square millimetre that would reach an unshielded detector."""


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """An invented film and the truth about it.

    Attributes:
        image: (H, W) float32 in [0, 1], bright = dense, with its marker and the word SYNTHETIC.
        masks: (H, W) bool by name: organs in lower case (`left_lung` is the patient's left), each
            finding by its label, and `marker` for everything written on the film.
        findings: severity by label.
        sides: "L", "R" or "B" (both, or neither in particular) by label.
        seed: what it was drawn from.
        view: PA or AP.
        female: the invented patient's sex.
    """

    image: NDArray[np.float32] = field(repr=False)
    masks: dict[str, NDArray[np.bool_]] = field(repr=False)
    findings: dict[str, float]
    sides: dict[str, str]
    seed: int
    view: View
    female: bool


def make_phantom(
    seed: int,
    findings: Mapping[str, float] | Iterable[str] = (),
    *,
    size: int = 1024,
    view: View = View.PA,
) -> Phantom:
    """Draw an invented chest film.

    The patient depends on the seed alone, each finding on the seed and its own name, so that films
    with and without a finding can be compared and any size shows the same person.

    Args:
        seed: 0 or more; equal seeds give equal bytes.
        findings: severity in [0, 1] by label, or labels alone (severity 0.6).
        size: rows and columns, 64 to 4096.
        view: PA or AP.

    Raises:
        ValueError: an unknown label, a severity outside [0, 1], a size or view it cannot draw.
    """
    severities = _severities(findings)
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"expected a size from {MIN_SIZE} to {MAX_SIZE}, got {size}")
    if view not in (View.PA, View.AP):
        raise ValueError(f"expected the view PA or AP, got {view}")
    sides = {name: RIGHT if _stream(seed, name).random() < 0.5 else LEFT for name in severities}
    healthy = make_patient(_stream(seed, "patient"), view)
    patient = affected(healthy, severities, sides)
    grid = make_grid(size, patient.lean)
    anatomy = draw_anatomy(grid, patient, _stream(seed, "anatomy"))
    changes = {
        name: DRAWN[name](Case(grid, patient, anatomy, severity, sides[name], _stream(seed, f"{name} shape")))
        for name, severity in severities.items()
    }
    depth = _optical_depth(grid, patient, anatomy, list(changes.values()), _stream(seed, "tissue"))
    film = _exposed(depth, healthy, _stream(seed, "quanta"))
    image, marker = _labelled(film, view)
    masks = {**anatomy.masks, **{name: change.mask for name, change in changes.items()}, "marker": marker}
    letters = {RIGHT: "R", LEFT: "L"}
    shown = {name: "B" if name in TWO_SIDED else letters[side] for name, side in sides.items()}
    return Phantom(image, masks, severities, shown, seed, view, patient.female)


def phantom_png(phantom: Phantom) -> bytes:
    """Return the film as an 8-bit grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.round(phantom.image * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _severities(findings: Mapping[str, float] | Iterable[str]) -> dict[str, float]:
    given = dict(findings) if isinstance(findings, Mapping) else dict.fromkeys(findings, 0.6)
    for name, severity in given.items():
        if name not in DRAWN:
            raise ValueError(f"expected findings among {', '.join(DRAWN)}, got {name!r}")
        if not 0 <= severity <= 1:
            raise ValueError(f"expected a severity in [0, 1] for {name}, got {severity}")
    return {name: float(given[name]) for name in DRAWN if name in given}


def _stream(seed: int, purpose: str) -> np.random.Generator:
    """Return random numbers that depend on the seed and on what they are for, on nothing else."""
    return np.random.default_rng([seed, *purpose.encode()])


def _optical_depth(
    grid: Grid, patient: Patient, anatomy: Anatomy, changes: list[Change], rng: np.random.Generator
) -> Plane:
    """Return the attenuation exponent along each beam."""
    filled, tissue = grid.zeros(), np.full_like(anatomy.lung, patient.aerated)
    vessels, water = np.minimum(anatomy.vessels, 0.6 * anatomy.lung), grid.zeros()
    airways = np.float32(1.35) * anatomy.airways
    for cells, contrast in ((40, 0.07), (110, 0.05)):
        tissue *= 1 + np.float32(contrast) * texture(grid.size, rng, cells)
    for change in changes:
        if change.fill is not None:
            filled = 1 - (1 - filled) * (1 - change.fill)
        if change.gas is not None:
            tissue *= 1 - change.gas
            vessels = vessels * (1 - change.gas)
            filled *= 1 - change.gas
        if change.water is not None:
            water = water + change.water
        if change.air is not None:
            airways = airways + change.air
    solid = np.minimum(vessels + water, anatomy.lung)
    air = (anatomy.lung - solid) * (1 - tissue) * (1 - filled)
    body = anatomy.body * (1 + np.float32(0.012) * texture(grid.size, rng, 9))
    soft = np.maximum(body - air - np.minimum(airways, 0.9 * body), 0)
    soft += np.float32(0.05) * texture(grid.size, rng, 70) * (body > 2)
    depth = np.float32(WATER_PER_CM) * soft + np.float32(BONE_PER_CM) * anatomy.bone
    return np.asarray(depth, dtype=np.float32)


def _exposed(depth: Plane, patient: Patient, rng: np.random.Generator) -> Plane:
    """Return grey values in [0, 1] from scatter, quantum noise and the film's S-shaped response."""
    primary = np.exp(-softened(depth, 0.3))
    total = primary + np.float32(0.25) * blurred(primary, 3.0) * (1 - primary) + np.float32(0.004)
    pixel_mm2 = (400.0 / len(depth)) ** 2
    quanta = np.sqrt(total * np.float32(PHOTONS * pixel_mm2 / 20))
    noise = softened(rng.standard_normal(depth.shape, dtype=np.float32), 0.45)
    total *= np.maximum(1 + np.float32(1.3) * noise / quanta, np.float32(0.2))
    grey = -np.log(total)
    broad = blurred(grey, 2.2)
    shown = np.float32(1.35) * grey - np.float32(0.5) * broad
    middle = 0.85 * WATER_PER_CM * 0.57 * patient.depth
    return np.asarray(1 / (1 + np.exp(np.float32(-2.1) * (shown - np.float32(middle)))), dtype=np.float32)


def _labelled(film: Plane, view: View) -> tuple[Plane, Mask]:
    """Write the side marker and the word SYNTHETIC on the film; return it and what was written."""
    size = len(film)
    sheet = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(sheet)
    unit = size / 1024
    draw.text((52 * unit, 40 * unit), "R", fill=255, font=ImageFont.load_default(max(10.0, 62 * unit)))
    if view is View.AP:
        draw.text((52 * unit, 112 * unit), "AP", fill=255, font=ImageFont.load_default(max(7.0, 30 * unit)))
    font = ImageFont.load_default(max(8.0, 26 * unit))
    draw.text((size - 24 * unit, 22 * unit), "SYNTHETIC", fill=255, font=font, anchor="rt")
    ink = np.asarray(sheet, dtype=np.float32) / np.float32(255)
    return np.asarray(film * (1 - ink) + np.float32(0.97) * ink, dtype=np.float32), ink > 0.5
