"""The skeleton of the chest as bone in excess of water, in centimetres along the beam."""

from __future__ import annotations

import numpy as np

from cxr_core.imaging.phantom_patient import LEFT, RIGHT, Patient, cage_half_width
from cxr_core.imaging.phantom_shapes import Grid, Plane, curve, ellipsoid, smoothstep, tube

RIB_PAIRS = 11


def draw_bones(grid: Grid, patient: Patient, rng: np.random.Generator) -> dict[str, Plane]:
    """Return one plane per bone group."""
    return {
        "ribs": draw_ribs(grid, patient, rng),
        "spine": draw_spine(grid),
        "clavicles": draw_clavicles(grid, patient),
        "scapulae": draw_scapulae(grid, patient),
        "humeri": draw_humeri(grid),
    }


def draw_ribs(grid: Grid, patient: Patient, rng: np.random.Generator) -> Plane:
    """Return posterior and anterior arcs: hollow tubes on tilted ellipses round the cage.

    At the side the ribs are seen on edge: narrower, and drawn fainter than a straight beam would
    have them, because together they would wall the lung in with a white stripe that no film shows.
    """
    plane = grid.zeros()
    first = patient.apex + 0.9
    gap = (patient.base + 1.2 - first) / 9.4
    for pair in range(RIB_PAIRS):
        slope = 1.8 + 0.5 * min(pair, 6) + float(rng.normal(0, 0.06))
        y = first + gap * pair
        reach = float(cage_half_width(np.array(y + slope + 0.6), patient.apex - 0.6, patient.chest + 0.35))
        reach = max(reach, 5.0)
        width = 0.52 + 0.02 * min(pair, 5)
        last = np.radians(145 if pair < 7 else 118)
        fade = 0.3 if pair < 7 else 1.0
        for side in (RIGHT, LEFT):
            start = y + float(rng.normal(0, 0.05))
            back = np.linspace(np.radians(6), np.pi / 2, 20)
            front = np.linspace(np.pi / 2, last, 20)
            for theta, strength in ((back, 0.75), (front, 0.45 * (1 - fade * np.linspace(0, 1, 20) ** 2))):
                turned = np.cos(theta)
                x = side * reach * np.sin(theta) ** 0.92
                descent = slope * (1 - turned + 0.3 * np.maximum(-turned, 0))
                arc = grid.zeros()
                path = np.stack([x, start + descent], axis=1)
                flat = np.sqrt(np.abs(turned))
                depth = strength * (0.5 + 0.5 * flat)
                tube(arc, grid, path, width * (0.5 + 0.5 * flat), depth, hollow=0.6)
                plane += arc
    return plane


def draw_spine(grid: Grid) -> Plane:
    """Return vertebral bodies with end plates, pedicles, spinous and transverse processes."""
    plane = grid.zeros()
    y = -0.5
    while y < 41.0:
        height = 1.5 + 0.028 * y
        width = 1.35 + 0.017 * y
        body = ellipsoid(grid, (0, y), (width, height * 0.62), 2.2)
        plane = np.maximum(plane, np.minimum(body, 0.9))
        plate = np.array([(-width * 0.92, y + height * 0.5), (width * 0.92, y + height * 0.5)])
        tube(plane, grid, plate, 0.14, 1.1)
        for side in (RIGHT, LEFT):
            pedicle = np.array([(side * width * 0.62, y - 0.25), (side * width * 0.62, y + 0.2)])
            tube(plane, grid, pedicle, 0.3, 1.35, hollow=0.5)
            process = np.array([(side * width, y - 0.1), (side * (width + 1.3), y - 0.35)])
            tube(plane, grid, process, 0.38, 0.8, hollow=0.3)
        tube(plane, grid, np.array([(0.0, y + 0.1), (0.0, y + 0.8)]), [0.18, 0.28], 1.5, 0.3)
        y += height + 0.42
    return plane


def draw_clavicles(grid: Grid, patient: Patient) -> Plane:
    """Return both collar bones, S-shaped, and the upper breast bone between them."""
    plane = grid.zeros()
    y = patient.clavicle
    for side in (RIGHT, LEFT):
        points = [(1.6, y + 0.3), (4.2, y - 0.6), (8.2, y - 1.9), (12.4, y - 3.5), (15.8, y - 3.4)]
        path = curve([(side * x, at) for x, at in points], 26)
        widths = 0.58 + 0.38 * np.exp(-np.linspace(0, 7, 26)) + 0.12 * np.exp(-np.linspace(6, 0, 26))
        tube(plane, grid, path, widths, 1.0, hollow=0.55)
    return plane


def draw_scapulae(grid: Grid, patient: Patient) -> Plane:
    """Return both shoulder blades: a thin plate, its outer border, spine, coracoid and socket."""
    plane = grid.zeros()
    for side in (RIGHT, LEFT):
        shift = -patient.scapula

        def at(*points: tuple[float, float], side: int = side, shift: float = shift) -> np.ndarray:
            return curve([(side * (x + shift), y) for x, y in points], 22)

        blade = ellipsoid(grid, (side * (14.2 + shift), 13.2), (2.1, 6.8), 0.34, turn=side * -7)
        plane += np.minimum(blade, 0.16) * smoothstep((grid.y - 6.5) / 2)
        border = grid.zeros()
        tube(border, grid, at((16.0, 10.2), (15.2, 14.5), (14.2, 18.5), (13.7, 20.0)), 0.36, 0.55, 0.35)
        tube(border, grid, at((13.7, 20.0), (12.6, 16.5), (12.2, 11.0), (12.9, 7.0)), 0.2, 0.28)
        tube(border, grid, at((12.4, 9.6), (14.5, 7.6), (17.4, 6.0)), 0.5, 0.75, 0.45)
        tube(border, grid, at((15.8, 7.6), (14.6, 8.1), (14.0, 9.3)), 0.5, 0.8, 0.4)
        tube(border, grid, at((16.3, 8.0), (16.0, 9.4), (16.4, 11.0)), 0.35, 1.0, 0.4)
        plane += border
    return plane


def draw_humeri(grid: Grid) -> Plane:
    """Return the heads and shafts of the upper arms."""
    plane = grid.zeros()
    for side in (RIGHT, LEFT):
        head = ellipsoid(grid, (side * 18.2, 9.2), (2.3, 2.3), 2.4)
        plane = np.maximum(plane, np.minimum(head, 0.85))
        path = curve([(side * 18.8, 9.8), (side * 20.0, 17.0), (side * 21.5, 28.0), (side * 22.5, 41.0)], 16)
        tube(plane, grid, path, np.linspace(1.5, 1.15, 16), 1.5, hollow=0.6)
    return plane
