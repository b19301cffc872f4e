"""Recipes and films made for the trainer's tests: 32 pixels, a bright square where the label is."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from torch import Tensor

from cxr_core.training.recipes import TrainingRecipe, parse_recipe
from cxr_core.training.sampling import FilmSet

TEXT = """
name = "made"
title = "Made"
task = "multilabel"
labels = ["Effusion", "Mass"]
output = "sigmoid"

[preprocessing]
film_px = 32
network_px = 32
low_percentile = 0.5
high_percentile = 99.5

[network]
architecture = "small_cnn"

[fit]
batch = 4
running_mean = 0.5

[[fit.phases]]
epochs = 2
rate = 1e-2

[augmentation]
rotation_deg = 5.0
noise = 0.02
mirror = true

[[members]]
seed = 3

[card]
summary = "Made"
intended = "Tests."
avoid = "All else."
"""


def made_recipe(**changes: object) -> TrainingRecipe:
    """Return the recipe above with some of its own or its `fit`'s values replaced."""
    recipe = parse_recipe(TEXT, "made.toml")
    own = {key: value for key, value in changes.items() if hasattr(recipe, key)}
    fit = {key: value for key, value in changes.items() if hasattr(recipe.fit, key)}
    return replace(replace(recipe, fit=replace(recipe.fit, **fit)), **own)


def made_films(count: int, seed: int = 0, labels: int = 2) -> FilmSet:
    """Return films of noise; label k shows as a bright square in its own corner."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, labels)) < 0.5).astype(np.float32)
    store = rng.normal(-0.5, 0.1, (count, 1, 32, 32)).astype(np.float32)
    for film, row in enumerate(truth):
        for label in np.flatnonzero(row):
            store[film, 0, 4 + 16 * (label % 2) : 12 + 16 * (label % 2), 4:12] = 0.9
    patients = np.array([str(number // 2) for number in range(count)])
    return FilmSet(store, np.arange(count), truth, np.full(count, 128), patients)


def as_of_2017(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a DenseNet's tensors as files of torch 0.3 name them: `norm.1` for `norm1`, and no counters."""
    return {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)\.", r"\1.\2.", key): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
