"""How often the gate's picture checks speak: of films as they are, and of films spoilt on purpose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cxr_core.errors import Rejected
from cxr_core.imaging.gate_picture import MODEL_PX, checked

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to spoil a film, and the code by which the gate is to find it."""

    name: str
    code: str
    spoil: Callable[[Pixels], Pixels]


@dataclass(frozen=True, slots=True)
class Rates:
    """What was said of some films.

    Attributes:
        name: of the films, or of the fault that was made in them.
        films: how many.
        said: code and number of films of which it was said, most often first.
        warned: number of films of which anything was said.
    """

    name: str
    films: int
    said: tuple[tuple[str, int], ...]
    warned: int

    def share(self, code: str) -> float:
        """Return the share of films of which `code` was said."""
        return dict(self.said).get(code, 0) / self.films if self.films else 0.0


def picture_rates(films: Iterable[tuple[str, Pixels]]) -> tuple[Rates, ...]:
    """Return what the picture checks say of films, by name in the order in which names first come.

    Args:
        films: name of the collection, and (H, W) float32 in [0, 1], bright = dense.
    """
    seen: Counter[str] = Counter()
    spoken: Counter[str] = Counter()
    said: dict[str, Counter[str]] = {}
    for name, pixels in films:
        codes = _codes(pixels)
        seen[name] += 1
        spoken[name] += bool(codes)
        said.setdefault(name, Counter()).update(codes)
    return tuple(Rates(name, seen[name], tuple(said[name].most_common()), spoken[name]) for name in said)


def fault_rates(films: Iterable[Pixels], faults: Iterable[Fault] | None = None) -> tuple[Rates, ...]:
    """Return what the picture checks say of films with each fault made in them; sound films alone count.

    Args:
        films: (H, W) float32 in [0, 1]; those of which something is said as they are, are left out.
        faults: FAULTS, if not given.
    """
    made = FAULTS if faults is None else tuple(faults)
    sound = (pixels for pixels in films if not _codes(pixels))
    return picture_rates((fault.name, fault.spoil(pixels)) for pixels in sound for fault in made)


def _codes(pixels: Pixels) -> tuple[str, ...]:
    try:
        return tuple(notice.code for notice in checked(pixels))
    except Rejected as exc:
        return (exc.code,)


def _scaled(factor: float) -> Callable[[Pixels], Pixels]:
    return lambda film: film * np.float32(factor)


def _darkened(gamma: float) -> Callable[[Pixels], Pixels]:
    return lambda film: np.asarray(film ** np.float32(gamma), dtype=np.float32)


def _flattened(factor: float) -> Callable[[Pixels], Pixels]:
    return lambda film: np.float32(0.5) + (film - np.float32(0.5)) / np.float32(factor)


def _clipped(factor: float) -> Callable[[Pixels], Pixels]:
    def spoil(film: Pixels) -> Pixels:
        stretched = (film - np.median(film)) * np.float32(factor) + np.float32(0.5)
        return np.asarray(np.clip(stretched, 0, 1), dtype=np.float32)

    return spoil


def _blurred(sigma: float) -> Callable[[Pixels], Pixels]:
    """Return a Gaussian blur of so many pixels of a film of MODEL_PX, wider on a finer film."""

    def spoil(film: Pixels) -> Pixels:
        widths = [sigma * side / MODEL_PX for side in film.shape]
        return np.asarray(gaussian_filter(film, widths), dtype=np.float32)

    return spoil


FAULTS = (
    Fault("brightness × 0.5", "too_dark", _scaled(0.5)),
    Fault("brightness × 0.3", "too_dark", _scaled(0.3)),
    Fault("gamma 2", "too_dark", _darkened(2)),
    Fault("gamma 3", "too_dark", _darkened(3)),
    Fault("gamma 4", "too_dark", _darkened(4)),
    Fault("contrast / 3", "low_contrast", _flattened(3)),
    Fault("contrast / 5", "low_contrast", _flattened(5)),
    Fault("clipped, contrast × 4", "saturated", _clipped(4)),
    Fault("clipped, contrast × 8", "saturated", _clipped(8)),
    Fault("blurred, sigma 0.5 of 128", "blurred", _blurred(0.5)),
    Fault("blurred, sigma 1 of 128", "blurred", _blurred(1)),
    Fault("blurred, sigma 2 of 128", "blurred", _blurred(2)),
    Fault("blurred, sigma 3 of 128", "blurred", _blurred(3)),
)
"""Faults made on purpose; the weakest of each kind is one that leaves a film legible."""
