"""A DenseNet-121 of TorchXRayVision or CheXNet as a network for our films; nothing in its file is run."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cxr_core.errors import ModelError
from cxr_core.training.networks import Classifier, build
from cxr_core.training.recipes import Architecture, Network

LARGEST = 2**30
"""Bytes of a checkpoint; a DenseNet-121 with its optimiser has 90 MB."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_GREY = 1024.0


class Kind(StrEnum):
    """Whose conventions a checkpoint follows."""

    TORCHXRAYVISION = "torchxrayvision"
    """One grey channel from -1024 to 1024."""
    CHEXNET = "chexnet"
    """Three equal channels, normalised as ImageNet's; weights under `module.densenet121.`."""


class GreyStem(nn.Module):
    """A first convolution for one channel whose bias ends at the film's border, as zero padding asks.

    Normalising shifts the greys, and what is padded stays at 0: beyond the border the shift must not
    count. So the shift goes through a second channel of ones.
    """

    def __init__(self, weight: Tensor) -> None:
        """Take (O, 2, k, k): weights of the grey channel and of the ones."""
        super().__init__()
        self.conv = nn.Conv2d(2, len(weight), weight.shape[2], stride=2, padding=3, bias=False)
        self.conv.weight = nn.Parameter(weight)

    def forward(self, films: Tensor) -> Tensor:
        """Return (N, O, S / 2, S / 2) of films (N, 1, S, S) in [-1, 1]."""
        answer: Tensor = self.conv(torch.cat([films, torch.ones_like(films)], dim=1))
        return answer


def state_of(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name; no code in it is ever run.

    Raises:
        ModelError: too large, unreadable, no dictionary of tensors, or pickled objects.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ModelError(f"{path.name}: {path.stat().st_size >> 20} MB are too many for a DenseNet-121")
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a pickle may hold more than it reads: then it refuses
            held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, EOFError, zipfile.BadZipFile) as exc:
        raise ModelError(f"{path.name}: cannot be read ({type(exc).__name__})") from exc
    except (pickle.UnpicklingError, RuntimeError) as exc:
        raise ModelError(
            f"{path.name}: holds pickled objects, or is no checkpoint; pickles can run code and are not "
            "opened. Where you trust it, save its state_dict() by itself, best as safetensors"
        ) from exc
    held = held.get("state_dict", held) if isinstance(held, dict) else held
    if not isinstance(held, dict) or not all(isinstance(key, str) for key in held):
        raise ModelError(f"{path.name}: expected a state_dict, got {type(held).__name__}")
    return {key: value for key, value in held.items() if isinstance(value, Tensor)}


def network_of(state: dict[str, Tensor], kind: Kind, outputs: int, kept: list[int]) -> Classifier:
    """Return the network of a checkpoint for our grey films, with the outputs that were kept.

    Raises:
        ModelError: the tensors are not of a DenseNet-121 of that kind.
    """
    tensors = {our_name(key): value.float() for key, value in state.items()}
    member = build(Network(Architecture.DENSENET121), outputs)
    stem = tensors.pop("features.conv0.weight", None)
    channels = 1 if kind is Kind.TORCHXRAYVISION else 3
    if stem is None or stem.shape != (64, channels, 7, 7):
        got = None if stem is None else tuple(stem.shape)
        raise ModelError(f"expected features.conv0.weight of (64, {channels}, 7, 7) for {kind}, got {got}")
    wanted = {key for key in member.state_dict() if key != "features.conv0.weight"}
    if missing := sorted(key for key in wanted - set(tensors) if not key.endswith("num_batches_tracked")):
        raise ModelError(f"no DenseNet-121 of the kind {kind}: {len(missing)} tensors lack, as {missing[0]}")
    try:
        member.load_state_dict({key: tensors[key] for key in wanted & set(tensors)}, strict=False)
    except RuntimeError as exc:
        shape = tuple(tensors["head.weight"].shape)
        raise ModelError(f"another DenseNet-121: the head is {shape}, expected {outputs} outputs") from exc
    member.features.conv0 = _stem(stem, kind)
    head = nn.Linear(member.head.in_features, len(kept))  # type: ignore[arg-type]
    with torch.no_grad():
        head.weight.copy_(member.head.weight[kept])  # type: ignore[index]
        head.bias.copy_(member.head.bias[kept])  # type: ignore[index]
    member.head = head
    if not all(torch.isfinite(value).all() for value in member.state_dict().values()):
        raise ModelError("the checkpoint holds a number that is none")
    return member.eval()


def our_name(key: str) -> str:
    """Return our name of a tensor: no wrappers, no dots within layers, the classifier as our head."""
    key = re.sub(r"^(module\.|model\.|network\.|densenet121\.)*", "", key)
    key = re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", key)
    return re.sub(r"^classifier\.(0\.)?(weight|bias)$", r"head.\2", key)


def _stem(weight: Tensor, kind: Kind) -> nn.Module:
    """Return the first convolution for greys g in [-1, 1], exact up to the border."""
    if kind is Kind.TORCHXRAYVISION:
        conv = nn.Conv2d(1, len(weight), 7, stride=2, padding=3, bias=False)
        conv.weight = nn.Parameter(weight * _GREY)
        return conv
    # A channel is ((g + 1) / 2 - mean) / std = g / (2 std) + (0.5 - mean) / std.
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
    grey = (weight / (2 * std)).sum(dim=1, keepdim=True)
    ones = (weight * (0.5 - mean) / std).sum(dim=1, keepdim=True)
    return GreyStem(torch.cat([grey, ones], dim=1))
