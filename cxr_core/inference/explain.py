"""Where the model looked: Grad-CAM of all labels in closed form, from one forward pass."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cxr_core.inference.heads import Heads

Floats = NDArray[np.float32]


ONE_THREAD = 4 * 65536
"""Multiplications up to which OpenBLAS keeps a matrix product in the calling thread (its
GEMM_MULTITHREAD_THRESHOLD). As one product of twenty times this size the maps take 0.26 ms, but 90
to 200 ms whenever the helper thread has to wait for a busy core; in parts they take 0.18 ms."""


class NoRegion(StrEnum):
    """Why there is no heatmap to show; the value is the sentence to show instead."""

    NONE = "No single place of the film stands out for this finding."
    EVEN = "The whole film speaks for this finding alike; no region stands out."


def heatmaps(features: Floats, heads: Heads) -> Floats:
    """Return (L, h, w) float32: how much each field raised each label's ensemble logit, never below 0.

    Grad-CAM at the last convolution weighs each map with the mean over h * w of the logit's gradient. That
    is the logit's slope by the pooled map over h * w, for mean pooling (each field has its share) and for
    max pooling (one field has all of it) alike, so no backward pass is needed: ReLU(sum of slopes times
    maps) / (h * w). The ensemble's logit is the mean of its members' logits, and so are its maps. Under
    mean pooling and one linear layer a map before the ReLU sums to its logit without the bias: the unit
    of a field is logits.

    Args:
        features: (M, C, h, w) of one film.
        heads: of the network that made them.

    Raises:
        ValueError: the two do not belong together.

    Source: Selvaraju 2017 (Grad-CAM), section 3; Zhou 2016 (CAM).
    """
    expected = (len(heads.weight), heads.channels)
    if features.ndim != 4 or features.shape[:2] != expected:
        raise ValueError(f"features {features.shape} and heads {expected} do not belong together")
    members, channels, height, width = features.shape
    slopes = heads.slopes(features)
    labels, fields = slopes.shape[1], height * width
    part = _part(channels, labels * fields)
    weights = slopes.reshape(members, labels, -1, part).swapaxes(1, 2)
    maps: Floats = (weights @ features.reshape(members, -1, part, fields)).sum(axis=(0, 1))
    maps /= np.float32(members * fields)
    return np.maximum(maps, 0.0, out=maps).reshape(labels, height, width)


def _part(channels: int, cells: int) -> int:
    """Return the largest divisor of `channels` whose product with `cells` OpenBLAS takes in one thread."""
    return next(
        size
        for size in range(channels, 0, -1)
        if not channels % size and size * cells <= ONE_THREAD or size == 1
    )


def normalised(heatmap: Floats) -> Floats | NoRegion:
    """Return the (h, w) map stretched to [0, 1], or why it shows nothing; never a blank map.

    The lowest field is 0 and the highest 1, as pytorch-grad-cam scales (without its 1e-7, which
    pales maps of small numbers).

    Raises:
        ValueError: a field is not finite.
    """
    low, high = float(heatmap.min()), float(heatmap.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("a heatmap holds a number that is none")
    if high <= 0:
        return NoRegion.NONE
    if high - low <= 1e-6 * high:
        return NoRegion.EVEN
    return ((heatmap - np.float32(low)) / np.float32(high - low)).astype(np.float32, copy=False)
