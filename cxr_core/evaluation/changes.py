"""What befalls films on their way: noise, blur, another exposure, tilts, cuts, writing. Pure.

Every change is of a decoded film, (H, W) float32 in [0, 1], and in shares of its shorter side, so that it
means the same at every resolution; noise alone is of single pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Pixels = NDArray[np.float32]
Apply = Callable[[Pixels, np.random.Generator], Pixels]

WRITING = ("PORTABLE  SUPINE", "AP 12:34  0.8 m", "INSPIRATION 2/3")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing done to a film.

    Attributes:
        id: stable, for tables.
        kind: of the changes that differ in strength alone.
        strength: for people.
        apply: returns another (H', W') film in [0, 1]; the generator decides what is random.
        quality: of the JPEG file in which it is sent; 0 sends a PNG file, which alters nothing.
    """

    id: str
    kind: str
    strength: str
    apply: Apply
    quality: int = 0

    def encoded(self, film: Pixels, rng: np.random.Generator) -> bytes:
        """Return the changed film as a file of 8 bits, as it would be sent."""
        grey = np.round(255 * np.clip(self.apply(film, rng), 0, 1)).astype(np.uint8)
        to = BytesIO()
        if self.quality:
            Image.fromarray(grey).save(to, "JPEG", quality=self.quality)
        else:
            Image.fromarray(grey).save(to, "PNG", compress_level=1)
        return to.getvalue()


def same(film: Pixels, _: np.random.Generator) -> Pixels:
    """Return the film as it is."""
    return film


def noisy(film: Pixels, rng: np.random.Generator, sd: float) -> Pixels:
    """Return the film with Gaussian noise of this standard deviation on every pixel."""
    return film + np.float32(sd) * rng.standard_normal(film.shape, dtype=np.float32)


def blurred(film: Pixels, _: np.random.Generator, share: float) -> Pixels:
    """Return the film under a Gaussian whose sigma is this share of the shorter side."""
    found: Pixels = ndimage.gaussian_filter(film, share * min(film.shape), mode="nearest")
    return found


def exposed(film: Pixels, _: np.random.Generator, gamma: float) -> Pixels:
    """Return the film to the power of gamma: below 1 brighter, above 1 darker."""
    found: Pixels = np.power(film, np.float32(gamma), dtype=np.float32)
    return found


def contrasted(film: Pixels, _: np.random.Generator, times: float) -> Pixels:
    """Return the film with its differences from the mean this many times as large, cut off at 0 and 1."""
    mean = np.float32(film.mean())
    found: Pixels = mean + np.float32(times) * (film - mean)
    return found


def turned(film: Pixels, _: np.random.Generator, degrees: float) -> Pixels:
    """Return the film turned counter-clockwise on a sheet of the same size, black where it was not."""
    found: Pixels = ndimage.rotate(film, degrees, reshape=False, order=1, mode="constant", cval=0.0)
    return found


def cut(film: Pixels, _: np.random.Generator, share: float) -> Pixels:
    """Return the film without this share of its height and width on each side, enlarged to its former size.

    So that what is cut off is judged, and not how many pixels are left.
    """
    rows, columns = (round(share * side) for side in film.shape)
    left = film[rows : film.shape[0] - rows, columns : film.shape[1] - columns]
    return np.asarray(Image.fromarray(left).resize(film.shape[::-1], Image.Resampling.BILINEAR))


def moved(film: Pixels, _: np.random.Generator, share: float) -> Pixels:
    """Return the film moved right and down by this share of its shorter side; black where it was."""
    by, found = round(share * min(film.shape)), np.zeros_like(film)
    found[by:, by:] = film[: film.shape[0] - by, : film.shape[1] - by]
    return found


def coarse(film: Pixels, _: np.random.Generator, bits: int) -> Pixels:
    """Return the film in two to the power of `bits` grey values."""
    top = np.float32(2**bits - 1)
    found: Pixels = np.asarray(np.round(film * top) / top, dtype=np.float32)
    return found


def marked(film: Pixels, _: np.random.Generator) -> Pixels:
    """Return the film with a white R of a tenth of the shorter side burnt into its upper left."""
    side = min(film.shape)
    return _written(film, "R", 0.10 * side, (0.05 * side, 0.04 * side))


def captioned(film: Pixels, _: np.random.Generator) -> Pixels:
    """Return the film with three lines of writing burnt into its lower left."""
    side, height = min(film.shape), film.shape[0]
    return _written(film, "\n".join(WRITING), 0.05 * side, (0.04 * side, height - 0.28 * side))


def _written(film: Pixels, text: str, size: float, at: tuple[float, float]) -> Pixels:
    sheet = Image.new("L", film.shape[::-1], 0)
    ImageDraw.Draw(sheet).text(at, text, fill=255, font=ImageFont.load_default(max(6.0, size)))
    ink = np.asarray(sheet, dtype=np.float32) / np.float32(255)
    found: Pixels = film * (1 - ink) + ink
    return found


AS_SENT = Change("as_sent", "as it is", "", same)
"""What every other one is compared with."""

CHANGES: tuple[Change, ...] = (
    *(
        Change(f"noise_{round(1000 * sd):03d}", "noise", f"sd {sd:g}", partial(noisy, sd=sd))
        for sd in (0.02, 0.05, 0.1)
    ),
    *(
        Change(f"blur_{round(1000 * s):03d}", "blur", f"{100 * s:g} %", partial(blurred, share=s))
        for s in (0.005, 0.01, 0.02)
    ),
    *(Change(f"jpeg_{q}", "JPEG", f"quality {q}", same, q) for q in (50, 20, 10)),
    Change("gamma_07", "gamma", "0.7, brighter", partial(exposed, gamma=0.7)),
    Change("gamma_14", "gamma", "1.4, darker", partial(exposed, gamma=1.4)),
    Change("contrast_06", "contrast", "× 0.6", partial(contrasted, times=0.6)),
    Change("contrast_15", "contrast", "× 1.5", partial(contrasted, times=1.5)),
    *(
        Change(
            f"turn_{'left' if d > 0 else 'right'}_{abs(d):02d}",
            "turned",
            f"{abs(d)}° {'left' if d > 0 else 'right'}",
            partial(turned, degrees=d),
        )
        for d in (5, -5, 10, -10)
    ),
    *(
        Change(f"cut_{round(100 * s):02d}", "cut off each side", f"{100 * s:g} %", partial(cut, share=s))
        for s in (0.05, 0.1)
    ),
    *(
        Change(f"moved_{round(100 * s):02d}", "moved", f"{100 * s:g} %", partial(moved, share=s))
        for s in (0.05, 0.1)
    ),
    *(Change(f"bits_{b}", "grey values", f"{b} bits", partial(coarse, bits=b)) for b in (6, 4)),
    Change("marker", "burnt in", "a side marker", marked),
    Change("text", "burnt in", "three lines", captioned),
)
