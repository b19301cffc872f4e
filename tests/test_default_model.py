"""The bundled model is what its folder says, and serving answers as its tables say."""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from cxr_core.inference import registry
from cxr_core.pipeline import analyse, load_kit, prepare
from cxr_core.settings import ROOT, Settings
from cxr_core.training.__main__ import RECIPE
from cxr_core.training.films import network_inputs, read_split
from cxr_core.training.measure import LABELS, measure, paired_difference
from cxr_core.training.release import card_of, read_tables
from cxr_core.triage.policy import load_policy

FOLDER = ROOT / "models" / Settings().model
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundled():
    return load_kit(Settings())


@pytest.fixture(scope="module", params=["val", "test"])
def tables(request):
    return request.param, *read_tables(FOLDER / "evaluation", request.param)


def test_the_folder_is_sound_and_holds_no_picture():
    manifest = registry.verify(FOLDER)
    assert manifest.labels == LABELS
    assert manifest.recipe == RECIPE
    assert manifest.model.members >= 3
    assert {path.suffix for path in FOLDER.rglob("*") if path.is_file()} <= {
        ".toml", ".onnx", ".safetensors", ".md", ".csv",
    }  # fmt: skip


def test_the_network_does_not_say_on_which_machine_it_was_made():
    raw = (FOLDER / "model.onnx").read_bytes()
    assert b"site-packages" not in raw
    assert b".py" not in raw


def test_its_tables_are_the_official_lists(tables):
    name, table, answers, members = tables
    assert (len(table), table["patient"].nunique()) == {"val": (1091, 355), "test": (1602, 160)}[name]
    assert members.shape == (len(table), registry.verify(FOLDER).model.members, 15)
    assert ((answers > 0) & (answers < 1)).all()


def test_val_and_test_share_no_patient():
    val, test = (read_tables(FOLDER / "evaluation", name)[0] for name in ("val", "test"))
    assert not set(val["patient"]) & set(test["patient"])


def test_the_manifest_and_the_card_say_what_the_tables_say(tables):
    name, table, answers, _ = tables
    manifest = registry.verify(FOLDER)
    measured = measure(table, answers, resamples=2000)
    assert manifest.evaluation[f"{name}_mean_auc_of_12"] == pytest.approx(measured.primary.value, abs=1e-5)
    assert str(measured.primary) in (FOLDER / "card.md").read_text(encoding="utf-8")


def test_the_alert_budget_stands_on_the_card():
    policy = load_policy(ROOT / "config" / "policy.toml")
    text, _ = card_of(FOLDER, policy, registry.verify(FOLDER).thresholds.values, None)
    card = (FOLDER / "card.md").read_text(encoding="utf-8")
    for line in text[text.index("## What a worklist would see") :].splitlines():
        assert line in card


@pytest.mark.real_data
def test_the_card_states_the_paired_difference_to_the_plain_run_whatever_it_is(data_dir):
    table, answers, _ = read_tables(FOLDER / "evaluation", "val")
    plain = pd.read_csv(data_dir / "baseline_predictions-val.csv").set_index("file")
    gain = paired_difference(table, answers, plain.loc[table["file"], list(LABELS)].to_numpy())
    card = (FOLDER / "card.md").read_text(encoding="utf-8")
    assert f"{gain} more" in card
    assert ("not shown to be better" in card) == (gain.low <= 0)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["val", "test"])
def test_serving_answers_as_the_tables_say(bundled, data_dir, name):
    table, answers, members = read_tables(FOLDER / "evaluation", name)
    for row in range(0, len(table), len(table) // 8):
        raw = (data_dir / "nih" / "images" / table["file"][row]).read_bytes()
        result = analyse(raw, bundled, now=NOW)
        assert result.abnormal is not None
        served = [p.probability for p in (*result.predictions, result.abnormal)]
        assert served == pytest.approx(answers[row], abs=1e-4)
        voices = [p.members for p in (*result.predictions, result.abnormal)]
        assert np.allclose(np.array(voices).T, members[row], atol=1e-4)


@pytest.mark.real_data
def test_promise_c2_the_trainer_and_the_server_see_the_same_array_hash_for_hash(bundled, data_dir, tmp_path):
    split = read_split(data_dir / "nih", "test", small_films=True)
    picked = split.table.iloc[:: len(split.table) // 12].reset_index(drop=True)
    trained = network_inputs(type(split)(picked, split.truth[: len(picked)]), RECIPE, tmp_path)
    for path, array in zip(picked["path"], trained, strict=True):
        with open(path, "rb") as file:  # noqa: PTH123 -- the table holds text
            served = prepare(file.read(), bundled, now=NOW).array
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
