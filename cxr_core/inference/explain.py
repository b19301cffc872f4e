"""Where the model looked: Grad-CAM of all labels in closed form, from one forward pass."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


ONE_THREAD = 4 * 65536
"""Multiplications up to which OpenBLAS keeps a matrix product in the calling thread (its
GEMM_MULTITHREAD_THRESHOLD). As one product of twenty times this size the maps take 0.26 ms, but 90
to 200 ms whenever the helper thread has to wait for a busy core; in parts they take 0.18 ms."""


class NoRegion(StrEnum):
    """Why there is no heatmap to show; the value is the sentence to show instead."""

    NONE = "No part of the film speaks for this finding."
    EVEN = "The whole film speaks for this finding alike; no region stands out."


def heatmaps(features: Floats, heads: Floats) -> Floats:
    """Return (L, h, w) float32: how much each field raised each label's ensemble logit, never below 0.

    For a head that is global average pooling and one linear layer, the gradient of a logit by the
    feature maps is its weights over h * w, so Grad-CAM at the last convolution is
    ReLU(sum of weights times maps) / (h * w), without a backward pass. The ensemble's logit is the
    mean of its members' logits, and so are its maps. Before the ReLU a map's sum plus the label's
    bias is its logit: the unit of a field is logits.

    Args:
        features: (M, C, h, w) of one film.
        heads: (M, L, C) weights of the linear heads.

    Raises:
        ValueError: the two do not belong together.

    Source: Selvaraju 2017 (Grad-CAM), section 3; Zhou 2016 (CAM).
    """
    if features.ndim != 4 or heads.ndim != 3 or features.shape[:2] != heads.shape[::2]:
        raise ValueError(f"features {features.shape} and heads {heads.shape} do not belong together")
    members, channels, height, width = features.shape
    labels, fields = heads.shape[1], height * width
    part = _part(channels, labels * fields)
    weights = heads.reshape(members, labels, -1, part).swapaxes(1, 2)
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
