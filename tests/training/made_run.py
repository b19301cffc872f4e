"""A small data set of made films, and the folder that training by a recipe would have left of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file

from cxr_core.training.networks import Classifier, build
from cxr_core.training.recipes import COPY, Member, TrainingRecipe, read_recipe

SIDE = 32
RECIPE = """
name = "{name}"
title = "Two findings, for tests"
task = "{task}"
labels = {labels}
output = "{output}"
{blind}

[preprocessing]
film_px = 32
network_px = 32
low_percentile = 0.5
high_percentile = 99.5

[films]
only = "{only}"
{films}

[network]
architecture = "simple_cnn"
pooling = "{pooling}"
hidden = {hidden}

[fit]
loss = "{loss}"
phases = [{{ epochs = 1, rate = 0.001 }}]

[augmentation]
rotation_deg = 5.0
mirror = true

{members}

[card]
summary = "Two findings on made films"
intended = "Tests of the exporter."
avoid = "Any reading."
limits = "Made films: no anatomy."
budget = "CPU budget: 1 of 30 epochs."
"""


def make_films(folder: Path, *, films: int = 240, seed: int = 0) -> Path:
    """Write films whose lower half is bright with Effusion and whose middle is bright with Mass.

    Two films a patient; the first half of the patients are train, then val, then test.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(films):
        found = {"Effusion": rng.random() < 0.35, "Mass": rng.random() < 0.35}
        grey = rng.uniform(0.3, 0.5, (SIDE, SIDE))
        grey[SIDE // 2 :] += 0.4 * found["Effusion"]
        grey[12:20, 12:20] += 0.5 * found["Mass"]
        name = f"film{number:03d}.png"
        film = np.kron(255 * grey.clip(0, 1), np.ones((4, 4)))
        Image.fromarray(film.astype(np.uint8)).save(folder / name)
        patient = number // 2
        share = patient / (films // 2)
        split = "train" if share < 0.5 else "val" if share < 0.75 else "test"
        rows.append(
            {
                "file": name,
                "patient": f"P{patient}",
                "split": split,
                "sex": "FM"[patient % 2],
                "age": 20 + patient % 60,
                "view": ["AP", "PA"][number % 2],
                "source": ["enriched", "block"][patient % 4 // 2],
                "labels": "|".join(name for name, present in found.items() if present) or "No Finding",
            }
        )
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    (folder / "dataset.toml").write_text(
        'name = "Made films"\nurl = "https://example.org"\nattribution = "nobody"\nlicence = "CC0"\n'
    )
    return folder


def make_run(
    folder: Path,
    *,
    name: str = "made_run",
    task: str = "multilabel",
    labels: tuple[str, ...] = ("Effusion", "Mass"),
    output: str = "sigmoid",
    pooling: str = "mean",
    hidden: int = 0,
    folds: tuple[int, ...] = (-1,),
    blind: str = "",
    only: str = "all",
    films: str = "",
) -> Path:
    """Write the run folder of untrained networks whose heads spread their logits; answers mean nothing."""
    run = folder / name
    run.mkdir(parents=True)
    members = "\n".join(f"[[members]]\nseed = {seed}\nfold = {fold}" for seed, fold in enumerate(folds))
    text = RECIPE.format(
        name=name, task=task, labels=json.dumps(list(labels)), output=output, pooling=pooling, hidden=hidden,
        loss="cross_entropy" if output == "softmax" else "bce", members=members, blind=blind, only=only,
        films=films,
    )  # fmt: skip
    (run / COPY).write_text(text)
    recipe = read_recipe(run / COPY)
    for number, member in enumerate(recipe.members):
        _member(run / f"member-{number}", recipe, member)
    return run


def network_of(recipe: TrainingRecipe, seed: int) -> Classifier:
    """Return an untrained network whose logits differ from film to film."""
    torch.manual_seed(seed)
    network = build(recipe.network, recipe.outputs).eval()
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.normal_(0, 3.0)
    return network


def _member(folder: Path, recipe: TrainingRecipe, member: Member) -> None:
    folder.mkdir()
    save_file(network_of(recipe, member.seed).state_dict(), folder / "network.safetensors")
    (folder / "history.csv").write_text(
        "epoch,train_loss,val_loss,val_mean_auc,rate,seconds\n1,0.7,0.6,0.5,0.001,3.0\n"
    )
    facts = {"films": 60, "patients": 30, "epochs": 1, "of_epochs": 1, "minutes": 0.05, "finished": True}
    facts |= {"seed": member.seed, "fold": member.fold, "init": "random weights"}
    (folder / "run.json").write_text(json.dumps(facts))
