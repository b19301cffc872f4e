"""Films in memory for tests in which the picture's meaning does not matter: soft blobs, quickly made."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

SIDE = 192


def blobs(seed: int, side: int = SIDE) -> np.ndarray:
    """(side, side) uint8, no two seeds alike."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    film = np.zeros((side, side))
    for _ in range(6):
        row, column, width = rng.random(), rng.random(), rng.uniform(0.05, 0.3)
        film += np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / width**2)
    return np.round(255 * film / film.max()).astype(np.uint8)


def png(seed: int, side: int = SIDE) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(blobs(seed, side)).save(buffer, "PNG")
    return buffer.getvalue()
