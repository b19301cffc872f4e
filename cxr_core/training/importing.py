"""DenseNet-121 checkpoints of others as model folders that assess nothing until they are calibrated."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from cxr_core.data.labels import known_label
from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.errors import ModelError
from cxr_core.evaluation.calibrate import UNREACHABLE
from cxr_core.imaging.preprocess import Recipe
from cxr_core.inference import manifest as m
from cxr_core.inference import registry
from cxr_core.inference.calibration import Method
from cxr_core.inference.runtime import self_test_film
from cxr_core.training import served
from cxr_core.training.checkpoint import Kind, network_of, state_of
from cxr_core.training.export import put_in_place, self_test

SIDE = 224


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
    outputs = spelled(source.labels or OUTPUTS[source.kind])
    labels, left_out = placed(outputs)
    kept = [outputs.index(label) for label in labels]
    member = network_of(state_of(source.file), source.kind, len(outputs), kept)
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=models) as space:
        folder = Path(space) / source.id
        folder.mkdir()
        network = served.Served([member]).eval()
        served.save_onnx(network, labels, SIDE, folder / registry.NETWORK)
        films = np.concatenate([self_test_film(SIDE), -self_test_film(SIDE)])
        served.check_same(network, folder / registry.NETWORK, films)
        served.save_weights(network, labels, folder / registry.WEIGHTS)
        (folder / "card.md").write_text(_card(source, labels, left_out), encoding="utf-8")
        manifest = _manifest(folder, source, labels)
        registry.seal(folder, manifest)
        registry.load(folder)
        return put_in_place(folder, target, Path(space))


def spelled(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the names of outputs, those of our labels as we spell them."""
    return tuple(known_label(name) or name for name in outputs)


def placed(outputs: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which outputs are labels of ours and which others have a name.

    TorchXRayVision leaves the names of unused outputs empty.

    Raises:
        ModelError: none is ours, or a name stands twice.
    """
    named = [name for name in outputs if name]
    labels = tuple(name for name in named if name in (*FINDINGS, ABNORMAL))
    if not labels or len(set(named)) < len(named):
        raise ModelError(f"none of our labels, or one twice, among {', '.join(named)}")
    return labels, tuple(name for name in named if name not in labels)


def _card(source: Source, labels: tuple[str, ...], left_out: Sequence[str]) -> str:
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
