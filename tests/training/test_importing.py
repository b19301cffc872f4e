"""Checkpoints of others: made ones of the same key names, read without running anything that is in them."""

import pickle
from functools import cache

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import save_file
from torch import nn
from torchvision.models import densenet121

from cxr_core.domain import FINDINGS
from cxr_core.errors import ModelError
from cxr_core.inference import registry
from cxr_core.training.checkpoint import Kind, network_of, state_of
from cxr_core.training.importing import OUTPUTS, Source, import_checkpoint, kind_of, placed, spelled
from tests.training.made import as_of_2017

XRV, CHEXNET = Kind.TORCHXRAYVISION, Kind.CHEXNET


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """More threads than free cores would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def original(kind):
    """A DenseNet-121 as that project defines it, with random weights and spread answers."""
    torch.manual_seed(0)
    outputs = len(OUTPUTS[kind])
    network = densenet121(num_classes=outputs)
    if kind is XRV:
        network.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        network.features.conv0.weight.data /= 1024
    else:
        network.classifier = nn.Sequential(nn.Linear(1024, outputs), nn.Sigmoid())
    for name, value in network.named_parameters():
        if "classifier" in name:
            value.data.normal_(0, 1)
    return network.eval()


def checkpoint(kind):
    """Its tensors under the names that are published."""
    state = original(kind).state_dict()
    if kind is XRV:
        return state | {"op_threshs": torch.full((18,), 0.5)}
    renamed = {f"module.densenet121.{key}": value for key, value in as_of_2017(state).items()}
    return {"epoch": 3, "arch": "DENSENET121", "state_dict": renamed, "best_loss": 0.1}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A whole import, of the kind that needs more changes."""
    space = tmp_path_factory.mktemp("import")
    file = space / "weights.pth.tar"
    torch.save(checkpoint(CHEXNET), file)
    return import_checkpoint(Source(file, CHEXNET, "theirs", licence="MIT"), space / "models")


def as_they_see_it(kind, films):
    """Our greys in [-1, 1] as that project feeds its network."""
    if kind is XRV:
        return films * 1024
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return ((films + 1) / 2 - mean) / std


def answers_of_the_original(kind, films):
    with torch.inference_mode():
        network = original(kind)
        maps = torch.relu(network.features(as_they_see_it(kind, torch.from_numpy(films))))
        linear = network.classifier if kind is XRV else network.classifier[0]
        return linear(maps.mean(dim=(2, 3))).numpy()


@pytest.mark.parametrize("kind", [XRV, CHEXNET], ids=str)
def test_the_network_answers_what_the_original_answers_for_the_same_film(kind, tmp_path):
    torch.save(checkpoint(kind), tmp_path / "weights.pth.tar")
    kept = [OUTPUTS[kind].index(label) for label in ("Mass", "Effusion")]
    member = network_of(state_of(tmp_path / "weights.pth.tar"), kind, len(OUTPUTS[kind]), kept)
    films = np.random.default_rng(0).uniform(-1, 1, (2, 1, 96, 96)).astype(np.float32)
    expected = answers_of_the_original(kind, films)
    with torch.inference_mode():
        got = member(torch.from_numpy(films)).numpy()
    assert np.ptp(expected) > 0.5
    assert_allclose(got, expected[:, kept], atol=2e-3)


def test_the_model_folder_answers_what_the_original_answers(imported):
    films = np.random.default_rng(0).uniform(-1, 1, (1, 1, 224, 224)).astype(np.float32)
    got = registry.load(imported).run(films).logits[:, 0]
    assert_allclose(got, answers_of_the_original(CHEXNET, films), atol=2e-3)
    assert registry.verify(imported).labels == FINDINGS


def test_outputs_without_a_place_here_are_left_out_and_named():
    labels, left_out = placed(OUTPUTS[XRV])
    assert set(labels) == set(FINDINGS)
    assert left_out == ("Lung Lesion", "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum")
    assert placed(("", "Mass", "", "Fracture")) == (("Mass",), ("Fracture",))  # unused outputs have no name


def test_outputs_are_known_in_any_spelling():
    theirs = ("pleural thickening", "Infiltrate", "pleural effusion", "", "Fracture")
    assert spelled(theirs) == ("Pleural_Thickening", "Infiltration", "Effusion", "", "Fracture")
    assert placed(spelled(theirs)) == (("Pleural_Thickening", "Infiltration", "Effusion"), ("Fracture",))
    with pytest.raises(ModelError, match="one twice"):
        placed(spelled(("Effusion", "pleural effusion")))


def test_nothing_is_assessed_until_it_is_calibrated_and_the_card_says_so(imported):
    classifier = registry.load(imported)
    assert classifier.predictions(np.full((1, 14), 50.0, np.float32)) == ((), None)
    card = (imported / "card.md").read_text(encoding="utf-8")
    assert 'Every finding reads "not assessed" until' in card
    assert "Weights: MIT." in card


def test_a_safetensors_file_and_names_of_ones_own_are_taken(tmp_path):
    outputs = original(XRV).classifier.out_features
    save_file(original(XRV).state_dict(), tmp_path / "w.safetensors")
    member = network_of(state_of(tmp_path / "w.safetensors"), XRV, outputs, [7, 3])
    assert_allclose(member.head.weight.detach(), original(XRV).classifier.weight[[7, 3]].detach())


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return self.file.write_text, ("sprung",)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_h5_a_checkpoint_of_pickled_objects_is_refused_and_never_run(tmp_path, how):
    path, held = tmp_path / "model.pt", {"state_dict": Trap(tmp_path / "sprung")}
    if how == "torch":
        torch.save(held, path)
    else:
        path.write_bytes(pickle.dumps(held))
    with pytest.raises(ModelError, match="pickles can run code and are not opened"):
        state_of(path)
    assert not (tmp_path / "sprung").exists()


def test_a_whole_pickled_model_is_refused_with_what_to_do(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"save its state_dict\(\) by itself"):
        state_of(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "cannot be read|pickled"), (b"no weights", "pickled"), (None, "cannot be read")],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content, why):
    if content is not None:
        (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ModelError, match=why):
        state_of(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s.pop("features.norm5.weight"), "1 tensors lack, as features.norm5.weight"),
        (lambda s: s.pop("features.conv0.weight"), "conv0.weight of .* got None"),
        (lambda s: s.update({"classifier.weight": torch.zeros(5, 1024)}), "expected 18 outputs"),
        (lambda s: s.update({"features.conv0.weight": torch.zeros(64, 3, 7, 7)}), r"got \(64, 3, 7, 7\)"),
        (lambda s: s.update({"features.norm5.bias": torch.full((1024,), torch.nan)}), "number that is none"),
    ],
    ids=["lacks", "no-stem", "outputs", "channels", "nan"],
)
def test_another_network_is_refused(change, why):
    state = dict(original(XRV).state_dict())
    change(state)
    with pytest.raises(ModelError, match=why):
        network_of(state, XRV, 18, list(range(14)))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"id": "../elsewhere"}, "must be of small letters"),
        ({"labels": ("Fracture", "Lung Lesion")}, "none of our labels"),
        ({"labels": ("Mass", "Mass")}, "one twice"),
    ],
)
def test_ids_and_labels_that_cannot_be_are_refused_before_anything_is_read(tmp_path, changed, why):
    given = {"file": tmp_path / "nowhere", "kind": XRV, "id": "theirs"} | changed
    with pytest.raises(ModelError, match=why):
        import_checkpoint(Source(**given), tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_model_that_is_there_is_not_overwritten(imported):
    with pytest.raises(ModelError, match="there is a model theirs already"):
        import_checkpoint(Source(imported / "card.md", XRV, "theirs"), imported.parent)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ModelError, match="known: torchxrayvision, chexnet"):
        kind_of("keras")
