"""Text burnt into the picture: lines of thin strokes of one level, found without reading a word of it.

A stroke is what a square a little wider than it cannot fit into (top-hat). Strokes that hang together make
glyphs; four glyphs or more of one height and one level beside one another make a line of text. Side markers
with a technician's initials, one to three glyphs, are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_core.imaging.components import Components, components

WORK_PX = 1024
"""The film is shrunk to this side at most; letters of a film of 3,000 pixels are then 7 or more high."""

_CONTRAST = 36
"""Of 255, by which a stroke stands out from what lies beneath it; ribs and vessels rarely do."""

_CROWDED = 0.03
"""Share of the picture that may be strokes; above it the contrast asked for is raised."""

_HEIGHTS = (5, 0.06)
"""Least height of a glyph in pixels, greatest as share of the picture's long side."""

_MANY = 400
"""Glyphs that are compared with one another; of more, those that stand out most."""

_LOOKS = 3

_GLYPHS = 4
_RUNS = 1.0
"""Strokes that a row of the picture cuts in each glyph, on average; arcs and wires stay below it."""

_LEVELS = 40
"""Grey levels of 255 by which glyphs of a line may differ."""

_FAINT, _NEAR, _GAP = 10, 30, 2.0
"""What carries a line on to both sides: fainter strokes of nearly its level, so many heights apart."""


@dataclass(frozen=True, slots=True)
class TextBox:
    """Where text stands: rows `top` to `bottom`, columns `left` to `right`, the last of each not included."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, slots=True)
class _Line:
    """A line in the shrunken picture, with height and grey level of its glyphs."""

    top: int
    left: int
    bottom: int
    right: int
    height: int
    level: float


def text_boxes(pixels: NDArray[np.float32]) -> tuple[TextBox, ...]:
    """Return where text seems to stand in a film, with a margin; nothing is changed.

    Dark text, which is rare, is looked for in a picture half as fine.

    Args:
        pixels: (H, W) float32 in [0, 1].
    """
    scale = -(-max(pixels.shape) // WORK_PX)
    grey = _levels(pixels, scale)
    bright = [_box(line, scale, pixels.shape) for line in _lines(grey)]
    coarser = 1 if max(grey.shape) <= WORK_PX // 2 else 2
    dark = [_box(line, scale * coarser, pixels.shape) for line in _lines(255 - _thinned(grey, coarser))]
    return joined([*bright, *dark])


def every_text(pixels: NDArray[np.float32]) -> tuple[TextBox, ...]:
    """Return `text_boxes`, and those of what is left once they are black: of faint text beside bright."""
    found: tuple[TextBox, ...] = ()
    left = pixels.copy()
    for _ in range(_LOOKS):
        found = joined([*found, *text_boxes(left)])
        for box in found:
            left[box.top : box.bottom, box.left : box.right] = 0
    return found


def joined(boxes: Iterable[TextBox]) -> tuple[TextBox, ...]:
    """Return boxes of which none overlap: those that do become the one around them."""
    apart: list[TextBox] = []
    for box in boxes:
        while met := next((each for each in apart if _overlap(each, box)), None):
            apart.remove(met)
            box = TextBox(
                min(met.top, box.top),
                min(met.left, box.left),
                max(met.bottom, box.bottom),
                max(met.right, box.right),
            )
        apart.append(box)
    return tuple(apart)


def _overlap(one: TextBox, other: TextBox) -> bool:
    rows = one.top < other.bottom and other.top < one.bottom
    return rows and one.left < other.right and other.left < one.right


def _levels(pixels: NDArray[np.float32], scale: int) -> NDArray[np.uint8]:
    """Return the film in 256 levels, shrunk by a factor."""
    if scale > 1:
        pixels = np.asarray(Image.fromarray(pixels).reduce(scale))
    grey = np.empty(pixels.shape, dtype=np.uint8)
    return np.multiply(pixels, np.float32(255), out=grey, casting="unsafe")


def _thinned(grey: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Return every second pixel, averaged with the one below and to the right of it; or all of them."""
    if step == 1:
        return grey
    height, width = (side // 2 * 2 for side in grey.shape)
    return (grey[:height:2, :width:2] >> 1) + (grey[1:height:2, 1:width:2] >> 1)


def _box(line: _Line, scale: int, shape: tuple[int, ...]) -> TextBox:
    """Return the line in pixels of the film, wider by a glyph and higher by half of one."""
    high, wide = (line.height + 1) // 2 + 1, line.height + 1
    return TextBox(
        top=max(0, (line.top - high) * scale),
        left=max(0, (line.left - wide) * scale),
        bottom=min(shape[0], (line.bottom + high) * scale),
        right=min(shape[1], (line.right + wide) * scale),
    )


def _lines(grey: NDArray[np.uint8]) -> list[_Line]:
    """Return the lines of text that is brighter than what lies around it."""
    side = max(grey.shape)
    strokes = _strokes(grey, max(5, round(side / 128)))
    least = _CONTRAST
    while np.count_nonzero(mask := strokes > least) > _CROWDED * strokes.size:
        least += least // 2
        if least > 255:
            return []
    whole = components(np.flatnonzero(mask), grey.shape[1])
    # Blurred glyphs touch at their feet: what stands out less than half as far as the best of it parts them.
    level = strokes.ravel()[whole.places]
    most = np.zeros(len(whole), dtype=np.uint8)
    np.maximum.at(most, whole.of, level)
    found = components(whole.places[level > most[whole.of] // 2], grey.shape[1])
    across = [_carried_on(line, grey, strokes) for line in _text(found, grey, strokes)]
    upright = found.turned(*grey.shape)
    down = [_carried_on(line, grey.T, strokes.T) for line in _text(upright, grey.T, strokes.T)]
    turned = [_Line(each.left, each.top, each.right, each.bottom, each.height, each.level) for each in down]
    return [*across, *turned]


def _strokes(grey: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Return how far each pixel stands out from the brightest square of `width` that it lies in (top-hat)."""
    height, length = grey.shape
    edge = width - 1
    padded = np.empty((height + 2 * edge, length + 2 * edge), dtype=np.uint8)
    padded[edge : edge + height, edge : edge + length] = grey
    padded[:edge, edge:-edge], padded[-edge:, edge:-edge] = grey[0], grey[-1]
    padded[:, :edge], padded[:, -edge:] = padded[:, edge : edge + 1], padded[:, -edge - 1 : -edge]
    # As one long row a step down is a shift like a step to the right, and every shift is a plain copy.
    row, spare = padded.shape[1], (np.empty(padded.size, np.uint8), np.empty(padded.size, np.uint8))
    flat: NDArray[np.uint8] = padded.ravel()
    for extreme in (np.minimum, np.maximum):
        for step in (1, row):
            flat = _extreme(extreme, flat, width, step, spare)
    opened = np.empty(padded.size, np.uint8)
    opened[: flat.size] = flat
    fits = opened.reshape(padded.shape)[:height, :length]
    return grey - fits


def _extreme(
    extreme: Callable[..., NDArray[np.uint8]],
    values: NDArray[np.uint8],
    width: int,
    step: int,
    spare: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """Return the least or greatest of `width` values that are `step` apart, from each value on."""
    reach = 1
    while reach < width:
        further = min(reach, width - reach)
        size = values.size - further * step
        into = spare[1] if np.shares_memory(values, spare[0]) else spare[0]
        values = extreme(values[:size], values[further * step :], out=into[:size])
        reach += further
    return values


def _text(found: Components, grey: NDArray[np.uint8], strokes: NDArray[np.uint8]) -> list[_Line]:
    """Return the lines that run along the rows, among these strokes."""
    highest = _HEIGHTS[1] * max(grey.shape)
    height, width = found.bottom - found.top, found.right - found.left
    share = found.area / (height * width)
    fits = (height >= _HEIGHTS[0]) & (height <= highest) & (share > 0.12) & (found.area >= 5)
    lone = fits & (width <= 1.4 * height)
    cut = found.runs / height  # strokes that a row cuts
    word = fits & (width > 1.4 * height) & (width <= 25 * height) & (cut >= 0.75 * _RUNS * width / height)
    glyphs = np.where(lone, 1.0, width / (0.8 * height))
    index = np.flatnonzero(lone | word)
    if glyphs[index].sum() < _GLYPHS - 0.5:
        return []
    at = np.divmod(found.places, grey.shape[1])
    mean, outstanding = found.mean_of(grey[at]), found.mean_of(strokes[at])
    if index.size > _MANY:
        index = index[np.argsort(-outstanding[index])[:_MANY]]
    return [
        _Line(
            int(found.top[line].min()),
            int(found.left[line].min()),
            int(found.bottom[line].max()),
            int(found.right[line].max()),
            int(np.median(height[line])),
            float(mean[line].mean()),
        )
        for line in _chains(_beside(found, index, mean), index)
        if glyphs[line].sum() >= _GLYPHS - 0.5
        and found.runs[line].sum() >= _RUNS * (height * glyphs)[line].sum()
        and min(np.ptp(found.top[line]), np.ptp(found.bottom[line])) <= 0.5 * np.median(height[line]) + 1
    ]


def _carried_on(line: _Line, grey: NDArray[np.uint8], strokes: NDArray[np.uint8]) -> _Line:
    """Return the line with the words beside it that alone would have been too faint or too short."""
    rows = slice(max(0, line.top - line.height // 3), line.bottom + line.height // 3)
    like = np.abs(grey[rows].astype(np.int16) - int(line.level)) <= _NEAR
    columns = np.flatnonzero((like & (strokes[rows] > _FAINT)).any(axis=0))
    if not columns.size:
        return line
    gaps = np.flatnonzero(np.diff(columns) > _GAP * line.height)
    starts, ends = columns[np.append(0, gaps + 1)], columns[np.append(gaps, -1)] + 1
    touching = (starts < line.right) & (ends > line.left)
    left, right = min(starts[touching], default=line.left), max(ends[touching], default=line.right)
    return replace(line, left=min(line.left, int(left)), right=max(line.right, int(right)))


def _beside(found: Components, index: NDArray[np.intp], mean: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return for each pair of glyphs whether they can be neighbours in a line."""
    top, bottom, left, right = (side[index] for side in (found.top, found.bottom, found.left, found.right))
    height = bottom - top
    small, big = (extreme.outer(height, height) for extreme in (np.minimum, np.maximum))
    common = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    gap = left[np.newaxis] - right[:, np.newaxis]
    level = np.abs(np.subtract.outer(mean[index], mean[index]))
    feet = np.abs(np.subtract.outer(bottom, bottom))
    beside = (common >= 0.6 * small) & (big <= 1.7 * small) & (feet <= 0.3 * big + 1)
    return np.asarray(beside & (gap <= big) & (gap >= -0.3 * big) & (level < _LEVELS))


def _chains(linked: NDArray[np.bool_], index: NDArray[np.intp]) -> Iterable[NDArray[np.intp]]:
    """Return the groups of which each is linked to another."""
    label = np.arange(index.size)
    either = linked | linked.T | np.eye(index.size, dtype=bool)
    while True:
        least = np.where(either, label[np.newaxis], index.size).min(axis=1, initial=index.size)
        if (least == label).all():
            break
        label = least
    return [index[label == each] for each in np.unique(label)]
