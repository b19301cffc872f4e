"""What a person sees on the film: grey picture, heatmap colours, contour lines. Numpy and Pillow only.

The browser's viewer, the annotated picture and the PDF all draw from here, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FIELD_PX = 128
"""Side of an enlarged heatmap; its cells are fifteen times larger on a usual film."""

CONTOUR_LEVELS = (0.5, 0.8)
"""Share of the heatmap's peak at which contour lines run."""

_STOPS = (
    (0.0, "2A0A4A"),
    (0.25, "6B186E"),
    (0.5, "C73E4C"),
    (0.75, "F98E09"),
    (0.9, "F7D13D"),
    (1.0, "FCFFA4"),
)


def _palette() -> NDArray[np.uint8]:
    positions = np.array([position for position, _ in _STOPS])
    colours = np.array([list(bytes.fromhex(colour)) for _, colour in _STOPS], dtype=np.float64)
    values = np.linspace(0.0, 1.0, 256)
    ramp = np.clip((values - 0.15) / 0.45, 0.0, 1.0)
    alpha = 255.0 * ramp * ramp * (3.0 - 2.0 * ramp)
    channels = [np.interp(values, positions, colours[:, channel]) for channel in range(3)]
    return np.rint(np.stack([*channels, alpha], axis=1)).astype(np.uint8)


PALETTE = _palette()
"""(256, 4) uint8 RGBA: lightness rises with the value; clear below 0.15 of the peak."""


def field_of(heatmap: NDArray[np.floating]) -> NDArray[np.float32] | None:
    """Return one finding's heatmap enlarged and divided by its peak, or None without support.

    Negative values speak against the finding and are cut to 0, as Grad-CAM does. None means that no
    part of the film raised the finding's logit: the caller says so instead of showing nothing.

    Args:
        heatmap: (h, w), any range, in the film's own axes.

    Returns:
        (FIELD_PX, FIELD_PX) float32 in [0, 1] with a peak of 1.

    Raises:
        ValueError: not two-dimensional, or not finite.
    """
    values = np.asarray(heatmap, dtype=np.float32)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"expected a finite (h, w) heatmap, got shape {values.shape}")
    if float(values.max(initial=0.0)) <= 0.0:
        return None
    support = np.maximum(values, 0.0) / values.max()
    enlarged = Image.fromarray(support).resize((FIELD_PX, FIELD_PX), Image.Resampling.BICUBIC)
    field = np.clip(np.asarray(enlarged, dtype=np.float32), 0.0, None)
    return np.asarray(field / field.max(), dtype=np.float32)


def peak_of(field: NDArray[np.float32]) -> tuple[float, float]:
    """Return the peak's (x, y) as shares of the film's width and height."""
    row, column = np.unravel_index(int(field.argmax()), field.shape)
    return (float(column) + 0.5) / field.shape[1], (float(row) + 0.5) / field.shape[0]


def contours(field: NDArray[np.float32], level: float) -> NDArray[np.float32]:
    """Return the lines at which `field` crosses `level`, as (n, 4) float32 rows x0, y0, x1, y1.

    Coordinates are shares of the film's width and height. Every square between four pixel centres is cut
    into two triangles; within a triangle the field is a plane, so no case is ambiguous. The field is
    framed with zeros, so that every line closes.
    """
    height, width = field.shape
    framed = np.pad(field, 1)
    rows, columns = np.mgrid[: height + 2, : width + 2].astype(np.float32) - np.float32(0.5)
    points = np.stack([np.clip(columns / width, 0, 1), np.clip(rows / height, 0, 1), framed], axis=-1)
    top_left, top_right = points[:-1, :-1].reshape(-1, 3), points[:-1, 1:].reshape(-1, 3)
    bottom_left, bottom_right = points[1:, :-1].reshape(-1, 3), points[1:, 1:].reshape(-1, 3)
    upper = np.stack([top_left, top_right, bottom_left], axis=1)
    lower = np.stack([top_right, bottom_right, bottom_left], axis=1)
    return _crossings(np.concatenate([upper, lower]), level)


def _crossings(triangles: NDArray[np.float32], level: float) -> NDArray[np.float32]:
    """Return the segment in which each (x, y, value) triangle of (n, 3, 3) meets `level`, where it does."""
    above = triangles[:, :, 2] >= level
    cut = triangles[above.any(axis=1) & ~above.all(axis=1)]
    if not len(cut):
        return np.zeros((0, 4), dtype=np.float32)
    above = cut[:, :, 2] >= level
    # The corner alone on its side of the level is joined by two edges to the others.
    lone = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), (~above).argmax(axis=1))
    each = np.arange(len(cut))
    ends = []
    for step in (1, 2):
        a, b = cut[each, lone], cut[each, (lone + step) % 3]
        share = ((level - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, np.newaxis]
        ends.append(a[:, :2] + share * (b[:, :2] - a[:, :2]))
    return np.concatenate(ends, axis=1).astype(np.float32)


def grey(pixels: NDArray[np.float32], max_side: int) -> NDArray[np.uint8]:
    """Return (h, w) uint8, shrunk so that neither side exceeds `max_side`, never enlarged."""
    height, width = pixels.shape
    scale = max_side / max(height, width)
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), dtype=np.float32)
    levels: NDArray[np.uint8] = np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)
    return levels


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return a grey (h, w) or RGB (h, w, 3) picture as PNG bytes, the same for the same picture."""
    out = BytesIO()
    Image.fromarray(picture).save(out, format="PNG", compress_level=3)
    return out.getvalue()


def tiles(fields: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Return the fields one below the other as (n * FIELD_PX, FIELD_PX) uint8, 255 at each peak."""
    if not fields:
        return np.zeros((1, FIELD_PX), dtype=np.uint8)
    return np.rint(np.concatenate(list(fields)) * 255.0).astype(np.uint8)


def blend(picture: NDArray[np.uint8], field: NDArray[np.float32], opacity: float) -> NDArray[np.uint8]:
    """Return (h, w, 3) uint8: the grey picture beneath the heatmap's colours.

    Args:
        picture: (h, w) uint8.
        field: as `field_of` returns it; stretched over the whole picture.
        opacity: 0 hides the heatmap, 1 shows the palette's own transparency.
    """
    size = (picture.shape[1], picture.shape[0])
    stretched = np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BILINEAR))
    colours = PALETTE[np.rint(np.clip(stretched, 0.0, 1.0) * 255.0).astype(np.uint8)].astype(np.float32)
    alpha = colours[..., 3:] * np.float32(opacity / 255.0)
    base = picture[..., np.newaxis].astype(np.float32)
    blended: NDArray[np.uint8] = np.rint(base * (1.0 - alpha) + colours[..., :3] * alpha).astype(np.uint8)
    return blended
