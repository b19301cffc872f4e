"""`cxr explain`: every method with its time, maps as pictures, and the check against random weights."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing
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
from cxr_core.imaging.gate import CORRECTIONS
from cxr_core.inference import explainers_sanity
from cxr_core.inference.explanation import NAMES, Method
from cxr_core.worklist.schema import ResultRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.trail import Search
from cxr_core.worklist.values import INTERACTIVE, Incoming, Receipt, Source
from cxr_core.worklist.worker import run as run_worker
from tests.films import SIDE, blobs, png

ANN = Actor("Dr Ann", Role.CLINICIAN)
LEAD = Actor("Lea", Role.LEAD)


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


def submitted(service: Service, pixels: np.ndarray) -> Receipt:
    """Hand a film in and have everything answered that waits."""
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    receipt = service.submit(
        ANN, Incoming("Doe^Jane\n.png", stream.getvalue()), source=Source.CLI, priority=INTERACTIVE
    )
    worked(service)
    return receipt


def worked(service: Service) -> None:
    run_worker(service.settings, once=True, stop=threading.Event())


def audited(service: Service) -> list[tuple[str, str]]:
    links = service.search_audit(LEAD, Search(event="explain")).links
    return [(link.actor, link.subject) for link in links]


def test_a_film_of_a_study_is_explained_as_it_hangs_and_that_is_audited(cxr, service, tmp_path):
    upright = np.asarray(blobs(7))[:, 20:]
    receipt = submitted(service, np.rot90(upright, 2))
    study_id = receipt.study_id
    refused = cxr("--study", study_id, "--method", "grad_cam")
    assert refused.exit_code == 3
    assert "Doe^Jane\\n.png has no answer to be explained" in refused.stderr
    assert audited(service) == []
    service.correct(ANN, receipt.sha256, CORRECTIONS["upside_down"], service.version(ANN, study_id))
    worked(service)
    result = cxr("--study", study_id, "--label", "Mass", "--json", "--out", tmp_path / "maps")
    assert result.exit_code == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["method"] for record in records] == [method.value for method in Method]
    assert {record["study"] for record in records} == {study_id}
    assert audited(service) == [(settings.load().local_user, study_id)] * 4
    assert all(path.name.startswith(f"{study_id}-") for path in (tmp_path / "maps").iterdir())
    Image.fromarray(np.ascontiguousarray(upright)).save(tmp_path / "up.png")
    same = [
        json.loads(line) for line in cxr(tmp_path / "up.png", "--label", "Mass", "--json").stdout.splitlines()
    ]
    for ours, theirs in zip(records, same, strict=True):
        assert "study" not in theirs
        assert ours.get("peak") == theirs.get("peak")
    table = cxr("--study", study_id, "--method", "grad_cam")
    assert "Doe^Jane\\n.png: " in table.stdout


def test_a_study_is_explained_by_whom_may_and_by_the_model_that_answered_it(cxr, service, monkeypatch):
    study_id = submitted(service, blobs(1)).study_id
    asked = ("--study", study_id, "--method", "grad_cam")
    monkeypatch.setenv("CXR_LOCAL_ROLE", "viewer")
    result = cxr(*asked)
    assert result.exit_code == 1
    assert "needs the role clinician" in result.stderr
    assert audited(service) == []
    monkeypatch.delenv("CXR_LOCAL_ROLE")
    with service.database.write() as session:
        session.execute(update(ResultRow).values(model="tiny 9.9.9"))
    result = cxr(*asked)
    assert result.exit_code == 1
    assert "tiny 9.9.9 answered, and it is not here any more" in result.stderr


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
