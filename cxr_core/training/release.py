"""From trained members to a model folder: calibrate, set thresholds, export, measure, describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file
from torchvision.models import MobileNetV2

from cxr_core.domain import ABNORMAL
from cxr_core.errors import ModelError
from cxr_core.imaging.preprocess import Recipe
from cxr_core.inference import manifest as m
from cxr_core.inference.calibration import Calibration, Method
from cxr_core.inference.registry import LABELS as LABELS_KEY
from cxr_core.inference.registry import NETWORK, WEIGHTS, labels_text, sha256_of
from cxr_core.inference.runtime import open_session, self_test_film
from cxr_core.training.calibrate import NIH_PREVALENCE, fit_platt
from cxr_core.training.films import FOLDS, MEMBERS, Split, network_inputs, read_split
from cxr_core.training.fit import pool, predict
from cxr_core.training.measure import LABELS, known_truth, measure, paired_difference
from cxr_core.training.networks import Ensemble, mobilenet_v2_grey
from cxr_core.training.release_card import ATTRIBUTION, write_card
from cxr_core.triage.budget import Thresholds, choose_thresholds, share_report
from cxr_core.triage.policy import Policy

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """One split with each member's logits.

    Attributes:
        split: films and labels.
        logits: (N, M, L) of every member; for train the mean of those of its own fold, M = 1.
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

    platt: Calibration
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class Release:
    """Everything that a model folder is written from; `scored` holds train, val and test."""

    ensemble: Ensemble
    fitted: Fitted
    scored: dict[str, Scored]
    recipe: Recipe
    policy: Policy
    version: str


def load_members(runs: Path) -> Ensemble:
    """Return the ensemble of the last checkpoints, in evaluation mode."""
    members = []
    for number in range(MEMBERS):
        network = mobilenet_v2_grey(len(LABELS))
        saved = torch.load(runs / f"member-{number}" / "last.pt", weights_only=True)
        network.load_state_dict(saved["network"])
        members.append(network.eval())
    return Ensemble(members).eval()


def score(ensemble: Ensemble, nih: Path, name: str, recipe: Recipe, cache: Path) -> Scored:
    """Return logits of a split that no contributing member has learned from.

    On train each film is answered by the members of its own fold, whose Pneumonia heads are first made
    blind to the source of the films (see `source_direction`); so train is scored before the others.
    """
    split = read_split(nih, name, small_films=name == "train")
    inputs = network_inputs(split, recipe, cache)
    if name != "train":
        logits = [predict(member, inputs) for member in track(ensemble.members, f"scoring {name}")]
        return Scored(split, np.stack(logits, axis=1).astype(np.float64))
    total, count = np.zeros((len(inputs), 1, len(LABELS))), np.zeros(len(inputs))
    for number, member in enumerate(track(ensemble.members, "scoring held-out folds")):
        own = split.folds == number % FOLDS
        pooled = pool(member, inputs[own])
        blind(member, source_direction(pooled, split.table[own]))
        with torch.inference_mode():
            total[own, 0] += member.classifier(torch.from_numpy(pooled)).numpy()
        count[own] += 1
    return Scored(split, total / count[:, None, None])


def source_direction(pooled: NDArray[np.float32], table: pd.DataFrame) -> NDArray[np.float32]:
    """Return the (C,) direction in which films without finding differ between the two sources.

    The difference of the mean features is taken within each view and then averaged, so that AP
    against PA, which a model may use, is not part of it.

    Args:
        pooled: (N, C) features of films that the network has not learned from.
        table: `view`, `source`, `side_px`, `abnormal` of the same films.
    """
    clean = (
        (table[ABNORMAL] == 0) & (table["side_px"] == 128)
    ).to_numpy()  # the sources share that size only
    enriched = (table["source"] == "enriched").to_numpy()
    differences = []
    for view in ("AP", "PA"):
        seen = clean & (table["view"] == view).to_numpy()
        differences.append(pooled[seen & enriched].mean(axis=0) - pooled[seen & ~enriched].mean(axis=0))
    direction: NDArray[np.float32] = np.mean(differences, axis=0)
    return direction


def blind(member: MobileNetV2, direction: NDArray[np.float32]) -> None:
    """Take `direction` out of the Pneumonia head's weights, in place."""
    row = member.classifier[1].weight.data[LABELS.index("Pneumonia")]
    along = torch.from_numpy(direction)
    row -= along * (row @ along) / (along @ along)


def fit_release(policy: Policy, train: Scored, val: Scored) -> Fitted:
    """Return calibration and thresholds from out-of-fold films of train and val.

    A train film is scored by the members that have not seen its patient, a val film by the mean
    of all. Thresholds spend the policy's alert budget on these films.
    """
    logits = np.concatenate([train.logits.mean(axis=1), val.logits.mean(axis=1)])
    truth = np.concatenate([train.truth, val.truth])
    platt = fit_platt(LABELS, logits, truth, NIH_PREVALENCE)
    probabilities = Calibration(platt.slope, platt.intercept).probability(logits)
    patients = np.concatenate([train.split.table["patient"], val.split.table["patient"]])
    return Fitted(platt, choose_thresholds(policy, LABELS, probabilities, truth, groups=patients))


def save_weights(ensemble: Ensemble, path: Path) -> None:
    """Write every member and, for heatmaps without torch, the stacked linear heads."""
    tensors = {
        f"members.{number}.{key}": value.contiguous()
        for number, member in enumerate(ensemble.members)
        for key, value in member.state_dict().items()
    }
    for part in ("weight", "bias"):
        stacked = [tensors[f"members.{k}.classifier.1.{part}"] for k in range(len(ensemble.members))]
        tensors[f"heads.{part}"] = torch.stack(stacked)
    save_file(tensors, path, metadata={LABELS_KEY: labels_text(LABELS)})
    path.chmod(0o644)


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
    for node in program.model.graph:
        node.metadata_props.clear()  # stack traces: paths of the machine that made it
    program.model.metadata_props[LABELS_KEY] = labels_text(LABELS)
    program.save(path, external_data=False)


def write_folder(folder: Path, release: Release, baseline: Path | None) -> None:
    """Write the whole model folder: network, weights, evaluation tables, card, manifest.

    Args:
        folder: `models/<id>`.
        release: what goes into it.
        baseline: another model's val predictions on the same films, to compare with, or None.
    """
    (folder / "evaluation").mkdir(parents=True, exist_ok=True)
    save_onnx(release.ensemble, release.recipe.network_px, folder / NETWORK)
    save_weights(release.ensemble, folder / WEIGHTS)
    calibration = Calibration(release.fitted.platt.slope, release.fitted.platt.intercept)
    for name in ("val", "test"):
        write_tables(folder / "evaluation", name, release.scored[name], calibration)
    text, figures = card_of(folder, release.policy, release.fitted.thresholds.values, baseline)
    (folder / "card.md").write_text(text, encoding="utf-8")
    m.write_manifest(describe(folder, release, figures), folder / m.MANIFEST)


def write_tables(folder: Path, name: str, scored: Scored, calibration: Calibration) -> None:
    """Write predictions, each member's predictions and labels of a split, in the order of its list."""
    table = scored.split.table
    rows, members, _ = scored.logits.shape
    answers = pd.DataFrame(calibration.probability(scored.logits.mean(axis=1)), columns=list(LABELS))
    answers.insert(0, "file", table["file"])
    each = calibration.probability(scored.logits).reshape(rows * members, len(LABELS))
    voices = pd.DataFrame(each, columns=list(LABELS))
    voices.insert(0, "member", np.tile(np.arange(members), rows))
    voices.insert(0, "file", table["file"].repeat(members).to_numpy())
    facts = table[["file", "patient", "age", "sex", "view", "source", *LABELS]]
    for kind, frame in (("predictions", answers), ("members", voices), ("labels", facts)):
        path = folder / f"{kind}-{name}.csv"
        frame.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def read_tables(folder: Path, name: str) -> tuple[pd.DataFrame, Floats, Floats]:
    """Return labels, (N, L) and the members' (N, M, L) probabilities as `write_tables` left them."""
    table, answers, voices = (
        pd.read_csv(folder / f"{kind}-{name}.csv") for kind in ("labels", "predictions", "members")
    )
    films = len(table)
    if list(answers["file"]) != list(table["file"]) or len(voices) % films:
        raise ModelError(f"{folder.parent.name}: the tables of {name} are not of the same films")
    shape = (films, len(voices) // films, len(LABELS))
    return table, answers[list(LABELS)].to_numpy(), voices[list(LABELS)].to_numpy().reshape(shape)


def card_of(
    folder: Path, policy: Policy, thresholds: Sequence[float], baseline: Path | None
) -> tuple[str, dict[str, float]]:
    """Return the card's text and the manifest's figures, both from the tables under `evaluation/`.

    Args:
        folder: of the model.
        policy: what makes urgencies of predictions.
        thresholds: one per label.
        baseline: another model's val predictions on the same films, to compare with, or None.
    """
    measured, reports, gain = {}, [], None
    for name in ("val", "test"):
        table, answers, members = read_tables(folder / "evaluation", name)
        measured[name] = measure(table, answers)
        truth = table[list(LABELS)].to_numpy(dtype=np.float64)
        reports.append(share_report(policy, LABELS, answers, members, thresholds, truth))
        if name == "val" and baseline is not None:
            theirs = pd.read_csv(baseline).set_index("file").loc[table["file"], list(LABELS)].to_numpy()
            gain = paired_difference(table, answers, theirs)
    figures = {f"{name}_mean_auc_of_12": each.primary.value for name, each in measured.items()}
    return write_card(measured["val"], measured["test"], gain, *reports), figures


def describe(folder: Path, release: Release, figures: dict[str, float]) -> m.Manifest:
    """Return the manifest of a written folder; the self-test runs on the network as written."""
    side = release.recipe.network_px
    session = open_session(folder / NETWORK, 0)
    logits = session.run(["logits"], {"film": self_test_film(side)})[0][0].mean(axis=0)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != m.MANIFEST]
    platt, thresholds = release.fitted.platt, release.fitted.thresholds
    return m.Manifest(
        model=m.Model(
            id=folder.name,
            version=release.version,
            task=m.Task.MULTILABEL,
            architecture="mobilenet_v2_grey",
            members=len(release.ensemble.members),
            labels=LABELS,
            licence="Apache-2.0",
            created=date.today(),
            summary="14 findings of NIH ChestX-ray14 and abnormal; four MobileNetV2, patient-disjoint folds",
        ),
        input=m.Input("film", 1, side, side, -1.0, 1.0),
        preprocessing=release.recipe,
        output=m.Output("logits", "features", 16, "heads"),
        calibration=m.CalibrationTable(
            method=Method.PLATT,
            slope=tuple(map(float, platt.slope)),
            intercept=tuple(map(float, platt.intercept)),
            fitted_on="out-of-fold films of the official train list and val; Pneumonia moved to 1.28 %",
        ),
        thresholds=m.ThresholdTable(
            thresholds.rule, thresholds.policy, thresholds.values, thresholds.few_positives
        ),
        data=m.Data(
            name="NIH ChestX-ray14, a subset of 15,058 films, official lists",
            url="https://nihcc.app.box.com/v/ChestXray-NIHCC",
            attribution=ATTRIBUTION,
            licence="no restriction, attribution asked",
            split={
                name: m.SplitSize(len(each.split.table), int(each.split.table["patient"].nunique()))
                for name, each in release.scored.items()
            },
        ),
        self_test=m.SelfTest(tuple(map(float, logits)), 1e-3),
        files={path.relative_to(folder).as_posix(): sha256_of(path) for path in files},
        evaluation=figures,
    )
