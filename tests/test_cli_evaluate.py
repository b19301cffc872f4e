"""`cxr evaluate`: figures from a model's tables, from films, and beside another model."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cxr_core.cli import app
from cxr_core.evaluation.answered import answered
from cxr_core.evaluation.leaks import in_tables, same_bytes
from cxr_core.evaluation.record import Evaluation
from cxr_core.evaluation.scored import read_scored
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.inference import registry
from cxr_core.settings import ROOT, Settings
from tests.inference.tiny import make_tiny_model, rewrite

ID = Settings().model
FOLDER = ROOT / "models" / ID


def run(*args):
    """Few resamples; what is kept is of 2,000 and not taken for these."""
    return CliRunner().invoke(app, ["evaluate", "--resamples", "20", *args])


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder of models with a sound copy of the bundled one."""
    shutil.copytree(FOLDER, tmp_path / "models" / ID)
    monkeypatch.setenv("CXR_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    return tmp_path / "models"


@pytest.fixture
def films(tmp_path):
    """Twelve films of six patients, one of them twice, all in test."""
    folder = tmp_path / "films"
    folder.mkdir()
    rows = []
    for number in range(12):
        file = f"film-{number}.png"
        (folder / file).write_bytes(phantom_png(make_phantom(seed=number % 11, size=256)))
        rows.append((file, f"p{number // 2}", "test", number % 2, 1 - number % 2))
    pd.DataFrame(rows, columns=["file", "patient", "split", "Effusion", "Mass"]).to_csv(
        folder / "labels.csv", index=False
    )
    return folder


def test_json_is_the_evaluation_of_the_split():
    done = run(ID, "--split", "test", "--json")
    assert done.exit_code == 0, done.output
    found = Evaluation.from_json(json.loads(done.stdout))
    assert (found.split, found.n, found.patients, found.resamples) == ("test", 1602, 160, 20)
    assert found.worklist is not None


def test_the_table_names_every_finding_and_the_films():
    done = run(ID)
    assert done.exit_code == 0, done.output
    assert "1,091 films of 355 patients" in done.stdout
    assert "Pleural Thickening" in done.stdout
    assert "not enough" in done.stdout  # the cell may break there
    assert "20 resamples" in done.stdout
    assert "re-trained CheXNet on the same 206 films of 59 patients" in done.stdout
    assert done.stderr == ""


def test_what_is_written_is_kept_and_the_folder_stays_sound(models):
    before = registry.verify(models / ID)
    for old in (models / ID / "evaluation").glob("evaluation-*.json"):
        old.unlink()
    registry.seal(models / ID, before)
    done = run(ID, "--write", "--json")
    assert done.exit_code == 0, done.output
    kept = (models / ID / "evaluation" / "evaluation-val.json").read_text(encoding="utf-8")
    assert json.loads(done.stdout) == json.loads(kept)
    after = registry.verify(models / ID)
    assert {"evaluation/evaluation-val.json", "evaluation/evaluation-test.json"} <= set(after.files)
    assert after.evaluation == before.evaluation
    assert after.files["model.onnx"] == before.files["model.onnx"]


def test_an_altered_folder_is_not_made_sound_by_writing(models):
    with (models / ID / "evaluation" / "predictions-val.csv").open("a", encoding="utf-8") as file:
        file.write("\n")
    done = run(ID, "--write")
    assert done.exit_code == 1
    assert "was altered" in done.stderr


def test_films_of_a_folder_are_answered_as_by_predict(models, films):
    done = run(ID, "--data", str(films), "--split", "test", "--json")
    assert done.exit_code == 0, done.output
    found = Evaluation.from_json(json.loads(done.stdout))
    assert (found.data, found.split, found.n, found.patients, found.tables) == (
        "films", "test", 12, 6, {},
    )  # fmt: skip
    assert (found.findings["Mass"].n, found.findings["Mass"].n_pos) == (12, 6)
    assert found.findings["Edema"].n == 0  # the data set does not say
    assert "1 films are copies of others" in done.stderr


def test_what_has_no_threshold_is_measured_without_one(models, films):
    tiny = make_tiny_model(models)
    manifest = registry.verify(tiny)
    values = tuple(1.01 if label != "Mass" else 0.3 for label in manifest.labels)
    rewrite(tiny, replace(manifest, thresholds=replace(manifest.thresholds, values=values)))
    for copy in range(12, 60):
        shutil.copyfile(films / f"film-{copy % 12}.png", films / f"film-{copy}.png")
    rows = [f"film-{k}.png,p{k},test,{k % 2},{int(k % 3 == 0)}\n" for k in range(60)]
    (films / "labels.csv").write_text("file,patient,split,Effusion,Mass\n" + "".join(rows))
    done = run("tiny", "--data", str(films), "--split", "test", "--json")
    assert done.exit_code == 0, done.output
    found = Evaluation.from_json(json.loads(done.stdout))
    effusion, mass = found.findings["Effusion"], found.findings["Mass"]
    assert (effusion.threshold, effusion.sensitivity, effusion.reason) == (
        None, None, "no threshold: not assessed",
    )  # fmt: skip
    assert mass.threshold == 0.3
    assert None not in (effusion.auc, effusion.ap, effusion.brier, mass.auc, mass.sensitivity)
    table = run("tiny", "--data", str(films), "--split", "test")
    assert table.exit_code == 0, table.output
    assert table.stdout.count("naive 0.500") == 6, "AUC: both, abnormal, micro, macro; AP of effusion"
    assert table.stdout.count("naive 0.333") == 2, "average precision and error of mass"
    assert table.stdout.count("naive 0.417") == 2, "average precision, micro and macro"


def test_options_that_contradict_each_other_are_refused(films):
    for options in (("--write", "--data", str(films)), ("--write", "--against", ID), ("--check",)):
        done = run(ID, *options)
        assert done.exit_code == 1
        assert done.stderr.startswith("cxr: --")


def test_a_model_is_no_better_than_itself():
    done = run(ID, "--against", ID, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["findings"]["Effusion"]["auc"] == [0, 0, 0]
    assert found["findings"]["Hernia"]["auc"] is None
    assert found["macro"]["ap"] == [0, 0, 0]
    assert "minus" in run(ID, "--against", ID).stdout


def test_patients_and_films_in_both_tables_are_counted_and_not_named(models):
    assert in_tables(models / ID) == ()
    folder = models / ID / "evaluation"
    val, test = (pd.read_csv(folder / f"labels-{split}.csv") for split in ("val", "test"))
    test.loc[0, ["file", "patient"]] = val.loc[0, ["file", "patient"]].to_list()
    test.to_csv(folder / "labels-test.csv", index=False)
    found = {each.code: each for each in in_tables(models / ID)}
    assert set(found) == {"patient_in_two_splits", "same_film"}
    assert found["same_film"].message == "1 films are in both"
    done = run(ID)
    assert "patient_in_two_splits" in done.stderr
    assert str(val.loc[0, "file"]) not in done.stderr


def test_the_same_bytes_twice_are_said():
    assert same_bytes(("a", "b")) == ()
    assert same_bytes(("a", "b", "a"))[0].message.startswith("1 films")


def test_refused_films_and_labels_without_truth_count_for_nothing(films):
    from datetime import UTC, datetime

    from cxr_core.batch import analyse_many
    from cxr_core.data.readers import read
    from cxr_core.pipeline import load_kit

    kit, index = load_kit(Settings()), read(films).of("test")
    raws = [b"no film", *((films / f"film-{k}.png").read_bytes() for k in range(1, 12))]
    results = list(analyse_many(raws, kit, now=datetime(2026, 1, 1, tzinfo=UTC)))
    found = answered(index, "test", kit.classifier.manifest, results)
    assert found.refused == 1
    scored = found.scored
    assert list(scored.table["Mass"]) == list(index.table["Mass"][1:])
    assert np.isnan(scored.column("Edema")[1]).all()
    one = {each.label: each for each in results[3].predictions}["Mass"]
    column = scored.labels.index("Mass")
    assert scored.probabilities[2, column] == one.probability
    assert tuple(scored.members[2, :, column]) == one.members
    assert read_scored(FOLDER, "val").labels == scored.labels
