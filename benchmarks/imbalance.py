"""What SMOTE, copies, weights and the focal loss do for rare findings: one table.

`python benchmarks/imbalance.py` reads CXR_DATA as the recipe `cxr14_densenet121` does, takes the pooled
features of MobileNetV2 as ImageNet left it (no film of ours has tuned it, so films of train are as new to it
as films of val), trains a linear head in every way of `cxr_core/training/imbalance.py` over five seeds, and
measures on val. Features (worked out in bfloat16) are kept beside the decoded films in runs/cache.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch.nn import functional as F

from cxr_core import settings
from cxr_core.errors import DataError
from cxr_core.training import imbalance, prepare
from cxr_core.training.augment import augmented
from cxr_core.training.imbalance import TIMES, Films, Outcome, Way
from cxr_core.training.networks import Classifier, build
from cxr_core.training.recipes import TrainingRecipe, read_recipe
from cxr_core.training.sampling import FilmSet
from cxr_core.training.starts import Places, begin
from cxr_core.triage.budget import FEW_POSITIVES

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs"
BATCH, SEEDS, RARE_BELOW = 64, 5, 200
SIDE_PX = 96
"""Of the films in front of the network: a third of the time of 160, for a comparison of heads."""
OUT_OF_MEANS = ("Hernia", "Pneumonia", "abnormal")


def main() -> None:
    """Print the table as Markdown."""
    data = settings.load().data
    if data is None:
        raise DataError("set CXR_DATA to the folder of films")
    recipe = read_recipe(ROOT / "recipes" / "cxr14_densenet121.toml")
    default = read_recipe(ROOT / "recipes" / "cxr14_mobilenetv2.toml")
    baseline = read_recipe(ROOT / "recipes" / "cxr14_simple_cnn.toml")
    recipe = replace(recipe, network=default.network, preprocessing=baseline.preprocessing)
    recipe = replace(recipe, augmentation=replace(default.augmentation, blurred_share=0.0))
    text = (ROOT / "recipes" / "cxr14_densenet121.toml").read_text(encoding="utf-8")
    _, index = prepare.chosen(text, data)
    train, val, _ = prepare.films_of(recipe, index, RUNS)
    began = time.process_time()
    sys.stderr.write(f"{len(train)} films, {began:.0f} s to read them\n")
    held = _held(recipe, train, val, data / "pretrained")
    films = Films(held["train"], train.truth, held["copies"], held["copied"])
    sys.stderr.write(f"features: {time.process_time() - began:.0f} s of processor time\n")
    rare = imbalance.rare_labels(train.truth, RARE_BELOW)
    by_way = {
        way: [
            imbalance.answers(films, held["val"], way, recipe, below=RARE_BELOW, seed=seed)
            for seed in range(SEEDS)
        ]
        for way in track(Way, console=Console(stderr=True))
    }
    truth = val.truth.astype(np.float64)
    positives = (truth == 1).sum(axis=0)
    averaged = [k for k, label in enumerate(recipe.labels) if label not in OUT_OF_MEANS and positives[k] >= 1]
    shown = [k for k in rare if positives[k] >= FEW_POSITIVES]
    found = imbalance.compared(by_way, truth, val.patients, recipe.labels, averaged=averaged, shown=shown)
    said = ", ".join(
        f"{recipe.labels[k]} {int((train.truth[:, k] == 1).sum())} / {int(positives[k])}" for k in rare
    )
    out = [f"{len(train)} films of train, {len(val)} of val; rare (train / val): {said}", ""]
    sys.stdout.write("\n".join([*out, *_table(found)]) + "\n")
    sys.stderr.write(f"all: {time.process_time() - began:.0f} s of processor time\n")


def _table(found: list[Outcome]) -> list[str]:
    shown = list(found[0].gains)
    heads = [
        "way",
        "AUC (± over seeds)",
        "gain",
        "AP",
        "gain",
        "ECE",
        *(f"AP gain, {label}" for label in shown),
    ]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for each in found:
        plain = each.way is Way.NOTHING
        gains = ["–" if plain else str(gain) for gain in (each.auc_gain, each.ap_gain, *each.gains.values())]
        cells = [each.way, f"{each.auc:.3f} ± {each.spread:.3f}", gains[0], f"{each.ap:.3f}", gains[1]]
        lines.append(f"| {' | '.join([*cells, f'{each.ece:.3f}', *gains[2:]])} |")
    return lines


def _held(recipe: TrainingRecipe, train: FilmSet, val: FilmSet, pretrained: Path) -> dict[str, NDArray]:
    """Return the features, worked out once."""
    path = RUNS / prepare.CACHE / f"imbalance-{len(train)}-{SIDE_PX}.npz"
    if path.is_file():
        with np.load(path) as file:
            return dict(file)
    torch.manual_seed(0)
    network = build(replace(recipe.network, mirrored=False), recipe.outputs)
    picks = np.sort(np.random.default_rng(0).choice(len(train), 64, replace=False))
    begin(recipe, network, Places(RUNS, pretrained), train.inputs(picks))
    network.eval().to(memory_format=torch.channels_last)
    rare = imbalance.rare_labels(train.truth, RARE_BELOW)
    copied = np.repeat(np.flatnonzero((train.truth[:, rare] == 1).any(axis=1)), TIMES)
    held = {
        "train": _features(network, train, np.arange(len(train))),
        "val": _features(network, val, np.arange(len(val))),
        "copies": _features(network, train, copied, recipe),
        "copied": copied,
    }
    np.savez(path, **held)
    return held


def _features(
    network: Classifier, films: FilmSet, picks: NDArray[np.int64], recipe: TrainingRecipe | None = None
) -> NDArray[np.float32]:
    """Return (N, C) pooled features, of films changed as the recipe says where one is given."""
    found = []
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        for start in track(range(0, len(picks), BATCH), console=Console(stderr=True)):
            own = picks[start : start + BATCH]
            batch = films.inputs(own)
            if recipe is not None:
                batch = augmented(batch, torch.from_numpy(films.side_px[own]), recipe.augmentation)
            batch = F.interpolate(batch, size=(SIDE_PX, SIDE_PX), mode="bilinear", antialias=True)
            maps = network.features(batch.to(memory_format=torch.channels_last))
            found.append(network.pooling(maps.float()).numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
