"""How often the gate's picture checks speak: of films as they are, and of films spoilt on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cxr_core.errors import Rejected
from cxr_core.evaluation.gate_figures import Figure, line
from cxr_core.imaging.gate import COARSE_PX
from cxr_core.imaging.gate_picture import MODEL_PX, checked
from cxr_core.imaging.preprocess import coarser

Pixels = NDArray[np.float32]

SAYS = ("blank_image", "saturated", "too_dark", "low_contrast", "blurred", "looks_lateral")
"""What the picture checks can say."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to spoil a film, and the code by which the gate is to find it."""

    name: str
    code: str
    spoil: Callable[[Pixels], Pixels]


@dataclass(frozen=True, slots=True)
class Film:
    """A film of a collection.

    Attributes:
        of: the collection.
        pixels: (H, W) float32 in [0, 1], bright = dense.
        patient: whose it is.
    """

    of: str
    pixels: Pixels
    patient: str


def picture_figures(films: Iterable[Film]) -> list[Figure]:
    """Return of how many films, as they are, the picture checks say something; a line for each collection."""
    said: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for film in films:
        said.setdefault(film.of, []).append((_codes(film.pixels), film.patient))
    return [_figure(f"{name}, picture checks: anything said", SAYS, each) for name, each in said.items()]


def fault_figures(films: Iterable[Film], faults: Sequence[Fault] | None = None) -> list[Figure]:
    """Return how many faults the picture checks find, each made in every film that is sound as it is.

    Args:
        films: those of which something is said as they are, are left out.
        faults: FAULTS, if not given.
    """
    made = FAULTS if faults is None else tuple(faults)
    said: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for film in films:
        if _codes(film.pixels):
            continue
        for fault in made:
            said.setdefault(fault.name, []).append((_codes(fault.spoil(film.pixels)), film.patient))
    return [
        _figure(f"{fault.name}: found as {fault.code}", (fault.code,), said[fault.name])
        for fault in made
        if fault.name in said
    ]


def _figure(what: str, wanted: Sequence[str], said: Sequence[tuple[tuple[str, ...], str]]) -> Figure:
    return line(what, wanted, [codes for codes, _ in said], [patient for _, patient in said])


def _codes(pixels: Pixels) -> tuple[str, ...]:
    try:
        return tuple(notice.code for notice in checked(pixels, coarser(pixels, COARSE_PX)))
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
