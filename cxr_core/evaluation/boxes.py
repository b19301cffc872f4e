"""Boxes that radiologists drew, and what a heatmap makes of one: pointing game and IoU.

The peak of the heatmap as it is drawn hits when it lies inside the box (pointing game; Zhang 2018). IoU is
that of the area inside the outer contour line, at half the peak, with the box. A film on which no region
stands out for the finding is a miss with an IoU of 0. Boxes are in shares of the film, whatever the size at
which it was stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.errors import DataError
from cxr_core.evaluation.bootstrap import Floats
from cxr_core.imaging.overlay import CONTOUR_LEVELS, field_of, peak_of
from cxr_core.inference.explain import NoRegion, normalised

BOXES = "BBox_List_2017.csv"
BOX_PX = 1024.0
"""Side of the films on which the boxes of ChestX-ray14 were drawn; all of them are square."""

_NAMES = {"Infiltrate": "Infiltration"}


@dataclass(frozen=True, slots=True)
class Box:
    """Where a radiologist drew a finding: left, top, right and bottom as shares of the film."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def share(self) -> float:
        """Share of the film inside it: how often a point thrown at random would hit."""
        return max(self.right - self.left, 0.0) * max(self.bottom - self.top, 0.0)

    def holds(self, x: float, y: float) -> bool:
        """Return whether a point lies inside or on the edge."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom


def overlap(inside: NDArray[np.bool_], box: Box) -> float:
    """Return the intersection over union of an area with a box; a field belongs by its part in the box.

    Args:
        inside: (h, w), over the whole film.
        box: in shares of the film.
    """
    rows = _covered(box.top, box.bottom, inside.shape[0])
    columns = _covered(box.left, box.right, inside.shape[1])
    shared = float((inside * np.outer(rows, columns)).sum())
    union = float(inside.sum()) + float(rows.sum() * columns.sum()) - shared
    return shared / union if union else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a heatmap makes of a box: whether its peak (x, y) hit, the IoU, whether there is no region."""

    hit: bool
    iou: float
    empty: bool
    x: float
    y: float


NOWHERE = Verdict(hit=False, iou=0.0, empty=True, x=float("nan"), y=float("nan"))


def judged(heatmap: NDArray[np.float32], box: Box) -> Verdict:
    """Return what a heatmap makes of a box.

    Args:
        heatmap: (h, w) of the finding, as `pipeline.heatmaps` gives it.
        box: in shares of the film.
    """
    small = normalised(heatmap)
    field = None if isinstance(small, NoRegion) else field_of(small)
    if field is None:
        return NOWHERE
    x, y = peak_of(field)
    return Verdict(box.holds(x, y), overlap(field >= min(CONTOUR_LEVELS), box), False, x, y)


def boxes(path: Path) -> list[tuple[str, str, Box]]:
    """Return file, finding and box of each row of the publisher's list.

    Raises:
        DataError: there is none, or it is of another form.
    """
    try:
        table = pd.read_csv(path, usecols=range(6), names=["file", "finding", *"xywh"], header=0)
        numbers = table[list("xywh")].to_numpy(dtype=np.float64) / BOX_PX
    except (OSError, ValueError) as exc:
        raise DataError(f"{path.name}: missing, or not rows of file, finding, x, y, w, h") from exc
    return [
        (str(file), _NAMES.get(finding, finding), Box(x, y, x + w, y + h))
        for file, finding, (x, y, w, h) in zip(table["file"], table["finding"], numbers, strict=True)
    ]


def _covered(start: float, end: float, count: int) -> Floats:
    """Return (count,) which part of each of `count` equal steps from 0 to 1 lies between start and end."""
    edges = np.arange(count + 1) / count
    inside: Floats = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
    return np.clip(inside * count, 0.0, 1.0)
