"""Enlarging a map as pytorch-grad-cam does, for the comparison with it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cxr_core.inference.explain import Floats, NoRegion, normalised


def on_film(heatmap: Floats, shape: tuple[int, int]) -> Floats | NoRegion:
    """Return the map enlarged bilinearly to the film's (H, W) and stretched to [0, 1] again.

    The network sees the whole film squeezed to a square, so the square map stretches back over it.
    """
    small = normalised(heatmap)
    if isinstance(small, NoRegion):
        return small
    height, width = shape
    return normalised(
        np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR), np.float32)
    )
