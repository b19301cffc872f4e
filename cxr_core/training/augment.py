"""Changes a film can undergo without changing its labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SMALL_SIDE_PX = 64
BLURRED_SHARE = 0.3


def augmented(films: Tensor, side_px: Tensor) -> Tensor:
    """Return films turned, scaled, shifted, mirrored, re-exposed, some blurred, with noise.

    Mirroring is a choice: the model names no side. There is no vertical flip and no crop.
    Some of the larger films are blurred to 64 pixels, so that resolution tells nothing of the list
    a film came from.

    Args:
        films: (N, 1, S, S) float32 in [-1, 1].
        side_px: (N,) side of the film on disk.
    """
    films = torch.where(_blurred(side_px), _through(films, SMALL_SIDE_PX), films)
    films = _moved(films)
    return _re_exposed(films)


def _blurred(side_px: Tensor) -> Tensor:
    picked = (torch.rand(len(side_px)) < BLURRED_SHARE) & (side_px > SMALL_SIDE_PX)
    return picked.view(-1, 1, 1, 1)


def _through(films: Tensor, side: int) -> Tensor:
    small = F.interpolate(films, size=(side, side), mode="bilinear", antialias=True)
    return F.interpolate(small, size=films.shape[-2:], mode="bilinear")


def _moved(films: Tensor) -> Tensor:
    count = len(films)
    angle = _uniform(count, math.radians(10))
    scale = 1 + _uniform(count, 0.12)
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [cosine * mirror, -sine, _uniform(count, 0.12), sine * mirror, cosine, _uniform(count, 0.12)]
    grid = F.affine_grid(torch.stack(rows, dim=1).view(count, 2, 3), list(films.shape), align_corners=False)
    return F.grid_sample(films, grid, padding_mode="border", align_corners=False)


def _re_exposed(films: Tensor) -> Tensor:
    count = len(films)
    gamma = torch.exp(_uniform(count, 0.25)).view(-1, 1, 1, 1)
    contrast = (1 + _uniform(count, 0.2)).view(-1, 1, 1, 1)
    brightness = _uniform(count, 0.15).view(-1, 1, 1, 1)
    films = 2 * ((films.clamp(-1, 1) + 1) / 2) ** gamma - 1
    return (films * contrast + brightness + 0.03 * torch.randn_like(films)).clamp(-1.2, 1.2)


def _uniform(count: int, half_width: float) -> Tensor:
    return (torch.rand(count) * 2 - 1) * half_width
