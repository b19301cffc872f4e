"""What may have happened to a picture before it reaches the gate: cut, mirrored, inverted, turned."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_core.training.gate_recipe import Changes

CUT = (0.2, 0.42)
"""Share of the width or height that is gone from a film called cropped; a film may lack 5 % and is not."""

_BLUR_PX = 28


class Changed(NamedTuple):
    """Pictures (N, 1, S, S) after the changes, and which each underwent: quarter turns, then 0 or 1."""

    pictures: Tensor
    turns: Tensor
    inverted: Tensor
    mirrored: Tensor
    cropped: Tensor


def changed(pictures: Tensor, how: Changes) -> Changed:
    """Return the pictures changed at random, by torch's generator.

    Args:
        pictures: (N, 1, S, S) float32 in [-1, 1].
        how: shares.
    """
    number = len(pictures)
    cropped, mirrored, inverted = (
        torch.rand(number) < share for share in (how.cropped, how.mirrored, how.inverted)
    )
    pictures = _exposed(_placed(pictures, cropped, mirrored), how)
    pictures = torch.where(inverted.view(-1, 1, 1, 1), -pictures, pictures)
    each = how.turned / 3
    turns = torch.multinomial(torch.tensor([1 - how.turned, each, each, each]), number, replacement=True)
    turned = torch.stack(
        [torch.rot90(one, int(turn), (1, 2)) for one, turn in zip(pictures, turns, strict=True)]
    )
    return Changed(turned, turns, inverted.float(), mirrored.float(), cropped.float())


def _placed(pictures: Tensor, cropped: Tensor, mirrored: Tensor) -> Tensor:
    """Return the pictures a little turned, scaled and shifted, some cut at one side, some mirrored."""
    number = len(pictures)
    side = torch.randint(0, 4, (number,))
    lost = torch.where(cropped, _between(number, *CUT), _between(number, 0.0, 0.05))
    nothing, whole = torch.zeros(number), torch.ones(number)
    right = torch.where(side == 0, lost, torch.where(side == 1, -lost, nothing)) + _between(
        number, -0.03, 0.03
    )
    down = torch.where(side == 2, lost, torch.where(side == 3, -lost, nothing)) + _between(
        number, -0.03, 0.03
    )
    zoom = torch.where(cropped, whole, _between(number, 0.95, 1.2))
    wide = torch.where(side < 2, 1 - lost, whole) * zoom * _between(number, 0.95, 1.05)
    high = torch.where(side >= 2, 1 - lost, whole) * zoom
    angle = _between(number, -0.17, 0.17)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    flip = torch.where(mirrored, -1.0, 1.0)
    places = [cosine * wide * flip, -sine * high, right, sine * wide * flip, cosine * high, down]
    grid = F.affine_grid(torch.stack(places, dim=1).view(-1, 2, 3), list(pictures.shape), align_corners=False)
    black = F.grid_sample(pictures + 1, grid, padding_mode="zeros", align_corners=False) - 1
    border = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    return torch.where((torch.rand(number) < 0.4).view(-1, 1, 1, 1), black, border)


def _exposed(pictures: Tensor, how: Changes) -> Tensor:
    """Return the pictures with other gamma, contrast and brightness, some blurred, noisy or written on."""
    number = len(pictures)
    gamma = torch.exp(_between(number, -0.5, 0.5)).view(-1, 1, 1, 1)
    pictures = 2 * ((pictures.clamp(-1, 1) + 1) / 2) ** gamma - 1
    pictures = pictures * _between(number, 0.7, 1.2).view(-1, 1, 1, 1)
    pictures = pictures + _between(number, -0.15, 0.15).view(-1, 1, 1, 1)
    small = F.interpolate(pictures, size=(_BLUR_PX, _BLUR_PX), mode="bilinear", antialias=True)
    soft = F.interpolate(small, size=pictures.shape[-2:], mode="bilinear")
    pictures = torch.where((torch.rand(number) < how.blurred).view(-1, 1, 1, 1), soft, pictures)
    noise = _between(number, 0.0, 0.12) * (torch.rand(number) < how.noisy)
    pictures = pictures + torch.randn_like(pictures) * noise.view(-1, 1, 1, 1)
    for place in torch.nonzero(torch.rand(number) < how.written).flatten().tolist():
        _write(pictures[place])
    return pictures.clamp(-1, 1)


def _write(picture: Tensor) -> None:
    """Put bright specks in a row, as text looks at this size."""
    side = picture.shape[-1]
    row, column = (int(place) for place in torch.randint(0, side - 6, (2,)))
    high, wide = int(torch.randint(2, 5, (1,))), int(torch.randint(3, 22, (1,)))
    box = picture[0, row : row + high, column : column + wide]
    box[torch.rand(box.shape) < 0.6] = 1.0


def _between(number: int, low: float, high: float) -> Tensor:
    return torch.rand(number) * (high - low) + low
