"""The healthy chest, layer by layer, as path lengths along the beam."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cxr_core.imaging import phantom_bones
from cxr_core.imaging.phantom_patient import (
    APEX_X,
    LEFT,
    RIGHT,
    Patient,
    cage_half_width,
    diaphragm_y,
    hilum,
    mediastinum_half_width,
    on_side,
    trunk_depth,
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
    tube,
)


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Path lengths in cm, each (H, W) float32, and the outlines drawn.

    Attributes:
        body: everything within the skin, as if filled with water.
        lung: aerated lung.
        vessels: blood in lung.
        airways: air in trachea, bronchi and stomach.
        bone: bone in excess of water.
        masks: (H, W) bool by name of the organ; left and right are the patient's.
    """

    body: Plane
    lung: Plane
    vessels: Plane
    airways: Plane
    bone: Plane
    masks: dict[str, Mask]


def draw_anatomy(grid: Grid, patient: Patient, rng: np.random.Generator) -> Anatomy:
    """Project the patient."""
    tree, bones = rng.spawn(2)
    body, breasts = draw_body(grid, patient)
    heart = draw_heart(grid, patient)
    great = draw_great_vessels(grid, patient)
    lung, cavity = draw_lungs(grid, patient, heart, great)
    fields = cavity & (heart < 0.5) & (great < 0.5)
    airways, air_masks = draw_airways(grid, patient)
    skeleton = phantom_bones.draw_bones(grid, patient, bones)
    masks = {
        "body": body > 0.3,
        "right_lung": fields & on_side(grid, RIGHT),
        "left_lung": fields & on_side(grid, LEFT),
        "heart": heart > 0.3,
        "aorta": draw_aorta(grid, patient) > 0.2,
        "mediastinum": draw_mediastinum(grid, patient, heart, great),
        **air_masks,
        **({"breasts": breasts > 0.3} if patient.female else {}),
        **{name: plane > 0.02 for name, plane in skeleton.items()},
    }
    masks["hila"] = draw_hila(grid, patient) & (masks["right_lung"] | masks["left_lung"])
    bone = sum(skeleton.values(), start=grid.zeros())
    return Anatomy(body, lung, draw_vessels(grid, patient, tree), airways, bone, masks)


def draw_body(grid: Grid, patient: Patient) -> tuple[Plane, Plane]:
    """Return thickness of trunk, shoulders, neck, arms and breasts together, and of the breasts, cm."""
    x2, y = grid.x * grid.x, grid.y
    reach = np.abs(grid.x)
    width = np.float32(patient.chest + 3.3) + np.float32(0.6) * smoothstep((y - 24) / 12)
    u2 = x2 / (width * width)
    trunk = trunk_depth(y, patient).astype(np.float32) * dome(u2 * u2)
    trunk *= smoothstep((y - 3.5) / 3.5)
    neck = 11.5 * dome(x2 / np.float32(5.4**2)) * smoothstep((11 - y) / 5)
    top = patient.shoulder + np.maximum(reach - 5.0, 0) * 0.22 + 0.035 * np.maximum(reach - 15.5, 0) ** 2
    below = np.clip((y - top) / np.float32(7.0), 0, 1).astype(np.float32)
    girdle = 14.5 * dome(np.square(1 - below)) * smoothstep((22 - y) / 10)
    arms = grid.zeros()
    for side in (RIGHT, LEFT):
        path = curve([(side * 17.6, 9.0), (side * 20.2, 17.0), (side * 22.4, 28.0), (side * 23.2, 41.0)], 14)
        tube(arms, grid, path, np.linspace(4.8, 4.2, 14), np.linspace(11.5, 9.5, 14))
    solids = [trunk, neck, girdle, arms]
    body = np.sqrt(np.sqrt(sum(np.square(np.square(solid)) for solid in solids)))
    breasts = draw_breasts(grid, patient)
    return (body + breasts).astype(np.float32), breasts


def draw_breasts(grid: Grid, patient: Patient) -> Plane:
    """Return the thickness of breasts, or of the chest muscles of a man, cm."""
    plane = grid.zeros()
    for side in (RIGHT, LEFT):
        if patient.female:
            y = patient.dome_y(side) - 2.4
            solid = ellipsoid(grid, (side * 8.4, y), (6.3, 6.0), 3.4)
            plane += solid * smoothstep((grid.y - np.float32(y - 5.5)) / np.float32(7.0))
        else:
            plane += ellipsoid(grid, (side * 9.6, 13.6), (6.8, 4.6), 1.5, turn=side * -28)
    return plane


def draw_heart(grid: Grid, patient: Patient) -> Plane:
    """Return the path length through the heart, cm: left ventricle, right atrium, outflow."""
    k = patient.heart
    base = patient.base - 2.6
    left = ellipsoid(grid, (2.2 * k, base), (7.0 * k, 5.2 * k), 10.5, turn=38)
    right = ellipsoid(grid, (-0.8 * k, base - 1.2), (3.5 * k, 5.2 * k), 8.5)
    trunk = ellipsoid(grid, (1.7 + 0.7 * k, base - 6.0), (2.2, 3.8), 6.5, turn=-24)
    return np.asarray(np.sqrt(left * left + right * right + trunk * trunk), dtype=np.float32)


def draw_aorta(grid: Grid, patient: Patient) -> Plane:
    """Return the path length through the arch seen end-on and the descending aorta, cm."""
    plane = ellipsoid(grid, (2.6, patient.apex + 7.6), (1.75, 1.85), 8.5)
    path = curve([(2.4, patient.apex + 8.0), (2.6, 19.0), (2.1, 24.0), (1.1, 31.0)], 14)
    tube(plane, grid, path, 1.15, 3.0)
    return plane


def draw_great_vessels(grid: Grid, patient: Patient) -> Plane:
    """Return the path length through aorta, superior vena cava and ascending aorta, cm."""
    plane = draw_aorta(grid, patient)
    cava = curve([(-2.3, patient.apex + 4.0), (-2.5, 13.0), (-2.6, 16.0), (-2.2, 20.0)], 12)
    tube(plane, grid, cava, np.linspace(0.9, 1.3, 12), np.minimum(np.linspace(0.3, 12, 12), 4.0))
    return plane


def draw_lungs(grid: Grid, patient: Patient, heart: Plane, great: Plane) -> tuple[Plane, Mask]:
    """Return the path length through lung (cm) and the outline of the cavities above the diaphragm."""
    half = cage_half_width(grid.y, patient.apex, patient.chest).astype(np.float32)
    rise = np.clip((half - APEX_X) / np.float32(patient.chest - APEX_X), 0, 1)
    depth = (trunk_depth(grid.y, patient).astype(np.float32) - np.float32(5.0)) * np.sqrt(rise)
    u2 = np.square(grid.x / np.maximum(half, 0.01)).astype(np.float32)
    core = mediastinum_half_width(grid.y, patient).astype(np.float32)
    m2 = np.square(grid.x / core)
    hard = smoothstep((np.float32(16) - grid.y) / np.float32(7))
    centre = hard * dome(m2) + (1 - hard) * np.maximum(1 - m2 * np.float32(0.8), 0)
    chord = depth * dome(u2) * (1 - centre) - 1.1 * heart - 0.9 * great
    inside = (u2 < 1) & (m2 > 1) & (grid.y > patient.apex)
    for side in (RIGHT, LEFT):
        depth_below = grid.y - diaphragm_y(grid.x, patient, side)
        shut = dome(np.square(1 - np.clip(depth_below / np.float32(6.0), 0, 1)))
        recess = np.float32(0.10) * smoothstep((np.float32(5.5) - depth_below) / np.float32(5.0))
        here = on_side(grid, side)
        chord = np.where(here, chord * (1 - shut * (1 - recess)), chord)
        inside &= ~here | (depth_below < 0)
    return np.maximum(chord, 0).astype(np.float32), inside


def draw_mediastinum(grid: Grid, patient: Patient, heart: Plane, great: Plane) -> Mask:
    """Return the outline of the central shadow from the apices to the diaphragm."""
    core = np.abs(grid.x) < mediastinum_half_width(grid.y, patient)
    between = (grid.y > patient.apex) & (grid.y < max(patient.domes) + 1.5)
    return np.asarray(((core & between) | (heart > 0.3) | (great > 0.3)) & (grid.y < max(patient.domes) + 4))


def draw_airways(grid: Grid, patient: Patient) -> tuple[Plane, dict[str, Mask]]:
    """Return the path length through air in trachea, main bronchi and stomach, cm, and their outlines."""
    trachea, stomach = grid.zeros(), grid.zeros()
    fork = (0.25, patient.apex + 9.6)
    tube(trachea, grid, curve([(0.0, -1.0), (0.0, 5.0), (-0.25, 10.0), fork], 16), 0.85, 1.7)
    tube(
        trachea,
        grid,
        curve([fork, (-1.6, fork[1] + 1.7), (-3.6, fork[1] + 3.6)], 10),
        np.linspace(0.62, 0.4, 10),
        np.linspace(1.2, 0.2, 10),
    )
    tube(
        trachea,
        grid,
        curve([fork, (2.0, fork[1] + 1.4), (4.2, fork[1] + 2.4)], 10),
        np.linspace(0.55, 0.4, 10),
        np.linspace(1.1, 0.2, 10),
    )
    level = patient.dome_y(LEFT) + 2.5
    bubble = ellipsoid(grid, (6.4, level), (2.6, 1.7), 5.0, turn=8)
    stomach += bubble * smoothstep((np.float32(level + 0.8) - grid.y) / np.float32(0.5))
    return trachea + stomach, {"trachea": trachea > 0.15, "stomach_bubble": stomach > 0.3}


def draw_hila(grid: Grid, patient: Patient) -> Mask:
    """Return the outline of both lung roots."""
    spots = [ellipse(grid, hilum(patient, side), (2.0, 3.0)) < 1 for side in (RIGHT, LEFT)]
    return np.asarray(spots[0] | spots[1])


def draw_vessels(grid: Grid, patient: Patient, rng: np.random.Generator) -> Plane:
    """Return the path length through the branching pulmonary vessels, cm."""
    plane = grid.zeros()
    for side in (RIGHT, LEFT):
        x, y = hilum(patient, side)
        root = curve([(side * 2.6, y - 1.6), (x, y - 0.2), (x + side * 0.5, y + 3.2)], 10)
        tube(plane, grid, root, 0.85, 1.5)
        for angle in np.linspace(-78, 84, 11):
            radius = (0.30 + 0.10 * float(np.clip(angle / 60, 0, 1))) * patient.vessels
            start = (x + side * 0.25, y + 0.02 * float(angle))
            _branch(plane, grid, patient, rng, start, float(angle + rng.normal(0, 7)), radius, side, 0)
    return plane


def _branch(
    plane: Plane,
    grid: Grid,
    patient: Patient,
    rng: np.random.Generator,
    start: tuple[float, float],
    angle: float,
    radius: float,
    side: int,
    level: int,
) -> None:
    """Draw one vessel and what grows from its end; `angle` 0 points outwards, 90 down."""
    length = float(rng.uniform(1.5, 3.2)) * (0.9**level)
    bend = float(rng.normal(0, 10))
    mid = _step(start, angle, length / 2, side)
    end = _step(mid, angle + bend, length / 2, side)
    away = float(rng.uniform(0.35, 1.0))
    course = [start, mid, end] if level < 3 else [start, end]
    tube(plane, grid, np.array(course), np.linspace(1.0, 0.86, len(course)) * radius, 2 * radius / away)
    reach = float(cage_half_width(np.array(end[1]), patient.apex, patient.chest))
    if radius < 0.07 or abs(end[0]) > reach:
        return
    spread = float(rng.uniform(18, 42))
    split = float(rng.uniform(0.3, 0.7))
    for share, turn in ((split, -spread * (1.2 - split)), (1 - split, spread * (0.2 + split))):
        thinner = 0.9 * radius * share**0.36
        _branch(plane, grid, patient, rng, end, angle + bend + turn, thinner, side, level + 1)


def _step(start: tuple[float, float], angle: float, length: float, side: int) -> tuple[float, float]:
    turn = math.radians(angle)
    return start[0] + side * math.cos(turn) * length, start[1] + math.sin(turn) * length
