"""The bundled model is what its folder says, and serving answers as its tables say."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr_core.data.cache import network_inputs
from cxr_core.data.readers import read
from cxr_core.domain import ABNORMAL, FINDINGS, Urgency
from cxr_core.evaluation import tables
from cxr_core.evaluation.measure import Rules, measure, paired_difference
from cxr_core.inference import registry
from cxr_core.pipeline import analyse, load_kit, prepare
from cxr_core.settings import ROOT, Settings
from cxr_core.training.describe import figures_of
from cxr_core.training.recipes import read_recipe
from cxr_core.triage.policy import load_policy

FOLDER = ROOT / "models" / Settings().model
RECIPE = "cxr14_mobilenetv2.toml"
LABELS = (*FINDINGS, ABNORMAL)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundled():
    return load_kit(Settings())


@pytest.fixture(scope="module")
def manifest():
    return registry.verify(FOLDER)


@pytest.fixture(scope="module")
def card():
    return (FOLDER / "card.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rules(manifest):
    return Rules(LABELS, manifest.thresholds.values, {"Pneumonia": "enriched"}, (0.0,) * len(LABELS))


@pytest.fixture(scope="module", params=["val", "test"])
def split(request):
    return request.param


@pytest.fixture(scope="module")
def answers(split):
    return tables.read(FOLDER, split, LABELS)


def test_the_folder_is_sound_and_holds_no_picture(manifest):
    assert manifest.labels == LABELS
    assert manifest.model.members > 1
    assert {path.suffix for path in FOLDER.rglob("*") if path.is_file()} <= {
        ".toml", ".onnx", ".safetensors", ".md", ".csv", ".json",
    }  # fmt: skip


def test_it_was_made_by_the_recipe_of_the_repository(manifest):
    recipe = read_recipe(FOLDER / RECIPE)
    assert recipe == read_recipe(ROOT / "recipes" / RECIPE)
    assert manifest.recipe == recipe.preprocessing
    assert manifest.labels == recipe.labels
    assert manifest.model.members == len(recipe.served)


def test_the_network_does_not_say_on_which_machine_it_was_made():
    raw = (FOLDER / "model.onnx").read_bytes()
    assert b"site-packages" not in raw
    assert b".py" not in raw


def test_its_tables_are_the_official_lists(split, answers, manifest):
    table = answers.table
    assert (len(table), table["patient"].nunique()) == {"val": (1091, 355), "test": (1602, 160)}[split]
    assert answers.members.shape == (len(table), manifest.model.members, 15)
    assert ((answers.probabilities > 0) & (answers.probabilities < 1)).all()


def test_val_and_test_share_no_patient():
    val, test = (tables.read(FOLDER, name, LABELS).table for name in ("val", "test"))
    assert not set(val["patient"]) & set(test["patient"])


def test_the_manifest_and_the_card_say_what_the_tables_say(split, answers, rules, manifest, card):
    ungrouped = answers.table.assign(sex="", age=np.nan)
    measured = measure(ungrouped, answers.probabilities, rules)
    assert set(LABELS) - set(measured.averaged) == {"Hernia", "Pneumonia", ABNORMAL}
    for name, value in (("auc", measured.auc), ("ap", measured.ap)):
        stated = [manifest.evaluation[f"{split}_{name}{end}"] for end in ("_low", "", "_high")]
        assert stated == pytest.approx([value.low, value.value, value.high], abs=1e-5)
        assert str(value) in card


def test_a_worklist_of_the_naive_model_would_miss_every_diseased_film(manifest):
    """It goes by most films of val, which have no finding; what is counted needs no resamples."""
    figures = figures_of(FOLDER, manifest, load_policy(ROOT / "config" / "policy.toml"), resamples=4)
    for split, naive in figures.naive.items():
        assert naive.missed.count == naive.missed.of == figures.worklist[split].missed.of > 0
        assert naive.urgency[Urgency.ROUTINE].share == 1.0
        assert naive.critical.count == 0


@pytest.mark.real_data
def test_the_card_states_the_paired_difference_to_the_plain_run_whatever_it_is(data_dir, rules, card):
    val = tables.read(FOLDER, "val", LABELS)
    plain = pd.read_csv(data_dir / "baseline_predictions-val.csv").set_index("file")
    theirs = plain.loc[val.table["file"], list(LABELS)].to_numpy()
    gain = paired_difference(val.table, val.probabilities, theirs, rules)
    assert f"{gain} more" in card
    assert ("not shown to be better" in card) == (gain.low <= 0)


@pytest.mark.real_data
def test_serving_answers_as_the_tables_say(bundled, data_dir, answers):
    for row in range(0, len(answers.table), len(answers.table) // 8):
        raw = (data_dir / "nih" / "images" / answers.table["file"][row]).read_bytes()
        result = analyse(raw, bundled, now=NOW)
        assert result.abnormal is not None
        served = [p.probability for p in (*result.predictions, result.abnormal)]
        assert served == pytest.approx(answers.probabilities[row], abs=1e-4)
        voices = [p.members for p in (*result.predictions, result.abnormal)]
        assert np.allclose(np.array(voices).T, answers.members[row], atol=1e-4)


@pytest.mark.real_data
def test_promise_c2_the_trainer_and_the_server_see_the_same_array_hash_for_hash(
    bundled, data_dir, manifest, tmp_path
):
    index = read(data_dir / "nih", small_films=True)
    picked = index.where(np.arange(0, len(index), len(index) // 24))
    assert {64, 128} <= set(picked.table["side_px"])
    known, trained = network_inputs(picked, manifest.recipe, tmp_path)
    assert len(known) == len(picked)
    for path, array in zip(known.table["path"], trained, strict=True):
        served = prepare(Path(path).read_bytes(), bundled, now=NOW).array
        assert hashlib.sha256(served.tobytes()).digest() == hashlib.sha256(array.tobytes()).digest()


@pytest.mark.real_data
def test_a_larger_copy_of_a_film_gets_nearly_the_same_answer(bundled, data_dir):
    large = sorted((data_dir / "nih" / "images_512").glob("*.jpg"))[::20]
    gaps = []
    for path in large:
        small = data_dir / "nih" / "images" / f"{path.stem}.png"
        pair = [analyse(each.read_bytes(), bundled, now=NOW).predictions for each in (path, small)]
        gaps.append([abs(a.probability - b.probability) for a, b in zip(*pair, strict=True)])
    assert np.median(gaps) < 0.01
    assert np.quantile(gaps, 0.95) < 0.06
