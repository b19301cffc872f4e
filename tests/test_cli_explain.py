"""`cxr explain`: every method with its time, maps as pictures, and the check against random weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxr_core.cli import app
from cxr_core.inference import explainers_sanity
from cxr_core.inference.explanation import NAMES, Method
from tests.films import SIDE, blobs, png


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
