"""From a network's logits to probabilities that mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Method(StrEnum):
    """How logits become probabilities; both scale and shift each label's logit first."""

    PLATT = "platt"
    """A sigmoid of each label by itself (Platt 1999)."""
    SOFTMAX = "softmax"
    """Shares of one whole: exactly one of the labels is true (temperature scaling; Guo 2017)."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """One line a label, then sigmoid or softmax.

    Attributes:
        slope, intercept: (L,) float64.
        method: what follows the lines.
    """

    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]
    method: Method = Method.PLATT

    def probability(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (..., L) probabilities of (..., L) logits; under softmax they sum to 1."""
        odds = np.asarray(logits, np.float64) * self.slope + self.intercept
        if self.method is Method.SOFTMAX:
            raised = np.exp(odds - odds.max(axis=-1, keepdims=True))
            shares: NDArray[np.float64] = raised / raised.sum(axis=-1, keepdims=True)
            return shares
        answer: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * odds))  # the sigmoid, without overflow
        return answer
