"""`cxr evaluate --boxes --noise --external` on made films: told, thrown away, or kept in the model."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from cxr_core.cli import app
from cxr_core.evaluation import localise, noise
from cxr_core.evaluation.robustness import robustness
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.inference import registry
from tests.inference.tiny import make_tiny_model

ENTRY = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"


@pytest.fixture
def data(tmp_path):
    """Two films of ChestX-ray14's layout, one in train; both with a box, both adjudicated; no other set."""
    root = tmp_path / "data" / "nih"
    (root / "images").mkdir(parents=True)
    for seed in (1, 2):
        film = phantom_png(make_phantom(seed=seed, size=256))
        (root / "images" / f"0000000{seed}_000.png").write_bytes(film)
    (root / "Data_Entry_2017_v2020.csv").write_text(
        f"{ENTRY}00000001_000.png,Effusion,0,1,50,F,PA\n00000002_000.png,Mass,0,2,60,M,AP\n"
    )
    (root / "train_list.txt").write_text("00000001_000.png\n")
    (root / "test_list.txt").write_text("00000002_000.png\n")
    (root / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h]\n"
        "00000001_000.png,Effusion,0,0,1024,1024\n00000002_000.png,Mass,0,0,1024,1024\n"
    )
    (root / noise.ADJUDICATED).write_text(
        "Image Index,Pneumothorax,Airspace opacity,Nodule or mass\n"
        "00000001_000.png,NO,YES,NO\n00000002_000.png,NO,NO,YES\n"
    )
    return root.parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
    made = make_tiny_model(tmp_path / "models")
    (made / "evaluation").mkdir()
    monkeypatch.setenv("CXR_MODELS_DIR", str(made.parent))
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    return made


def run(*args):
    return CliRunner().invoke(app, ["evaluate", "tiny", *args])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_looked_at_is_told_and_not_kept(folder, data):
    before = files(folder)
    done = run("--data", str(data), "--boxes", "--noise")
    assert done.exit_code == 0, done.output
    assert "not measured: 2 of the 10 boxes" in done.stdout
    assert "Nodule or mass: 1 of 2 films adjudicated, 1 mined, 1 both" in done.stdout
    assert "Fracture: no label of ours" in done.stdout
    assert files(folder) == before


def test_what_is_kept_is_bound_to_the_model(folder, data):
    done = run("--data", str(data), "--boxes", "--noise", "--write")
    assert done.exit_code == 0, done.output
    manifest = registry.load(folder).manifest
    assert {"evaluation/localisation.csv", "evaluation/noise.csv"} <= set(manifest.files)
    rows = localise.read(folder)
    assert list(rows["split"]) == ["train", "test"]
    assert rows["box_share"].tolist() == [1, 1]
    assert (rows["hit"] == 1 - rows["empty"]).all()  # the box is the whole film
    assert manifest.evaluation["localisation_Effusion_films"] == 1
    assert len(pd.read_csv(folder / "evaluation" / noise.TABLE)) == 2


def test_nothing_is_asked_of_a_set_that_is_not_there_or_of_no_folder(folder, data, monkeypatch):
    monkeypatch.delenv("CXR_DATA", raising=False)
    before = files(folder)
    missing = run("--data", str(data), "--external", "--write")
    assert (missing.exit_code, "holds none of the sets kermany, covid" in missing.stderr) == (1, True)
    assert "CXR_DATA" in run("--boxes").stderr
    assert files(folder) == before


def test_what_ends_half_way_leaves_the_model_as_it_was(folder, data):
    before = files(folder)
    done = run("--data", str(data), "--boxes", "--external", "--write")
    assert (done.exit_code, "holds none of the sets" in done.stderr) == (1, True)
    assert files(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_changed_films_are_asked_once_and_their_table_is_bound(folder, data, tmp_path):
    (data / "nih" / "train_list.txt").rename(data / "nih" / "val_list.txt")
    before = files(folder)
    done = run("--data", str(data), "--robustness", "--films", "1")
    assert done.exit_code == 0, done.output
    assert "1 films of val, 1 patients, one change each" in done.stdout
    assert "burnt in a side marker    not enough data; flagged" in done.stdout
    assert files(folder) == before
    (kept,) = (tmp_path / "home" / "robustness").iterdir()
    answers = kept.read_bytes()
    assert run("--data", str(data), "--robustness", "--films", "1", "--write").exit_code == 0
    assert kept.read_bytes() == answers, "what was answered is not asked again"
    assert "evaluation/robustness.csv" in registry.load(folder).manifest.files
    assert {each.label for each in robustness(folder)} == {"", *registry.load(folder).manifest.labels}
