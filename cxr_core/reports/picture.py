"""The annotated picture: the film with a line around what raised each positive finding, and who it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxr_core.domain import Analysis
from cxr_core.imaging.overlay import CONTOUR_LEVELS, blend, contours, grey, peak_of, png
from cxr_core.inference.explain import NoRegion
from cxr_core.reports.fonts import font
from cxr_core.reports.regions import region_of
from cxr_core.reports.words import (
    MARKS,
    Whole,
    alone,
    banner,
    corrected,
    headline,
    made_by,
    name_of,
    patient,
    who,
    whole_lines,
)
from cxr_core.triage.policy import Policy

LINES = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00")
"""Okabe–Ito, one colour per finding in clinical order; each line also carries its finding's name."""

MAX_SIDE, MIN_SIDE = 1600, 900
"""Longest side in pixels: finer films are shrunk, coarser ones enlarged so that the words are legible."""

_GROUND, _TEXT, _MUTED = "#0D1014", "#E6E9ED", "#A9B2BC"
_SHADOW = (13, 16, 20)

Heatmaps = Mapping[str, NDArray[np.floating]]


def annotated(analysis: Analysis, policy: Policy, heatmaps: Heatmaps, whole: Whole | None = None) -> bytes:
    """Return the PNG of film, contours, patient, urgency and versions.

    Args:
        analysis: with its film; a refused film is shown without contours.
        policy: for names and waits.
        heatmaps: per label (h, w), as `pipeline.heatmaps` gives them.
        whole: the study, where it says more than this film.

    Raises:
        ValueError: the analysis carries no film.
    """
    film = marked_film(analysis, policy, heatmaps, (MIN_SIDE, MAX_SIDE))
    unit = max(11, film.width // 58)
    missing = unsupported(analysis, policy, heatmaps)
    head = [(patient(analysis.study), _TEXT, 1.3), (who(analysis.study), _MUTED, 1.0)]
    head += [(line, _TEXT, 1.1) for line in whole_lines(whole, policy)]
    tier = MARKS[analysis.triage.urgency]
    due = f"{tier.shape} {banner(analysis.triage.urgency, policy)}"
    said = f"{alone(whole)}{due} · {headline(analysis, policy)}"
    head.append((said, tier.colour, 1.1))
    foot = [(made_by(analysis), _MUTED, 0.85), (f"{policy.texts.device} {policy.texts.side}", _MUTED, 0.85)]
    if len(without_region(analysis, heatmaps)) < sum(label in heatmaps for label in analysis.triage.findings):
        foot.insert(0, (policy.texts.heatmap, _MUTED, 0.85))
    foot = [(line, _TEXT, 0.95) for line in (*missing, corrected(analysis)) if line] + foot
    top, bottom = _strip(film.width, unit, head), _strip(film.width, unit, foot)
    sheet = Image.new("RGB", (film.width, top.height + film.height + bottom.height), _GROUND)
    for picture, y in ((top, 0), (film, top.height), (bottom, top.height + film.height)):
        sheet.paste(picture, (0, y))
    return png(np.asarray(sheet))


def marked_film(
    analysis: Analysis, policy: Policy, heatmaps: Heatmaps, sides: tuple[int, int]
) -> Image.Image:
    """Return the film with a named contour per positive finding, beneath it the first one's heatmap.

    Args:
        analysis: with its film.
        policy: for names.
        heatmaps: per label (h, w).
        sides: least and greatest length of the longer side in pixels.

    Raises:
        ValueError: the analysis carries no film.
    """
    if analysis.radiograph is None:
        raise ValueError("there is no film to show: decoding refused it")
    picture = _at_least(grey(analysis.radiograph.pixels, sides[1]), sides[0])
    regions = [(label, region_of(heatmaps[label])) for label in analysis.triage.findings if label in heatmaps]
    shown = [(label, region) for label, region in regions if not isinstance(region, NoRegion)]
    base = blend(picture, shown[0][1], 0.45) if shown else np.stack([picture] * 3, axis=-1)
    film = Image.fromarray(base)
    draw = ImageDraw.Draw(film)
    taken: list[float] = []
    for (label, field), colour in zip(shown, (LINES * 3)[: len(shown)], strict=True):
        _outline(draw, film, field, colour)
        _name(draw, film, name_of(label, policy), field, colour, taken)
    return film


def _at_least(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    scale = side / max(picture.shape)
    if scale <= 1.0:
        return picture
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def without_region(analysis: Analysis, heatmaps: Heatmaps) -> dict[str, NoRegion]:
    """Return the positive findings in whose heatmap no region stands out, and why."""
    regions = {label: region_of(heatmaps[label]) for label in analysis.triage.findings if label in heatmaps}
    return {label: region for label, region in regions.items() if isinstance(region, NoRegion)}


def unsupported(analysis: Analysis, policy: Policy, heatmaps: Heatmaps) -> list[str]:
    """Return a sentence for each reason why nothing is drawn, with the findings that it holds for."""
    names: dict[NoRegion, list[str]] = {}
    for label, reason in without_region(analysis, heatmaps).items():
        names.setdefault(reason, []).append(name_of(label, policy))
    return [f"{', '.join(those)}: {reason.value}" for reason, those in names.items()]


def _outline(draw: ImageDraw.ImageDraw, film: Image.Image, field: NDArray[np.float32], colour: str) -> None:
    scale = np.array([film.width, film.height] * 2, dtype=np.float32)
    for level in CONTOUR_LEVELS[:1]:
        segments = [tuple(map(float, segment)) for segment in contours(field, level) * scale]
        stroke = max(2, film.width // 400)
        for width, paint in ((stroke + 2, _SHADOW), (stroke, colour)):
            for segment in segments:
                draw.line(segment, fill=paint, width=width)


def _name(
    draw: ImageDraw.ImageDraw,
    film: Image.Image,
    name: str,
    field: NDArray[np.float32],
    colour: str,
    taken: list[float],
) -> None:
    """Write the name above its line, or further down while another name stands there."""
    letters = ImageFont.truetype(font("DejaVuSans-Bold"), max(11, film.width // 60))
    left, top, right, bottom = letters.getbbox(name)
    height = (bottom - top) * 1.6
    lines = contours(field, CONTOUR_LEVELS[0])
    x = peak_of(field)[0] * film.width - (right - left) / 2
    y = float(lines[:, [1, 3]].min()) * film.height - height
    x = min(max(6.0, x), film.width - (right - left) - 8)
    y = min(max(4.0, y), film.height - height - 4)
    while any(abs(y - other) < height for other in taken) and y + 2 * height < film.height:
        y += height
    taken.append(y)
    draw.text((x, y), name, font=letters, fill=colour, stroke_width=2, stroke_fill=_SHADOW)


def _strip(width: int, unit: int, lines: list[tuple[str, str, float]]) -> Image.Image:
    """Return a dark strip of literal text lines (text, colour, size in units), cut at its edge."""
    rows = [(text, colour, round(unit * size)) for text, colour, size in lines]
    strip = Image.new("RGB", (width, sum(round(size * 1.5) for _, _, size in rows) + unit), _GROUND)
    draw, y = ImageDraw.Draw(strip), unit // 2
    for text, colour, size in rows:
        letters = ImageFont.truetype(font(), size)
        draw.text((unit, y), fit(text, width - 2 * unit, letters), font=letters, fill=colour)
        y += round(size * 1.5)
    return strip


def fit(text: str, width: float, letters: ImageFont.FreeTypeFont) -> str:
    """Return one printable line of `text` that is at most `width` pixels long, ended by … if cut."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)[:400]
    if letters.getlength(line) <= width:
        return line
    while line and letters.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"
