"""Heads on the same feature maps: what another pooling or a hidden layer gains on val.

`CXR_DATA=… python benchmarks/heads.py` takes member 0 of the trained run `cxr14_mobilenetv2`, which left the
patients of one fold out: their films are as new to its feature maps as films of val. On them every head
learns anew, with the same steps and three seeds, and answers val; the last line is the member's own head.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn, optim
from torch.nn import functional as F

from cxr_core import settings
from cxr_core.data.splits import fold_of
from cxr_core.evaluation.bootstrap import areas, drawn, interval
from cxr_core.training.export import chosen
from cxr_core.training.losses import loss_of
from cxr_core.training.networks import Classifier, build
from cxr_core.training.prepare import data_root, film_set
from cxr_core.training.progress import KEPT
from cxr_core.training.recipes import COPY, FOLDS, TrainingRecipe, read_recipe
from cxr_core.training.sampling import FilmSet
from cxr_core.training.served import load_weights
from cxr_core.training.starts import CACHE

RUNS = Path("runs")
RUN = RUNS / "cxr14_mobilenetv2"
STEPS, BATCH, SEEDS = 600, 128, 3
RATE, DECAY, DROPOUT, HIDDEN, SHARPNESS = 1e-3, 0.05, 0.2, 512, 5.0
LEFT_OUT = ("Hernia", "Pneumonia", "abnormal")
"""Of the mean, as everywhere: too rare, or not known everywhere, or no finding."""

Pool = Callable[[Tensor], Tensor]
"""Of maps (N, C, P), P places."""


def flat(width: int, labels: int, hidden: int = 0) -> nn.Sequential:
    """Return a linear layer, or two, on pooled maps (N, C)."""
    wide = [nn.Linear(width, hidden), nn.ReLU()] if hidden else []
    return nn.Sequential(
        OrderedDict(
            wide=nn.Sequential(*wide), drop=nn.Dropout(DROPOUT), last=nn.Linear(hidden or width, labels)
        )
    )


class Attention(nn.Module):
    """Each label looks where it chooses to: places are weighed by a softmax of its own."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.places, self.last = nn.Linear(width, labels), nn.Linear(width, labels)
        self.drop = nn.Dropout(DROPOUT)
        nn.init.zeros_(self.places.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Return logits (N, L) of maps (N, C, P)."""
        kept = self.drop(torch.ones(len(maps), maps.shape[1], 1))
        spots = (maps * kept).transpose(1, 2)
        logits: Tensor = (self.places(spots).softmax(dim=1) * self.last(spots)).sum(dim=1)
        return logits


def mean(maps: Tensor) -> Tensor:
    """Return the mean of each map, as the default pools."""
    return maps.mean(dim=2)


def largest(maps: Tensor) -> Tensor:
    """Return the maximum of each map."""
    return maps.amax(dim=2)


def both(maps: Tensor) -> Tensor:
    """Return mean and maximum side by side."""
    return torch.cat([mean(maps), largest(maps)], dim=1)


def between(maps: Tensor) -> Tensor:
    """Return log-mean-exp of each map: between mean and maximum."""
    return (torch.logsumexp(SHARPNESS * maps, dim=2) - np.log(maps.shape[2])) / SHARPNESS


def coarse(maps: Tensor) -> Tensor:
    """Return (N, C, P / 4), places taken together by fours."""
    side = round(maps.shape[2] ** 0.5)
    return F.avg_pool2d(maps.unflatten(2, (side, side)), 2).flatten(2)


def main() -> None:
    """Print a line a head."""
    recipe = read_recipe(RUN / COPY)
    member = build(recipe.network, recipe.outputs)
    load_weights(member, RUN / "member-0" / KEPT)
    member.eval().to(memory_format=torch.channels_last)
    index = chosen(data_root(settings.load().data or Path()), recipe)
    train, val = (film_set(recipe, index.of(split), RUNS / CACHE)[0] for split in ("train", "val"))
    unseen = train.where(
        np.array([fold_of(patient, FOLDS) == recipe.members[0].fold for patient in train.patients])
    )
    maps = {"train": maps_of(member, unseen), "val": maps_of(member, val)}
    width, labels = member.channels, len(recipe.labels)
    heads: dict[str, tuple[Pool, Callable[[], nn.Module]]] = {
        "mean, linear": (mean, partial(flat, width, labels)),
        "maximum, linear": (largest, partial(flat, width, labels)),
        "mean and maximum, linear": (both, partial(flat, 2 * width, labels)),
        "log-mean-exp, linear": (between, partial(flat, width, labels)),
        f"mean, {HIDDEN} hidden": (mean, partial(flat, width, labels, HIDDEN)),
        "attention for each label": (coarse, partial(Attention, width, labels)),
    }
    answers = {}
    for name, (pool, head) in track(heads.items(), console=Console(stderr=True)):
        known, asked = pooled(pool, maps["train"]), pooled(pool, maps["val"])
        answers[name] = np.mean(
            [learned(head, known, asked, unseen, recipe, seed) for seed in range(SEEDS)], axis=0
        )
    with torch.inference_mode():
        own = member.head(torch.from_numpy(pooled(mean, maps["val"])))
        answers["the member's own: mean, linear, learned with the network"] = own.numpy()
    columns = [k for k, label in enumerate(recipe.labels) if label not in LEFT_OUT]
    again, truth = drawn(val.patients), val.truth[:, columns].astype(np.float64)
    found = {name: areas(each[:, columns].astype(np.float64), truth, again) for name, each in answers.items()}
    base = next(iter(found.values()))
    out = [
        f"{len(unseen)} films of the fold left out, {len(val)} of val, {len(columns)} findings",
        "",
        "| head | mean AUC | gain on the first |",
        "|---|---|---|",
    ]
    for name, each in found.items():
        value = float(np.mean([one.value for one in each.auc]))
        gain = value - float(np.mean([one.value for one in base.auc]))
        draws = (each.auc_draws - base.auc_draws).mean(axis=1)
        out.append(f"| {name} | {value:.3f} | {'–' if each is base else interval(gain, draws)} |")
    sys.stdout.write("\n".join(out) + "\n")


def maps_of(member: Classifier, films: FilmSet) -> NDArray[np.float16]:
    """Return (N, C, P) feature maps, each the mean of a film's and of its mirror image's."""
    found = []
    with torch.inference_mode():
        for start in track(range(0, len(films), 64), console=Console(stderr=True)):
            batch = films.inputs(np.arange(start, min(start + 64, len(films))))
            maps = member.maps(batch.to(memory_format=torch.channels_last))
            found.append(maps.flatten(2).numpy().astype(np.float16))
    return np.concatenate(found)


def pooled(pool: Pool, maps: NDArray[np.float16]) -> NDArray[np.floating]:
    """Return what a pooling leaves of maps (N, C, P)."""
    parts = [maps[start : start + BATCH] for start in range(0, len(maps), BATCH)]
    return torch.cat([pool(torch.from_numpy(part).float()) for part in parts]).numpy()


def learned(
    head: Callable[[], nn.Module],
    known: NDArray[np.floating],
    asked: NDArray[np.floating],
    films: FilmSet,
    recipe: TrainingRecipe,
    seed: int,
) -> NDArray[np.float32]:
    """Return (N, L) logits of the films asked by a head that learned on those that are known."""
    torch.manual_seed(seed)
    made, truth = head(), torch.from_numpy(films.truth)
    share = np.nanmean(films.truth, axis=0).clip(1e-3, 1 - 1e-3)
    made.get_parameter("last.bias").data[:] = torch.from_numpy(np.log(share / (1 - share)))
    nn.init.zeros_(made.get_parameter("last.weight"))
    places = (0, *range(2, known.ndim))
    middle, scale = (
        known.mean(places, np.float32, keepdims=True),
        known.std(places, np.float32, keepdims=True),
    )

    def shown(features: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(((features - middle) / (scale + 1e-6)).astype(np.float32))

    loss = loss_of(recipe, truth)
    optimiser = optim.AdamW(made.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for picks in np.random.default_rng(seed).integers(0, len(films), (STEPS, BATCH)):
        optimiser.zero_grad()
        loss(made(shown(known[picks])), truth[picks]).backward()
        optimiser.step()
        schedule.step()
    with torch.inference_mode():
        parts = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
        return np.concatenate([made.eval()(shown(part)).numpy() for part in parts])


if __name__ == "__main__":
    main()
