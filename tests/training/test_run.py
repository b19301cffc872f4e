"""Training runs: killed with SIGKILL they end as if nothing had happened; phases freeze what they say."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import densenet121, mobilenet_v2, resnet50

from cxr_core.data.splits import fold_of
from cxr_core.errors import DataError, RecipeError
from cxr_core.training.architectures import StridedDepthwise, features_of
from cxr_core.training.judging import Judgement
from cxr_core.training.module import Lesson, freeze
from cxr_core.training.networks import build
from cxr_core.training.progress import KEPT, LAST, Keeper, read_facts, write_facts
from cxr_core.training.recipes import (
    COPY,
    Architecture,
    Judge,
    Keep,
    Member,
    Network,
    Phase,
    Sampler,
    Schedule,
)
from cxr_core.training.run import Machine, start_anew, train_member, without_fold
from cxr_core.training.starts import Places, begin, fill
from tests.training.made import TEXT, as_of_2017, made_films, made_recipe

MACHINE = Machine(accelerator="cpu", precision="32-true")
ROOT = Path(__file__).resolve().parents[2]
TWO_PHASES = (Phase(2, 1e-2, ("all_but_head",)), Phase(2, 3e-3))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(recipe, folder, number=0, films=None, machine=MACHINE):
    films = made_films(24) if films is None else films
    return train_member(recipe, number, films, made_films(16, seed=9), folder, Places(folder.parent), machine)


def test_the_progress_bar_shows_the_area_on_val(tmp_path, capsys):
    train(made_recipe(), tmp_path / "made", machine=replace(MACHINE, bar=True))
    area = rows(tmp_path / "made")[-1]["val_mean_auc"]
    shown = capsys.readouterr().out
    assert f"val_mean_auc: {float(area):.3f}" in " ".join(shown.split())


def rows(folder, number=0):
    with (folder / f"member-{number}" / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_run_learns_and_leaves_what_the_exporter_needs(tmp_path):
    recipe = made_recipe(phases=(Phase(6, 1e-2),), running_mean=0.0)
    facts = train(recipe, tmp_path / "made")
    assert facts["finished"]
    assert facts == read_facts(tmp_path / "made" / "member-0")
    assert facts["films"] == 24
    assert facts["patients"] == 12
    assert facts["epochs"] == 6
    assert facts["per_label"]["Effusion"] > 0.95
    assert list(rows(tmp_path / "made")[0]) == ["epoch", "train_loss", "val_loss", "val_mean_auc", "rate"]
    network = build(recipe.network, recipe.outputs)
    network.load_state_dict(load_file(tmp_path / "made" / "member-0" / KEPT))
    torch.load(tmp_path / "made" / "member-0" / LAST, weights_only=True)
    assert list((tmp_path / "made" / "logs").rglob("events.out.tfevents.*"))


CHILD = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from tests.training.test_run import TWO_PHASES, train
from tests.training.made import made_recipe
torch.set_num_threads(1)
train(made_recipe(phases=TWO_PHASES), Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_run_killed_in_each_phase_ends_with_the_same_figures_and_weights(tmp_path):
    recipe = made_recipe(phases=TWO_PHASES)
    folder, whole = tmp_path / "killed" / "made", tmp_path / "whole" / "made"
    train(recipe, whole)
    for epochs in (1, 3):
        kill_after(epochs, folder)
        assert epochs <= len(rows(folder)) < 4
        assert not read_facts(folder / "member-0")["finished"]
    train(recipe, folder)
    assert_same(folder, whole)


TOGETHER = """
import sys
from pathlib import Path
import torch
from cxr_core.training.recipes import Member
from cxr_core.training.run import Machine, train_member
from cxr_core.training.starts import Places
from tests.training.made import made_films, made_recipe
from tests.training.test_run import TWO_PHASES
torch.set_num_threads(1)
folder = Path(sys.argv[1])
machine = Machine(accelerator="cpu", devices="2", precision="32-true")
recipe = made_recipe(phases=TWO_PHASES, members=(Member(3), Member(4)), running_mean=0.0)
for number in (0, 1):
    films = made_films(64), made_films(16, seed=9)
    train_member(recipe, number, *films, folder, Places(folder.parent), machine)
"""


@pytest.mark.slow
def test_several_processes_share_every_batch_and_leave_one_run(tmp_path):
    script = tmp_path / "together.py"
    script.write_text(TOGETHER, encoding="utf-8")
    place = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "made")],
        env=place, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "MEMBER: 2/2" in done.stderr
    for number in (0, 1):
        facts = read_facts(tmp_path / "made" / f"member-{number}")
        assert (facts["finished"], facts["epochs"], facts["films"]) == (True, 4, 64)
        assert [row["epoch"] for row in rows(tmp_path / "made", number)] == ["1", "2", "3", "4"]
        assert (tmp_path / "made" / f"member-{number}" / KEPT).is_file()
    assert not list((tmp_path / "made").rglob("*.part"))


@pytest.mark.parametrize(
    ("schedule", "precision"),
    [*((each, "32-true") for each in (Schedule.PLATEAU, Schedule.COSINE, Schedule.CONSTANT)),
     (Schedule.PLATEAU, "bf16-mixed")],
)  # fmt: skip
def test_a_run_interrupted_after_any_epoch_ends_the_same_with_every_schedule(
    tmp_path, schedule, precision, monkeypatch
):
    machine = replace(MACHINE, precision=precision)
    recipe = made_recipe(phases=(Phase(3, 3e-2),), schedule=schedule, sampler=Sampler.WEIGHTED)
    folder, whole = tmp_path / "stopped" / "made", tmp_path / "whole" / "made"
    assert train(recipe, whole, machine=machine)["precision"] == precision
    judged = []
    with monkeypatch.context() as patch:
        patch.setattr(Lesson, "on_validation_epoch_start", lambda lesson: stop_at(judged, 2))
        with pytest.raises(Stopped):
            train(recipe, folder, machine=machine)
    assert len(rows(folder)) == 1
    train(recipe, folder, machine=machine)
    assert_same(folder, whole)


class Stopped(Exception):
    """Of a run, on purpose."""


def stop_at(judged, count):
    judged.append(1)
    if len(judged) == count:
        raise Stopped


def assert_same(folder, whole):
    assert rows(folder) == rows(whole)
    ours, theirs = (load_file(place / "member-0" / KEPT) for place in (folder, whole))
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


def kill_after(epochs, folder):
    """Start a run in another process and kill it as soon as it has written a checkpoint of so many epochs."""
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], cwd=root, env=environment)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:
        if done(folder) >= epochs:
            break
        time.sleep(0.002)
    assert child.poll() is None, "it ended before it could be killed"
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def done(folder):
    try:
        return int(torch.load(folder / "member-0" / LAST, weights_only=True)["epochs_done"])
    except FileNotFoundError:
        return 0


def test_a_finished_member_is_left_as_it_is_and_anew_discards_it(tmp_path):
    recipe = made_recipe(phases=(Phase(1, 1e-2),))
    facts = train(recipe, tmp_path / "made")
    assert train(recipe, tmp_path / "made") == facts
    (tmp_path / "made" / "card.md").write_text("kept")
    start_anew(tmp_path / "made")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["card.md"]


def test_one_member_is_begun_anew_and_the_others_stay(tmp_path):
    recipe = made_recipe(phases=(Phase(1, 1e-2),), members=(Member(0), Member(1)))
    before = [train(recipe, tmp_path / "made", number) for number in (0, 1)]
    start_anew(tmp_path / "made", 1)
    assert read_facts(tmp_path / "made" / "member-0") == before[0]
    assert [path.name for path in (tmp_path / "made" / "logs").iterdir()] == ["member-0"]
    assert done(tmp_path / "made") == 1
    assert not (tmp_path / "made" / "member-1").exists()


def test_the_first_phase_leaves_all_but_the_head_as_it_was(tmp_path):
    recipe = made_recipe(phases=(Phase(1, 1e-2, ("all_but_head",)),), running_mean=0.0)
    train(recipe, tmp_path / "made")
    torch.manual_seed(recipe.members[0].seed)
    fresh = build(recipe.network, recipe.outputs).state_dict()
    trained = load_file(tmp_path / "made" / "member-0" / KEPT)
    for name, tensor in fresh.items():
        counter = name.endswith("num_batches_tracked")
        assert torch.equal(trained[name], tensor) is (name.startswith("features.") or counter), name


def test_names_to_freeze_must_exist_and_leave_something():
    network = build(made_recipe().network, 2)
    with pytest.raises(RecipeError, match="features.layer9"):
        freeze(network, Phase(1, 1e-3, ("features.layer9",)))
    with pytest.raises(RecipeError, match="nothing is left"):
        freeze(network, Phase(1, 1e-3, ("all_but_head", "head")))


def test_best_keeps_the_epoch_that_was_judged_best(tmp_path):
    recipe = made_recipe(phases=(Phase(4, 3e-2),), keep=Keep.BEST, judged_by=Judge.LOSS, running_mean=0.0)
    facts = train(recipe, tmp_path / "made")
    losses = [float(row["val_loss"]) for row in rows(tmp_path / "made")]
    assert facts["best"] == pytest.approx(min(losses), rel=1e-4)
    assert facts["kept_epoch"] == losses.index(min(losses)) + 1
    assert facts["val_loss"] == facts["best"]


def test_figures_of_a_run_are_those_of_the_epoch_whose_network_is_kept(tmp_path, monkeypatch):
    recipe = made_recipe(phases=(Phase(3, 1e-3),), keep=Keep.BEST)
    told = iter([0.6, 0.9, 0.7])

    def judged(*_):
        value = next(told)
        return Judgement(1 - value, value, {"Effusion": value, "Mass": value})

    monkeypatch.setattr("cxr_core.training.module.judge", judged)
    facts = train(recipe, tmp_path / "made")
    assert (facts["kept_epoch"], facts["val_mean_auc"], facts["per_label"]["Mass"]) == (2, 0.9, 0.9)
    held = torch.load(tmp_path / "made" / "member-0" / LAST, weights_only=True)["callbacks"]
    older = {key: value for key, value in next(iter(held.values())).items() if key != "best_per_label"}
    keeper = Keeper(recipe, tmp_path)
    keeper.load_state_dict(older)
    assert keeper.kept == (2, 0.9, {}), "a checkpoint written before it was kept"
    last = Keeper(made_recipe(keep=Keep.LAST), tmp_path)
    last.load_state_dict(older)
    assert last.kept == (3, 0.7, {"Effusion": 0.7, "Mass": 0.7})


def test_where_no_epoch_can_be_judged_the_last_one_s_network_is_kept(tmp_path, monkeypatch):
    recipe = made_recipe(phases=(Phase(3, 1e-2),), keep=Keep.BEST, running_mean=0.0)
    monkeypatch.setattr("cxr_core.training.module.judge", lambda *_: Judgement(0.5, np.nan, {}))
    facts = train(recipe, tmp_path / "made")
    assert (facts["kept_epoch"], facts["best"]) == (3, pytest.approx(np.nan, nan_ok=True))
    own = tmp_path / "made" / "member-0"
    last = torch.load(own / LAST, weights_only=True)["state_dict"]
    for name, tensor in load_file(own / KEPT).items():
        assert torch.equal(tensor, last[f"network.{name}"]), name


def test_a_member_never_sees_the_patients_of_its_fold():
    films = made_films(40)
    left = without_fold(films, Member(seed=0, fold=1))
    assert 0 < len(left) < len(films)
    assert {fold_of(patient, 4) for patient in left.patients} == {0, 2, 3}
    assert len(without_fold(films, Member(seed=0))) == len(films)


def test_a_member_learns_for_its_own_number_of_epochs(tmp_path):
    recipe = made_recipe(phases=(Phase(1, 1e-2),), members=(Member(0), Member(1, epochs=2)))
    facts = [train(recipe, tmp_path / "made", number) for number in (0, 1)]
    assert [each["epochs"] for each in facts] == [each["of_epochs"] for each in facts] == [1, 2]
    first, second = (float(row["rate"]) for row in rows(tmp_path / "made", 1))
    assert first > second, "one cycle over both"


def test_nothing_to_learn_from_is_said(tmp_path):
    with pytest.raises(DataError, match="1 films to learn from"):
        train(made_recipe(), tmp_path / "made", films=made_films(1))


@pytest.mark.parametrize("mirrored", [False, True])
def test_unfolding_keeps_the_function_of_the_rgb_network(tmp_path, mirrored):
    torch.manual_seed(0)
    rgb = mobilenet_v2(num_classes=1001).eval()
    for norm in rgb.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_var.fill_(1 - norm.eps)
            norm.bias.data.normal_(0, 0.2)
    save_file(rgb.state_dict(), tmp_path / "mobilenet_v2_imagenet.safetensors")
    recipe = made_recipe(network=Network(Architecture.MOBILENET_V2_GREY, start="imagenet", mirrored=mirrored))
    network = build(recipe.network, recipe.outputs)
    films = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (8, 1, 64, 64)).astype(np.float32))
    assert begin(recipe, network, Places(tmp_path, pretrained=tmp_path), films) == "MobileNetV2 of ImageNet"
    network.eval()
    with torch.no_grad():
        expected = rgb.features[:14](films.expand(-1, 3, -1, -1))
        assert torch.allclose(network.features[:14](films), expected, atol=1e-4)
    assert not torch.allclose(network.features[1].conv[0][1].running_mean, torch.zeros(1))


def test_a_start_that_is_not_there_or_of_another_network_is_refused(tmp_path):
    films = torch.zeros(1, 1, 32, 32)

    def start(word, init=None):
        recipe = made_recipe(network=Network(Architecture.SMALL_CNN, start=word))
        return begin(recipe, build(recipe.network, 2), Places(tmp_path, init=init), films)

    assert start("") == "random weights"
    for word, message in (
        ("other", "train it first"),
        ("init", "--init FILE"),
        ("imagenet", "only mobilenet"),
    ):
        with pytest.raises(RecipeError, match=message):
            start(word)
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "strange.safetensors")
    with pytest.raises(RecipeError, match="0 of .* tensors"):
        start("", tmp_path / "strange.safetensors")
    torch.save({"network": Strange()}, tmp_path / "code.pt")
    with pytest.raises(RecipeError, match="safely"):
        start("", tmp_path / "code.pt")


class Strange:
    """What a pickle could hold beside tensors."""


def test_a_densenet_with_the_names_of_published_files_fills_ours():
    """torchvision's hosted file is of 2017; CheXNet's has a wrapper before its names too."""
    theirs = densenet121(weights=None).state_dict()
    old = as_of_2017(theirs)
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    wrapped = {f"module.densenet121.{key}": value for key, value in old.items()}
    for given, filled in ((theirs, 725), (old, 604), (wrapped, 604)):
        network = build(Network(Architecture.DENSENET121), 2)
        assert fill(network, given, "theirs") == f"{filled} of 725 tensors"
        key = "denseblock4.denselayer16.conv2.weight"
        torch.testing.assert_close(network.features.state_dict()[key], theirs[f"features.{key}"])
    few = dict(list(old.items())[::2])
    with pytest.raises(RecipeError, match="of another network"):
        fill(network, few, "half")


def test_a_torchvision_file_of_three_colours_fills_the_grey_network():
    recipe = made_recipe(network=Network(Architecture.RESNET50))
    network, rgb = build(recipe.network, 2), resnet50(num_classes=2).eval()
    weights = {f"module.{name}": tensor for name, tensor in rgb.state_dict().items()}
    assert fill(network, weights, "file") == "318 of 318 tensors"
    films = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        pooled = network.eval().pooling(network.features(films))
        rgb.fc = torch.nn.Identity()
        assert torch.allclose(pooled, rgb(films.expand(-1, 3, -1, -1)), atol=1e-4)


@pytest.mark.parametrize("architecture", [Architecture.MOBILENET_V2_GREY, Architecture.EFFICIENTNET_B0])
def test_strided_depthwise_convolutions_train_in_float32_and_answer_as_ever(architecture):
    network, _, _ = features_of(architecture)
    strided = [module for module in network.modules() if isinstance(module, StridedDepthwise)]
    assert len(strided) >= 3
    films = torch.rand(2, strided[0].in_channels, 8, 8)
    for training, dtype in ((True, torch.float32), (False, torch.bfloat16)):
        strided[0].train(training)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert strided[0](films.bfloat16()).dtype == dtype
    answers = []
    for forward in (strided[0].train(), partial(torch.nn.Conv2d.forward, strided[0])):
        strided[0].weight.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=forward is strided[0]):
            answer = forward(films)
        answer.square().sum().backward()
        answers.append((answer.detach(), strided[0].weight.grad))
    assert torch.equal(answers[0][0], answers[1][0])
    assert torch.equal(answers[0][1], answers[1][1])


def test_a_member_learns_from_its_teacher_and_says_so(tmp_path):
    alone = made_recipe(members=(Member(3), Member(4, fold=0)))
    teacher = replace(alone, name="teacher", members=(Member(0), Member(1, fold=0)))
    (tmp_path / "teacher").mkdir()
    text = TEXT.replace('name = "made"', 'name = "teacher"')
    text = text.replace("seed = 3", "seed = 0\n\n[[members]]\nseed = 1\nfold = 0")
    (tmp_path / "teacher" / COPY).write_text(text, encoding="utf-8")
    taught = replace(alone, name="taught", fit=replace(alone.fit, teacher="teacher"))
    films, places = made_films(24), Places(tmp_path)
    for number in range(2):
        train_member(teacher, number, films, VAL, tmp_path / "teacher", places, MACHINE)
    facts = {
        (recipe.name, k): train_member(recipe, k, films, VAL, tmp_path / recipe.name, places, MACHINE)
        for recipe in (alone, taught)
        for k in range(2)
    }
    assert [facts["made", k]["teacher"] for k in range(2)] == ["", ""]
    said = [facts["taught", k]["teacher"] for k in range(2)]
    assert [each.rpartition(" ")[0] for each in said] == [
        f"the run teacher, members {k}, weights" for k in range(2)
    ]
    ours, theirs = (load_file(tmp_path / name / "member-0" / KEPT) for name in ("taught", "made"))
    assert not torch.equal(ours["head.weight"], theirs["head.weight"])
    own = tmp_path / "taught" / "member-0"
    for other in (said[1], ""):
        write_facts(own, facts["taught", 0] | {"finished": False, "teacher": other})
        with pytest.raises(RecipeError, match=f"began with the teacher '{other}'"):
            train_member(taught, 0, films, VAL, tmp_path / "taught", places, MACHINE)
    write_facts(own, facts["taught", 0] | {"finished": False})
    assert train_member(taught, 0, films, VAL, own.parent, places, MACHINE)["teacher"] == said[0]


VAL = made_films(8, seed=9)


def larger(films, times):
    return replace(films, store=films.store.repeat(times, axis=2).repeat(times, axis=3))


def test_a_run_is_not_gone_on_with_from_another_start(tmp_path):
    recipe = made_recipe(phases=(Phase(1, 1e-2),))
    torch.manual_seed(1)
    save_file(build(recipe.network, 2).state_dict(), tmp_path / "theirs.safetensors")
    given = Places(tmp_path, init=tmp_path / "theirs.safetensors")
    ours = (recipe, 0, made_films(12), made_films(8, seed=9), tmp_path / "made")
    facts = train_member(*ours, given, MACHINE)
    assert facts["init"].startswith("theirs.safetensors, ")
    own = tmp_path / "made" / "member-0"
    write_facts(own, facts | {"finished": False})
    with pytest.raises(RecipeError, match="began from theirs.safetensors, .* would be from random"):
        train_member(*ours, Places(tmp_path), MACHINE)
    assert read_facts(own)["init"] == facts["init"]
    assert train_member(*ours, given, MACHINE)["init"] == facts["init"]


def test_a_member_starts_from_a_finished_run_and_one_that_leaves_a_fold_out_from_none(tmp_path):
    recipe = made_recipe()
    recipe = replace(recipe, network=replace(recipe.network, start="made"), members=(Member(0), Member(1, 2)))
    train(made_recipe(), tmp_path / "made")
    films = made_films(24)
    assert "the run made" in train(recipe, tmp_path / "next", films=films)["init"]
    own = tmp_path / "made" / "member-0"
    write_facts(own, read_facts(own) | {"finished": False})
    with pytest.raises(RecipeError, match="the run made: train it first"):
        train(recipe, tmp_path / "other", films=films)
    with pytest.raises(RecipeError, match="has seen the fold"):
        train(recipe, tmp_path / "next", 1, films)
