"""DenseNet-121 checkpoints of TorchXRayVision and CheXNet as model folders; nothing in them is run."""

from __future__ import annotations

import pickle
import re
import tempfile
import zipfile
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.errors import ModelError
from cxr_core.imaging.preprocess import Recipe
from cxr_core.inference import manifest as m
from cxr_core.inference import registry
from cxr_core.inference.calibration import Method
from cxr_core.inference.runtime import self_test_film
from cxr_core.training import served
from cxr_core.training.calibrate import UNREACHABLE
from cxr_core.training.export import put_in_place, self_test
from cxr_core.training.networks import Classifier, build
from cxr_core.training.recipes import Architecture, Network

SIDE = 224
LARGEST = 2**30
"""Bytes of a checkpoint; a DenseNet-121 with its optimiser has 90 MB."""


class Kind(StrEnum):
    """Whose conventions a checkpoint follows."""

    TORCHXRAYVISION = "torchxrayvision"
    """One grey channel from -1024 to 1024."""
    CHEXNET = "chexnet"
    """Three equal channels, normalised as ImageNet's; weights under `module.densenet121.`."""


OUTPUTS: dict[Kind, tuple[str, ...]] = {
    Kind.TORCHXRAYVISION: (
        "Atelectasis",
        "Consolidation",
        "Infiltration",
        "Pneumothorax",
        "Edema",
        "Emphysema",
        "Fibrosis",
        "Effusion",
        "Pneumonia",
        "Pleural_Thickening",
        "Cardiomegaly",
        "Nodule",
        "Mass",
        "Hernia",
        "Lung Lesion",
        "Fracture",
        "Lung Opacity",
        "Enlarged Cardiomediastinum",
    ),
    Kind.CHEXNET: FINDINGS,
}
"""The outputs' names in order: `default_pathologies` of TorchXRayVision, the 14 of ChestX-ray14."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_GREY = 1024.0

ORIGIN = {
    Kind.TORCHXRAYVISION: "https://github.com/mlmed/torchxrayvision",
    Kind.CHEXNET: "https://arxiv.org/abs/1711.05225",
}

CARD = """# {id}

A DenseNet-121 that others trained, imported from a checkpoint of the kind {kind} (`{file}`, SHA-256
`{sha256}`). **Not a medical device.**

**Not calibrated, no thresholds.** Every finding reads "not assessed" until calibration and thresholds have
been fitted on films that it has not learned from and measured on others. It must not be brought into force
before.

## What it answers

{labels}. {left_out}

## What it is not for

Sorting a worklist as it stands. Nothing is known here of the films it learned from: if your test films are
among them, what you measure is worth nothing.

## What it sees

A film of any resolution is squeezed to 224 × 224 pixels, its smallest and largest grey value go to -1 and 1.
{convention} Whoever trained it may have cut films to a centre square or stretched greys otherwise; small
differences remain.

## How well it does

Not measured.

Weights: {licence}. Origin: {origin}.
"""

CONVENTION = {
    Kind.TORCHXRAYVISION: "TorchXRayVision's greys from -1024 to 1024 are folded into the first convolution.",
    Kind.CHEXNET: "Three channels and ImageNet's mean and deviation are folded into the first convolution.",
}


@dataclass(frozen=True, slots=True)
class Source:
    """What is imported.

    Attributes:
        file: checkpoint.
        kind: whose conventions.
        id: of the model.
        labels: names of its outputs in order; () for those of the kind.
        licence: of the weights.
        version: of the model.
    """

    file: Path
    kind: Kind
    id: str
    labels: tuple[str, ...] = ()
    licence: str = "not stated"
    version: str = "1.0.0"


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


def kind_of(text: str) -> Kind:
    """Return the kind that a person named.

    Raises:
        ModelError: there is no such kind.
    """
    try:
        return Kind(text)
    except ValueError as exc:
        raise ModelError(f"unknown kind {text!r}; known: {', '.join(Kind)}") from exc


def import_checkpoint(source: Source, models: Path) -> Path:
    """Return the model folder `models/<id>` of a checkpoint.

    Raises:
        ModelError: the file holds pickled objects, another network, or none of our labels; the id is taken.
    """
    target = models / source.id
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", source.id):
        raise ModelError(f"the id {source.id!r} must be of small letters, digits, dots, _ and -")
    if target.exists():
        raise ModelError(f"there is a model {source.id} already")
    outputs = source.labels or OUTPUTS[source.kind]
    kept = [number for number, name in enumerate(outputs) if name in (*FINDINGS, ABNORMAL)]
    named = [name for name in outputs if name]  # TorchXRayVision leaves names of unused outputs empty
    if not kept or len(set(named)) < len(named):
        raise ModelError(f"none of our labels, or one twice, among {', '.join(outputs)}")
    member = network_of(state_of(source.file), source.kind, len(outputs), kept)
    labels = tuple(outputs[number] for number in kept)
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=models) as space:
        folder = Path(space) / source.id
        folder.mkdir()
        network = served.Served([member]).eval()
        served.save_onnx(network, labels, SIDE, folder / registry.NETWORK)
        films = np.concatenate([self_test_film(SIDE), -self_test_film(SIDE)])
        served.check_same(network, folder / registry.NETWORK, films)
        served.save_weights(network, labels, folder / registry.WEIGHTS)
        left_out = [name for name in named if name not in labels]
        (folder / "card.md").write_text(_card(source, labels, left_out), encoding="utf-8")
        manifest = _manifest(folder, source, labels)
        m.write_manifest(replace(manifest, files=registry.hashes(folder)), folder / m.MANIFEST)
        registry.load(folder)
        return put_in_place(folder, target, Path(space))


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
    tensors = {_named(key): value.float() for key, value in state.items()}
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


def _named(key: str) -> str:
    """Return our name of a tensor: no wrappers, no dots within layers, the classifier as our head."""
    key = re.sub(r"^(module\.|model\.|densenet121\.)*", "", key)
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


def _card(source: Source, labels: tuple[str, ...], left_out: list[str]) -> str:
    missing = f"Outputs without a place here were left out: {', '.join(left_out)}." if left_out else ""
    return CARD.format(
        id=source.id,
        kind=source.kind,
        file=source.file.name,
        sha256=registry.sha256_of(source.file),
        labels=", ".join(labels),
        left_out=missing,
        convention=CONVENTION[source.kind],
        licence=source.licence,
        origin=ORIGIN[source.kind],
    )


def _manifest(folder: Path, source: Source, labels: tuple[str, ...]) -> m.Manifest:
    own = registry.sha256_of(folder / registry.NETWORK)
    count = len(labels)
    return m.Manifest(
        model=m.Model(
            id=source.id,
            version=source.version,
            task=m.Task.BINARY if count == 1 else m.Task.MULTILABEL,
            architecture="densenet121",
            members=1,
            labels=labels,
            licence=source.licence,
            created=date.today(),
            summary=f"imported {source.kind} DenseNet-121, not calibrated: assesses nothing yet",
        ),
        input=m.Input("film", 1, SIDE, SIDE, -1.0, 1.0),
        preprocessing=Recipe(film_px=SIDE, network_px=SIDE, low_percentile=0.0, high_percentile=100.0),
        output=m.Output("logits", "features", 32, "heads"),
        calibration=m.CalibrationTable(
            Method.PLATT, (1.0,) * count, (0.0,) * count, "nothing: as imported", own
        ),
        thresholds=m.ThresholdTable(
            "none yet: no probability reaches them", "none", (UNREACHABLE,) * count, (), own
        ),
        data=m.Data("not known", ORIGIN[source.kind], "whoever trained it", "not known", {}),
        self_test=self_test(folder, SIDE),
        files={},
        evaluation={},
    )
