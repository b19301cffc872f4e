"""Changes a film can undergo without changing its labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_core.training.recipes import Augmentation

SMALL_SIDE_PX = 64


def augmented(films: Tensor, side_px: Tensor, how: Augmentation) -> Tensor:
    """Return films turned, scaled, shifted, mirrored, re-exposed, some blurred, with noise.

    Mirroring is the recipe's choice. There is no vertical flip and no crop. Some of the larger films
    are blurred to 64 pixels, so that resolution tells nothing of the list a film came from. Random
    numbers come from torch's generator of the films' device.

    Args:
        films: (N, 1, S, S) float32 in [-1, 1].
        side_px: (N,) side of the film on disk.
        how: which changes, and how far.
    """
    if how.blurred_share:
        films = torch.where(_blurred(side_px, how), _through(films, SMALL_SIDE_PX), films)
    if how.rotation_deg or how.scale or how.shift or how.mirror:
        films = _moved(films, how)
    if how.gamma or how.contrast or how.brightness or how.noise:
        films = _re_exposed(films, how)
    return films


def _blurred(side_px: Tensor, how: Augmentation) -> Tensor:
    picked = torch.rand(len(side_px), device=side_px.device) < how.blurred_share
    return (picked & (side_px > SMALL_SIDE_PX)).view(-1, 1, 1, 1)


def _through(films: Tensor, side: int) -> Tensor:
    small = F.interpolate(films, size=(side, side), mode="bilinear", antialias=True)
    return F.interpolate(small, size=films.shape[-2:], mode="bilinear")


def _moved(films: Tensor, how: Augmentation) -> Tensor:
    angle = _uniform(films, math.radians(how.rotation_deg))
    scale = 1 + _uniform(films, how.scale)
    mirror = torch.where(_uniform(films, 1.0) < 0, -1.0, 1.0) if how.mirror else torch.ones_like(scale)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    right, down = _uniform(films, how.shift), _uniform(films, how.shift)
    rows = [cosine * mirror, -sine, right, sine * mirror, cosine, down]
    places = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = F.affine_grid(places, list(films.shape), align_corners=False)
    return F.grid_sample(films, grid, padding_mode="border", align_corners=False)


def _re_exposed(films: Tensor, how: Augmentation) -> Tensor:
    gamma = torch.exp(_uniform(films, how.gamma)).view(-1, 1, 1, 1)
    contrast = (1 + _uniform(films, how.contrast)).view(-1, 1, 1, 1)
    brightness = _uniform(films, how.brightness).view(-1, 1, 1, 1)
    films = 2 * ((films.clamp(-1, 1) + 1) / 2) ** gamma - 1
    return (films * contrast + brightness + how.noise * torch.randn_like(films)).clamp(-1.2, 1.2)


def _uniform(films: Tensor, half_width: float) -> Tensor:
    return (torch.rand(len(films), device=films.device) * 2 - 1) * half_width
