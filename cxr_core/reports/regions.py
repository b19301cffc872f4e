"""A heatmap as it is drawn everywhere, or the sentence that says why there is nothing to draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_core.imaging.overlay import field_of
from cxr_core.inference.explain import NoRegion, normalised


def region_of(heatmap: NDArray[np.floating]) -> NDArray[np.float32] | NoRegion:
    """Return the enlarged heatmap in [0, 1], or why no region stands out.

    Args:
        heatmap: (h, w) of one finding, as `pipeline.heatmaps` gives it.

    Raises:
        ValueError: not two-dimensional, or not finite.
    """
    small = normalised(np.asarray(heatmap, dtype=np.float32))
    if isinstance(small, NoRegion):
        return small
    field = field_of(small)
    return NoRegion.NONE if field is None else field
