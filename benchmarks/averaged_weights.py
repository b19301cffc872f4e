"""The members of the model in force averaged into one network: what it answers on val.

`python benchmarks/averaged_weights.py` averages the weights of the first one, two, … members, counts the
statistics of the norms anew on films of train and prints the mean area of the findings that a card averages.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cxr_core import settings
from cxr_core.evaluation.bootstrap import column_aucs
from cxr_core.evaluation.measure import averaged
from cxr_core.evaluation.scored import read_scored
from cxr_core.inference.registry import WEIGHTS
from cxr_core.training.export import chosen
from cxr_core.training.networks import Classifier, build
from cxr_core.training.prepare import data_root, film_set
from cxr_core.training.recipes import TrainingRecipe, read_recipe
from cxr_core.training.sampling import FilmSet
from cxr_core.training.scoring import score
from cxr_core.training.starts import CACHE

COUNTED, BATCH = 1024, 64


def main() -> None:
    """Print a line for each number of members."""
    chosen_settings = settings.load()
    folder = chosen_settings.models_dir / chosen_settings.model
    recipe = read_recipe(next(folder.glob("*_*.toml")))
    served, weights = read_scored(folder, "val"), load_file(folder / WEIGHTS)
    index = chosen(data_root(chosen_settings.data or Path()), recipe)
    cache = Path("runs") / CACHE
    train, _ = film_set(recipe, index.of("train"), cache)
    columns = [served.labels.index(label) for label in averaged(served.rules, served.truth)]
    for count in range(1, served.manifest.model.members + 1):
        network = mean_of(recipe, weights, count, train)
        found = score([network], recipe, index.of("val"), cache, "val")
        place = {file: row for row, file in enumerate(found.index.table["file"])}
        logits = found.logits[[place[file] for file in served.table["file"]], 0]
        value = column_aucs(logits[:, columns], served.truth[:, columns]).mean()
        sys.stdout.write(f"weights of {count}: {value:.3f}\n")


def mean_of(recipe: TrainingRecipe, weights: dict[str, Tensor], count: int, train: FilmSet) -> Classifier:
    """Return one network with the mean weights of the first members, its norms' statistics counted anew."""
    network = build(recipe.network, recipe.outputs)
    network.load_state_dict(
        {
            name: torch.stack([weights[f"members.{k}.{name}"].float() for k in range(count)]).mean(0).to(own)
            for name, own in network.state_dict().items()
        }
    )
    if count > 1:
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None  # a plain mean over the batches
        picks = np.random.default_rng(0).permutation(len(train))[:COUNTED]
        with torch.no_grad():
            for start in range(0, len(picks), BATCH):
                network(train.inputs(np.sort(picks[start : start + BATCH])))
    return network.eval()


if __name__ == "__main__":
    main()
