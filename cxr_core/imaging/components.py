"""Connected parts of a mask, by runs: numpy alone, since decoding processes do without SciPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The parts of a mask, each of pixels that touch, if only at a corner.

    Attributes:
        places, of: of every set pixel, in order: where it is and which part it belongs to.
        top, bottom, left, right: of every part; the last row and column are not included.
        area: pixels of every part.
        runs: how many unbroken rows of pixels each part has.
    """

    places: Integers
    of: Integers
    top: Integers
    bottom: Integers
    left: Integers
    right: Integers
    area: Integers
    runs: Integers

    def __len__(self) -> int:
        """Return how many parts there are."""
        return len(self.area)

    def mean_of(self, values: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the mean over each part of what stands at `places`."""
        return np.asarray(np.bincount(self.of, values, len(self)) / self.area)

    def turned(self, height: int, width: int) -> Components:
        """Return the same parts, in the same order, of the (height, width) mask turned about its diagonal."""
        places = self.places % width * height + self.places // width
        order = np.argsort(places)
        places, of = places[order], self.of[order]
        return Components(
            places=places,
            of=of,
            top=self.left,
            bottom=self.right,
            left=self.top,
            right=self.bottom,
            area=self.area,
            runs=np.bincount(of[_begins(places, height)], minlength=len(self)),
        )


def components(places: Integers, width: int) -> Components:
    """Return the parts of a mask.

    Args:
        places: of its set pixels in the flattened mask, rising.
        width: of the mask.
    """
    first = np.flatnonzero(_begins(places, width))
    length = np.diff(first, append=places.size)
    row, start = np.divmod(places[first], width)
    part = _joined(row, start, start + length, width + 2)
    number = int(part.max(initial=-1)) + 1
    top, left = (np.full(number, np.iinfo(np.intp).max) for _ in range(2))
    bottom, right = (np.zeros(number, dtype=np.intp) for _ in range(2))
    for side, values in ((top, row), (left, start)):
        np.minimum.at(side, part, values)
    for side, values in ((bottom, row + 1), (right, start + length)):
        np.maximum.at(side, part, values)
    return Components(
        places=places,
        of=np.repeat(part, length),
        top=top,
        bottom=bottom,
        left=left,
        right=right,
        area=np.bincount(part, length, number).astype(np.intp),
        runs=np.bincount(part, minlength=number),
    )


def _begins(places: Integers, width: int) -> NDArray[np.bool_]:
    """Return which of the places is the first of an unbroken row of pixels."""
    begins = np.ones(places.size, dtype=bool)
    begins[1:] = (np.diff(places) != 1) | (places[1:] % width == 0)
    return begins


def _joined(row: Integers, start: Integers, end: Integers, stride: int) -> Integers:
    """Return the number of the part that each run belongs to, from 0 on."""
    below = (row + 1) * stride
    first = np.searchsorted(row * stride + end, below + start)
    behind = np.searchsorted(row * stride + start, below + end, side="right")
    count = np.maximum(behind - first, 0)
    upper = np.repeat(np.arange(row.size), count)
    lower = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count - first, count)
    part = np.arange(row.size)
    while True:
        least = np.minimum(part[upper], part[lower])
        after = part.copy()
        for each in (upper, lower, part[upper], part[lower]):
            np.minimum.at(after, each, least)
        after = after[after]
        if np.array_equal(after, part):
            break
        part = after
    return np.unique(part, return_inverse=True)[1]
