"""Distance of features: equal to scipy's, bound to its network, and what the pipeline makes of it."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from PIL import Image
from scipy.spatial.distance import mahalanobis
from typer.testing import CliRunner

from cxr_core.cli import app
from cxr_core.domain import Gate, GateOutcome, State
from cxr_core.errors import ModelError, Rejected
from cxr_core.evaluation import outside
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.inference import distance, registry
from cxr_core.inference.distance import Distance, Group
from cxr_core.inference.manifest import DISTANCE, NETWORK, DistanceTable, read_manifest
from cxr_core.pipeline import Kit, analyse, heatmaps, load_kit
from cxr_core.settings import ROOT, Settings
from cxr_core.training import outside as fitting
from tests.inference.tiny import CHANNELS, MEMBERS, make_tiny_model, random_films

NOW = datetime(2026, 11, 21, tzinfo=UTC)
WIDTH = MEMBERS * CHANNELS
BUNDLED = ROOT / "models" / Settings().model


def features(count: int, seed: int = 0) -> np.ndarray:
    """(count, 30): correlated, with variances over two orders of magnitude."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(30, 30)))[0]
    return (rng.normal(size=(count, 30)) * np.geomspace(5, 0.05, 30) @ turn + 3).astype(np.float32)


def table(network: str = "n", **changes: object) -> DistanceTable:
    far = DistanceTable("m", (2,), ("films",), 1.5, 3.0, "nothing", network)
    return replace(far, **changes)


def with_distance(folder: Path, group: Group, **changes: object) -> Path:
    """The model folder with a distance, sealed."""
    manifest = read_manifest(folder)
    distance.write(folder / DISTANCE, {"films": group})
    registry.seal(folder, replace(manifest, distance=table(manifest.files[NETWORK], **changes)))
    return folder


def seen(classifier, count: int = 60) -> Group:
    maps = classifier.run(random_films(count)).features
    return fitting.group(np.stack([distance.pooled(each) for each in maps]), 8)


@pytest.fixture
def folder(tmp_path: Path, classifier) -> Path:
    return with_distance(make_tiny_model(tmp_path), seen(classifier))


def kit_of(folder: Path) -> Kit:
    return load_kit(Settings(model=folder.name, models_dir=folder.parent))


def test_it_is_scipys_mahalanobis_distance_by_the_covariance_of_probabilistic_pca():
    films = features(400)
    group = fitting.group(films, 6)
    values, vectors = np.linalg.eigh(np.cov(films.astype(np.float64).T))
    rest = values[:-6].mean()
    covariance = (vectors[:, -6:] * (values[-6:] - rest)) @ vectors[:, -6:].T + rest * np.eye(30)
    inverse = np.linalg.inv(covariance)
    for film in features(20, seed=1):
        expected = mahalanobis(film, films.mean(axis=0), inverse) / np.sqrt(30)
        assert group.distance(film) == pytest.approx(expected, rel=1e-3)
    assert replace(group, scale=0.5).distance(films[0]) == pytest.approx(0.5 * group.distance(films[0]))


def test_what_was_fitted_on_lies_at_about_one():
    films = features(400)
    group = fitting.group(films, 6)
    assert np.mean([group.distance(film) ** 2 for film in films]) == pytest.approx(1, abs=0.02)


def test_the_nearest_group_counts():
    groups = {"one": fitting.group(features(90), 4), "other": fitting.group(features(90) + 50, 4)}
    found = Distance(table(), groups)
    far = features(1, seed=5)[0] + 50
    assert found.nearest(far) == groups["other"].distance(far) < groups["one"].distance(far)


def test_features_are_pooled_over_the_film_member_by_member():
    maps = np.random.default_rng(0).random((3, 4, 5, 5), dtype=np.float32)
    found = distance.pooled(maps)
    assert found.shape == (12,)
    assert found[4 * 2 + 1] == pytest.approx(maps[2, 1].mean())


def test_a_group_is_written_and_read_again(tmp_path):
    group = replace(fitting.group(features(90), 4), scale=0.7)
    distance.write(tmp_path / DISTANCE, {"films": group})
    again = distance.read(tmp_path, table(), 30)
    for film in features(5, seed=2):
        assert again.nearest(film) == pytest.approx(group.distance(film), rel=1e-6)


def test_the_manifest_names_it_and_the_documentation_its_keys(folder):
    far = read_manifest(folder).distance
    assert far is not None
    assert (far.components, far.groups, far.warn) == ((2,), ("films",), 1.5)
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| `[distance]`"))
    assert [key for key in DistanceTable.__dataclass_fields__ if f"`{key}`" not in row] == []
    assert registry.load(folder).distance is not None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"warn": 4.0}, "0 < warn <= refuse"),
        ({"warn": 0.0}, "0 < warn <= refuse"),
        ({"refuse": float("inf")}, "0 < warn <= refuse"),
        ({"groups": ()}, "must have groups"),
        ({"groups": ("films", "phantoms"), "components": (2, 2)}, "of other groups"),
        ({"network": "0" * 64}, "distance of another network"),
    ],
)
def test_limits_that_do_not_hold_together_are_refused(folder, changes, why):
    manifest = read_manifest(folder)
    registry.seal(folder, replace(manifest, distance=replace(manifest.distance, **changes)))
    with pytest.raises(ModelError, match=why):
        registry.load(folder)


def test_limits_without_their_file_are_refused(folder):
    (folder / DISTANCE).unlink()
    with pytest.raises(ModelError, match=r"distance\.safetensors is missing"):
        registry.verify(folder)
    registry.seal(folder, read_manifest(folder))
    with pytest.raises(ModelError, match=r"distance without distance\.safetensors"):
        registry.verify(folder)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda group: replace(group, variance=-group.variance), "a variance that is none"),
        (lambda group: replace(group, mean=group.mean * np.nan), "a variance that is none"),
        (lambda group: replace(group, scale=0.0), "a variance that is none"),
        (lambda group: replace(group, mean=group.mean[:-1]), "for other features"),
    ],
)
def test_a_file_of_other_features_is_refused(folder, classifier, spoil, why):
    with_distance(folder, spoil(seen(classifier)))
    with pytest.raises(ModelError, match=why):
        registry.load(folder)


def test_a_truncated_file_is_refused(folder):
    raw = (folder / DISTANCE).read_bytes()
    (folder / DISTANCE).write_bytes(raw[:-8])
    registry.seal(folder, read_manifest(folder))
    with pytest.raises(ModelError, match="truncated"):
        registry.load(folder)


def test_limits_decide_between_answer_warning_and_refusal(classifier):
    group = seen(classifier)
    maps = classifier.run(random_films(1, seed=3)).features[0]
    value = group.distance(distance.pooled(maps))
    gate = Gate(GateOutcome.ACCEPTED)

    def judged(warn: float, refuse: float) -> Gate:
        return Distance(table(warn=warn, refuse=refuse), {"films": group}).judged(gate, maps)

    assert judged(2 * value, 3 * value) == gate
    warned = judged(value / 2, 2 * value)
    assert (warned.outcome, [each.code for each in warned.warnings]) == (
        GateOutcome.WARNED,
        ["unlike_training"],
    )
    with pytest.raises(Rejected) as refusal:
        judged(value / 3, value / 2)
    assert refusal.value.code == "unlike_chest_films"
    with pytest.raises(ModelError):
        Distance(table(), {"films": group}).judged(gate, maps * np.nan)


def film() -> bytes:
    return phantom_png(make_phantom(3, size=160))


def test_a_film_that_is_unlike_is_sent_to_a_person_and_keeps_its_answer(tmp_path, classifier):
    near = kit_of(with_distance(make_tiny_model(tmp_path / "a"), seen(classifier), warn=900, refuse=999))
    odd = kit_of(with_distance(make_tiny_model(tmp_path / "b"), seen(classifier), warn=1e-3, refuse=999))
    plain, warned = analyse(film(), near, now=NOW), analyse(film(), odd, now=NOW)
    assert "unlike_training" not in [each.code for each in plain.gate.warnings]
    assert "unlike_training" in [each.code for each in warned.gate.warnings]
    assert warned.predictions == plain.predictions
    assert any("unlike most films" in reason for reason in warned.triage.reasons)
    assert warned.triage.urgency.rank <= plain.triage.urgency.rank
    assert warned.timings_ms["distance"] > 0


def test_a_film_that_is_far_off_is_refused_and_keeps_no_answer(tmp_path, classifier):
    kit = kit_of(with_distance(make_tiny_model(tmp_path), seen(classifier), warn=1e-3, refuse=2e-3))
    refused = analyse(film(), kit, now=NOW)
    assert refused.refusal is not None
    assert refused.refusal.code == "unlike_chest_films"
    assert (refused.triage.state, refused.predictions, refused.abnormal) == (State.REFUSED, (), None)
    assert refused.radiograph is not None, "a person may want to look at it"
    assert refused.timings_ms["classify"] > 0
    with pytest.raises(Rejected, match="unlike any film"):
        heatmaps(refused, kit)


def test_a_model_without_limits_answers_as_before(tiny_model):
    kit = kit_of(tiny_model)
    assert kit.classifier.distance is None
    assert "distance" not in analyse(film(), kit, now=NOW).timings_ms


def test_rates_are_counted_by_set_and_kind_with_limits_by_patient(tmp_path):
    rows = [("a", "x", f"p{number // 2}", number / 10) for number in range(20)]
    rows += [("b", "y", "p0", 5.0)]
    outside.write(tmp_path, pd.DataFrame(rows, columns=list(outside.COLUMNS)))
    one, other = outside.read(tmp_path, table(warn=1.45, refuse=1.75))
    assert (one.warned.count, one.refused.count, one.warned.of, one.warned.patients) == (5, 2, 20, 10)
    assert one.warned.interval.low < 0.25 < one.warned.interval.high
    assert (other.set, other.kind, other.refused.count) == ("b", "y", 1)
    text = outside.path_of(tmp_path).read_text()
    assert "p0" not in text, "patients are numbered"
    with pytest.raises(ModelError, match=r"distance\.csv"):
        outside.read(tmp_path / "none", table())


def test_a_card_without_limits_says_not_measured(tiny_model):
    assert "Not measured" in " ".join(outside.lines(tiny_model, read_manifest(tiny_model)))


def test_the_second_half_of_each_kind_was_not_chosen_by():
    kinds = pd.DataFrame({"file": ["c", "a", "b", "z"], "kind": ["k", "k", "k", "one"]})
    assert list(fitting.second_half(kinds)["file"]) == ["c"]


# ---- the bundled model


@pytest.fixture(scope="module")
def bundled() -> Kit:
    return load_kit(Settings())


def test_the_bundled_model_knows_what_it_has_seen(bundled):
    far = bundled.classifier.distance
    assert far is not None
    assert far.table.groups == ("films", "phantoms")
    assert (BUNDLED / DISTANCE).stat().st_size < 3_000_000
    card = (BUNDLED / "card.md").read_text(encoding="utf-8")
    for line in outside.lines(BUNDLED, bundled.classifier.manifest):
        assert line in card


def test_its_limits_are_quantiles_of_the_films_that_set_them(bundled):
    found = outside.read(BUNDLED, bundled.classifier.manifest.distance)
    setting = [each for each in found if each.set == "limits"]
    films = sum(each.warned.of for each in setting)
    assert sum(each.warned.count for each in setting) / films == pytest.approx(0.01, abs=0.002)
    assert sum(each.refused.count for each in setting) / films == pytest.approx(0.001, abs=0.001)
    phantoms = next(each for each in found if each.set == "phantoms")
    assert phantoms.warned.count == 0


@pytest.mark.parametrize("seed", range(4))
def test_invented_films_pass_so_that_the_product_can_be_shown(bundled, seed):
    raw = phantom_png(make_phantom(700 + seed, {"Effusion": 0.8} if seed % 2 else {}, size=256))
    codes = [each.code for each in analyse(raw, bundled, now=NOW).gate.warnings]
    assert "unlike_training" not in codes


def test_a_picture_of_nothing_is_unlike(bundled):
    """What a gate may let through: noise of the size of a film."""
    noise = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    blurred = Image.fromarray(noise).resize((20, 20)).resize((256, 256))
    out = io.BytesIO()
    blurred.save(out, "PNG")
    refusal = analyse(out.getvalue(), bundled, now=NOW).refusal
    assert refusal is not None


@pytest.mark.real_data
def test_real_films_and_others_are_told_apart_as_the_table_says(bundled, data_dir):
    """A few films of each, by the features alone, as the command does."""
    asked = fitting.Asked(bundled.classifier, lambda what, done, of: None)
    far = bundled.classifier.distance
    kinds = fitting.second_half(pd.read_csv(data_dir / "not_chest" / "kinds.csv"))
    others = [data_dir / "not_chest" / file for file in kinds["file"][::20]]
    chests = [
        data_dir / "nih" / "images" / name
        for name in (data_dir / "nih" / "test_list.txt").read_text().split()[::100]
    ]
    away = [far.nearest(each) for each in asked.files("others", others)[0]]
    near = [far.nearest(each) for each in asked.files("chests", chests)[0]]
    assert np.mean(np.array(away) > far.table.warn) > 0.9
    assert np.mean(np.array(near) > far.table.warn) < 0.2
    assert np.mean(np.array(near) > far.table.refuse) < 0.1
    stated = {(each.set, each.kind): each for each in outside.read(BUNDLED, far.table)}
    assert stated["test", "adults, or of unknown age"].refused.value < 0.01
    assert min(each.warned.value for (name, kind), each in stated.items()
               if name == "no chest film" and each.warned.of > 5) > 0.8  # fmt: skip


# ---- fitting


@pytest.fixture
def films_root(tmp_path: Path) -> Path:
    """A data set of 60 pictures of blobs, of 30 patients, and pictures of another kind."""
    root = tmp_path / "data"
    rows, blobs = [], random_films(60, seed=11)
    (root / "nih").mkdir(parents=True)
    for number in range(60):
        file, ill = f"film-{number}.png", number % 2
        picture = np.round(127.5 * (1 + blobs[number, 0])).astype(np.uint8)
        Image.fromarray(picture).save(root / "nih" / file)
        rows.append((file, f"p{number // 2}", ("train", "val", "test")[number % 60 // 20], ill, 40))
    listed = pd.DataFrame(rows, columns=["file", "patient", "split", "Effusion", "age"])
    listed.to_csv(root / "nih" / "labels.csv", index=False)
    (root / "not_chest").mkdir()
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 255, (96, 96), dtype=np.uint8)
        Image.fromarray(noise).save(root / "not_chest" / f"noise-{number}.png")
    kinds = pd.DataFrame({"file": [f"noise-{number}.png" for number in range(8)], "kind": "ood|Noise"})
    kinds.to_csv(root / "not_chest" / "kinds.csv", index=False)
    return root


def test_the_command_fits_prints_and_keeps_a_sound_model(tmp_path, films_root, monkeypatch):
    monkeypatch.setattr(fitting, "DRAWN", 6)
    monkeypatch.setattr(fitting, "HELD_DRAWN", 2)
    monkeypatch.setattr(fitting, "TRIED_DRAWN", 3)
    drawn, draw = [], fitting.make_phantom
    monkeypatch.setattr(
        fitting, "make_phantom", lambda seed, *a, **k: drawn.append(seed) or draw(seed, *a, **k)
    )
    folder = tmp_path / "models" / "effusion-balanced"
    shutil.copytree(ROOT / "models" / folder.name, folder)
    monkeypatch.setenv("CXR_MODELS_DIR", str(folder.parent))
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))

    def run(*options: str) -> Result:
        return CliRunner().invoke(
            app, ["models", "distance", folder.name, "--data", str(films_root), *options]
        )

    before = registry.verify(folder)
    looked = run()
    assert looked.exit_code == 0, looked.output
    assert sorted(drawn) == [1_000_000 + seed for seed in range(9)], "none that set a limit is tried by it"
    assert registry.verify(folder) == before, "looking changes nothing"
    assert run("--write").exit_code == 1, "it answers otherwise, so it needs another version"
    kept = run("--write", "--version", "9.9.9")
    assert kept.exit_code == 0, kept.output
    assert kept.stdout == looked.stdout, "the same films give the same limits"
    noise = next(line for line in kept.stdout.splitlines() if "Noise" in line)
    assert "100.0%" in noise
    made = registry.load(folder)
    assert made.distance is not None
    assert (made.manifest.version, made.manifest.data) == ("9.9.9", before.data)
    assert "| no chest film | Noise | 4 |" in (folder / "card.md").read_text(encoding="utf-8")
    assert "| phantoms | drawn anew | 3 |" in (folder / "card.md").read_text(encoding="utf-8")
    assert "another version than 9.9.9" in run("--write", "--version", "9.9.9").stderr
