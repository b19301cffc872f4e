"""From trained members to a model folder: calibrate, set thresholds, export, measure, describe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file
from scipy.special import expit

from cxr_core.imaging.preprocess import Recipe
from cxr_core.training.calibrate import Platt, fit_platt
from cxr_core.training.films import FOLDS, Split, network_inputs, read_split
from cxr_core.training.fit import predict
from cxr_core.training.measure import LABELS, known_truth
from cxr_core.training.networks import Ensemble, mobilenet_v2_grey
from cxr_core.triage.budget import Thresholds, choose_thresholds
from cxr_core.triage.policy import Policy

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """One split with each member's logits.

    Attributes:
        split: films and labels.
        logits: (N, M, L) of every member; for train only the member of the film's own fold, M = 1.
    """

    split: Split
    logits: Floats

    @property
    def truth(self) -> Floats:
        """(N, L) with NaN where unknown."""
        return known_truth(self.split.table)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Calibration and thresholds with the out-of-fold films that set them."""

    platt: Platt
    thresholds: Thresholds


def load_members(runs: Path) -> Ensemble:
    """Return the ensemble of the last checkpoints, in evaluation mode."""
    members = []
    for number in range(FOLDS):
        network = mobilenet_v2_grey(len(LABELS))
        saved = torch.load(runs / f"member-{number}" / "last.pt", weights_only=True)
        network.load_state_dict(saved["network"])
        members.append(network.eval())
    return Ensemble(members).eval()


def score(ensemble: Ensemble, nih: Path, name: str, recipe: Recipe, cache: Path) -> Scored:
    """Return logits of a split that no contributing member has learned from."""
    split = read_split(nih, name, small_films=name == "train")
    inputs = network_inputs(split, recipe, cache)
    if name != "train":
        logits = [predict(member, inputs) for member in track(list(ensemble.members), f"scoring {name}")]
        return Scored(split, np.stack(logits, axis=1).astype(np.float64))
    out = np.empty((len(inputs), 1, len(LABELS)))
    for number, member in enumerate(track(list(ensemble.members), "scoring held-out folds")):
        own = split.folds == number
        out[own, 0] = predict(member, inputs[own])
    return Scored(split, out)


def fit_release(policy: Policy, train: Scored, val: Scored) -> Fitted:
    """Return calibration and thresholds from out-of-fold films of train and val.

    A train film is scored by the one member that has not seen its patient, a val film by the mean
    of all. Thresholds spend the policy's alert budget on these films.
    """
    logits = np.concatenate([train.logits.mean(axis=1), val.logits.mean(axis=1)])
    truth = np.concatenate([train.truth, val.truth])
    platt = fit_platt(LABELS, logits, truth)
    probabilities = expit(logits * platt.slope + platt.intercept)
    return Fitted(platt, choose_thresholds(policy, LABELS, probabilities, truth))


def save_weights(ensemble: Ensemble, path: Path) -> None:
    """Write every member and, for heatmaps without torch, the stacked linear heads."""
    members = [member for member in ensemble.members]
    tensors = {
        f"members.{m}.{key}": value.contiguous()
        for m, member in enumerate(members)
        for key, value in member.state_dict().items()
    }
    heads = [member.classifier[1] for member in members]  # type: ignore[index,union-attr]
    tensors["heads.weight"] = torch.stack([head.weight.detach() for head in heads]).contiguous()
    tensors["heads.bias"] = torch.stack([head.bias.detach() for head in heads]).contiguous()
    save_file(tensors, path)


def save_onnx(ensemble: Ensemble, side: int, path: Path) -> None:
    """Export films (N, 1, side, side) → logits (N, M, L) and features (N, M, C, h, w), any N."""
    program = torch.onnx.export(
        ensemble,
        (torch.zeros(2, 1, side, side),),
        input_names=["film"],
        output_names=["logits", "features"],
        dynamic_shapes={"film": {0: torch.export.Dim("films")}},
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the ONNX exporter returned nothing")
    program.save(path, external_data=False)
