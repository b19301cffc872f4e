"""The gate's network: what is done to its pictures, a run that is stopped, the whole way by the command."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cxr_core.cli import app
from cxr_core.errors import DataError, RecipeError
from cxr_core.imaging.gate import Kind
from cxr_core.inference import gate_network
from cxr_core.training import gate_export, gate_films, gate_fit
from cxr_core.training.gate_changes import changed
from cxr_core.training.gate_recipe import Amounts, Changes, GateRecipe, read_gate_recipe
from tests.data.made import csv, films, nih

SHIPPED = Path(__file__).parents[2] / "recipes" / "gate.toml"
NOTHING = Changes(0, 0, 0, 0, 0, 0, 0)
RECIPE = GateRecipe(
    seed=3,
    epochs=3,
    batch=4,
    rate=1e-3,
    weight_decay=0.01,
    width=2,
    pictures=Amounts(2, 1, 2, 1, 4, 1),
    changes=Changes(0.2, 0.2, 0.2, 0.5, 0.2, 0.5, 0.2),
)


@pytest.fixture(scope="module")
def pictures():
    return gate_films.joined([gate_films.phantoms(range(8)), gate_films.drawn(range(8))])


def after(pictures, how, seed=5):
    torch.manual_seed(seed)
    return changed(torch.from_numpy(pictures.inputs), how)


# ---- what is done to a picture


def test_a_turn_an_inversion_and_a_mirror_image_are_what_they_are_called(pictures):
    plain = after(pictures, NOTHING)
    assert not any(each.any() for each in plain[1:])
    turned = after(pictures, replace(NOTHING, turned=1.0))
    assert set(turned.turns.tolist()) == {1, 2, 3}
    for one, turn, before in zip(turned.pictures, turned.turns.tolist(), plain.pictures, strict=True):
        assert torch.equal(one, torch.rot90(before, turn, (1, 2)))
    inverted = after(pictures, replace(NOTHING, inverted=1.0))
    assert inverted.inverted.all()
    assert torch.equal(inverted.pictures, -plain.pictures)
    mirrored = after(pictures, replace(NOTHING, mirrored=1.0))
    assert mirrored.mirrored.all()
    assert torch.allclose(mirrored.pictures, plain.pictures.flip(-1), atol=1e-4)


def test_a_cropped_film_shows_less_of_one_side(pictures):
    """Counted in stripes, eight across and eight down, whatever the exposure."""
    wave = np.sin(np.arange(64) * np.pi / 4)
    grid = (wave[:, None] + wave[None, :]).astype(np.float32) / 2
    grids = replace(pictures, inputs=np.broadcast_to(grid, (64, 1, 64, 64)).copy())

    def stripes(how):
        seen = after(grids, how)
        return seen, np.array(
            [min(_crossings(one.mean(0)), _crossings(one.mean(1))) for one in seen[0][:, 0]]
        )

    (whole, all_of_them), (cut, fewer) = stripes(NOTHING), stripes(replace(NOTHING, cropped=1.0))
    assert cut.cropped.all()
    assert not whole.cropped.any()
    assert np.median(all_of_them) >= 14
    assert np.median(fewer) <= 12


def _crossings(profile):
    return int((np.diff(np.sign(profile.numpy() - np.median(profile.numpy()))) != 0).sum())


# ---- a run


def stopping(after_steps):
    """`changed`, until the machine goes."""
    left = iter(range(after_steps))

    def once(pictures, how):
        if next(left, None) is None:
            raise RuntimeError("the machine went")
        return changed(pictures, how)

    return once


def test_a_run_that_was_stopped_ends_in_the_same_network(pictures, tmp_path, monkeypatch):
    whole = gate_fit.train(RECIPE, pictures, tmp_path / "whole").state_dict()
    with monkeypatch.context() as patched:
        patched.setattr(gate_fit, "changed", stopping(3))
        with pytest.raises(RuntimeError, match="the machine went"):
            gate_fit.train(RECIPE, pictures, tmp_path / "stopped")
    assert (tmp_path / "stopped" / gate_fit.LAST).exists()
    resumed = gate_fit.train(RECIPE, pictures, tmp_path / "stopped").state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    for recipe, shown in (
        (replace(RECIPE, rate=2e-3), pictures),
        (RECIPE, pictures.where(np.arange(16) > 0)),
    ):
        with pytest.raises(RecipeError, match="--anew"):
            gate_fit.train(recipe, shown, tmp_path / "stopped")
    other = gate_fit.train(replace(RECIPE, seed=4), pictures, tmp_path / "other").state_dict()
    assert not all(torch.equal(whole[name], other[name]) for name in whole)


def test_only_chest_films_teach_how_a_picture_hangs(pictures):
    """What the network says of a page's turn costs nothing; of a chest film's it does."""
    seen = after(pictures, RECIPE.changes)
    kinds = torch.tensor([0] * 8 + [list(Kind).index(Kind.PHOTO)] * 8)
    logits = torch.zeros(16, 11)
    plain = gate_fit.loss_of(logits, kinds, seen, 8)
    page, film = logits.clone(), logits.clone()
    page[12, 4:] = 5.0
    film[2, 4 + (int(seen.turns[2]) + 1) % 4] = 5.0
    assert torch.equal(gate_fit.loss_of(page, kinds, seen, 8), plain)
    assert gate_fit.loss_of(film, kinds, seen, 8) > plain


@pytest.mark.parametrize(
    "change", [("epochs = 6", "epoch = 6"), ("width = 24", ""), ("seed = 0", "seed = = 0")]
)
def test_a_recipe_that_is_not_sound_is_refused(tmp_path, change):
    text = SHIPPED.read_text(encoding="utf-8")
    assert read_gate_recipe(_written(tmp_path / "sound.toml", text)).width == 24
    with pytest.raises(RecipeError, match=r"gate\.toml"):
        read_gate_recipe(_written(tmp_path / "gate.toml", text.replace(*change)))


def _written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# ---- the whole way


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder as docs/data.md and docs/gate.md want it, of invented films and pages."""
    root = tmp_path_factory.mktemp("data")
    nih(root / "nih")
    for name in ("kermany", "covid"):
        rows = [{"file": f"{k}.png", "labels": "NORMAL", "patient_id": f"{name}{k // 2}"} for k in range(8)]
        csv(root / name, rows)
    other = root / "not_chest"
    files = {kind: [f"{kind.split('|')[-1]}_{k}.png" for k in range(4)] for kind in gate_films.KINDS}
    for first, names in enumerate(files.values()):
        films(other, names, first=100 * first)
    rows = [f"{file},{kind},none" for kind, names in files.items() for file in names]
    (other / "kinds.csv").write_text("\n".join(["file,kind,licence", *rows]) + "\n")
    return root


def test_the_command_trains_writes_and_measures_a_gate(data, tmp_path, monkeypatch):
    gate, recipe = tmp_path / "gate", tmp_path / "gate.toml"
    text = SHIPPED.read_text(encoding="utf-8")
    for before, now in (
        ("epochs = 6", "epochs = 1"),
        ("batch = 64", "batch = 8"),
        ("width = 24", "width = 2"),
        ("kermany = 1500", "kermany = 2"),
        ("phantoms = 160", "phantoms = 4"),
        ("drawn = 450", "drawn = 8"),
    ):
        assert before in text
        text = text.replace(before, now)
    recipe.write_text(text, encoding="utf-8")
    monkeypatch.setenv("CXR_DATA", str(data))
    monkeypatch.setenv("CXR_GATE", str(gate))
    said = CliRunner().invoke(
        app, ["gate", "train", str(recipe), "--runs", str(tmp_path), "--version", "0.1.0"]
    )
    assert said.exit_code == 0, said.output
    written = gate_network.load(gate)
    assert written.manifest.gate.version == "0.1.0"
    assert (gate / "recipe.toml").read_text() == text
    val = gate_films.chest_films(data / "nih", "val", "val")
    warned = [look.mirrored > written.manifest.limits.mirrored for look in written.look(val.inputs)]
    assert sum(warned) <= max(1, len(val) * gate_export.WARNED)

    checked = CliRunner().invoke(app, ["gate", "check", "--write"])
    assert checked.exit_code == 0, checked.output
    assert "| NIH official test, adults: not refused |" in checked.output
    assert f"of {len(gate_films.other_pictures(data, held_out=True))} |" in checked.output
    assert "| NIH val, picture checks: anything said |" in checked.output
    assert gate_network.load(gate).manifest.files.keys() >= {"card.md", "figures.csv"}
    again = CliRunner().invoke(app, ["gate", "train", str(recipe), "--runs", str(tmp_path), "--anew"])
    assert again.exit_code == 0, again.output
    assert not (gate / "card.md").exists()
    assert not (gate / "figures.csv").exists()
    (gate / "gate.onnx").write_bytes((gate / "gate.onnx").read_bytes()[:-1])
    refused = CliRunner().invoke(app, ["gate", "check"])
    assert (refused.exit_code, "gate.onnx" in refused.output) == (1, True)


def test_halves_and_every_second_patient_never_meet(data):
    for taken in (
        [gate_films.other_pictures(data, held_out=held) for held in (False, True)],
        [gate_films.collection(data / "kermany", held_out=held) for held in (False, True)],
    ):
        learned, kept = taken
        assert len(learned)
        assert len(kept)
        assert not set(learned.patients) & set(kept.patients)


def test_a_held_out_picture_with_a_twin_among_those_learned_from_is_left_out(pictures):
    learned, kept = pictures.where(np.arange(16) < 6), pictures.where(np.arange(16) >= 6)
    faint = replace(learned, inputs=np.float32(0.5) * learned.inputs + np.float32(0.1))
    both = gate_films.joined([kept, faint.where(np.arange(6) == 2)])
    assert gate_films.without_twins(both, learned).names == kept.names
    assert len(gate_films.without_twins(kept, learned.where(np.zeros(6, bool)))) == len(kept)


def test_a_folder_without_other_pictures_is_named(tmp_path):
    with pytest.raises(DataError, match=r"kinds\.csv"):
        gate_films.other_pictures(tmp_path, held_out=True)


def test_a_file_that_is_no_picture_is_left_out(tmp_path):
    Image.new("RGB", (40, 50), (200, 10, 10)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    seen = gate_films.seen([tmp_path / "a.png", tmp_path / "b.png"], Kind.PHOTO, "photo")
    assert (len(seen), seen.names, seen.inputs.shape) == (1, ("a.png",), (1, 1, 64, 64))
