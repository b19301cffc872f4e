"""What the picture says before any network has seen it: exposure, sharpness, and whether a spine stands out.

Every limit was chosen on the 7,575 films of 128 pixels in NIH ChestX-ray14's train list and on faults made
of them; docs/gate.md says what the limits do on other films. Decoding children import this: no SciPy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_core.domain import Notice
from cxr_core.imaging.preprocess import coarser, resized
from cxr_core.imaging.refusals import reject, warning

Pixels = NDArray[np.float32]

BLANK = 0.02
"""Range of grey values, without the darkest and brightest 0.5 %, below which nothing can be seen."""

CLIPPED = 0.5
"""Share of pixels, black borders left out, that may be pure black or white; train films reach 0.26."""

DARK = 0.35
"""Grey value that the brightest quarter of the picture has to reach; on the darkest train film it is 0.44."""

FLAT = 0.2
"""Distance between the 5th and the 95th percentile of grey; three train films stay below, and show no rib."""

SOFT = 0.6
"""Sharpness below which a film counts as blurred.

No train film is below 0.86; blurred by one pixel of 128 (sigma) 82 in 100 are, by 1.25 pixels all but two in
a thousand. Invented films, which have no small vessels, begin at 0.60 with every finding at its worst.
"""

SPINE_ROWS = 9
"""Rows, of the twelve across the middle, in which one column has to be brighter than what lies beside it.

Chosen so that at most 0.5 % of the frontal train films are warned of; 15 lateral films were found among them.
"""

MODEL_PX = 128
"""Side of the square at which the bundled model sees every film, whatever its resolution."""

_BLACK, _WHITE = 2 / 255, 253 / 255
_BORDER = 0.05
"""Rows and columns no brighter than this are border: collimation, or black bars around the film."""

_GRID = 256
_COARSE = 32
_MIDDLE = slice(8, 20)
_COLUMNS = range(11, 21)
"""Rows and columns of the coarse picture in which the spine is looked for."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """How grey values are spread over a film, black borders left out.

    Attributes:
        clipped: share of pure black and pure white.
        upper: grey value that the brightest quarter reaches.
        contrast: between the 5th and the 95th percentile.
    """

    clipped: float
    upper: float
    contrast: float


def checked(pixels: Pixels, coarse: Pixels) -> tuple[Notice, ...]:
    """Return warnings on exposure, sharpness and view.

    Args:
        pixels: (H, W) float32 in [0, 1], bright = dense.
        coarse: the same film, `coarser`.

    Raises:
        Rejected: blank_image or saturated.
    """
    grid = _grid(pixels)
    if is_blank(grid):
        raise reject("blank_image")
    light = exposure(grid)
    if light.clipped > CLIPPED:
        raise reject("saturated")
    film = resized(coarser(coarse, 2 * MODEL_PX), MODEL_PX)
    found = {
        "too_dark": light.upper < DARK,
        "low_contrast": light.contrast < FLAT,
        # A film with fewer pixels than the model sees is soft for that reason, and is warned of for it.
        "blurred": min(pixels.shape) >= MODEL_PX and sharpness(film) < SOFT,
        "looks_lateral": not shows_spine(film),
    }
    return tuple(warning(code) for code, so in found.items() if so)


def is_blank(pixels: Pixels) -> bool:
    """Return whether a picture is all but uniform."""
    low, high = _quantiles(pixels, 0.005, 0.995)
    return high - low < BLANK


def exposure(pixels: Pixels) -> Exposure:
    """Return how the grey values of a picture are spread."""
    film = _unbordered(pixels)
    clipped = np.count_nonzero((film <= _BLACK) | (film >= _WHITE)) / film.size
    low, upper, high = _quantiles(film, 0.05, 0.75, 0.95)
    return Exposure(clipped, upper, high - low)


def sharpness(film: Pixels) -> float:
    """Return how sharply grey bends where it is steep: about 1.2 on a film, 0.3 once it is blurred.

    The 90th percentile of the Laplacian by that of the gradient, so neither contrast nor a few letters count.

    Args:
        film: (S, S) as the model sees it.
    """
    centre = film[1:-1, 1:-1]
    above, left = film[:-2, 1:-1], film[1:-1, :-2]
    bend = np.abs(4 * centre - above - film[2:, 1:-1] - left - film[1:-1, 2:])
    steep = np.hypot(centre - above, centre - left)
    return _quantiles(bend, 0.9)[0] / max(_quantiles(steep, 0.9)[0], 1e-6)


def shows_spine(film: Pixels) -> bool:
    """Return whether a column in the middle is brighter than both its sides, as the spine between the lungs.

    Args:
        film: (S, S); a mirrored film gives the same answer, one that lies on its side mostly no.
    """
    inner = np.ascontiguousarray(_unbordered(film))
    coarse = np.asarray(Image.fromarray(inner).resize((_COARSE, _COARSE), Image.Resampling.BILINEAR))
    sums = np.pad(np.cumsum(coarse[_MIDDLE], axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    at = np.array(_COLUMNS)
    spine = (sums[:, at + 2] - sums[:, at - 1]) / 3
    left, right = (sums[:, at - 2] - sums[:, at - 7]) / 5, (sums[:, at + 8] - sums[:, at + 3]) / 5
    rows = np.count_nonzero(spine > np.maximum(left, right), axis=0)
    return bool(rows.max() >= SPINE_ROWS)


def _quantiles(values: Pixels, *shares: float) -> list[float]:
    """Return the values below which these shares lie; nearest rank, which is faster than numpy's quantile."""
    ordered = np.sort(values, axis=None)
    return [float(ordered[round(share * (ordered.size - 1))]) for share in shares]


def _grid(pixels: Pixels) -> Pixels:
    """Return every n-th pixel: values stay what they are, so pure black stays pure."""
    step_y, step_x = (-(-side // _GRID) for side in pixels.shape)
    return np.ascontiguousarray(pixels[::step_y, ::step_x])


def _unbordered(pixels: Pixels) -> Pixels:
    """Return the picture without black rows and columns at its edges; as it is if nothing else is there."""
    rows = np.flatnonzero(pixels.max(axis=1) > _BORDER)
    columns = np.flatnonzero(pixels.max(axis=0) > _BORDER)
    if not rows.size:
        return pixels
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
