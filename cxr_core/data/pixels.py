"""One look at every film: its bytes, its size, and a print by which copies of it are known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from cxr_core.data.index import Index
from cxr_core.errors import Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits

SIDE = 64
WAVES = 16
ALIKE = 0.72
"""Likeness from which two films count as copies.

Measured on the local films of ChestX-ray14: docs/data.md. Copies resized, saved as JPEG of quality
40, brightened or with another gamma stay above 0.84; films of different patients below 0.63.
"""
_BLOCK = 4096
_SLICE = 512


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """What was seen of N films; rows as in the index.

    Attributes:
        sha256: of each file, "" if it could not be read.
        height, width: (N,) int, 0 if it could not be decoded.
        prints: (N, WAVES²) int8, what `likeness` compares; all 0 for a film without any.
        refused: row → why a film could not be decoded.
    """

    sha256: tuple[str, ...]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    prints: NDArray[np.int8]
    refused: dict[int, str]


def look(index: Index, *, workers: int = 0, progress: Callable[[int], object] = int) -> Pixels:
    """Return what is seen of every film, decoded as for serving; one that cannot be is no error.

    Args:
        index: the films.
        workers: threads; 0: as many as there are processors for this process.
        progress: called with the number of films looked at since the last call.
    """
    count = len(index)
    height, width = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    prints = np.zeros((count, WAVES * WAVES), dtype=np.int8)
    sha256, refused = [""] * count, {}
    limits, paths = Limits(), index.table["path"].tolist()

    def one(path: str) -> tuple[str, NDArray[np.float32] | None, str]:
        try:
            raw = Path(path).read_bytes()
        except OSError as exc:
            return "", None, f"cannot be read ({type(exc).__name__})"
        digest = hashlib.sha256(raw).hexdigest()
        try:
            return digest, decode(raw, limits).pixels, ""
        except Rejected as exc:
            return digest, None, str(exc)

    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        for start in range(0, count, _SLICE):
            rows = range(start, min(start + _SLICE, count))
            for row, (digest, pixels, why) in zip(rows, pool.map(one, [paths[r] for r in rows]), strict=True):
                sha256[row] = digest
                if pixels is None:
                    refused[row] = why
                    continue
                height[row], width[row] = pixels.shape
                prints[row] = film_print(pixels)
            progress(len(rows))
    return Pixels(tuple(sha256), height, width, prints, refused)


def film_print(pixels: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return (WAVES²,) int8: the signs of the film's longest cosine waves, its mean left out.

    A perceptual hash (Zauner 2010) of 255 bits: brightness, contrast, size and compression move few
    of them. 0 where a film has no such wave at all.
    """
    small = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    waves = dctn(small.astype(np.float64), norm="ortho")[:WAVES, :WAVES]
    waves[0, 0] = 0
    waves[np.abs(waves) < 1e-6] = 0
    signs: NDArray[np.int8] = np.sign(waves).astype(np.int8).ravel()
    return signs


def likeness(one: NDArray[np.int8], other: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return (N, M) in [0, 1]: 1 for the same film, also if mirrored, inverted or both.

    A mirrored film has the waves of odd number from left to right turned over, an inverted one all.
    `one` and `other` are (N, WAVES²) and (M, WAVES²) prints.
    """
    odd = np.tile(np.arange(WAVES) % 2 == 1, WAVES)
    a, b = one.astype(np.float32), other.astype(np.float32)
    even_part, odd_part = a[:, ~odd] @ b[:, ~odd].T, a[:, odd] @ b[:, odd].T
    total: NDArray[np.float32] = (np.abs(even_part) + np.abs(odd_part)) / np.float32(WAVES * WAVES - 1)
    return total


def copies(
    one: NDArray[np.int8], other: NDArray[np.int8], least: float = ALIKE
) -> Iterator[tuple[int, int, float]]:
    """Yield (row of one, row of other, likeness) of all pairs that are at least so alike."""
    for i in range(0, len(one), _BLOCK):
        for j in range(0, len(other), _BLOCK):
            alike = likeness(one[i : i + _BLOCK], other[j : j + _BLOCK])
            for row, column in np.argwhere(alike >= least):
                yield i + int(row), j + int(column), float(alike[row, column])
