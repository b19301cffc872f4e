"""The one road from a decoded film to what the network sees; the trainer calls it too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_STRIP = 32
"""Rows of the coarser film that are summed at a time; what lies between stays in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a film becomes a network input; a table of the model's manifest.

    Attributes:
        film_px: side of the square every film is first brought to, whatever its resolution, so
            that a 3000-pixel film shows the network no more detail than the films it learned from.
        network_px: side of the network's input.
        low_percentile, high_percentile: grey values mapped to -1 and 1; beyond them is clipped.
    """

    film_px: int
    network_px: int
    low_percentile: float
    high_percentile: float


def network_input(pixels: NDArray[np.float32], recipe: Recipe) -> NDArray[np.float32]:
    """Return the (1, network_px, network_px) float32 array in [-1, 1] that the network sees.

    The film is squeezed to a square, as the publisher of ChestX-ray14 did with the training
    films: no border is added and nothing is cut off.

    Args:
        pixels: (H, W) float32 in [0, 1], bright = dense.
        recipe: the model's preprocessing table.
    """
    film = resized(pixels, recipe.film_px)
    low, high = np.percentile(film, (recipe.low_percentile, recipe.high_percentile))
    scaled = (film - np.float32(low)) * np.float32(2.0 / max(float(high - low), 1e-3)) - np.float32(1.0)
    return resized(np.clip(scaled, -1.0, 1.0, dtype=np.float32), recipe.network_px)[np.newaxis]


def coarser(pixels: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the film by means of whole pixels, its shorter side between `side` and twice that; or as it is.

    A tenth of the time that the triangle filter takes on a film of 3,000 pixels.

    Args:
        pixels: (H, W) float32.
        side: pixels that stay at least.
    """
    step = min(pixels.shape) // side
    if step <= 1:
        return pixels
    height, width = (length // step for length in pixels.shape)
    pixels = pixels[: height * step, : width * step]
    summed = np.empty((height, width), dtype=np.float32)
    for top in range(0, height, _STRIP):
        strip = pixels[top * step : (top + _STRIP) * step]
        lines = strip[::step] + strip[1::step]
        for offset in range(2, step):
            lines += strip[offset::step]
        means = np.add(lines[:, ::step], lines[:, 1::step], out=summed[top : top + _STRIP])
        for offset in range(2, step):
            means += lines[:, offset::step]
    summed /= np.float32(step * step)
    return summed


def resized(pixels: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return (side, side) float32 by the triangle filter, widened when shrinking (no aliasing)."""
    if pixels.shape == (side, side):
        return pixels
    resized = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32)
