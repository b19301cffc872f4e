"""What augmentation may not change: shape, range, which way is up."""

import torch

from cxr_core.settings import ROOT
from cxr_core.training.augment import augmented
from cxr_core.training.recipes import read_recipe

HOW = read_recipe(ROOT / "recipes" / "cxr14_mobilenetv2.toml").augmentation


def test_augmentation_keeps_shape_range_and_up():
    torch.manual_seed(0)
    films = torch.full((64, 1, 160, 160), -1.0)
    films[:, :, :80] = 1.0
    changed = augmented(films, torch.full((64,), 128), HOW)
    assert changed.shape == films.shape
    assert float(changed.abs().max()) < 1.21
    top, bottom = (part.mean(dim=(1, 2, 3)) for part in (changed[:, :, :30], changed[:, :, -30:]))
    assert bool((top > bottom + 0.5).all())


def test_augmentation_mirrors_about_half_the_films():
    torch.manual_seed(0)
    films = torch.full((200, 1, 64, 64), -1.0)
    films[..., :32] = 1.0
    changed = augmented(films, torch.full((200,), 64), HOW)
    left, right = (part.mean(dim=(1, 2, 3)) for part in (changed[..., :20], changed[..., -20:]))
    assert 0.35 < float((right > left).float().mean()) < 0.65
