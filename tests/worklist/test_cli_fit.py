"""`cxr fit-site` as a person calls it: a list and films become a model that films are then answered by."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cxr_core.access import Actor, Role
from cxr_core.cli import app
from cxr_core.inference.manifest import read_manifest
from cxr_core.settings import load
from cxr_core.worklist.service import open_service
from cxr_core.worklist.values import Query
from tests.worklist.films import Films
from tests.worklist.test_models import made

pytestmark = pytest.mark.slow
READER = Actor("reader", Role.VIEWER)
FILMS = 120
WITH = np.random.default_rng(0).random(FILMS) < 0.5


@pytest.fixture
def site(tmp_path: Path, films: Films, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty worklist, one model, and a site's list with its films, of which one is broken."""
    made(tmp_path / "models", "one")
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CXR_MODEL", "one")
    monkeypatch.setenv("CXR_MODELS_DIR", str(tmp_path / "models"))
    (tmp_path / "films").mkdir()
    rows = [("file", "patient", "Effusion")]
    for number in range(FILMS):
        (tmp_path / "films" / f"{number}.png").write_bytes(films.png(number))
        rows.append((f"{number}.png", f"p{number}", str(int(WITH[number]))))
    (tmp_path / "films" / "broken.png").write_bytes(b"no film")
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([*rows, ("broken.png", "x", "1")])
    return tmp_path


def cxr(*arguments: object) -> Result:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    return done


def test_a_list_becomes_a_model_that_is_activated_and_answers_by_its_own_thresholds(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("fit-site", site / "list.csv", "--data", site / "films", "--sensitivity", "0.9")
    tried = cxr(*asked, "--dry-run")
    assert "Effusion: " in tried.stdout
    assert [each.name for each in (site / "models").iterdir()] == ["one"]
    done = cxr(*asked, "--name", "ward-3")
    assert f"{FILMS} films of {FILMS} patients answered; 1 refused" in done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "/broken.png: unknown_format: The file is none of PNG, JPEG and DICOM."
    )
    assert done.stdout.splitlines()[-1].startswith("one-ward-3 1.0.0+site.1: saved, not in force")

    assert "sound" in cxr("models", "verify", "one-ward-3").stdout
    before, after = (read_manifest(site / "models" / each) for each in ("one", "one-ward-3"))
    place = before.labels.index("Effusion")
    told = json.loads((site / "models" / "one-ward-3" / "evaluation" / "site.json").read_text())
    assert told["labels"]["Effusion"]["new_threshold"]
    assert after.thresholds.values[place] != before.thresholds.values[place]

    said = cxr("models", "activate", "one-ward-3", "--note", "fitted to ward 3").stdout
    assert said == "one 1.0.0 → one-ward-3 1.0.0+site.1: in force\n"
    cxr("submit", site / "films" / "0.png")
    cxr("worker", "--once")
    with closing(open_service(load())) as service:
        (line,) = service.page(READER, Query()).lines
        (film,) = service.study(READER, line.study_id).films
    assert film.analysis is not None
    assert film.analysis.versions.model == "one-ward-3 1.0.0+site.1"
    answer = next(each for each in film.analysis.predictions if each.label == "Effusion")
    assert answer.threshold == after.thresholds.values[place]

    monkeypatch.setenv("CXR_MODEL", "one-ward-3")
    films = [site / "films" / f"{number}.png" for number in range(40)]
    records = [json.loads(line) for line in cxr("triage", *films, "--json").stdout.splitlines()]
    shown = [next(each for each in record["findings"] if each["label"] == "Effusion") for record in records]
    (threshold,) = {each["threshold"] for each in shown}
    assert threshold == pytest.approx(after.thresholds.values[place], abs=1e-5)
    called = np.array([each["positive"] for each in shown])
    assert called[WITH[:40]].mean() > 0.7  # of patients fitted by and held out
