"""Promise H5: pickle, wrong hash, swapped labels, truncated weights: refuses to start and says why."""

import pickle
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.errors import ModelError
from cxr_core.inference import registry
from cxr_core.inference.manifest import read_manifest
from tests.inference.tiny import ALL, make_tiny_model, rewrite

SWAPPED = ("Cardiomegaly", "Atelectasis", *ALL[2:])


def refusal(folder):
    with pytest.raises(ModelError) as raised:
        registry.load(folder)
    assert str(folder.parent) not in str(raised.value)
    return str(raised.value)


def relabel(folder, labels):
    """Let the manifest claim other labels."""
    manifest = read_manifest(folder)
    rewrite(folder, replace(manifest, model=replace(manifest.model, labels=tuple(labels))))


def edit_weights(folder, change, metadata=None):
    path = folder / registry.WEIGHTS
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata=metadata or {registry.LABELS: registry.labels_text(ALL)})
    rewrite(folder, read_manifest(folder))


def edit_network(folder, change):
    path = folder / registry.NETWORK
    network = onnx.load(path)
    change(network)
    onnx.save(network, path)
    rewrite(folder, read_manifest(folder))


def test_a_sound_folder_loads(tiny_model):
    classifier = registry.load(tiny_model, threads=1)
    assert classifier.manifest.labels == ALL
    assert classifier.heads.weight.shape == (3, 15, 24)


def test_a_model_of_fewer_labels_loads(tmp_path):
    folder = make_tiny_model(tmp_path, labels=("Effusion", "Pneumothorax"))
    assert registry.load(folder).manifest.labels == ("Effusion", "Pneumothorax")


def test_models_are_listed_by_id_and_other_folders_left_out(tiny_model):
    root = tiny_model.parent
    shutil.copytree(tiny_model, root / "another")
    (root / "empty").mkdir()
    (root / "README.md").write_text("not a model")
    assert registry.list_models(root) == ["another", "tiny"]
    assert registry.list_models(root / "nowhere") == []
    assert "is of the model tiny" in refusal(root / "another")


@pytest.mark.parametrize(
    "name", ["weights.pkl", "member.PT", "best.pth", "pytorch_model.bin", "sub/x.joblib"]
)
@pytest.mark.parametrize("listed", [True, False])
def test_h5_a_pickle_in_the_folder_is_refused_and_never_opened(tiny_model, name, listed):
    path = tiny_model / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(Trap(tiny_model / "sprung")))
    if listed:
        rewrite(tiny_model, read_manifest(tiny_model))
    assert refusal(tiny_model) == f"tiny: {name} may run code when read; safetensors and ONNX are accepted"
    assert not (tiny_model / "sprung").exists()


@pytest.mark.parametrize("name", [registry.NETWORK, registry.WEIGHTS])
def test_h5_a_pickle_under_another_name_is_refused_and_never_unpickled(tiny_model, name):
    (tiny_model / name).write_bytes(pickle.dumps(Trap(tiny_model / "sprung")))
    assert f"{name} was altered" in refusal(tiny_model)
    rewrite(tiny_model, read_manifest(tiny_model))
    assert name in refusal(tiny_model)
    assert not (tiny_model / "sprung").exists()


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return self.file.write_text, ("sprung",)


def test_the_trap_works(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))  # noqa: S301
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "card.md"])
def test_h5_one_changed_bit_is_refused(tiny_model, name):
    path = tiny_model / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    assert f"tiny: {name} was altered: SHA-256 " in refusal(tiny_model)


def test_h5_a_wrong_hash_in_the_manifest_is_refused(tiny_model):
    manifest = tiny_model / "manifest.toml"
    text = manifest.read_text()
    at = text.index('"model.onnx" = "') + len('"model.onnx" = "')
    manifest.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :])
    assert "tiny: model.onnx was altered" in refusal(tiny_model)


def test_h5_swapped_labels_in_the_manifest_are_refused(tiny_model):
    relabel(tiny_model, SWAPPED)
    assert refusal(tiny_model) == (
        "tiny: the manifest names other labels, or in another order, than model.onnx"
    )


def test_h5_weights_with_swapped_labels_are_refused(tiny_model):
    edit_weights(tiny_model, lambda tensors: None, {registry.LABELS: registry.labels_text(SWAPPED)})
    assert "in another order, than weights.safetensors" in refusal(tiny_model)


def test_h5_swapped_rows_of_the_heads_are_refused(tiny_model):
    def swap(tensors):
        for part in ("weight", "bias"):
            tensors[f"heads.{part}"] = np.ascontiguousarray(
                tensors[f"heads.{part}"][:, [1, 0, *range(2, 15)]]
            )

    edit_weights(tiny_model, swap)
    assert "self-test logits from the heads differ" in refusal(tiny_model)


def test_h5_swapped_rows_of_the_network_are_refused(tiny_model):
    def swap(network):
        for tensor in network.graph.initializer:
            if ".head." in tensor.name:
                rows = onnx.numpy_helper.to_array(tensor)[[1, 0, *range(2, 15)]]
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(rows), tensor.name))

    edit_network(tiny_model, swap)
    assert "self-test logits differ by" in refusal(tiny_model)


def test_h5_labels_that_no_file_vouches_for_are_refused(tiny_model):
    edit_network(tiny_model, lambda network: network.ClearField("metadata_props"))
    edit_weights(tiny_model, lambda tensors: None, {"other": "x"})
    assert "no file names the labels in order" in refusal(tiny_model)


def test_h5_an_evaluation_table_vouches_for_the_labels_too(tiny_model):
    edit_network(tiny_model, lambda network: network.ClearField("metadata_props"))
    edit_weights(tiny_model, lambda tensors: None, {"other": "x"})
    (tiny_model / "evaluation").mkdir()
    table = tiny_model / "evaluation" / "predictions-val.csv"
    table.write_text(",".join(("file", *FINDINGS, ABNORMAL)) + "\n")
    rewrite(tiny_model, read_manifest(tiny_model))
    assert registry.load(tiny_model)
    table.write_text(",".join(("file", *SWAPPED)) + "\n")
    rewrite(tiny_model, read_manifest(tiny_model))
    assert "in another order, than evaluation/predictions-val.csv" in refusal(tiny_model)


@pytest.mark.parametrize("name", [registry.NETWORK, registry.WEIGHTS])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_h5_truncated_files_are_refused_whether_or_not_the_hash_fits(tiny_model, name, share):
    path = tiny_model / name
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    assert f"tiny: {name} was altered" in refusal(tiny_model)
    rewrite(tiny_model, read_manifest(tiny_model))
    assert name in refusal(tiny_model)


def test_an_unlisted_file_is_refused(tiny_model):
    (tiny_model / "other.onnx").write_bytes((tiny_model / "model.onnx").read_bytes())
    assert refusal(tiny_model) == "tiny: other.onnx is not listed in the manifest"


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "card.md"])
def test_a_missing_file_is_refused(tiny_model, name):
    (tiny_model / name).unlink()
    assert refusal(tiny_model) == f"tiny: {name} is missing"


def test_a_folder_that_lists_no_network_is_refused(tiny_model):
    (tiny_model / "model.onnx").unlink()
    rewrite(tiny_model, read_manifest(tiny_model))
    assert refusal(tiny_model) == "tiny: model.onnx is missing"


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "no manifest.toml" in refusal(tmp_path / "nowhere")


def test_weights_of_another_number_of_labels_are_refused(tiny_model):
    def cut(tensors):
        tensors["heads.weight"] = np.ascontiguousarray(tensors["heads.weight"][:, :14])

    edit_weights(tiny_model, cut)
    assert "expected heads of 3 members × 15 labels" in refusal(tiny_model)


def test_weights_without_heads_are_refused(tiny_model):
    edit_weights(tiny_model, lambda tensors: tensors.pop("heads.weight"))
    assert "heads.weight" in refusal(tiny_model)


@pytest.mark.parametrize("broken", [np.float64, "nan"])
def test_heads_of_another_kind_of_number_are_refused(tiny_model, broken):
    def change(tensors):
        heads = tensors["heads.weight"]
        tensors["heads.weight"] = heads * np.float32("nan") if broken == "nan" else heads.astype(broken)

    edit_weights(tiny_model, change)
    assert "heads.weight" in refusal(tiny_model)


def test_a_network_with_another_input_is_refused(tiny_model):
    def shrink(network):
        network.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 32

    edit_network(tiny_model, shrink)
    assert refusal(tiny_model)


def test_a_network_for_one_film_at_a_time_is_refused(tiny_model):
    def fix(network):
        network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    edit_network(tiny_model, fix)
    assert "batches of one size only" in refusal(tiny_model)


def test_a_network_whose_weights_changed_is_refused_by_the_self_test(tiny_model):
    def nudge(network):
        tensor = next(t for t in network.graph.initializer if t.name == "0.conv1.bias")
        moved = onnx.numpy_helper.to_array(tensor) + np.float32(0.05)
        tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))

    edit_network(tiny_model, nudge)
    assert "self-test logits differ by" in refusal(tiny_model)


def test_a_network_that_answers_nan_is_refused(tiny_model):
    def spoil(network):
        tensor = next(t for t in network.graph.initializer if t.name == "1.head.bias")
        nothing = np.full(15, np.nan, np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(nothing, tensor.name))

    edit_network(tiny_model, spoil)
    assert "self-test logits differ by nan" in refusal(tiny_model)


def test_the_bundled_model_is_sound(bundled):
    assert bundled.manifest.labels == ALL
    assert bundled.manifest.model.members > 1
