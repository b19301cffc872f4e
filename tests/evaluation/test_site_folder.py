"""A fitted model saved as a folder of its own: sound, honest about itself, and of no other network."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr_core.domain import FINDINGS
from cxr_core.errors import DataError, Invalid, ModelError
from cxr_core.evaluation import tables
from cxr_core.evaluation.site import SiteFit, fit
from cxr_core.evaluation.site_card import Made
from cxr_core.evaluation.site_cases import Cases, Choice, cases_of
from cxr_core.evaluation.site_folder import SITE, free_name, save
from cxr_core.evaluation.site_listing import read_listing
from cxr_core.inference import registry
from cxr_core.inference.manifest import MANIFEST, read_manifest, write_manifest
from cxr_core.settings import Settings
from cxr_core.triage.policy import load_policy
from tests.evaluation.site_made import site_cases
from tests.inference.tiny import ALL, make_tiny_model, random_films, rewrite

POLICY = load_policy(Settings().policy)
MADE = Made("tiny 0.1.0", "c" * 64, "Lea #1", datetime(2026, 3, 4, tzinfo=UTC))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """One model, with tables of its own val."""
    folder = make_tiny_model(tmp_path / "models")
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.integers(0, 2, (30, len(ALL))), columns=list(ALL))
    for place, (name, value) in enumerate(
        {"file": "film", "patient": "p", "age": 50, "sex": "F", "view": "PA", "source": "x"}.items()
    ):
        table.insert(
            place, name, [f"{value}-{n}" for n in range(30)] if name in ("file", "patient") else value
        )
    members = rng.uniform(0.01, 0.99, (30, 3, len(ALL)))
    (folder / "evaluation").mkdir()
    tables.write(folder, "val", ALL, tables.Answers(table, members.mean(axis=1), members))
    manifest = read_manifest(folder)
    figures = {"val_auc": 0.6, "val_auc_low": 0.5, "val_auc_Mass": 0.7, "val_error": 0.3, "minutes": 2.0}
    rewrite(folder, replace(manifest, evaluation=figures))
    return folder.parent


def fitted(models: Path, **choice: object) -> tuple[SiteFit, Cases]:
    manifest = read_manifest(models / "tiny")
    cases = site_cases(manifest, 500)
    return fit(cases, manifest, POLICY, Choice(**choice), resamples=10), cases  # type: ignore[arg-type]


def test_the_saved_model_passes_every_check_and_answers_by_the_new_line(models: Path):
    found, _ = fitted(models)
    folder = save(models, models / "tiny", found, "ward-3", MADE)
    before, after = registry.load(models / "tiny"), registry.load(folder)
    assert (after.manifest.id, after.manifest.version) == ("tiny-ward-3", "0.1.0+site.1")
    assert after.manifest.files["model.onnx"] == before.manifest.files["model.onnx"]
    logits = after.run(random_films(2)).logits[0]
    findings, _ = after.predictions(logits)
    mean = logits.astype(np.float64).mean(axis=0)
    for k, prediction in enumerate(findings):
        line = found.calibration
        expected = 1 / (1 + np.exp(-(line.slope[k] * mean[k] + line.intercept[k])))
        assert prediction.probability == pytest.approx(expected, abs=1e-9)
        assert prediction.threshold == found.thresholds[k]
    assert sorted(path.name for path in models.iterdir()) == ["tiny", "tiny-ward-3"]
    assert read_manifest(models / "tiny").files == before.manifest.files


def test_it_says_what_was_fitted_by_whom_and_names_no_film_and_no_patient(models: Path):
    found, cases = fitted(models)
    folder = save(models, models / "tiny", found, free_name(models, "tiny"), MADE)
    assert folder.name == "tiny-site-1"
    card = (folder / "card.md").read_text()
    assert "Lea #1" in card
    assert f"{found.films[0]} films of {found.patients[0]} patients to fit by" in card
    assert f"Verdict: {found.verdict.enough}" in card
    assert "Random filters" in (folder / "base-card.md").read_text()
    told = json.loads((folder / SITE).read_text())
    assert told["base"] == {
        "model": "tiny 0.1.0", "manifest": "c" * 64, "network": found.network, "root": "tiny"
    }  # fmt: skip
    after = told["labels"]["Mass"]["after"]
    assert after["sensitivity"][0] == pytest.approx(found["Mass"].after.sensitivity.value)
    manifest = read_manifest(folder)
    assert manifest.data.split["site_held_out"].films == found.films[1]
    everything = "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
    assert not any(name in everything for name in cases.patients[:20])


def test_tables_of_the_base_are_calibrated_anew_and_figures_of_thresholds_left_out(models: Path):
    found, _ = fitted(models)
    folder = save(models, models / "tiny", found, "a", MADE)
    was, now = tables.read(models / "tiny", "val", ALL), tables.read(folder, "val", ALL)
    logits = np.log(was.probabilities / (1 - was.probabilities))  # the tiny model's line is the identity
    assert np.allclose(now.probabilities, found.calibration.probability(logits), rtol=2e-5, atol=1e-7)
    assert np.array_equal(np.argsort(was.members[:, 1, 4]), np.argsort(now.members[:, 1, 4]))
    evaluation = read_manifest(folder).evaluation
    assert set(evaluation) == {"val_auc", "val_auc_low", "val_auc_Mass", "minutes"}


def test_a_fit_is_never_applied_to_another_network_nor_to_a_model_that_changed(models: Path, tmp_path: Path):
    found, cases = fitted(models)
    other = make_tiny_model(tmp_path / "other", pooling="max")
    with pytest.raises(ModelError, match="another model"):
        save(tmp_path / "other", other, found, "a", MADE)
    with pytest.raises(DataError, match="another model"):
        fit(cases, read_manifest(other), POLICY, Choice())
    folder = save(models, models / "tiny", found, "a", MADE)
    manifest = read_manifest(folder)
    mixed = replace(manifest.thresholds, network=read_manifest(other).files["model.onnx"])
    write_manifest(replace(manifest, thresholds=mixed), folder / MANIFEST)
    with pytest.raises(ModelError, match="thresholds of another network"):
        registry.verify(folder)


def test_a_fit_of_a_fit_bears_the_first_model_s_name_and_the_next_number(models: Path):
    found, _ = fitted(models)
    first = save(models, models / "tiny", found, "a", MADE)
    manifest = read_manifest(first)
    again = fit(site_cases(manifest, 500, shift=-1), manifest, POLICY, Choice(), resamples=10)
    second = save(models, first, again, "b", replace(MADE, base=again.model))
    assert (second.name, read_manifest(second).version) == ("tiny-b", "0.1.0+site.2")
    assert "Random filters" in (second / "base-card.md").read_text()
    assert registry.load(second).calibration.intercept[0] == pytest.approx(-1, abs=0.6)


@pytest.mark.parametrize("name", ["", "Ward", "../x", "a b", "-a", "a" * 25, "a.b"])
def test_a_name_that_is_none_is_refused(models: Path, name: str):
    with pytest.raises(Invalid, match="small letters"):
        save(models, models / "tiny", fitted(models)[0], name, MADE)


def test_nothing_is_left_where_it_fails_and_a_name_is_taken_once(models: Path, monkeypatch):
    found, _ = fitted(models)

    def fails(folder: Path) -> None:
        raise ModelError("unsound")

    with pytest.raises(ModelError, match="unsound"):
        save(models, models / "tiny", found, "a", MADE, fails)
    assert [path.name for path in models.iterdir()] == ["tiny"]
    save(models, models / "tiny", found, "a", MADE)
    with pytest.raises(Invalid, match="already"):
        save(models, models / "tiny", found, "a", MADE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cxr_core.evaluation.site_folder.shutil.copyfile", full)
    with pytest.raises(Invalid, match=r"No space left.*CXR_MODELS_DIR"):
        save(models, models / "tiny", found, "b", MADE)
    assert sorted(path.name for path in models.iterdir()) == ["tiny", "tiny-a"]


def test_what_a_killed_save_left_aside_is_removed_by_a_later_one_not_what_another_makes_now(models: Path):
    for name, age_s in ((".site-killed", 7200), (".site-at-work", 60)):
        left = models / name / "tiny-x"
        left.mkdir(parents=True)
        (left / "model.onnx").write_bytes(b"half")
        for path in (left / "model.onnx", left, left.parent):
            os.utime(path, (time.time() - age_s,) * 2)
    save(models, models / "tiny", fitted(models)[0], "a", MADE)
    assert sorted(path.name for path in models.iterdir()) == [".site-at-work", "tiny", "tiny-a"]


def test_a_folder_of_models_that_cannot_be_written_is_named(models: Path, monkeypatch):
    def denied(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("cxr_core.evaluation.site_folder.tempfile.TemporaryDirectory", denied)
    with pytest.raises(Invalid, match=r"Permission denied.*CXR_MODELS_DIR"):
        save(models, models / "tiny", fitted(models)[0], "a", MADE)


def test_answers_lose_their_calibration_again(kit):
    """The members' logits of a film come back from its stored probabilities."""
    from cxr_core.evaluation.site_cases import Origin, log_odds
    from cxr_core.pipeline import analyse
    from tests.films import png

    analysis = analyse(png(3), kit, now=datetime(2026, 1, 1, tzinfo=UTC))
    manifest = kit.classifier.manifest
    lines = replace(manifest.calibration, slope=(2.0,) * 15, intercept=(0.5,) * 15)
    cases = cases_of(replace(manifest, calibration=lines), [analysis], [{"Mass": 1.0}], ["x"], Origin.FILES)
    mass = next(each for each in analysis.predictions if each.label == "Mass")
    k = manifest.labels.index("Mass")
    assert cases.logits[0, k] == mass.logit
    assert np.allclose(cases.members[0, :, k], (log_odds(np.array(mass.members)) - 0.5) / 2.0)
    assert cases.truth[0, k] == 1.0
    assert np.isnan(np.delete(cases.truth[0], k)).all()


def test_a_list_is_read_by_the_names_of_its_columns():
    said = (
        b"Image Index,Patient ID,mass,Edema,Lines\n"
        b"a/1.png,7,1,0,1\n"
        b"b/1.png,8,0,,0\n"
        b"2.dcm,7,,-1,0\n"
        b"2.dcm,7,1,-1,0\n"
        b"3.png,,1,0,0\n"
        b"3.png,,0,0,0\n"
    )
    found = read_listing(said, "list.csv", ALL)
    assert found.labels == ("Mass", "Edema")
    assert [line.patient for line in found.lines] == ["7", "8", "7", ""]
    assert dict(found.lines[0].truth) == {"Mass": 1.0, "Edema": 0.0}
    assert dict(found.lines[1].truth) == {"Mass": 0.0}
    assert dict(found.lines[2].truth) == {"Mass": 1.0}
    assert dict(found.lines[3].truth) == {"Edema": 0.0}
    assert (found.find("a/1.png"), found.find("zip/2.dcm"), found.find("c/1.png")) == (0, 2, None)
    assert any("twice with different labels" in remark for remark in found.remarks)
    assert any("1 films name no patient" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe\x00\x01", "cannot be read"),
        (b"x,Mass\n1,1\n", "no column of files"),
        (b"file,Lines\n1.png,1\n", "labels"),
        (b"file,Mass\n1.png,\n", "no film has a label"),
    ],
)
def test_what_is_no_list_is_refused(said: bytes, why: str):
    with pytest.raises(DataError, match=why):
        read_listing(said, "list.csv", ALL)


def test_a_film_is_never_given_the_labels_of_another_patients_film_of_the_same_name():
    found = read_listing(b"file,patient,Mass\np1/IM1.png,A,1\np2/IM2.png,B,0\n", "list.csv", ALL)
    assert [found.find(name) for name in ("up/p1/IM1.png", "films.zip/p2/IM2.png", "IM1.png")] == [0, 1, 0]
    assert [found.find(name) for name in ("p7/IM1.png", "films.zip/p9/IM2.png", "IM3.png")] == [None] * 3


def test_a_line_may_name_its_film_without_the_ending_but_no_part_of_a_uid():
    found = read_listing(
        b"file,patient,Mass\n0012,A,1\np1/0013,B,0\n1.2.840,C,1\nx.png,D,0\nx,E,1\n", "list.csv", ALL
    )
    assert [found.find(name) for name in ("0012.png", "up/0012.DCM", "p1/0013.png", "0013.png")] == [
        0,
        0,
        1,
        1,
    ]
    assert [found.find(name) for name in ("1.2.840", "1.2.840.5", "0012.txt", "p7/0013.png")] == [
        2,
        None,
        None,
        None,
    ]
    assert [found.find(name) for name in ("x.png", "x.dcm", "x")] == [3, 4, 4]


@pytest.mark.parametrize("column", ["abnormal,1", "No Finding,0"])
def test_a_short_list_with_a_column_for_it_tells_abnormal(column: str):
    name, yes = column.split(",")
    found = read_listing(
        f"file,Mass,{name}\n1.png,0,{yes}\n2.png,0,{1 - int(yes)}\n".encode(), "list.csv", ALL
    )
    assert [line.truth["abnormal"] for line in found.lines] == [1.0, 0.0]


def test_a_line_without_an_ending_takes_no_film_from_a_line_with_one():
    found = read_listing(
        b"file,patient,Mass\nIM1.dcm,A,1\np1/IM1,B,0\np3/IM2.dcm,C,1\np4/IM2,D,0\n", "l.csv", ALL
    )
    assert [found.find(name) for name in ("p1/IM1.dcm", "up/p1/IM1", "p2/IM1.dcm")] == [1, 1, 0]
    assert [found.find(name) for name in ("p3/IM2.dcm", "p4/IM2.dcm", "IM2.dcm", "IM2")] == [2, 3, None, None]


def test_what_a_list_leaves_open_of_abnormal_is_not_worked_out():
    def told(column: str, said: str, finding: int = 0) -> dict[str, float]:
        heads, values = ",".join(FINDINGS), ",".join([str(finding)] + ["0"] * 13)
        text = f"file,{heads},{column}\n1.png,{values},{said}\n2.png,{values},1\n"
        return dict(read_listing(text.encode(), "list.csv", ALL).lines[0].truth)

    assert "abnormal" not in told("abnormal", "-1")
    assert "abnormal" not in told("No Finding", "1", finding=1), "contradicts itself"
    assert told("Lines", "1")["abnormal"] == 0.0
