import json
import tomllib
from dataclasses import replace

import pytest

from cxr_core.errors import ModelError
from cxr_core.inference import registry
from cxr_core.inference.manifest import MANIFEST, read_manifest, write_manifest
from cxr_core.settings import ROOT
from tests.inference.tiny import make_tiny_model

HOSTILE = 'a "quoted" \\ back\nnew\ttab é 胸 \x7f \x1b [x] # = '


def test_what_is_written_is_read_again(tiny_model):
    manifest = read_manifest(tiny_model)
    odd = replace(
        manifest,
        model=replace(manifest.model, summary=HOSTILE, licence="CC-BY-4.0"),
        evaluation={"val mean AUC": 0.1 + 0.2, "tiny": 1e-17, "large": 1e22, "odd.key": -0.0, "é": 1.0},
        thresholds=replace(manifest.thresholds, few_positives=("Hernia", "Mass")),
    )
    write_manifest(odd, tiny_model / MANIFEST)
    assert read_manifest(tiny_model) == odd


def test_equal_manifests_are_equal_bytes(tiny_model, tmp_path):
    write_manifest(read_manifest(tiny_model), tmp_path / "again.toml")
    assert (tmp_path / "again.toml").read_bytes() == (tiny_model / MANIFEST).read_bytes()


def test_without_evaluation_or_split_the_table_is_still_there(tiny_model):
    manifest = read_manifest(tiny_model)
    bare = replace(manifest, evaluation={}, data=replace(manifest.data, split={}))
    write_manifest(bare, tiny_model / MANIFEST)
    assert tomllib.loads((tiny_model / MANIFEST).read_text())["evaluation"] == {}
    assert read_manifest(tiny_model) == bare


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[model]", "[model]\ncolour = 1", "model: unknown key colour"),
        ("[model]", "[extra]\n[model]", "unknown key extra"),
        ("channels = 1\n", "", "input: missing key channels"),
        ("channels = 1", 'channels = "1"', "input.channels: expected int, got str"),
        ("members = 3", "members = 3.0", "model.members: expected int, got float"),
        ("created = 2026-01-01", 'created = "today"', "model.created: expected date, got str"),
        ("[model]", "[model", "expected a readable TOML file"),
        ('id = "tiny"', 'id = "other"', "is of the model other"),
        ('version = "0.1.0"', 'version = "0 1"', "version holds up to 40 letters"),
        ('task = "multilabel"', 'task = "caption"', "model.task: unknown 'caption'"),
        ('task = "multilabel"', 'task = "binary"', "binary has one label"),
        ('task = "multilabel"', 'task = "multiclass"', "got multiclass of 15 with abnormal"),
        ("members = 3", "members = 0", "at least one member"),
        ('"Mass"', '"Fracture"', "labels must be distinct and among"),
        ('"Mass"', '"Nodule"', "labels must be distinct and among"),
        ('"Mass", ', "", "calibration.slope must hold 14 finite numbers, got 15"),
        ("slope = [1.0, ", "slope = [", "calibration.slope must hold 15 finite numbers, got 14"),
        ("slope = [1.0", "slope = [nan", "calibration.slope must hold"),
        ("slope = [1.0", "slope = [-1.0", "slopes above 0"),
        ('method = "platt"', 'method = "none"', "calibration.method: unknown 'none'"),
        ('method = "platt"', 'method = "softmax"', "softmax for multiclass models and for no others"),
        ("intercept = [0.0", "intercept = [inf", "calibration.intercept must hold"),
        ("values = [0.35", "values = [35.0", "thresholds must lie"),
        ("values = [0.35", "values = [0.0", "thresholds must lie"),
        ("tolerance = 0.001", "tolerance = 5.0", "tolerance must lie"),
        ("tolerance = 0.001", "tolerance = nan", "tolerance must lie"),
        ("width = 64", "width = 32", "preprocessing makes 64 px, the input is 64 × 32"),
        ("low = -1.0", "low = 0.0", "the input is another"),
        ("channels = 1", "channels = 3", "the input is another"),
        ("low_percentile = 0.5", "low_percentile = 99.9", "low < high percentile"),
        ("stride_px = 8", "stride_px = 7", "must divide"),
        ("stride_px = 8", "stride_px = 0", "must divide"),
        ('"card.md" = "', '"card.md" = "00', "SHA-256"),
        ('"card.md" =', '"../card.md" =', "path in the folder"),
        ('"card.md" =', '"/etc/passwd" =', "path in the folder"),
    ],
)
def test_what_does_not_hold_together_is_refused(tiny_model, old, new, why):
    path = tiny_model / MANIFEST
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError, match="tiny") as refusal:
        read_manifest(tiny_model)
    assert why in str(refusal.value)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('method = "softmax"', 'method = "platt"', "softmax for multiclass models and for no others"),
        ("slope = [1.0, 1.0", "slope = [1.0, 2.0", "one slope, the same for all labels"),
        ('task = "multiclass"', 'task = "multilabel"', "softmax for multiclass models and for no others"),
    ],
)
def test_a_multiclass_manifest_that_does_not_hold_together_is_refused(tmp_path, old, new, why):
    folder = make_tiny_model(tmp_path, labels=("Effusion", "Mass"), task="multiclass")
    path = folder / MANIFEST
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError) as refusal:
        read_manifest(folder)
    assert why in str(refusal.value)


@pytest.mark.parametrize("table", ["calibration", "thresholds"])
def test_figures_fitted_for_another_network_are_refused(tmp_path, table):
    """A model cannot go live with another model's thresholds."""
    ours = make_tiny_model(tmp_path / "a")
    other = make_tiny_model(tmp_path / "b", pooling="max")
    manifest, foreign = read_manifest(ours), read_manifest(other)
    assert manifest.thresholds.values == foreign.thresholds.values  # only the hash tells them apart
    write_manifest(replace(manifest, **{table: getattr(foreign, table)}), ours / MANIFEST)
    with pytest.raises(ModelError, match=f"tiny: the {table} of another network"):
        registry.load(ours)


@pytest.mark.parametrize("table", ["calibration", "thresholds"])
def test_figures_that_name_no_network_do_not_go_live(tmp_path, table):
    folder = make_tiny_model(tmp_path)
    manifest = read_manifest(folder)
    unbound = replace(getattr(manifest, table), network="")
    write_manifest(replace(manifest, **{table: unbound}), folder / MANIFEST)
    with pytest.raises(ModelError, match="do not say for which network they were fitted"):
        registry.load(folder)


@pytest.mark.parametrize(
    "name", ["two words", "_tiny_", "![x](y)", "**tiny**", "-tiny", ".tiny", "=1+1", "t" * 61, "t\u00efny"]
)
def test_an_id_that_is_more_than_a_word_is_refused(tiny_model, name):
    folder = tiny_model.rename(tiny_model.with_name(name))
    path = folder / MANIFEST
    path.write_text(path.read_text().replace('id = "tiny"', f"id = {json.dumps(name)}", 1))
    with pytest.raises(ModelError, match="an id has up to 60 letters, digits"):
        read_manifest(folder)


def test_a_folder_without_a_manifest_is_no_model(tmp_path):
    with pytest.raises(ModelError, match=r"no manifest\.toml"):
        read_manifest(tmp_path)


def test_the_documentation_names_every_table_and_key(tiny_model):
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    document = tomllib.loads((tiny_model / MANIFEST).read_text())
    for table, keys in document.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `[{table}]`"))
        if table not in ("files", "evaluation"):
            assert [key for key in keys if f"`{key}`" not in row and f"[{table}.{key}." not in row] == []
