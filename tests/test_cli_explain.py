"""`cxr explain`: every method with its time, maps as pictures, and the check against random weights."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import update
from typer.testing import CliRunner, Result

from cxr_core import settings
from cxr_core.access import Actor, Role
from cxr_core.cli import app
from cxr_core.errors import Changed, ModelError
from cxr_core.imaging.gate import CORRECTIONS
from cxr_core.inference import explainers, explainers_sanity
from cxr_core.inference.explanation import NAMES, Method
from cxr_core.inference.manifest import read_manifest
from cxr_core.worklist.schema import ResultRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.trail import Search
from cxr_core.worklist.values import INTERACTIVE, Incoming, Receipt, Source
from cxr_core.worklist.worker import run as run_worker
from tests.films import SIDE, blobs, png
from tests.imaging.dicom_files import as_bytes, dataset
from tests.inference.tiny import make_tiny_model, rewrite

ANN = Actor("Dr Ann", Role.CLINICIAN)
LEAD = Actor("Lea", Role.LEAD)
NAME = "Doe^Jane\n.png"


@pytest.fixture
def film(tmp_path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(png(1))
    return path


@pytest.fixture
def cxr(tiny_model, tmp_path, monkeypatch):
    """Run `cxr explain` with the tiny model."""
    for name in [name for name in os.environ if name.startswith("CXR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    monkeypatch.setenv("CXR_MODELS_DIR", str(tiny_model.parent))
    monkeypatch.setenv("CXR_MODEL", tiny_model.name)
    monkeypatch.setenv("CXR_THREADS", "1")

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["explain", *(str(argument) for argument in arguments)])

    return run


def test_all_methods_answer_as_one_json_object_a_line_and_as_pictures(cxr, film, tmp_path):
    result = cxr(film, "--label", "Mass", "--json", "--out", tmp_path / "maps")
    assert result.exit_code == 0
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["method"] for record in records] == [method.value for method in Method]
    for record in records:
        assert record["ms"] > 0
        assert record["label"] == "Mass"
        assert record["model"] == "tiny 0.1.0"
        assert ("peak" in record) != ("no_region" in record)
        assert "sanity" not in record
    assert records[0]["agreement_with_grad_cam"] == 1.0
    assert records[3]["films"] == 400
    pictures = sorted((tmp_path / "maps").iterdir())
    assert len(pictures) == 4
    assert all(path.name.startswith("a-") for path in pictures)
    with Image.open(pictures[0]) as picture:
        assert picture.size == (SIDE, SIDE)
        assert np.ptp(np.asarray(picture).astype(int), axis=2).max() > 40, "it has colours"


def test_without_a_finding_the_one_that_stands_out_is_explained(cxr, film):
    result = cxr(film, "--method", "grad_cam_plus_plus")
    assert result.exit_code == 0
    assert NAMES[Method.GRAD_CAM_PLUS_PLUS] in result.stdout
    assert "tiny 0.1.0" in result.stdout
    assert "random weights" not in result.stdout


def test_the_check_against_random_weights_is_printed(cxr, film):
    result = cxr(film, "--label", "Mass", "--method", "occlusion", "--sanity", "--json")
    assert result.exit_code == 0
    (record,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert record["sanity"]["changed"]
    assert record["sanity"]["rank_correlation"] < explainers_sanity.ALIKE
    assert record["sanity"]["random_networks"] == 3


def test_a_map_that_does_not_change_is_a_failure(cxr, film, monkeypatch):
    same = explainers_sanity.Sanity(0.93, 0.9, 3)
    monkeypatch.setattr(explainers_sanity, "check", lambda *_, **__: same)
    result = cxr(film, "--label", "Mass", "--method", "grad_cam", "--sanity")
    assert result.exit_code == 1
    assert "DOES NOT CHANGE: rank correlation 0.93, SSIM 0.90" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--method", "guess"), "unknown method 'guess'"), (("--label", "Gout"), "knows no 'Gout'")],
)
def test_what_is_not_known_is_said_in_one_line(cxr, film, arguments, said):
    result = cxr(film, *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_what_the_gate_refuses_is_not_explained(cxr, tmp_path):
    """Nor what only its network refuses: a map over a film that hangs upside down would mislead."""
    for name, pixels in (("down", np.rot90(blobs(1), 2)), ("inverted", 255 - blobs(1))):
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        result = cxr(path, "--method", "grad_cam", "--out", tmp_path / "maps")
        assert result.exit_code == 3
        assert f"{name}.png was refused" in result.stderr
        assert not (tmp_path / "maps").exists()


def test_a_refused_film_and_a_missing_file_are_said(cxr, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(png(1)[:-60])
    result = cxr(broken)
    assert result.exit_code == 3
    assert "broken.png was refused" in result.stderr
    result = cxr(tmp_path / "none.png")
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


# ---- a study of the worklist


@pytest.fixture
def service(cxr) -> Iterator[Service]:
    """The worklist that `cxr` sees."""
    with closing(open_service(settings.load())) as opened:
        yield opened


def handed(service: Service, *films: bytes) -> Receipt:
    """Hand films in and have everything answered that waits; return the last one's receipt."""
    receipts = [
        service.submit(ANN, Incoming(NAME, raw), source=Source.CLI, priority=INTERACTIVE) for raw in films
    ]
    worked(service)
    return receipts[-1]


def of_one_study(*films: np.ndarray) -> list[bytes]:
    same = {"StudyInstanceUID": "1.2.3", "PatientID": "P1"}
    return [
        as_bytes(dataset(film, SOPInstanceUID=f"1.2.3.{number}", **same)) for number, film in enumerate(films)
    ]


def worked(service: Service) -> None:
    run_worker(service.settings, once=True, stop=threading.Event())


def audited(service: Service, event: str = "explain") -> list[tuple[str, str]]:
    links = service.search_audit(LEAD, Search(event=event)).links
    return [(link.actor, link.subject) for link in links]


def as_png(pixels: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    return stream.getvalue()


def lines(result: Result) -> list[dict]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_film_of_a_study_is_explained_as_it_hangs_and_that_is_audited(cxr, service, tmp_path):
    upright = np.asarray(blobs(7))[:, 20:]
    receipt = handed(service, as_png(np.rot90(upright, 2)))
    study_id = receipt.study_id
    refused = cxr("--study", study_id, "--method", "grad_cam")
    assert refused.exit_code == 3
    assert "Doe^Jane\\n.png: was refused: " in refused.stderr
    service.correct(ANN, receipt.sha256, CORRECTIONS["upside_down"], service.version(ANN, study_id))
    waits = cxr("--study", study_id, "--method", "grad_cam")
    assert waits.exit_code == 3
    assert "waits for its answer as it hangs now" in waits.stderr
    assert audited(service) == []
    worked(service)
    records = lines(cxr("--study", study_id, "--label", "Mass", "--json"))
    assert [record["method"] for record in records] == [method.value for method in Method]
    assert {record["study"] for record in records} == {study_id}
    me = settings.load().local_user
    assert audited(service) == [(me, study_id)] * 4
    assert audited(service, "export") == [], "nothing was taken away"
    assert cxr("--study", study_id, "--method", "grad_cam", "--out", tmp_path / "maps").exit_code == 0
    assert all(path.name.startswith(f"{study_id}-") for path in (tmp_path / "maps").iterdir())
    assert audited(service, "export") == [(me, study_id)]
    (tmp_path / "up.png").write_bytes(as_png(upright))
    for ours, theirs in zip(
        records, lines(cxr(tmp_path / "up.png", "--label", "Mass", "--json")), strict=True
    ):
        assert "study" not in theirs
        assert ours.get("peak") == theirs.get("peak")
    table = cxr("--study", study_id, "--method", "grad_cam")
    assert "Doe^Jane\\n.png: " in table.stdout


def test_one_film_that_cannot_be_explained_does_not_keep_the_others(cxr, service):
    """Three of a study: sound, refused, and one whose bytes are gone."""
    receipt = handed(service, *of_one_study(blobs(1), np.rot90(blobs(2), 2), blobs(3)))
    assert len(service.study(ANN, receipt.study_id).films) == 3
    (gone,) = service.settings.home.rglob(f"*{receipt.sha256}*")
    gone.unlink()
    result = cxr("--study", receipt.study_id, "--method", "grad_cam", "--json")
    assert result.exit_code == 3
    assert len(result.stdout.splitlines()) == 1
    assert len(result.stderr.splitlines()) == 2
    assert len(audited(service)) == 1, "the trail tells only of what was explained"


def test_a_study_is_explained_by_the_model_that_answered_it(cxr, service, tmp_path, monkeypatch):
    study_id = handed(service, png(1)).study_id
    models = tmp_path / "models"
    shutil.copytree(settings.load().models_dir / "tiny", models / "tiny")
    another = make_tiny_model(tmp_path / "another", labels=("Mass",))
    manifest = read_manifest(another)
    shutil.copytree(another, models / "other")
    rewrite(models / "other", replace(manifest, model=replace(manifest.model, id="other")))
    monkeypatch.setenv("CXR_MODELS_DIR", str(models))
    monkeypatch.setenv("CXR_MODEL", "other")
    asked = ("--study", study_id, "--method", "grad_cam", "--json")
    (record,) = lines(cxr(*asked, "--label", "Hernia", "--sanity"))
    assert record["model"] == "tiny 0.1.0"
    assert record["sanity"]["random_networks"] == 3
    shutil.rmtree(models / "tiny")
    result = cxr(*asked)
    assert result.exit_code == 3
    assert "tiny 0.1.0 answered, and is not to be used any more: " in result.stderr
    assert len(audited(service)) == 1


def test_a_map_that_cannot_be_made_is_said_and_not_noted(cxr, service, tmp_path, monkeypatch):
    study_id = handed(service, *of_one_study(blobs(1), blobs(2))).study_id
    explained, asked = explainers.explained, []

    def fail_at_first(*given):
        asked.append(given)
        if len(asked) == 1:
            raise ModelError("came to a number that is none")
        return explained(*given)

    monkeypatch.setattr(explainers, "explained", fail_at_first)
    result = cxr("--study", study_id, "--method", "grad_cam", "--json", "--out", tmp_path / "maps")
    assert result.exit_code == 3
    assert "came to a number that is none" in result.stderr
    assert len(result.stdout.splitlines()) == len(list((tmp_path / "maps").iterdir())) == 1
    assert len(audited(service)) == len(audited(service, "export")) == 1


def test_what_no_model_said_and_what_waits_is_left_out(cxr, service):
    receipt = service.submit(ANN, Incoming(NAME, png(1)), source=Source.CLI, priority=INTERACTIVE)
    waits = cxr("--study", receipt.study_id)
    assert waits.exit_code == 3
    assert "it waits for its answer" in waits.stderr
    worked(service)
    unknown = cxr("--study", receipt.study_id, "--label", "Gout")
    assert unknown.exit_code == 3
    assert "said nothing of this finding" in unknown.stderr


def test_a_viewer_explains_no_study_and_has_not_even_seen_it(cxr, service, monkeypatch):
    study_id = handed(service, png(1)).study_id
    monkeypatch.setenv("CXR_LOCAL_ROLE", "viewer")
    result = cxr("--study", study_id, "--method", "grad_cam")
    assert result.exit_code == 1
    assert "needs the role clinician" in result.stderr
    assert audited(service) == audited(service, "view") == []


def test_what_was_answered_anew_meanwhile_is_not_noted_as_explained(cxr, service):
    receipt = handed(service, png(1))
    wanted = service.to_explain(ANN, receipt.sha256, "Mass", [Method.LIME])
    with service.database.write() as session:
        session.execute(update(ResultRow).values(model="tiny 9.9.9"))
    with pytest.raises(Changed, match="another answer by now"):
        service.note_explained(ANN, wanted)
    assert audited(service) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name one film's FILE, or a study"),
        (("a.png", "--study", "x"), "name one film's FILE, or a study"),
        (("--study", "x", "--model", "tiny"), "leave --model out"),
        (("--study", "x"), "there is no such study"),
    ],
)
def test_what_does_not_name_one_film_or_study_is_said(cxr, arguments, said):
    result = cxr(*arguments)
    assert result.exit_code == 1
    assert said in result.stderr
