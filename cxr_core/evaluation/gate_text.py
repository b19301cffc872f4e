"""How often text burnt into films is found, by its size and how far it stands out; on text made here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxr_core.evaluation.gate_faults import Film
from cxr_core.evaluation.gate_figures import Figure, line
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


def text_figures(films: Iterable[Film], *, seed: int = 0) -> list[Figure]:
    """Return how often made text is found on films, one text of each size and contrast on each.

    Text that would not stand out because the film is too bright there is written elsewhere. Covered is a
    text of which all but a twentieth of the ink lies in the boxes, so that blanking removes it. The first
    line says on how many films text is found before any is written; whether these carry text of their own
    it cannot tell.

    Args:
        films: to write on.
        seed: of what is written and where.
    """
    rng = np.random.default_rng(seed)
    kinds = [(height, contrast) for height in HEIGHTS for contrast in CONTRASTS]
    said: dict[tuple[float, float], list[tuple[tuple[str, ...], str]]] = {kind: [] for kind in kinds}
    before: list[tuple[tuple[str, ...], str]] = []
    for film in films:
        before.append((("noted",) if text_boxes(film.pixels) else (), film.patient))
        for kind in kinds:
            written = write(film.pixels, str(rng.choice(_TEXTS)), *kind, rng)
            if written is None:
                continue
            share = _share_inside(written[1], text_boxes(written[0]))
            codes = ("found",) * (share > 0) + ("covered",) * (share >= _COVERED)
            said[kind].append((codes, film.patient))
    figures = [_figure("text before any is written: noted", "noted", before)] if before else []
    for (height, contrast), each in said.items():
        if not each:
            continue
        what = f"text {height:.1%} high, contrast {contrast:.2f}"
        figures += [_figure(f"{what}: {wanted}", wanted, each) for wanted in ("found", "covered")]
    return figures


def _figure(what: str, wanted: str, said: Sequence[tuple[tuple[str, ...], str]]) -> Figure:
    return line(what, (wanted,), [codes for codes, _ in said], [patient for _, patient in said])


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
