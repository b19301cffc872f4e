"""`python -m cxr_core.training`: make the default model again, from films to model folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console

from cxr_core.imaging.preprocess import Recipe
from cxr_core.inference.manifest import read_manifest
from cxr_core.settings import ROOT
from cxr_core.training.films import FOLDS, MEMBERS, Split, network_inputs, read_split
from cxr_core.training.fit import Films, Plan, fit
from cxr_core.training.release import Release, card_of, fit_release, load_members, score, write_folder
from cxr_core.triage.policy import load_policy

RECIPE = Recipe(film_px=128, network_px=160, low_percentile=0.5, high_percentile=99.5)
app = typer.Typer(no_args_is_help=True, help="Train and export the default model.")
Data = Annotated[Path, typer.Option(envvar="CXR_DATA", help="folder with nih/ and pretrained/")]
Runs = Annotated[Path, typer.Option(help="checkpoints, cached films and logs")]


def _films(split: Split, runs: Path) -> Films:
    inputs = network_inputs(split, RECIPE, runs / "cache")
    return Films(inputs, split.truth, split.table["side_px"].to_numpy())


def _some(films: Films, picked: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Films:
    return Films(films.inputs[picked], films.truth[picked], films.side_px[picked])


@app.command()
def member(number: int, data: Data, runs: Runs = Path("runs/cxr14-mobilenetv2")) -> None:
    """Train one member on the official train list without the patients of its own fold."""
    torch.set_num_threads(1)
    train = read_split(data / "nih", "train", small_films=True)
    everything = _films(train, runs)
    check = _films(read_split(data / "nih", "val", small_films=False), runs)
    weights = data / "pretrained" / "mobilenet_v2_imagenet.safetensors"
    outside = train.folds != number % FOLDS
    fit(number, _some(everything, outside), check, Plan(), weights, runs / f"member-{number}", seed=number)


@app.command()
def members(data: Data, runs: Runs = Path("runs/cxr14-mobilenetv2")) -> None:
    """Train all members, two at a time, one core each; stopped runs go on from their last epoch."""
    for name in ("train", "val"):
        _films(read_split(data / "nih", name, small_films=name == "train"), runs)
    for first in range(0, MEMBERS, 2):
        started = [
            subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "cxr_core.training", "member", str(number)]
                + ["--data", str(data), "--runs", str(runs)]
            )
            for number in range(first, min(first + 2, MEMBERS))
        ]
        if any(process.wait() for process in started):
            Console(stderr=True).print("a member stopped early; call again to resume it")
            raise typer.Exit(1)


@app.command()
def release(
    data: Data,
    runs: Runs = Path("runs/cxr14-mobilenetv2"),
    folder: Annotated[Path, typer.Option(help="where the model folder goes")] = ROOT
    / "models"
    / "cxr14-mobilenetv2",
    version: Annotated[str, typer.Option(help="of the release")] = "1.0.0",
) -> None:
    """Calibrate, choose thresholds, export, measure and describe; writes the model folder."""
    policy = load_policy(ROOT / "config" / "policy.toml")
    ensemble = load_members(runs)
    scored = {
        name: score(ensemble, data / "nih", name, RECIPE, runs / "cache") for name in ("train", "val", "test")
    }
    fitted = fit_release(policy, scored["train"], scored["val"])
    baseline = data / "baseline_predictions-val.csv"
    kept = Release(ensemble, fitted, scored, RECIPE, policy, version)
    write_folder(folder, kept, baseline if baseline.exists() else None)
    Console(stderr=True).print(f"wrote {folder}")


@app.command()
def figures(
    folder: Annotated[Path, typer.Argument(help="model folder")] = ROOT / "models" / "cxr14-mobilenetv2",
    baseline: Annotated[
        Path | None, typer.Option(help="another model's val predictions to compare with")
    ] = None,
) -> None:
    """Print the card with its figures computed anew from the tables in the folder; needs no films."""
    thresholds = read_manifest(folder).thresholds.values
    text, _ = card_of(folder, load_policy(ROOT / "config" / "policy.toml"), thresholds, baseline)
    typer.echo(text)


if __name__ == "__main__":
    app()
