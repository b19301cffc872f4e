"""How far a film's features lie from those that the model learned from, and what follows from that.

The features of the last convolution, pooled over the film, of all members one after the other: D numbers. Of
each group that counts as seen a mean, k axes with their variances and one variance for all other directions
are known (probabilistic PCA), which is the Mahalanobis distance with D² covariances in k · D numbers.
Source: Tipping and Bishop, Probabilistic principal component analysis, J. R. Stat. Soc. B 61, 1999.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cxr_core.domain import Gate, GateOutcome
from cxr_core.errors import ModelError
from cxr_core.imaging.refusals import reject, warning
from cxr_core.inference.manifest import DISTANCE, DistanceTable

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """What one group of films looks like to the networks.

    Attributes:
        mean: (D,) of the pooled features.
        axes: (k, D) orthonormal, along which the group varies most.
        variance: (k,) along them.
        rest: variance along every other direction.
        scale: by which distances to it are multiplied, so that one pair of limits serves all groups.
    """

    mean: Floats = field(repr=False)
    axes: Floats = field(repr=False)
    variance: Floats = field(repr=False)
    rest: float
    scale: float = 1.0

    def distance(self, pooled: Floats) -> float:
        """Return how far (D,) features lie from the group: 1 is usual before scaling."""
        apart = pooled - self.mean
        along = (self.axes @ apart).astype(np.float64)
        beside = max(0.0, float(np.dot(apart, apart)) - float(along @ along))
        squared = float((along**2 / self.variance).sum()) + beside / self.rest
        return self.scale * math.sqrt(squared / len(pooled))


def pooled(features: Floats) -> Floats:
    """Return (D,) of the (M, C, h, w) features of one film; D = M · C."""
    answer: Floats = features.mean(axis=(2, 3), dtype=np.float32).ravel()
    return answer


@dataclass(frozen=True, slots=True, eq=False)
class Distance:
    """All that counts as seen.

    Attributes:
        table: of the manifest, with the limits.
        groups: by name.
    """

    table: DistanceTable
    groups: Mapping[str, Group] = field(repr=False)

    def of(self, features: Floats) -> float:
        """Return the distance of a film with (M, C, h, w) features to the nearest group.

        Raises:
            ModelError: it is no number.
        """
        value = self.nearest(pooled(features))
        if not math.isfinite(value):
            raise ModelError("the network answered with features that are no numbers")
        return value

    def nearest(self, film: Floats) -> float:
        """Return the same of what `pooled` returned."""
        return min(group.distance(film) for group in self.groups.values())

    def judged(self, gate: Gate, features: Floats) -> Gate:
        """Return the gate's verdict, with a warning where the film is unlike most that the model knows.

        Raises:
            Rejected: unlike_chest_films.
            ModelError: see `of`.
        """
        value = self.of(features)
        if value > self.table.refuse:
            raise reject("unlike_chest_films")
        if value <= self.table.warn:
            return gate
        return Gate(GateOutcome.WARNED, (*gate.warnings, warning("unlike_training")), gate.notes)


def write(path: Path, groups: Mapping[str, Group]) -> None:
    """Write the groups as safetensors."""
    tensors = {}
    for name, group in groups.items():
        tensors[f"{name}.mean"] = group.mean
        tensors[f"{name}.axes"] = group.axes
        tensors[f"{name}.variance"] = group.variance
        tensors[f"{name}.rest"] = np.array([group.rest, group.scale])
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)
    path.chmod(0o644)


def read(folder: Path, table: DistanceTable, width: int) -> Distance:
    """Return what `write` left in a model folder, for features of `width` numbers.

    Raises:
        ModelError: truncated, of other groups, or of other shapes than the manifest says.
    """
    try:
        tensors = load_file(folder / DISTANCE)
        groups = {name: _group(tensors, name) for name in table.groups}
    except (SafetensorError, OSError, KeyError, ValueError) as exc:
        raise ModelError(f"{folder.name}: {DISTANCE} is truncated, or of other groups") from exc
    for name, group in groups.items():
        shapes = group.mean.shape, group.axes.shape, group.variance.shape
        if shapes != ((width,), (len(group.variance), width), (len(group.variance),)):
            raise ModelError(f"{folder.name}: {DISTANCE} holds {name} for other features than the network's")
        figures = (group.mean, group.axes, group.variance, np.array([group.rest, group.scale]))
        sound = all(np.isfinite(each).all() for each in figures)
        if not sound or min(group.rest, group.scale, *group.variance) <= 0:
            raise ModelError(f"{folder.name}: {DISTANCE} holds {name} with a variance that is none")
    return Distance(table, groups)


def _group(tensors: Mapping[str, Floats], name: str) -> Group:
    mean, axes, variance = (tensors[f"{name}.{part}"] for part in ("mean", "axes", "variance"))
    rest, scale = tensors[f"{name}.rest"]
    return Group(mean, axes, variance, float(rest), float(scale))
