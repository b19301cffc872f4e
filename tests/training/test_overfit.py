"""`--overfit` learns by heart or says what is broken; `--ablate` shows what a score rests on; `cxr train`."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.ops import StochasticDepth
from typer.testing import CliRunner

from cxr_core.cli import app
from cxr_core.errors import RecipeError
from cxr_core.training import ablate as ablating
from cxr_core.training.networks import build
from cxr_core.training.overfit import handful, overfit, without_gradient
from cxr_core.training.prepare import adapted, chosen, settle, without_labels
from cxr_core.training.progress import KEPT, read_facts, write_facts
from cxr_core.training.recipes import Architecture, Phase, parse_recipe, read_recipe
from cxr_core.training.run import Machine
from cxr_core.training.starts import Places
from tests.training.made import TEXT, made_films, made_recipe
from tests.training.made_run import make_films


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def verdict(films, network=None, steps=200):
    recipe = made_recipe()
    return overfit(recipe, network or build(recipe.network, 2), films, steps)


def test_sound_films_are_learned_by_heart():
    answer = verdict(made_films(8))
    assert answer.learned
    assert answer.loss < 0.01
    assert answer.sentence.endswith("the pipeline can learn")


def test_what_is_broken_is_named():
    films = made_films(8)
    one = replace(films, truth=np.ones_like(films.truth))
    unknown = replace(films, truth=np.full_like(films.truth, np.nan))
    alike = replace(films, rows=np.zeros(8, dtype=np.int64))
    no_number = replace(films, store=np.where(films.store > 0.8, np.nan, films.store))
    blank = replace(films, store=films.store * (np.arange(8) > 0)[:, None, None, None].astype(np.float32))
    broken = {"labels constant": one, "no label": unknown, "inputs identical": alike}
    broken |= {"no numbers": no_number, "a film is blank": blank}
    for words, each in broken.items():
        answer = verdict(each)
        assert not answer.learned
        assert words in answer.sentence


def test_contradicting_labels_of_the_same_film_are_named():
    films = made_films(8)
    films.truth[1] = 1 - films.truth[0]
    answer = verdict(replace(films, rows=np.array([0, 0, 2, 3, 4, 5, 6, 7])), steps=60)
    assert "1 pairs of films are identical but labelled differently" in answer.sentence


def test_a_part_that_learns_nothing_is_named():
    network = build(made_recipe().network, 2)
    torch.nn.init.zeros_(network.head.weight)
    assert verdict(made_films(8), network).sentence.startswith("features: no gradient")
    assert without_gradient(build(made_recipe().network, 2)).startswith("head: no gradient")


def test_a_handful_holds_every_label_and_films_without():
    films = made_films(40)
    truth = films.truth[handful(films.truth, 6)]
    assert len(truth) == 6
    assert truth.any(axis=0).all()
    assert (~truth.any(axis=1)).any()


def test_ablation_tells_a_label_inside_the_ellipse_from_chance(tmp_path, monkeypatch):
    monkeypatch.setattr(ablating, "EPOCHS", 3)
    recipe = made_recipe(phases=(Phase(3, 2e-2),), labels=("Effusion",))
    inside = [centred(made_films(count, seed, labels=1)) for count, seed in ((24, 0), (32, 1))]
    machine = Machine(accelerator="cpu", precision="32-true")
    lines = ablating.ablate(recipe, *inside, tmp_path / "made", Places(tmp_path), machine)
    judged = {line.what: line.judged for line in lines}
    assert judged["as they are"] > 0.9
    assert judged["lungs only"] > 0.9
    assert judged["blank images"] == 0.5
    assert judged["borders only"] < 0.75
    with (tmp_path / "made" / ablating.TABLE).open() as file:
        assert [row["what"] for row in csv.DictReader(file)] == list(judged)


@pytest.mark.parametrize(("members", "name"), [(1, "the run itself"), (2, "member 0 of the run")])
def test_the_full_training_stands_first_by_what_was_trained(tmp_path, members, name):
    recipe = made_recipe()
    recipe = replace(recipe, members=recipe.members * members)
    told = {"finished": True, "films": 9, "epochs": 2, "minutes": 0.1, f"val_{recipe.fit.judged_by}": 0.7}
    ablating.write_table(tmp_path / "table.csv", recipe, [], told)
    with (tmp_path / "table.csv").open() as file:
        (row,) = csv.reader(list(file)[1:])
    assert row == [name, "9", "2", "0.7000", "0.1", "full training"]


@pytest.fixture
def trained(monkeypatch):
    """Of each short run that was asked for, whether it had been finished before."""
    asked, train = [], ablating.train_member

    def ask(*given):
        asked.append(read_facts(given[4] / "member-0").get("finished", False))
        return train(*given)

    monkeypatch.setattr(ablating, "train_member", ask)
    return asked


def test_spoiled_films_are_learned_once_and_anew_where_films_or_start_are_others(tmp_path, trained):
    recipe = made_recipe(phases=(Phase(1, 2e-2),))
    films, others = ([made_films(8, seed), made_films(8, seed + 1)] for seed in (0, 2))
    weights = tmp_path / "weights.pt"

    def already(train, val, init=None):
        trained.clear()
        places = Places(tmp_path, init=init)
        ablating.ablate(recipe, train, val, tmp_path / "made", places, Machine("cpu", precision="32-true"))
        assert len(trained) == 5
        return sum(trained)

    assert already(*films) == 0
    assert already(*films) == 5
    shutil.rmtree(tmp_path / "made" / "ablation" / "borders-only")
    assert already(*films) == 4, "what was stopped goes on"
    assert already(*others) == 0
    assert already(others[0], films[1]) == 0
    for seed in (1, 2):
        torch.manual_seed(seed)
        torch.save(build(recipe.network, 2).state_dict(), weights)
        assert already(others[0], films[1], init=weights) == 0
    assert already(others[0], films[1], init=weights) == 5
    weights.unlink()
    with pytest.raises(RecipeError, match="no weights could be read"):
        already(others[0], films[1], init=weights)


def test_an_ablation_is_begun_anew_where_the_run_it_starts_from_was_trained_again(tmp_path, trained):
    """Films are a memory map here, as they are of a data set."""
    recipe = made_recipe(phases=(Phase(1, 2e-2),))
    recipe = replace(recipe, network=replace(recipe.network, start="before"))
    first = tmp_path / "before" / "member-0"
    first.mkdir(parents=True)
    write_facts(first, {"finished": True})

    def mapped(name, seed):
        made = made_films(8, seed)
        store = np.memmap(tmp_path / name, np.float32, "w+", shape=made.store.shape)
        store[:] = made.store
        return replace(made, store=store)

    def already(films):
        trained.clear()
        ablating.ablate(
            recipe, films, films, tmp_path / "made", Places(tmp_path), Machine("cpu", precision="32-true")
        )
        return sum(trained)

    films = mapped("films", 0)
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_file(build(recipe.network, 2).state_dict(), first / KEPT)
        assert already(films) == 0
        assert already(films) == 5
    assert already(mapped("others", 0)) == 0


def centred(films):
    """Move the squares of the label into the middle of the film."""
    return replace(films, store=np.roll(films.store, (8, 8), axis=(2, 3)))


def test_the_ellipse_leaves_the_corners_and_holds_the_middle():
    inside = ablating.ellipse(64)
    assert inside[32, 32]
    assert not inside[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert 0.3 < inside.mean() < 0.6


def test_fewer_epochs_and_another_label_are_written_into_the_copy(tmp_path):
    path = tmp_path / "made.toml"
    path.write_text(TEXT.replace("epochs = 2", "epochs = 9"), encoding="utf-8")
    recipe = parse_recipe(adapted(path, epochs=3), "made")
    assert recipe.fit.epochs == 3
    assert recipe.card.budget == "Budget: 3 of 9 epochs."
    with pytest.raises(RecipeError, match="--label is for recipes of one"):
        adapted(path, label="Edema")
    path.write_text(TEXT.replace('["Effusion", "Mass"]', '["Mass"]'), encoding="utf-8")
    index = chosen(TEXT, make_films(tmp_path / "films"))[1]
    index = replace(index, labels=("Edema",), table=index.table.assign(Edema=1.0))
    _, folder = settle(adapted(path, label="Edema"), index, tmp_path / "runs")
    assert read_recipe(folder / "recipe.toml").labels == ("Edema",)
    assert folder.name == "made-edema"
    with pytest.raises(RecipeError, match="begun by another recipe"):
        settle(adapted(path, label="Edema", epochs=1), index, tmp_path / "runs")


def test_labels_with_too_few_films_leave_every_part_of_the_recipe():
    text = TEXT.replace("[network]", '[films]\nknown_within = { Mass = "a" }\n\n[network]')
    text = text.replace('output = "sigmoid"', 'output = "sigmoid"\nblind = ["Mass"]')
    recipe = parse_recipe(without_labels(text, {"Mass"}), "made")
    assert recipe.labels == ("Effusion",)
    assert recipe.blind == ()
    assert recipe.films.known_within == {}


@pytest.fixture
def folder(tmp_path):
    """Folders of a class each, with films of noise and a square for effusion, and a recipe for them."""
    rng = np.random.default_rng(0)
    for number in range(60):
        name = ("effusion", "normal")[number % 2]
        pixels = rng.integers(20, 90, (64, 64), dtype=np.uint8)
        if name == "effusion":
            pixels[36:56, 8:28] = 230
        (tmp_path / "films" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "films" / name / f"{number:03}.png")
    text = TEXT.replace('["Effusion", "Mass"]', '["Effusion"]').replace('"multilabel"', '"binary"')
    (tmp_path / "made.toml").write_text(text, encoding="utf-8")
    return tmp_path


def cxr(folder, *options):
    where = ["--data", str(folder / "films"), "--runs", str(folder / "runs")]
    return CliRunner().invoke(app, ["train", str(folder / "made.toml"), *where, *options])


def test_train_on_a_folder_per_class_leaves_a_run(folder):
    answer = cxr(folder)
    assert answer.exit_code == 0, answer.output
    assert "member 0: 2 epochs" in answer.stdout
    assert (folder / "runs" / "made" / "member-0" / "network.safetensors").exists()
    again = cxr(folder, "--epochs", "1")
    assert again.exit_code == 1
    assert "--anew discards it" in again.stderr
    assert "--anew discards it" in cxr(folder, "--epochs", "1", "--anew", "--member", "0").stderr
    assert (folder / "runs" / "made" / "member-0" / "network.safetensors").exists(), "nothing is discarded"
    assert cxr(folder, "--epochs", "1", "--anew").exit_code == 0
    assert cxr(folder, "--epochs", "1", "--member", "1").exit_code == 1


def test_overfit_of_the_command_line_learns_or_fails(folder):
    answer = cxr(folder, "--overfit", "6")
    assert answer.exit_code == 0, answer.output
    assert "the pipeline can learn" in answer.stdout
    (decoded,) = (folder / "runs" / "cache").glob("*.f32")
    assert decoded.stat().st_size == 6 * 4 * 32**2, "only these six films"
    for asked in (("--overfit", "6"), ("--ablate",)):
        assert "go without it" in cxr(folder, *asked, "--anew").stderr


def test_what_is_wrong_with_films_is_said_kind_by_kind(folder):
    for number in range(24):
        (folder / "films" / "normal" / f"broken{number:02}.png").write_bytes(b"no film")
    said = cxr(folder).stderr.splitlines()
    assert sum(line.startswith("unreadable_film: normal/broken") for line in said) == 10
    assert any(line.startswith("unreadable_film: and ") for line in said)
    assert any(line.startswith("rare_label") for line in said) is False


def test_a_run_does_not_go_on_with_other_films(folder):
    assert cxr(folder).exit_code == 0
    (folder / "films" / "normal" / "001.png").rename(folder / "films" / "effusion" / "001.png")
    other = cxr(folder)
    assert (other.exit_code, "with other films, labels or splits" in other.stderr) == (1, True)
    assert cxr(folder, "--anew").exit_code == 0


def test_parts_left_out_at_random_are_left_in():
    recipe = made_recipe()
    recipe = replace(recipe, network=replace(recipe.network, architecture=Architecture.EFFICIENTNET_B0))
    network = build(recipe.network, 2)
    assert any(isinstance(each, StochasticDepth) and each.p for each in network.modules())
    overfit(recipe, network, made_films(4), steps=1)
    assert not any(
        each.p for each in network.modules() if isinstance(each, (torch.nn.Dropout, StochasticDepth))
    )


def test_films_that_are_not_there_are_one_line(folder):
    answer = CliRunner().invoke(app, ["train", str(folder / "made.toml"), "--data", str(folder / "none")])
    assert answer.exit_code == 1
    assert answer.stderr.startswith("cxr: ")
