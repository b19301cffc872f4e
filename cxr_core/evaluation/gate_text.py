"""How often text burnt into films is found, by its size and how far it stands out; on text made here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.metrics import wilson
from cxr_core.imaging.annotations import TextBox, text_boxes

Pixels = NDArray[np.float32]

HEIGHTS = (0.012, 0.016, 0.024, 0.04)
"""Of a capital letter, as share of the film's long side: 6 to 20 pixels of 512."""

CONTRASTS = (0.2, 0.35, 0.6)
"""Grey levels of 1 by which the text stands out from what lies beneath it, on average."""

_TEXTS = (
    "SMITH JOHN",
    "Rossi, Maria",
    "DOE^JANE 1962-04-17",
    "ID 4471123",
    "03/11/2019 12:04",
    "NGUYEN VAN AN  M 54Y",
    "Portable AP",
    "ST. MARY HOSPITAL",
)
_CAPITAL = 0.7
"""Height of a capital letter of Pillow's own font, as share of its size."""

_COVERED = 0.95


@dataclass(frozen=True, slots=True)
class TextRate:
    """How often text of one size and contrast was found.

    Attributes:
        height: of a capital, as share of the film's long side.
        contrast: grey levels of 1.
        found: share of texts of which some part was found.
        covered: share of which all but a twentieth of the ink lies in the boxes, so that blanking removes it.
        of: how many texts.
    """

    height: float
    contrast: float
    found: Interval
    covered: Interval
    of: int


@dataclass(frozen=True, slots=True)
class TextRates:
    """What `text_rates` found.

    Attributes:
        rates: for each of HEIGHTS and CONTRASTS.
        noted: share of films in which text was found before any was written on them; whether these films
            carry text of their own this cannot tell.
        of: how many films.
    """

    rates: tuple[TextRate, ...]
    noted: Interval
    of: int


def text_rates(films: Iterable[Pixels], *, seed: int = 0) -> TextRates:
    """Return how often made text is found on films, one text of each size and contrast on each.

    Text that would not stand out because the film is too bright there is written elsewhere.

    Args:
        films: (H, W) float32 in [0, 1].
        seed: of what is written and where.
    """
    rng = np.random.default_rng(seed)
    kinds = [(height, contrast) for height in HEIGHTS for contrast in CONTRASTS]
    tally = {kind: [0, 0, 0] for kind in kinds}
    noted = number = 0
    for pixels in films:
        number += 1
        noted += bool(text_boxes(pixels))
        for kind in kinds:
            written = write(pixels, str(rng.choice(_TEXTS)), *kind, rng)
            if written is None:
                continue
            share = _share_inside(written[1], text_boxes(written[0]))
            tally[kind] = [a + b for a, b in zip(tally[kind], (1, share > 0, share >= _COVERED), strict=True)]
    rates = tuple(
        TextRate(*kind, wilson(found, of), wilson(covered, of), of)
        for kind, (of, found, covered) in tally.items()
        if of
    )
    return TextRates(rates, wilson(noted, number), number)


def write(
    pixels: Pixels, text: str, height: float, contrast: float, rng: np.random.Generator
) -> tuple[Pixels, NDArray[np.bool_]] | None:
    """Return a film with text burnt in and where its ink is; None where no dark enough place was found."""
    font = ImageFont.load_default(height * max(pixels.shape) / _CAPITAL)
    left, top, right, bottom = (round(side) for side in font.getbbox(text))
    high, wide = bottom - top + 2, right - left + 2
    if high >= pixels.shape[0] or wide >= pixels.shape[1]:
        return None
    sheet = Image.new("L", (wide, high), 0)
    ImageDraw.Draw(sheet).text((1 - left, 1 - top), text, fill=255, font=font)
    ink = np.asarray(sheet, dtype=np.float32) / np.float32(255)
    for _ in range(20):
        y, x = int(rng.integers(pixels.shape[0] - high)), int(rng.integers(pixels.shape[1] - wide))
        beneath = pixels[y : y + high, x : x + wide]
        level = np.float32(beneath[ink > 0.5].mean() + contrast)
        if level <= 1:
            written, where = pixels.copy(), np.zeros(pixels.shape, dtype=bool)
            written[y : y + high, x : x + wide] = beneath * (1 - ink) + level * ink
            where[y : y + high, x : x + wide] = ink > 0.5
            return written, where
    return None


def _share_inside(ink: NDArray[np.bool_], boxes: Iterable[TextBox]) -> float:
    inside = np.zeros(ink.shape, dtype=bool)
    for box in boxes:
        inside[box.top : box.bottom, box.left : box.right] = True
    return float(np.count_nonzero(ink & inside) / np.count_nonzero(ink))


def as_lines(made: TextRates) -> list[str]:
    """Return the rates as lines of a table, for a command."""
    lines = [f"noted before any was written: {_percent(made.noted)} of {made.of} films", ""]
    lines.append("height  contrast  found                covered              n")
    for each in made.rates:
        cells = (f"{each.height:.1%}", f"{each.contrast:.2f}", _percent(each.found), _percent(each.covered))
        lines.append(f"{cells[0]:<8}{cells[1]:<10}{cells[2]:<21}{cells[3]:<21}{each.of}")
    return lines


def _percent(share: Interval) -> str:
    return f"{share.value:.1%} ({share.low:.1%}-{share.high:.1%})"
