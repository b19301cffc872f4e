"""Films in memory for tests in which their meaning does not matter: one invented chest, soft blobs on it."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image

from cxr_core.imaging.phantom import make_phantom

SIDE = 192


def blobs(seed: int, side: int = SIDE, *, chest: float = 0.9) -> np.ndarray:
    """(side, side) uint8, no two seeds alike; the gate takes each for a chest film.

    Without the chest no two look alike either.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    film = np.zeros((side, side))
    for _ in range(6):
        row, column, width = rng.random(), rng.random(), rng.uniform(0.05, 0.3)
        film += np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / width**2)
    mixed = chest * _chest(seed % 6, side) + (1 - chest) * film / film.max()
    return np.round(255 * mixed).astype(np.uint8)


@cache
def _chest(patient: int, side: int) -> np.ndarray:
    return make_phantom(patient, size=side).image


def png(seed: int, side: int = SIDE, *, chest: float = 0.9) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(blobs(seed, side, chest=chest)).save(buffer, "PNG")
    return buffer.getvalue()


def photograph(seed: int) -> bytes:
    """Return a PNG of many colours, 96 rows by 120 columns."""
    stream = io.BytesIO()
    hues = np.random.default_rng(seed).integers(0, 256, (96, 120, 3), dtype=np.uint8)
    Image.fromarray(hues).save(stream, "PNG")
    return stream.getvalue()
