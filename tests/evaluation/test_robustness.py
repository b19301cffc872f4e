"""Films changed and asked about: no answer twice, figures by another road, and "not enough data"."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxr_core.data.readers import read
from cxr_core.errors import DataError, ModelError
from cxr_core.evaluation.changes import AS_SENT, CHANGES
from cxr_core.evaluation.robustness import ALL, TABLE, effects, robustness, said, write
from cxr_core.evaluation.robustness_asking import Asked, ask, films_of
from cxr_core.inference.manifest import read_manifest
from tests.films import png
from tests.inference.tiny import make_tiny_model

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SOME = CHANGES[:2]
LABELS = ("Effusion", "Mass", "abnormal")


@pytest.fixture
def folder(tmp_path):
    """Six films of val of three patients, one that is no film, one of test."""
    root = tmp_path / "films"
    root.mkdir()
    rows = []
    for number in range(8):
        raw = b"no film" if number == 6 else png(number, 128)
        (root / f"{number}.png").write_bytes(raw)
        rows.append((f"{number}.png", f"p{number // 2}", "test" if number == 7 else "val", number % 2))
    rows[6] = ("6.png", "p0", "val", 1)
    pd.DataFrame(rows, columns=["file", "patient", "split", "Effusion"]).to_csv(
        root / "labels.csv", index=False
    )
    return root


def answers(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_films_of_val_alone_are_asked_once_as_they_are_and_once_a_change(folder, kit, tmp_path):
    whole, to, told = read(folder), tmp_path / "answers.csv", []
    index = films_of(whole, 0)
    assert set(index.table["split"]) == {"val"}
    asked = ask(index, whole, kit, to, now=NOW, changes=SOME, on_progress=lambda *each: told.append(each))
    assert len(answers(to)) == 7 * 3
    assert told[-1] == (7, 7)
    assert list(asked.states) == ["as_sent", "noise_020", "noise_050"]
    assert (asked.states["as_sent"] == "refused").sum() == 1
    assert np.isnan(asked.probabilities["noise_020"]).any(axis=1).sum() == 1
    written = to.read_bytes()
    again = ask(index, whole, kit, to, now=NOW, changes=SOME)
    assert to.read_bytes() == written, "nothing is asked again"
    assert np.array_equal(again.probabilities["noise_020"], asked.probabilities["noise_020"], equal_nan=True)
    assert not {"0.png", "p0"} & set(written.decode().replace("\n", ",").split(","))


def test_a_run_that_was_killed_goes_on(folder, kit, tmp_path):
    whole, to = read(folder), tmp_path / "answers.csv"
    index = films_of(whole, 0)
    full = ask(index, whole, kit, to, now=NOW, changes=SOME)
    kept = to.read_bytes()
    to.write_bytes(kept[: int(0.6 * len(kept))])
    again = ask(index, whole, kit, to, now=NOW, changes=SOME)
    assert len(answers(to)) == 21
    for name in full.states:
        assert np.array_equal(full.states[name], again.states[name])
        assert np.array_equal(full.probabilities[name], again.probabilities[name], equal_nan=True)


def test_fewer_films_are_the_beginning_of_more_whole_patients_first(folder):
    whole = read(folder)
    three, more = films_of(whole, 3), films_of(whole, 0)
    assert list(three.table["file"]) == list(more.table["file"])[:3]
    with pytest.raises(DataError, match="no film in val"):
        films_of(whole.of("test"), 3)


def made(films=300, seed=0):
    """Return made answers: a change takes much of what the model knows of Effusion, and refuses ten films."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((films, 3)) < 0.4).astype(float)
    before = 0.5 * truth + 0.5 * rng.random((films, 3))
    after = before.copy()
    after[:, 0] = 0.15 * truth[:, 0] + 0.85 * rng.random(films)
    after[:10] = np.nan
    flagged = np.where(before[:, 0] > 0.5, "flagged", "no_disease_detected")
    changed = np.where(after[:, 0] > 0.5, "flagged", "no_disease_detected")
    changed[:10] = "refused"
    gate = np.array(["broken_image"] * 10 + ["warned"] * 20 + ["accepted"] * (films - 30))
    same = np.array(["accepted"] * films)
    name = SOME[0].id
    return Asked(LABELS, np.arange(films) // 3, truth, {"as_sent": flagged, name: changed},
                 {"as_sent": same, name: gate}, {"as_sent": before, name: after})  # fmt: skip


@pytest.fixture
def manifest(tmp_path):
    found = read_manifest(make_tiny_model(tmp_path / "models", labels=LABELS))
    return replace(found, thresholds=replace(found.thresholds, values=(0.5, 0.5, 0.5)))


def test_what_a_change_does_is_what_scikit_learn_says(manifest):
    asked = made()
    rows = {each.label: each for each in effects(asked, manifest, changes=SOME[:1], resamples=200)}
    assert list(rows) == [ALL, *LABELS]
    before, after = asked.probabilities["as_sent"], asked.probabilities[SOME[0].id]
    truth = asked.truth[10:]
    areas = [[roc_auc_score(truth[:, k], each[10:, k]) for k in range(3)] for each in (before, after)]
    assert [rows[label].auc for label in LABELS] == pytest.approx(areas[0])
    assert [rows[label].loss.value for label in LABELS] == pytest.approx(np.subtract(areas[1], areas[0]))
    whole = rows[ALL]
    assert (whole.films, whole.patients, whole.answered, whole.with_it) == (300, 100, 290, 2)
    assert whole.loss.value == pytest.approx(np.subtract(areas[1], areas[0])[:2].mean()), "without abnormal"
    assert whole.loss.high < 0
    assert (rows["Mass"].loss.low, rows["Mass"].loss.high) == (0, 0), "nothing happened to it"
    assert whole.called == pytest.approx((asked.states["as_sent"] == "flagged").mean())
    assert whole.more.value == pytest.approx(whole.called_changed - whole.called)
    differs = asked.states["as_sent"] != asked.states[SOME[0].id]
    assert whole.altered.value == pytest.approx(differs.mean())
    assert (whole.stopped, whole.stopped_changed, whole.refused) == pytest.approx((0, 0.1, 10 / 300))
    assert rows["Mass"].altered.value == pytest.approx((before[:10, 1] >= 0.5).sum() / 300)
    assert np.isnan(rows["Mass"].stopped)


def test_of_few_patients_no_area_is_compared(manifest):
    asked = made()
    few = replace(asked, patients=np.arange(300) // 40)
    rows = effects(few, manifest, changes=SOME[:1], resamples=5)
    assert all(np.isnan([each.auc, each.loss.value]).all() for each in rows)
    assert "not enough data; flagged" in said(rows)[0]


def test_what_is_written_is_read_again_for_this_network_alone(manifest, tmp_path):
    model = tmp_path / "models" / "tiny"
    assert robustness(model) == ()
    (model / "evaluation").mkdir()
    rows = effects(made(), manifest, changes=SOME[:1], resamples=20)
    path = write(model, rows)
    again = robustness(model)
    assert [each.label for each in again] == [ALL, *LABELS]
    assert again[0].loss.low == pytest.approx(rows[0].loss.low, abs=1e-5)
    assert (again[0].films, again[0].with_it) == (300, 2)
    assert np.isnan(again[1].stopped)
    path.write_text(path.read_text().replace(read_manifest(model).files["model.onnx"][:12], "0" * 12))
    assert robustness(model) == ()
    path.write_text("nothing")
    with pytest.raises(ModelError, match=TABLE):
        robustness(model)


def test_the_bundled_table_has_every_change_of_every_label_with_intervals():
    model = Path(__file__).parents[2] / "models" / "cxr14-mobilenetv2"
    rows, labels = robustness(model), (ALL, *read_manifest(model).labels)
    assert [(each.change, each.label) for each in rows] == [(c.id, name) for c in CHANGES for name in labels]
    for each in rows:
        assert each.films >= 300
        assert each.answered <= each.films
        assert np.isnan(each.loss.value) or each.loss.low <= each.loss.value <= each.loss.high
        assert each.more.low <= each.more.value <= each.more.high
    assert {each.change for each in rows if each.label == ALL and each.stopped_changed > 0.9} >= {"noise_100"}


def test_lines_for_people_name_every_change(manifest):
    lines = said(effects(made(), manifest, changes=SOME[:1], resamples=20))
    assert lines[0].startswith("  noise sd 0.02")
    assert "gate warned or refused 0.0% → 10.0%" in lines[0]
    assert AS_SENT.id not in lines[0]
