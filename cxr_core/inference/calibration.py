"""From a network's logits to probabilities that mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Platt lines, one a label (Platt 1999).

    Attributes:
        slope, intercept: (L,) float64.
    """

    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]

    def probability(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (..., L) probabilities of (..., L) logits."""
        odds = np.asarray(logits, np.float64) * self.slope + self.intercept
        answer: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * odds))  # the sigmoid, without overflow
        return answer
