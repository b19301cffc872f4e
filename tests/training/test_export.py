"""From run folder to model folder: what is written loads and says what it is; what must not be is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import save_file

from cxr_core.data.index import Index, Problem
from cxr_core.data.read_nih import ABOUT as NIH
from cxr_core.errors import ModelError, RecipeError
from cxr_core.evaluation import report
from cxr_core.evaluation.calibrate import NIH_PREVALENCE, fit_platt
from cxr_core.evaluation.scored import read_scored
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.preprocess import network_input
from cxr_core.inference import registry
from cxr_core.inference.manifest import MANIFEST, Task, read_manifest, write_manifest
from cxr_core.inference.stripped import strip
from cxr_core.settings import ROOT
from cxr_core.training import export as module
from cxr_core.training import served
from cxr_core.training.describe import card_of, figures_of, write_anew
from cxr_core.training.export import Job, export_run, version_of
from cxr_core.training.members import load_members
from cxr_core.training.recipes import COPY, FILMS, read_recipe
from cxr_core.training.scoring import Scored, blind, source_direction
from cxr_core.triage.policy import load_policy
from tests.training.made import made_recipe
from tests.training.made_run import make_films, make_run, network_of

TIED = {"blind": 'blind = ["Mass"]', "films": 'known_within = { Mass = "enriched" }'}
"""A label that is known within one source only, and made blind to it."""

POLICY = load_policy(ROOT / "config" / "policy.toml")


@pytest.fixture(scope="module", autouse=True)
def small():
    """One thread; few resamples."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(figures_of.__kwdefaults__, "resamples", 40)
        patch.setitem(report.write_all.__kwdefaults__, "resamples", 40)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_films(tmp_path_factory.mktemp("data") / "films")


def job(run, data, tmp_path, **others):
    return Job(run, data, tmp_path / "models", tmp_path / "cache", POLICY, **others)


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    """Four members, each with a fold of its own, one label known within a source and made blind to it."""
    space = tmp_path_factory.mktemp("space")
    run = make_run(
        space / "runs",
        folds=(0, 1, 2, 3),
        blind='blind = ["Mass"]',
        films='known_within = { Mass = "enriched" }',
    )
    return run, export_run(job(run, data, space, version="2.3.4"))


def test_the_folder_is_sound_and_says_what_it_is(exported):
    _, folder = exported
    classifier = registry.load(folder)
    model = classifier.manifest.model
    assert (model.id, model.version, model.task, model.members) == ("made-run", "2.3.4", Task.MULTILABEL, 4)
    assert classifier.manifest.labels == ("Effusion", "Mass")
    assert classifier.manifest.calibration.network == registry.sha256_of(folder / "model.onnx")
    fitted_on = (
        "val and the out-of-fold films of train, those by one network each; Mass as often as in enriched"
    )
    assert classifier.manifest.calibration.fitted_on == fitted_on
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "weights.safetensors", "card.md", "made_run.toml", MANIFEST, "evaluation",
    }  # fmt: skip
    assert {name: size.films for name, size in classifier.manifest.data.split.items()} == {
        "train": 120, "val": 60, "test": 60,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "moved", "said"),
    [(NIH.url, NIH_PREVALENCE, "moved to 1.28%"), ("", {}, "as often as in enriched")],
)
def test_the_prevalence_of_chestxray14_is_that_of_no_other_data_set(url, moved, said):
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 1)) < 0.4).astype(np.float32)
    facts = {"patient": np.arange(400) // 2, "source": ["enriched", "block"] * 200}
    table = pd.DataFrame({**facts, "Pneumonia": truth[:, 0]})
    index = Index("Films", url, "", "", ("Pneumonia",), table)
    logits = (rng.normal(0, 1, (400, 1, 1)) + 2 * truth[:, None]).astype(np.float32)
    recipe = made_recipe(labels=("Pneumonia",))
    scored = {"val": Scored(index, logits, np.empty(0, np.float32))}
    fitted = module._fitted(recipe, scored, None, {"Pneumonia": "enriched"}, POLICY)
    own = fit_platt(("Pneumonia",), logits[::2, 0], truth[::2], moved)
    assert_allclose(fitted.calibration.intercept, own.intercept)
    assert fitted.films == f"val; Pneumonia {said}"


def test_the_evaluations_lie_beside_the_tables_and_agree_with_the_manifest(exported):
    _, folder = exported
    figures = read_manifest(folder).evaluation
    for split in ("val", "test"):
        found = report.stored(folder, split, read_scored(folder, split))
        assert found is not None
        mean = (found.macro.auc.value, found.macro.auc.low, found.macro.auc.high)
        assert mean == pytest.approx(
            [figures[f"{split}_auc{end}"] for end in ("", "_low", "_high")], abs=1e-8
        )


def test_nothing_else_is_left_among_the_models(exported):
    _, folder = exported
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_served_network_answers_as_the_members_that_were_trained(exported, data):
    run, folder = exported
    recipe = read_recipe(run / COPY)
    films = np.random.default_rng(0).uniform(-1, 1, (3, 1, 32, 32)).astype(np.float32)
    got = registry.load(folder).run(films).logits
    with torch.inference_mode():
        for number in range(4):
            expected = network_of(recipe, number)(torch.from_numpy(films)).numpy()
            assert_allclose(got[:, number, 0], expected[:, 0], atol=1e-4)
            assert not np.allclose(got[:, number, 1], expected[:, 1], atol=1e-2)  # made blind


def test_the_tables_hold_what_serving_answers(exported, data):
    _, folder = exported
    classifier = registry.load(folder)
    table = pd.read_csv(folder / "evaluation" / "predictions-val.csv").set_index("file")
    for file in table.index[:4]:
        film = network_input(decode((data / file).read_bytes(), Limits()).pixels, classifier.manifest.recipe)
        findings, _ = classifier.predictions(classifier.run(film[None]).logits[0])
        assert_allclose([each.probability for each in findings], table.loc[file], atol=1e-5)


def test_labels_outside_their_source_are_unknown_in_the_tables(exported):
    labels = pd.read_csv(exported[1] / "evaluation" / "labels-val.csv")
    inside = labels["source"] == "enriched"
    assert labels.loc[~inside, "Mass"].isna().all()
    assert labels.loc[inside, "Mass"].notna().all()


def test_the_history_of_all_members_is_kept(exported):
    history = pd.read_csv(exported[1] / "evaluation" / "history.csv")
    assert list(history.columns)[:3] == ["member", "epoch", "train_loss"]
    assert list(history["member"]) == [0, 1, 2, 3]


def test_the_figures_stand_in_the_manifest_under_fixed_names(exported):
    figures = registry.verify(exported[1]).evaluation
    for split in ("val", "test"):
        for name in ("auc", "ap"):
            low, value, high = (figures[f"{split}_{name}{end}"] for end in ("_low", "", "_high"))
            assert low <= value <= high
    assert (figures["epochs"], figures["minutes"]) == (1.0, 0.2)


def test_the_card_is_printed_again_from_the_tables(exported):
    folder = exported[1]
    assert card_of(folder, POLICY) == (folder / "card.md").read_text(encoding="utf-8")


def test_the_card_says_what_people_must_know(exported):
    card = (exported[1] / "card.md").read_text(encoding="utf-8")
    for said in (
        "# Two findings, for tests",
        "`made-run` 2.3.4",
        "**Not a medical device.**",
        "> **CPU budget.** 1 of 30 epochs.",
        "Tests of the exporter.",
        "## What it is not for\n\nAny reading.",
        "Not assessed: Atelectasis, Cardiomegaly",
        "**Mass** is tied to the source of its films.",
        "naive error",
        "not enough data",
        "## By sex and age",
        "## What a worklist would see",
        "* Made films: no anatomy.",
        "Weights: Apache-2.0.",
        "Data: nobody (CC0)",
    ):
        assert said in card, said


def test_card_and_figures_are_written_anew_into_a_folder_of_an_older_form(exported, tmp_path):
    """As the default model was before: no recipe, figures not bound to the network, another card."""
    run, original = exported
    folder = tmp_path / "made-run"
    shutil.copytree(original, folder)
    (folder / "made_run.toml").unlink()
    (folder / "card.md").write_text("old")
    manifest = read_manifest(folder)
    old = replace(
        manifest,
        calibration=replace(manifest.calibration, network=""),
        thresholds=replace(manifest.thresholds, network=""),
        evaluation={"val_mean_auc_of_12": 0.5, "epochs": 1.0, "minutes": 0.2},
        files=registry.hashes(folder),
    )
    write_manifest(old, folder / MANIFEST)
    with pytest.raises(ModelError, match="holds no training recipe"):
        write_anew(folder, POLICY)
    shutil.copyfile(run / COPY, tmp_path / "made_run.toml")
    write_anew(folder, POLICY, recipe=tmp_path / "made_run.toml")
    assert registry.load(folder).manifest == registry.load(original).manifest
    other = make_run(tmp_path / "runs", labels=("Mass", "Effusion"), folds=(0, 1, 2, 3))
    with pytest.raises(ModelError, match="or others"):
        write_anew(folder, POLICY, recipe=other / COPY)


def test_a_folder_of_figures_only_is_described_anew(exported, tmp_path):
    folder = tmp_path / "made-run"
    shutil.copytree(exported[1], folder)
    strip(folder, registry.verify(folder), tmp_path / "away", "on the shelf")
    before = (folder / MANIFEST).read_bytes()
    (folder / "card.md").write_text("old")
    write_manifest(replace(read_manifest(folder), files=registry.hashes(folder)), folder / MANIFEST)
    write_anew(folder, POLICY)
    assert (folder / MANIFEST).read_bytes() == before
    assert registry.verify(folder).version == "2.3.4"
    write_anew(folder, POLICY, version="2.3.5")
    assert registry.verify(folder).version == "2.3.5"
    assert "`made-run` 2.3.5." in (folder / "card.md").read_text(encoding="utf-8")
    assert '"made-run 2.3.5"' in (folder / "evaluation" / "evaluation-val.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "kind",
    [
        {"task": "binary", "labels": ("Effusion",), "only": "label_or_normal"},
        {"task": "binary", "labels": ("Effusion",), "output": "softmax", "hidden": 6, "pooling": "max"},
        {"task": "multiclass", "output": "softmax", "only": "single_label"},
        {"hidden": 6, "pooling": "max"},
    ],
    ids=["binary", "binary-softmax-hidden-max", "multiclass", "multilabel-hidden-max"],
)
def test_every_task_and_head_is_exported(kind, data, tmp_path):
    run = make_run(tmp_path / "runs", **kind)
    folder = export_run(job(run, data, tmp_path))
    classifier = registry.load(folder)
    recipe = read_recipe(run / COPY)
    films = np.random.default_rng(0).uniform(-1, 1, (3, 1, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = network_of(recipe, 0)(torch.from_numpy(films)).numpy()
    if recipe.outputs > len(recipe.labels):
        expected = expected[:, 1:] - expected[:, :1]
    assert_allclose(classifier.run(films).logits[:, 0], expected, atol=1e-4)
    assert classifier.manifest.model.task == kind.get("task", "multilabel")
    assert "How well it does" in (folder / "card.md").read_text(encoding="utf-8")
    youden = "Youden" in classifier.manifest.thresholds.rule
    assert youden == (kind.get("task", "multilabel") != "multilabel")


def test_a_newer_version_takes_the_place_of_the_older_and_without_test_the_list_is_not_looked_at(
    data, tmp_path
):
    run = make_run(tmp_path / "runs")
    export_run(job(run, data, tmp_path))
    folder = export_run(job(run, data, tmp_path, version="1.1.0", test=False))
    manifest = registry.load(folder).manifest
    assert manifest.version == "1.1.0"
    assert [path.name for path in folder.parent.iterdir()] == ["made-run"]
    assert "test" not in manifest.data.split
    assert not any("test" in name for name in (*manifest.files, *manifest.evaluation))
    assert "The test list has not been looked at." in (folder / "card.md").read_text(encoding="utf-8")


def test_films_of_val_and_test_that_cannot_be_read_are_named_and_not_counted(data, tmp_path):
    films = tmp_path / "films"
    shutil.copytree(data, films)
    for number in (130, 239):
        (films / f"film{number}.png").write_bytes(b"no film")
    told: list[Problem] = []
    folder = export_run(job(make_run(tmp_path / "runs"), films, tmp_path, tell=told.extend))
    assert [(each.code, each.where) for each in told] == [
        ("unreadable_film", "film130.png"),
        ("unreadable_film", "film239.png"),
    ]
    sizes = registry.verify(folder).data.split
    assert (sizes["val"].films, sizes["test"].films) == (59, 59)
    assert "val 59 films, test 59 films" in (folder / "card.md").read_text(encoding="utf-8")


def test_another_network_does_not_take_the_place_of_one_of_the_same_version(data, tmp_path):
    run = make_run(tmp_path / "runs")
    folder = export_run(job(run, data, tmp_path))
    before = registry.hashes(folder)
    again = export_run(job(run, data, tmp_path))
    assert registry.hashes(again)["model.onnx"] == before["model.onnx"], "the very same may be written again"
    recipe = read_recipe(run / COPY)
    save_file(network_of(recipe, 7).state_dict(), run / "member-0" / "network.safetensors")
    before = registry.hashes(folder)
    with pytest.raises(ModelError, match=r"made-run 1\.0\.0 is there already .* --version"):
        export_run(job(run, data, tmp_path))
    assert registry.hashes(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["made-run"]
    assert registry.load(export_run(job(run, data, tmp_path, version="1.0.1"))).manifest.version == "1.0.1"


def test_a_run_is_exported_with_the_films_it_learned_from_and_no_others(data, tmp_path):
    run = make_run(tmp_path / "runs")
    (run / FILMS).write_text("0" * 64)
    with pytest.raises(ModelError, match="made_run: it learned from other films, labels or splits"):
        export_run(job(run, data, tmp_path))
    assert not (tmp_path / "models").exists()


def test_a_version_has_to_be_said_where_there_is_a_model(tmp_path):
    assert version_of(tmp_path / "none", "") == "1.0.0"
    assert version_of(tmp_path / "none", "0.1") == "0.1"
    assert version_of(tmp_path, "1.2.0") == "1.2.0"
    with pytest.raises(ModelError, match="--version"):
        version_of(tmp_path, "")


def test_a_network_that_onnx_answers_otherwise_is_not_exported(data, tmp_path, monkeypatch):
    def bent(network, labels, side, path):
        real(network, labels, side, path)
        model = onnx.load(path)
        tensor = next(t for t in model.graph.initializer if t.name.endswith("head.bias"))
        moved = onnx.numpy_helper.to_array(tensor) + np.float32(0.01)
        tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
        onnx.save(model, path)

    real = served.save_onnx
    monkeypatch.setattr(module.served, "save_onnx", bent)
    with pytest.raises(ModelError, match=r"differ by 0\.01 in a logit, allowed 0\.001"):
        export_run(job(make_run(tmp_path / "runs"), data, tmp_path))
    assert list((tmp_path / "models").iterdir()) == []


def test_a_label_of_the_data_set_s_own_is_refused_before_anything_is_scored(data, tmp_path):
    run = make_run(tmp_path / "runs", labels=("Effusion", "Nodulus"))
    with pytest.raises(RecipeError, match="Nodulus: no label of the product"):
        export_run(job(run, data, tmp_path))
    assert not (tmp_path / "models").exists()


def test_an_unfinished_member_is_refused(data, tmp_path):
    run = make_run(tmp_path / "runs")
    (run / "member-0" / "run.json").write_text(json.dumps({"finished": False}))
    with pytest.raises(ModelError, match="member 0 has not finished"):
        export_run(job(run, data, tmp_path))


@pytest.mark.parametrize(("key", "value"), [("seed", 5), ("fold", 2), ("fold", -1), ("of_epochs", 2)])
def test_a_member_trained_otherwise_than_the_recipe_says_is_refused(tmp_path, key, value):
    run = make_run(tmp_path / "runs", folds=(0, 1))
    path = run / "member-1" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ModelError, match=rf"member 1 is not the recipe's \({key} {value} instead of 1\)"):
        load_members(run, read_recipe(run / COPY))


def test_a_member_with_epochs_of_its_own_is_the_recipe_s_and_the_card_says_it(exported, tmp_path):
    folder = tmp_path / "made-run"
    shutil.copytree(exported[1], folder)
    assert "1 epochs of binary" in card_of(folder, POLICY)
    text = (folder / "made_run.toml").read_text().replace("seed = 2\n", "seed = 2\nepochs = 3\n")
    (folder / "made_run.toml").write_text(text)
    assert "1 to 3 epochs of binary" in card_of(folder, POLICY)
    sisters = text.replace("seed = 3\nfold = 3", "seed = 3\nfold = -1")
    (folder / "made_run.toml").write_text(sisters)
    assert "each learned for 1 to 3 epochs without the patients" in card_of(folder, POLICY)
    run = make_run(tmp_path / "runs", folds=(0, 1, 2, 3))
    (run / COPY).write_text(text)
    with pytest.raises(ModelError, match=r"member 2 .*of_epochs 1 instead of 3"):
        load_members(run, read_recipe(run / COPY))
    own = run / "member-2" / "run.json"
    own.write_text(json.dumps(json.loads(own.read_text()) | {"of_epochs": 3}))
    assert len(load_members(run, read_recipe(run / COPY))) == 4


def test_the_card_says_what_weights_its_members_began_from(exported, data, tmp_path):
    assert "simple_cnn, from random weights; mean" in card_of(exported[1], POLICY)
    run = make_run(tmp_path / "runs", folds=(-1, -1, 0))
    for number, init in ((0, "films.safetensors, 4 of 4 tensors"), (2, "other.pt, 4 of 4 tensors")):
        own = run / f"member-{number}" / "run.json"
        own.write_text(json.dumps(json.loads(own.read_text()) | {"init": init}))
    folder = export_run(job(run, data, tmp_path, test=False))
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "from films.safetensors, 4 of 4 tensors and random weights; mean pooling" in card
    assert "A sister that is not served learned without the patients of one fold of train" in card
    assert "`cxr train recipes/made_run.toml --init FILE`" in card
    assert card_of(folder, POLICY) == card


def test_weights_of_another_network_are_refused(data, tmp_path):
    run, other = make_run(tmp_path / "runs"), make_run(tmp_path / "others", hidden=3)
    (other / "member-0" / "network.safetensors").replace(run / "member-0" / "network.safetensors")
    with pytest.raises(ModelError, match="another network than the recipe's"):
        export_run(job(run, data, tmp_path))


def test_a_hidden_layer_cannot_be_made_blind(data, tmp_path):
    run = make_run(tmp_path / "runs", hidden=4, **TIED)
    with pytest.raises(ModelError, match="head of one layer only"):
        export_run(job(run, data, tmp_path))


def test_patients_and_files_of_an_unpublished_set_are_numbered(tmp_path):
    data = make_films(tmp_path / "films")
    (data / "dataset.toml").unlink()
    folder = export_run(job(make_run(tmp_path / "runs"), data, tmp_path, test=False))
    for path in (folder / "evaluation").glob("*-val.csv"):
        text = path.read_text()
        assert "film0" not in text
        assert "P3" not in text
        assert "film-000121" in text, "numbered among all films, so that a film in two splits is seen"
    labels = pd.read_csv(folder / "evaluation" / "labels-val.csv")
    assert (labels["patient"].value_counts() == 2).all()


def _table(count):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"view": rng.choice(["AP", "PA"], count), "source": rng.choice(["enriched", "block"], count)}
    )
    return table.assign(side_px=128, abnormal=0)


def test_a_blinded_head_no_longer_tells_the_sources_apart_and_other_heads_stay(tmp_path):
    table = _table(600)
    recipe = read_recipe(make_run(tmp_path) / COPY)
    pooled = np.random.default_rng(1).normal(0, 1, (600, 32)).astype(np.float32)
    pooled[table["source"] == "enriched", :10] += 2.0
    pooled[table["view"] == "AP", 20:30] += 5.0
    member = network_of(recipe, 0)
    member.head.weight.data[1, :10] = 1.0
    before = member.head.weight.detach().clone()

    def gap():
        answers = pooled @ member.head.weight.detach().numpy()[1]
        by = pd.Series(answers).groupby([table["view"], table["source"]]).mean()
        sides = [by.loc[view, "enriched"] - by.loc[view, "block"] for view in ("AP", "PA")]
        return abs(sum(sides))

    assert gap() > 5
    direction = source_direction(pooled, table, "enriched")
    assert abs(direction[20:30]).max() < 0.5  # AP against PA is no part of it
    blind(member, 1, direction)
    assert gap() < 1e-3
    assert torch.equal(member.head.weight[0], before[0])


def test_films_of_a_size_that_only_one_source_has_do_not_tell_the_sources_apart():
    table = _table(400)
    table.loc[(table["source"] == "block").to_numpy() & (np.arange(400) % 2 == 0), "side_px"] = 64
    pooled = np.zeros((400, 3), np.float32)
    pooled[table["side_px"] == 64, 0] = 9.0
    assert abs(source_direction(pooled, table, "enriched")).max() == 0
