"""Path lengths through simple solids, in centimetres, on the picture plane of the phantom.

The beam is parallel and runs along depth, so a solid's path length is a closed form of the place in
the picture: an ellipsoid gives an elliptic dome, a tube a half-circle across its course.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FIELD_CM = 40.0
"""Side of the square detector."""

Plane = NDArray[np.float32]
Reals = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where each pixel lies in the patient.

    Attributes:
        size: rows and columns.
        lean: sideways lean of the patient, cm per cm downwards.
        x: (size, size) float32 cm from the midline, negative on the patient's right.
        y: (size, 1) float32 cm from the upper edge, downwards.
    """

    size: int
    lean: float
    x: Plane
    y: Plane

    def window(self, left: float, right: float, top: float, bottom: float) -> tuple[slice, slice]:
        """Return the pixel rectangle that holds the given patient rectangle, cut to the picture."""
        px = self.size / FIELD_CM
        shifts = [self.lean * (y - FIELD_CM / 2) + FIELD_CM / 2 for y in (top, bottom)]
        columns = (int((left + min(shifts)) * px) - 1, int((right + max(shifts)) * px) + 2)
        rows = (int(top * px) - 1, int(bottom * px) + 2)
        bounds = [min(max(value, 0), self.size) for value in (*rows, *columns)]
        return slice(bounds[0], bounds[1]), slice(bounds[2], bounds[3])

    def zeros(self) -> Plane:
        """Return an empty (size, size) float32 plane."""
        return np.zeros((self.size, self.size), np.float32)


def make_grid(size: int, lean: float) -> Grid:
    """Return the grid of pixel centres for a square picture of `size` rows."""
    step = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(FIELD_CM / size)
    y = step[:, np.newaxis]
    x = step[np.newaxis] - np.float32(FIELD_CM / 2) - np.float32(lean) * (y - np.float32(FIELD_CM / 2))
    return Grid(size, lean, x, y)


def dome(q: Reals) -> Plane:
    """Return sqrt(1 - q) where q < 1, else 0: the relative path length through an ellipsoid."""
    return np.asarray(np.sqrt(np.maximum(np.float32(1) - q, np.float32(0))), dtype=np.float32)


def smoothstep(value: Reals) -> Plane:
    """Return the cubic step from 0 (value <= 0) to 1 (value >= 1)."""
    t = np.clip(value, 0.0, 1.0).astype(np.float32)
    return np.asarray(t * t * (np.float32(3) - np.float32(2) * t), dtype=np.float32)


def ellipse(grid: Grid, centre: Point, semi: Point, turn: float = 0.0) -> Plane:
    """Return the ellipse's quadratic form over the picture: below 1 inside, 1 on the border.

    Args:
        grid: the picture.
        centre: (x, y) cm.
        semi: half axes along x and y before turning, cm.
        turn: degrees, positive turns the x axis downwards.
    """
    return _quadratic(grid.x, grid.y, centre, semi, turn)


def ellipsoid(grid: Grid, centre: Point, semi: Point, depth: float, turn: float = 0.0) -> Plane:
    """Return the path length (cm) through an ellipsoid of thickness `depth` cm at its centre."""
    reach = max(semi)
    rows, columns = grid.window(centre[0] - reach, centre[0] + reach, centre[1] - reach, centre[1] + reach)
    plane = grid.zeros()
    q = _quadratic(grid.x[rows, columns], grid.y[rows], centre, semi, turn)
    plane[rows, columns] = np.float32(depth) * dome(q)
    return plane


def _quadratic(x: Plane, y: Plane, centre: Point, semi: Point, turn: float) -> Plane:
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    along = (dx * np.float32(c) + dy * np.float32(s)) / np.float32(semi[0])
    across = (dy * np.float32(c) - dx * np.float32(s)) / np.float32(semi[1])
    return np.asarray(along * along + across * across, dtype=np.float32)


def tube(
    plane: Plane,
    grid: Grid,
    path: NDArray[np.float64],
    half_width: Sequence[float] | NDArray[np.float64] | float,
    depth: Sequence[float] | NDArray[np.float64] | float,
    hollow: float = 0.0,
) -> None:
    """Draw a tube into `plane`, in place, by the greater of what is there and its path length.

    Args:
        plane: (H, W) path lengths in cm.
        grid: the picture.
        path: (N, 2) x and y of the tube's axis, cm.
        half_width: in the picture plane at each point, cm.
        depth: path length on the axis at each point, cm.
        hollow: share of the path that the marrow lacks; 0 is solid, towards 1 only walls remain.
    """
    widths = np.broadcast_to(np.asarray(half_width, float), (len(path),))
    depths = np.broadcast_to(np.asarray(depth, float), (len(path),))
    for i in range(len(path) - 1):
        _segment(plane, grid, path[i : i + 2], widths[i : i + 2], depths[i : i + 2], hollow)


def _segment(
    plane: Plane,
    grid: Grid,
    ends: NDArray[np.float64],
    widths: NDArray[np.float64],
    depths: NDArray[np.float64],
    hollow: float,
) -> None:
    (ax, ay), (bx, by) = ends.tolist()
    reach = float(widths.max())
    across, along = sorted((ax, bx)), sorted((ay, by))
    rows, columns = grid.window(across[0] - reach, across[1] + reach, along[0] - reach, along[1] + reach)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    dx, dy = grid.x[rows, columns] - np.float32(ax), grid.y[rows] - np.float32(ay)
    ux, uy = bx - ax, by - ay
    length2 = max(ux * ux + uy * uy, 1e-9)
    t = np.clip((dx * np.float32(ux) + dy * np.float32(uy)) * np.float32(1 / length2), 0.0, 1.0)
    dx, dy = dx - t * np.float32(ux), dy - t * np.float32(uy)
    width = np.float32(widths[0]) + t * np.float32(widths[1] - widths[0])
    q = (dx * dx + dy * dy) / (width * width)
    value = dome(q)
    if hollow:
        value -= np.float32(hollow * 0.78) * dome(q * np.float32(1 / 0.78**2))
    value *= np.float32(depths[0]) + t * np.float32(depths[1] - depths[0])
    np.maximum(plane[rows, columns], value, out=plane[rows, columns])


def curve(points: Sequence[Point], count: int = 24) -> NDArray[np.float64]:
    """Return a smooth (count, 2) path through the points (Catmull-Rom)."""
    known = np.asarray(points, float)
    padded = np.vstack([2 * known[0] - known[1], known, 2 * known[-1] - known[-2]])
    at = np.linspace(0, len(known) - 1, count)
    i = np.minimum(at.astype(int), len(known) - 2)
    t = (at - i)[:, np.newaxis]
    p0, p1, p2, p3 = (padded[i + k] for k in range(4))
    square, cube = 2 * p0 - 5 * p1 + 4 * p2 - p3, 3 * p1 - p0 - 3 * p2 + p3
    return np.asarray(p1 + ((p2 - p0) * t + square * t**2 + cube * t**3) / 2)


def resized(plane: Plane, size: int, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Plane:
    """Return the plane at (size, size)."""
    return np.asarray(Image.fromarray(plane).resize((size, size), resample), dtype=np.float32)


def texture(size: int, rng: np.random.Generator, cells: int) -> Plane:
    """Return smooth noise of mean about 0 and deviation about 0.7, `cells` grains across."""
    return resized(rng.standard_normal((cells, cells), dtype=np.float32), size)


def blurred(plane: Plane, sigma_cm: float) -> Plane:
    """Return a wide Gaussian blur, worked on a coarse copy; edges are continued."""
    coarse = 64
    small = resized(plane, coarse, Image.Resampling.BOX)
    reach = np.arange(coarse) * (FIELD_CM / coarse)
    kernel = np.exp(-0.5 * ((reach[:, np.newaxis] - reach) / sigma_cm) ** 2)
    kernel = (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)
    rows = np.einsum("ij,jk->ik", kernel, small)
    return resized(np.einsum("ij,kj->ki", kernel, rows), plane.shape[0])


def softened(plane: Plane, share: float) -> Plane:
    """Return the plane with `share` of each pixel given to its two neighbours along each axis."""
    side, middle = np.float32(share / 2), np.float32(1 - share)
    for axis in (0, 1):
        moved = np.moveaxis(plane, axis, 0)
        out = moved * middle
        out[1:] += side * moved[:-1]
        out[:-1] += side * moved[1:]
        out[0] += side * moved[0]
        out[-1] += side * moved[-1]
        plane = np.moveaxis(out, 0, axis)
    return plane
