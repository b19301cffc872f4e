"""Learning without labels: views of a film come together, films stay apart, and labels are never asked."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from cxr_core.cli import app
from cxr_core.errors import DataError, RecipeError
from cxr_core.training import run
from cxr_core.training.module import Lesson
from cxr_core.training.networks import build
from cxr_core.training.progress import KEPT
from cxr_core.training.recipes import Judge, Loss, Phase, parse_recipe
from cxr_core.training.run import Machine, train_member
from cxr_core.training.starts import Places, begin
from cxr_core.training.unlabelled import Unlabelled, vicreg
from tests.training.made import TEXT, made_films, made_recipe
from tests.training.made_run import make_films

MACHINE = Machine(accelerator="cpu", precision="32-true")


def without_labels(**changes):
    usual = {"phases": (Phase(4, 3e-3),), "running_mean": 0.0}
    return made_recipe(loss=Loss.VICREG, judged_by=Judge.LOSS, **usual | changes)


def train(recipe, folder, films, machine=MACHINE):
    return train_member(recipe, 0, films, made_films(16, seed=9), folder, Places(folder.parent), machine)


def test_the_loss_of_views_alike_spread_and_apart_is_none():
    answers = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
    assert float(vicreg(answers, answers)) == pytest.approx(0.0, abs=1e-6)
    assert float(vicreg(answers, answers.roll(1, 0))) > 100
    assert float(vicreg(torch.zeros(4, 2), torch.zeros(4, 2))) == pytest.approx(25 * 0.99, rel=1e-3)
    same = answers[:, :1].expand(-1, 2)
    assert float(vicreg(same, same)) > float(vicreg(answers, answers)) + 10


def test_it_learns_the_same_from_films_without_any_label(tmp_path):
    films = made_films(24)
    unknown = replace(films, truth=np.full_like(films.truth, np.nan))
    facts = [
        train(without_labels(), tmp_path / name / "made", each)
        for name, each in (("known", films), ("unknown", unknown))
    ]
    assert facts[0]["val_loss"] == facts[1]["val_loss"]
    assert facts[0]["per_label"] == {}


def test_views_of_a_film_come_closer_than_films(tmp_path):
    recipe = without_labels(phases=(Phase(12, 1e-2),), batch=16)
    train(recipe, tmp_path / "made", made_films(64))
    with (tmp_path / "made" / "member-0" / "history.csv").open() as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.9 * losses[0]


def test_another_run_starts_from_it_and_it_is_never_exported(tmp_path):
    recipe = without_labels()
    train(recipe, tmp_path / "made", made_films(24))
    assert "without labels" in recipe.not_for_export
    next_one = replace(recipe, network=replace(recipe.network, start="made"))
    network = build(next_one.network, next_one.outputs)
    assert "the run made" in begin(next_one, network, Places(tmp_path), made_films(4).inputs(np.arange(4)))
    kept = load_file(tmp_path / "made" / "member-0" / KEPT)
    assert not any(name.startswith("expander") for name in kept)
    for name, tensor in network.features.state_dict().items():
        assert torch.equal(tensor, kept[f"features.{name}"])


PHASES = (Phase(2, 3e-3), Phase(2, 1e-3))


@pytest.mark.parametrize("stopped_in", [1, 2, 3, 4])
def test_stopped_in_any_epoch_it_goes_on_to_the_same_weights(tmp_path, monkeypatch, stopped_in):
    recipe, films = without_labels(phases=PHASES), made_films(24)
    recipe = replace(recipe, network=replace(recipe.network, dropout=0.5))
    measured = Machine(accelerator="cpu")
    measure = run.faster_precision
    monkeypatch.setattr(run, "faster_precision", lambda *a: measure(*a) and "32-true")
    whole, stopped = tmp_path / "whole" / "made", tmp_path / "stopped" / "made"
    train(recipe, whole, films, measured)
    with monkeypatch.context() as patch:
        patch.setattr(Unlabelled, "conclude", stopping_in(stopped_in))
        with pytest.raises(ConnectionAbortedError):
            train(recipe, stopped, films, measured)
    train(recipe, stopped, films, measured)
    ours, theirs = (load_file(folder / "member-0" / KEPT) for folder in (stopped, whole))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def stopping_in(epoch):
    whole, seen = Lesson.conclude, []

    def conclude(lesson, judgement):
        seen.append(1)
        if len(seen) == epoch:
            raise ConnectionAbortedError
        whole(lesson, judgement)

    return conclude


def test_all_of_val_is_judged_at_once_whatever_is_left_over(tmp_path):
    facts = train_member(
        without_labels(phases=(Phase(1, 1e-3),)),
        0,
        made_films(8),
        made_films(65, seed=9),
        tmp_path / "made",
        Places(tmp_path),
        MACHINE,
    )
    assert np.isfinite(facts["val_loss"])
    with pytest.raises(DataError, match="1 to judge by"):
        train_member(
            without_labels(), 0, made_films(8), made_films(1), tmp_path / "one", Places(tmp_path), MACHINE
        )


def test_mixed_precision_leaves_the_loss_as_it_is():
    answers = torch.randn(64, 32, generator=torch.manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = float(vicreg(answers, answers))
    assert mixed == pytest.approx(float(vicreg(answers.double(), answers.double())), rel=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        'sampler = "weighted"',
        "copies_of_rare = 1",
        'teacher = "x"',
        "label_smoothing = 0.1",
        "running_mean = 0.5",
    ],
)
def test_what_would_do_nothing_without_labels_is_refused(wrong):
    text = TEXT.replace("running_mean = 0.5\n", "")
    text = text.replace("[fit]", f'[fit]\nloss = "vicreg"\njudged_by = "loss"\n{wrong}')
    with pytest.raises(RecipeError, match="vicreg: no|softens"):
        parse_recipe(text, "made")


def test_what_needs_labels_is_refused(tmp_path):
    text = TEXT.replace("running_mean = 0.5\n", "").replace("[fit]", '[fit]\nloss = "vicreg"')
    with pytest.raises(RecipeError, match="judged_by loss"):
        parse_recipe(text, "made")
    text = text.replace("[fit]", '[fit]\njudged_by = "loss"')
    recipe = tmp_path / "made.toml"
    recipe.write_text(text)
    films = make_films(tmp_path / "films", films=40)
    for option in (["--overfit", "4"], ["--ablate"]):
        asked = ["train", str(recipe), "--data", str(films), "--runs", str(tmp_path / "runs"), *option]
        answer = CliRunner().invoke(app, asked)
        assert answer.exit_code == 1
        assert "learns without labels" in answer.output


def test_attempts_in_the_repository_can_be_read():
    paths = sorted(Path("recipes/attempts").glob("*.toml"))
    assert paths
    for path in paths:
        assert parse_recipe(path.read_text(encoding="utf-8"), path.name).name == path.stem
