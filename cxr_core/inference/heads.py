"""From each member's last feature maps to its logits, without the network: what heatmaps rest on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Pooling(StrEnum):
    """How a map becomes one number."""

    MEAN = "mean"
    MAX = "max"


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """Every member's head: pooling, maybe one hidden layer with ReLU, one linear layer.

    Attributes:
        weight: (M, L, C) float32, or (M, L, H) over a hidden layer.
        bias: (M, L).
        pooling: over height and width.
        hidden_weight, hidden_bias: (M, H, C) and (M, H), or None: the linear layer takes what was pooled.
    """

    weight: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    pooling: Pooling = Pooling.MEAN
    hidden_weight: Floats | None = field(default=None, repr=False)
    hidden_bias: Floats | None = field(default=None, repr=False)

    @property
    def channels(self) -> int:
        """Feature maps that the heads take."""
        first = self.weight if self.hidden_weight is None else self.hidden_weight
        return int(first.shape[2])

    @property
    def sound(self) -> bool:
        """Whether the shapes of the tensors fit one another."""
        members, labels, width = self.weight.shape
        if self.bias.shape != (members, labels):
            return False
        if self.hidden_weight is None or self.hidden_bias is None:
            return self.hidden_weight is self.hidden_bias
        return self.hidden_weight.shape[:2] == self.hidden_bias.shape == (members, width)

    def logits(self, features: Floats) -> Floats:
        """Return (M, L) of the (M, C, h, w) features of one film."""
        active = self._pooled(features)
        if self.hidden_weight is not None:
            active = np.maximum(self._inner(active, self.hidden_weight), 0)
        answer: Floats = np.einsum("mc,mlc->ml", active, self.weight) + self.bias
        return answer

    def slopes(self, features: Floats) -> Floats:
        """Return (M, L, C): how much each member's logits rise with each pooled map of one film.

        The weights themselves, or with a hidden layer W2 · diag(hidden > 0) · W1, which depends on the film.
        """
        if self.hidden_weight is None:
            return self.weight
        active = self._inner(self._pooled(features), self.hidden_weight) > 0
        return (self.weight * active[:, None]) @ self.hidden_weight

    def _pooled(self, features: Floats) -> Floats:
        pooled: Floats = (
            features.max(axis=(2, 3)) if self.pooling is Pooling.MAX else features.mean(axis=(2, 3))
        )
        return pooled

    def _inner(self, pooled: Floats, weight: Floats) -> Floats:
        """Return the (M, H) values of the hidden layer before its ReLU."""
        bias: Floats = self.hidden_bias if self.hidden_bias is not None else np.zeros(1, np.float32)
        inner: Floats = np.einsum("mc,mhc->mh", pooled, weight) + bias
        return inner
