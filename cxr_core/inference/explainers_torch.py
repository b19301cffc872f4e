"""Occlusion and LIME by captum: the network is shown the film with parts of it hidden.

What is hidden is painted in the film's mean grey: black would itself be a finding. Imports torch; no part of
the served app imports this module, explanations are made in a process of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import Lime, Occlusion
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor

Floats = NDArray[np.float32]
Ask = Callable[[Floats], Floats]
"""Films (N, 1, S, S) float32 → (N,) float32 logits."""

AT_ONCE = 16
"""Films in one pass of the network."""

PATCHES_A_SIDE = 8
"""LIME's patches begin as squares of this grid; with 400 films each is hidden in about 200."""

CONTRAST = 2.0
"""By so many squares two pixels seem apart that differ by the whole of [0, 1] in brightness."""

KERNEL_WIDTH = 0.25
"""Of LIME's weights of films by how much of them is left; the authors' value for pictures."""


def occlusion(ask: Ask, film: Floats, *, side: int = 0, step: int = 0) -> Floats:
    """Return (S, S) float32: how much the logit falls, in the mean over the squares that hide a pixel.

    Args:
        ask: the logit of films.
        film: (1, S, S) float32.
        side: of the squares in pixels; 0: a fifth of S.
        step: from one square to the next; 0: a tenth of S.

    Source: Zeiler 2014, through captum.
    """
    size = film.shape[-1]
    side, step = side or max(1, size // 5), step or max(1, size // 10)
    fallen = Occlusion(_on_tensors(ask)).attribute(
        torch.tensor(film[None]),
        sliding_window_shapes=(1, side, side),
        strides=(1, step, step),
        baselines=float(film.mean()),
        perturbations_per_eval=AT_ONCE,
    )
    return _plane(fallen)


def lime(ask: Ask, film: Floats, *, samples: int = 400, seed: int = 0) -> Floats:
    """Return (S, S) float32: the weight of each pixel's patch in a linear fit to the logit, in logits.

    Args:
        ask: the logit of films.
        film: (1, S, S) float32.
        samples: films with a random half of the patches hidden.
        seed: of which are hidden.

    Source: Ribeiro 2016, through captum; weights of films and ridge fit as in the authors' code.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fitted = Lime(
            _on_tensors(ask), interpretable_model=SkLearnRidge(alpha=1.0), similarity_func=_nearness
        )
        weights = fitted.attribute(
            torch.tensor(film[None]),
            baselines=float(film.mean()),
            feature_mask=torch.from_numpy(patches(film))[None, None],
            n_samples=samples,
            perturbations_per_eval=AT_ONCE,
        )
    return _plane(weights)


def patches(film: Floats) -> NDArray[np.int64]:
    """Return (S, S) int64: the patch of each pixel, from 0 on: near one another and alike in brightness.

    Source: Achanta 2012 (SLIC), as k-means of place and brightness that begins at a grid.
    """
    size = film.shape[-1]
    pitch = size / PATCHES_A_SIDE
    rows, columns = np.mgrid[:size, :size] / pitch
    pixels = np.stack([rows, columns, film[0] * (CONTRAST / 2)], axis=-1).reshape(-1, 3)
    middles = np.rint((np.arange(PATCHES_A_SIDE) + 0.5) * pitch - 0.5).astype(int).clip(0, size - 1)
    start = pixels.reshape(size, size, 3)[np.ix_(middles, middles)].reshape(-1, 3)
    found = KMeans(len(start), init=start, n_init=1, max_iter=10).fit_predict(pixels)
    _, numbers = np.unique(found, return_inverse=True)
    return numbers.reshape(size, size).astype(np.int64)


def _on_tensors(ask: Ask) -> Callable[[Tensor], Tensor]:
    def forward(films: Tensor) -> Tensor:
        return torch.from_numpy(ask(np.ascontiguousarray(films.numpy(), np.float32)))

    return forward


def _nearness(film: Tensor, hidden: Tensor, kept: Tensor, **_: Any) -> Tensor:  # noqa: ANN401 -- captum's
    """Return how much a film with patches hidden counts: by the cosine distance of `kept` to all ones."""
    distance = 1 - kept.float().mean().sqrt()
    return torch.exp(-(distance**2) / KERNEL_WIDTH**2).sqrt()


def _plane(attribution: Tensor) -> Floats:
    return np.asarray(attribution[0, 0].numpy(), np.float32)
