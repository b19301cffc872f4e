"""Grad-CAM by backward passes: the reference for `explain`, and the way for heads that are not linear.

Imports torch; no part of the served app imports this module.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from cxr_core.inference.explain import NoRegion, normalised

Floats = NDArray[np.float32]


def grad_cam(
    network: nn.Module, layer: nn.Module, film: Tensor, labels: Sequence[int]
) -> list[Floats | NoRegion]:
    """Return for each label an (S, S) float32 map in [0, 1], or why there is none.

    Works for any differentiable head; costs a forward and a backward pass for each label. The network
    is put into evaluation mode.

    Args:
        network: films (N, 1, S, S) → logits (N, L).
        layer: part of `network` whose (N, C, h, w) output is explained.
        film: (1, 1, S, S) float32.
        labels: positions among the logits.

    Source: Selvaraju 2017, through pytorch-grad-cam, its scaling and its bilinear enlargement.
    """
    # Weights may be frozen; gradients then start at the film.
    tracked = film.detach().clone().requires_grad_()
    with GradCAM(model=network, target_layers=[layer]) as cam:
        return [
            normalised(np.asarray(cam(tracked, [ClassifierOutputTarget(label)])[0], np.float32))
            for label in labels
        ]
