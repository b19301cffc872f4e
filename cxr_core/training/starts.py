"""Where the weights of a run begin: at random, at ImageNet, at a file, at an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cxr_core.errors import RecipeError
from cxr_core.training.checkpoint import our_name
from cxr_core.training.networks import Classifier
from cxr_core.training.progress import KEPT, read_facts
from cxr_core.training.recipes import Architecture, TrainingRecipe

CACHE = "cache"
"""Folder beside the run folders for films as the network sees them, and a teacher's answers to them."""

IMAGENET = "mobilenet_v2_imagenet.safetensors"
ENOUGH = 0.9
"""Share of the feature extractor's tensors that a file must fill: less is another architecture."""
COUNTER = "num_batches_tracked"
"""Of a batch norm; files from before torch 0.4 hold none, and nothing is computed with it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run finds what it starts from and whom it learns from.

    Attributes:
        runs: folder of all runs, and of what they keep of films.
        pretrained: folder of ImageNet files.
        init: weights given by hand.
    """

    runs: Path
    pretrained: Path | None = None
    init: Path | None = None


def own_start(recipe: TrainingRecipe) -> str:
    """Return in words what the recipe itself starts from."""
    start = recipe.network.start
    return {"": "random weights", "imagenet": "MobileNetV2 of ImageNet"}.get(start, f"the run {start}")


def file_of(recipe: TrainingRecipe, places: Places) -> Path | None:
    """Return the file whose weights a run begins with, whether it is there or not; None: random weights."""
    start = recipe.network.start
    if places.init is not None or start in ("", "init"):
        return places.init
    if start == "imagenet":
        return places.pretrained / IMAGENET if places.pretrained is not None else None
    return places.runs / start / "member-0" / KEPT


def begin(recipe: TrainingRecipe, network: Classifier, places: Places, films: Tensor, fold: int = -1) -> str:
    """Fill the network as the recipe says and return in words where its weights come from.

    Args:
        recipe: `network.start`; a file given by hand goes before it.
        network: fresh, at random weights.
        places: where to look.
        films: (N, 1, S, S) a few dozen training films, see `unfold_imagenet`.
        fold: that the member leaves out: it must not start from a run that saw it.

    Raises:
        RecipeError: what the recipe starts from is not there, cannot be read or does not fit.
    """
    start, own, path = recipe.network.start, own_start(recipe), file_of(recipe, places)
    if path is not None and path == places.init:
        return f"{path.name}, {fill(network, read_weights(path), path.name)}"
    if not start:
        return own
    if start == "init":
        raise RecipeError("the recipe starts from a file of yours: name it with --init FILE")
    if start == "imagenet":
        if recipe.network.architecture is not Architecture.MOBILENET_V2_GREY:
            raise RecipeError(
                "imagenet: only mobilenet_v2_grey has such a file; give another with --init FILE"
            )
        if path is None:
            raise RecipeError(
                f"imagenet: the data folder has no pretrained/{IMAGENET} (docs/training.md says what it is); "
                "give weights of your own with --init FILE"
            )
        unfold_imagenet(network, path, films)
        return own
    if fold >= 0:
        raise RecipeError(
            f"the run {start} has seen the fold that a member leaves out; --init takes weights that have not"
        )
    if path is None or not (path.exists() and read_facts(path.parent).get("finished")):
        raise RecipeError(f"the recipe starts from the run {start}: train it first, or give --init FILE")
    return f"{own}, {fill(network, read_weights(path), start)}"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a torch file without code.

    Raises:
        RecipeError: it is neither, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, UnpicklingError, RuntimeError, EOFError) as exc:
        raise RecipeError(
            f"{path.name}: no weights could be read from it safely; expected safetensors, "
            "or a torch file that holds tensors only"
        ) from exc
    held = held.get("state_dict", held) if isinstance(held, Mapping) else {}
    return {name: value for name, value in held.items() if isinstance(value, Tensor)}


def fill(network: Classifier, weights: Mapping[str, Tensor], name: str) -> str:
    """Copy what fits into the feature extractor and return in words how much that was.

    Names may be torchvision's (`conv1.weight`, `features.denseblock1…`), those of older files
    (`denselayer1.norm.1`, `module.densenet121.…`) or ours. A first convolution of three colours is summed: a
    grey film in all three channels gives the same answer. The head stays fresh.

    Raises:
        RecipeError: less than nine tenths of the extractor's tensors fit, counters apart.
    """
    own = network.features.state_dict()
    given = {our_name(key).removeprefix("features."): value for key, value in weights.items()}
    fitting = {}
    for key, mine in own.items():
        theirs = given.get(key)
        if theirs is not None and theirs.ndim == 4 and theirs.shape[1] == 3 and mine.shape[1] == 1:
            theirs = theirs.sum(dim=1, keepdim=True)
        if theirs is not None and theirs.shape == mine.shape:
            fitting[key] = theirs
    needed = [key for key in own if not key.endswith(COUNTER)]
    if sum(key in fitting for key in needed) < ENOUGH * len(needed):
        raise RecipeError(
            f"{name}: {len(fitting)} of {len(own)} tensors of the network are in it; it is of another network"
        )
    network.features.load_state_dict(fitting, strict=False)
    return f"{len(fitting)} of {len(own)} tensors"


def unfold_imagenet(network: Classifier, path: Path, films: Tensor) -> None:
    """Fill a MobileNetV2 from an ImageNet file whose batch norms were folded, and unfold them.

    The file stands for `mobilenet_v2(num_classes=1001)` on RGB in [-1, 1]. Each batch norm holds only a
    bias; statistics of `films` are put in so that the function stays the same and training can go on.
    """
    fill(network, read_weights(path), path.name)
    hooks = [
        module.register_forward_pre_hook(_unfold)
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    network.eval()
    with torch.no_grad():
        network.features(films)  # once: `network` itself may answer the mirror images too
    for hook in hooks:
        hook.remove()
    network.train()


def _unfold(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None or module.running_var is None:
        raise TypeError("only batch norms with statistics can be unfolded")
    variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), unbiased=False)
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance)
    module.bias.add_(mean)
    module.weight.copy_(torch.sqrt(variance + module.eps))
