from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxr_core import reference
from cxr_core.cli import app
from cxr_core.domain import FINDINGS, Urgency
from cxr_core.settings import ROOT, Settings
from tests.films import blobs, png
from tests.imaging.dicom_files import as_bytes, dataset
from tests.reports.analyses import GATE

HEAD_KEYS = ["file", "state", "urgency", "model", "policy", "code", "gate", "correction"]
ANSWER_KEYS = [*HEAD_KEYS, "abnormal", "findings", "action", "reasons", "elapsed_ms"]
REFUSAL_KEYS = [*HEAD_KEYS, "error"]
FINDING_KEYS = ["label", "probability", "threshold", "positive", "spread"]


@pytest.fixture
def films(tmp_path) -> Path:
    """A folder with a PNG, a DICOM without an ending, a broken file, and what is no film."""
    folder = tmp_path / "films"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.png").write_bytes(png(1))
    (folder / "deep" / "IM0001").write_bytes(
        as_bytes(dataset(blobs(2), PatientName="DOE^JANE", PatientID="P-77"))
    )
    (folder / "z.jpg").write_bytes(b"\xff\xd8\xff broken")
    (folder / "notes.txt").write_text("no film")
    return folder


@pytest.fixture
def cxr(tiny_model, tmp_path, monkeypatch):
    """Run `cxr` with the tiny model."""
    for name in [name for name in os.environ if name.startswith("CXR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    monkeypatch.setenv("CXR_MODELS_DIR", str(tiny_model.parent))
    monkeypatch.setenv("CXR_MODEL", tiny_model.name)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def records(result: Result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_triage_prints_one_json_object_a_line_with_the_agreed_keys(cxr, films):
    result = cxr("triage", films, "--json")
    answers = records(result)
    assert [record["file"] for record in answers] == [
        str(films / name) for name in ("a.png", "deep/IM0001", "z.jpg")
    ]
    for record in answers[:2]:
        assert list(record) == ANSWER_KEYS
        assert [finding["label"] for finding in record["findings"]] == list(FINDINGS)
        assert all(list(finding) == FINDING_KEYS for finding in record["findings"])
        assert all(0 <= finding["probability"] <= 1 for finding in record["findings"])
        assert isinstance(record["abnormal"], float)
        assert record["gate"] == {"version": GATE, "outcome": "accepted", "codes": []}
    assert list(answers[2]) == REFUSAL_KEYS
    assert (answers[2]["state"], answers[2]["urgency"]) == ("refused", "review")
    assert answers[2]["gate"] == {"version": GATE, "outcome": "refused", "codes": ["broken_image"]}
    assert {record["model"] for record in answers} == {"tiny 0.1.0"}
    assert list(answers[2]["error"]) == ["code", "message", "hint"]


def test_what_hangs_wrong_is_corrected_where_that_is_asked_for(cxr, films):
    file = films / "down.png"
    Image.fromarray(np.rot90(blobs(1), 2)).save(file)
    assert records(cxr("triage", file, "--json"))[0]["error"]["code"] == "upside_down"
    assert "--correct" in cxr("triage", file).stdout
    result = cxr("triage", file, "--json", "--correct")
    (record,) = records(result)
    assert (result.exit_code, list(record), record["correction"]) == (0, ANSWER_KEYS, "turn=2")
    assert any("corrected before it was assessed" in reason for reason in record["reasons"])
    assert "corrected_unseen" in record["gate"]["codes"]
    assert record["urgency"] != "routine"
    (upright,) = records(cxr("triage", films / "a.png", "--json", "--correct"))
    assert (upright["correction"], upright["findings"]) == ("", record["findings"])
    assert "corrected (turn=2)" in cxr("triage", file, "--correct").stdout


def test_the_exit_status_is_3_if_any_was_refused_and_else_0(cxr, films):
    assert cxr("triage", films, "--json").exit_code == 3
    assert cxr("triage", films / "a.png", "--json").exit_code == 0
    assert cxr("triage", films / "notes.txt", "--json").exit_code == 3
    assert cxr("predict", films, "--out", films.parent / "p.csv").exit_code == 3
    assert cxr("predict", films / "a.png", "--out", films.parent / "q.csv").exit_code == 0


def test_other_files_are_counted_on_stderr_and_not_refused(cxr, films):
    result = cxr("triage", films, "--json")
    assert "1 other files left out" in result.stderr
    assert "notes.txt" not in result.stdout


def test_stdout_holds_no_patient_data_and_stderr_neither(cxr, films):
    for arguments in (("triage", films, "--json"), ("triage", films)):
        result = cxr(*arguments)
        assert "DOE" not in result.stdout + result.stderr
        assert "P-77" not in result.stdout + result.stderr


def test_the_table_shows_the_most_urgent_film_first(cxr, films):
    for seed in range(20):
        (films / f"{seed:02}.png").write_bytes(png(seed))
    result = cxr("triage", films)
    shown = [line.split("│")[1].strip() for line in result.stdout.splitlines() if line.startswith("│")]
    ranks = [Urgency(word).rank for word in shown if word]
    assert len(ranks) == 23
    assert ranks == sorted(ranks)
    assert len(set(ranks)) > 1
    assert "broken_image" in result.stdout


def test_a_name_full_of_commands_to_the_terminal_is_shown_literally(cxr, tmp_path):
    name = tmp_path / "\x1b[31m[bold]=1+1.png"
    name.write_bytes(png(1))
    assert "\x1b" not in cxr("triage", name).stdout
    assert "[bold]" in cxr("triage", name).stdout
    assert records(cxr("triage", name, "--json"))[0]["file"] == str(name)


def test_a_name_that_is_not_utf_8_is_answered(cxr, tmp_path):
    name = tmp_path / os.fsdecode(b"film\xff.png")
    name.write_bytes(png(1))
    assert records(cxr("triage", name, "--json"))[0]["file"].endswith("film\\xff.png")
    assert cxr("predict", name, "--out", tmp_path / "p.csv").exit_code == 0


def test_heatmaps_and_reports_are_written(cxr, films, tmp_path):
    result = cxr("triage", films, "--json", "--heatmap", tmp_path / "maps", "--report", tmp_path / "pages")
    assert result.exit_code == 3, result.stderr
    maps, sheets = sorted((tmp_path / "maps").iterdir()), sorted((tmp_path / "pages").iterdir())
    assert [path.name.split("-")[0] for path in maps] == ["IM0001", "a"]
    assert [path.name.split("-")[0] for path in sheets] == ["IM0001", "a", "z"]
    for path in maps:
        with Image.open(path) as picture:
            assert min(picture.size) >= 192
    assert all(path.read_bytes().startswith(b"%PDF") for path in sheets)


def test_our_own_errors_are_one_line_and_exit_status_1(cxr, films, monkeypatch, tmp_path):
    for name, value in (("CXR_MODEL", "none"), ("CXR_POLICY", str(tmp_path / "none")), ("CXR_OOPS", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            result = cxr("triage", films)
        assert result.exit_code == 1, name
        assert result.stdout == ""
        assert result.stderr.splitlines()[-1].startswith("cxr: "), name
        assert "Traceback" not in result.stderr
    assert "no such file" in cxr("triage", tmp_path / "none").stderr


def test_predict_can_be_told_which_model(cxr, films, monkeypatch):
    monkeypatch.setenv("CXR_MODEL", "none")
    out = films.parent / "p.csv"
    assert cxr("predict", films / "a.png", "--out", out).exit_code == 1
    assert cxr("predict", films / "a.png", "--out", out, "--model", "tiny").exit_code == 0
    assert len(out.read_text().splitlines()) == 2


def test_models_are_listed_shown_and_verified(cxr, tiny_model, tmp_path, monkeypatch):
    assert cxr("models", "list").stdout.startswith("* tiny 0.1.0")
    shown = cxr("models", "show").stdout
    for word in (*FINDINGS, "abnormal", "Apache-2.0", "val_mean_auc"):
        assert word in shown
    assert cxr("models", "verify").exit_code == 0
    shutil.copytree(tiny_model, tmp_path / "models" / "tiny")
    monkeypatch.setenv("CXR_MODELS_DIR", str(tmp_path / "models"))
    weights = tmp_path / "models" / "tiny" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    result = cxr("models", "verify", "tiny")
    assert result.exit_code == 1
    assert "NOT SOUND" in result.stdout
    assert "weights.safetensors" in result.stdout


def test_settings_are_listed_with_their_values(cxr):
    assert "CXR_MODEL = tiny" in cxr("settings").stdout


@pytest.mark.parametrize("page", list(reference.pages()))
def test_reference_pages_are_current(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert text == reference.pages()[page], "run: python -m cxr_core.reference"


@pytest.mark.parametrize("folder", ["dicom", "not_chest", "covid", "kermany", "nih"])
def test_triage_answers_every_film_of_a_real_folder(cxr, data_dir, tmp_path, folder):
    """A sample of 40 films a folder; every file is answered or refused with a code, none by a fault."""
    sample = tmp_path / folder
    sample.mkdir()
    suffixes = {".png", ".jpg", ".jpeg", ".dcm"}
    files = sorted(path for path in (data_dir / folder).rglob("*") if path.suffix.lower() in suffixes)
    for file in files[:: max(1, len(files) // 40)]:
        (sample / file.name).symlink_to(file)
    result = cxr("triage", sample, "--json")
    answers = records(result)
    assert len(answers) == len(list(sample.iterdir()))
    states = Counter(record["state"] for record in answers)
    assert result.exit_code == (3 if states["refused"] else 0)
    codes = {code for record in answers for code in record["gate"]["codes"]}
    assert "internal" not in codes
    if folder == "nih":
        assert states["refused"] == 0


def test_the_bundled_model_answers_a_real_film(data_dir, monkeypatch):
    chosen = Settings()
    if not (chosen.models_dir / chosen.model / "manifest.toml").exists():
        pytest.skip("the bundled model is not there yet")
    for name in [name for name in os.environ if name.startswith("CXR_")]:
        monkeypatch.delenv(name)
    film = next((data_dir / "nih" / "images").glob("*.png"))
    result = CliRunner().invoke(app, ["triage", str(film), "--json"])
    assert result.exit_code == 0, result.stderr
    assert [each["label"] for each in records(result)[0]["findings"]] == list(FINDINGS)
