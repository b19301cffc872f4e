"""Heads with max pooling and a hidden layer: the closed form against pytorch-grad-cam and against torch."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from cxr_core.errors import ModelError
from cxr_core.inference import registry
from cxr_core.inference.explain import NoRegion, heatmaps
from cxr_core.inference.heads import Heads, Pooling
from cxr_core.inference.manifest import read_manifest
from tests.inference.enlarge import on_film
from tests.inference.tiny import make_tiny_model, random_films

CHANNELS, HIDDEN, LABELS = 12, 7, 5
KINDS = [("mean", 0), ("max", 0), ("mean", HIDDEN), ("max", HIDDEN)]


class Network(nn.Module):
    """Two convolutions, a pooling, a head of one or two layers."""

    def __init__(self, pooling, hidden):
        super().__init__()
        first, second = nn.Conv2d(1, 8, 5, 4, padding=2), nn.Conv2d(8, CHANNELS, 3, 2, padding=1)
        self.features = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
        self.pooling = nn.AdaptiveMaxPool2d(1) if pooling == "max" else nn.AdaptiveAvgPool2d(1)
        inner = [nn.Linear(CHANNELS, hidden), nn.ReLU()] if hidden else []
        self.head = nn.Sequential(*inner, nn.Linear(hidden or CHANNELS, LABELS))

    def forward(self, films):
        return self.head(self.pooling(self.features(films)).flatten(1))


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def made(request):
    """A network of random weights and the same heads as serving holds them."""
    torch.manual_seed(3)
    pooling, hidden = request.param
    network = Network(pooling, hidden).eval()
    arrays = [part.detach().numpy()[None] for part in network.head.parameters()]
    *inner, weight, bias = arrays
    return network, Heads(weight, bias, Pooling(pooling), *inner)


def films(number, seed=5):
    return torch.from_numpy(random_films(number, seed=seed))


def features_of(network, film):
    with torch.inference_mode():
        return network.features(film).numpy()


def test_the_heads_make_the_networks_logits(made):
    network, heads = made
    film = films(1)
    with torch.inference_mode():
        expected = network(film).numpy()
    assert heads.channels == CHANNELS
    assert_allclose(heads.logits(features_of(network, film)), expected, atol=1e-5)


def test_slopes_are_the_gradients_that_torch_takes(made):
    network, heads = made
    for film in films(4)[:, None]:
        pooled = network.pooling(network.features(film)).flatten(1).detach().requires_grad_()
        expected = torch.autograd.functional.jacobian(lambda p: network.head(p)[0], pooled)[:, 0]
        assert_allclose(heads.slopes(features_of(network, film))[0], expected.numpy(), atol=1e-6)


def test_the_closed_form_equals_pytorch_grad_cam(made):
    network, heads = made
    shown = 0
    for film in films(4)[:, None]:
        with GradCAM(model=network, target_layers=[network.features]) as cam:
            targets = [ClassifierOutputTarget(k) for k in range(LABELS)]
            expected = cam(film.repeat(LABELS, 1, 1, 1), targets)
        for heatmap, wanted in zip(heatmaps(features_of(network, film), heads), expected, strict=True):
            ours = on_film(heatmap, (64, 64))
            if isinstance(ours, NoRegion):
                assert np.ptp(wanted) < 1e-4
            else:
                assert_allclose(ours, wanted, atol=1e-4)
                shown += 1
    assert shown >= 10


def test_the_map_of_two_members_is_the_mean_of_theirs_before_the_relu():
    # One label, two channels, 1 x 2 fields. The hidden unit of member 0 counts: 1*4 - 1*1 = 3 > 0; that of
    # member 1 does not: 1*1 - 1*4 = -3. Slopes are 2*(1, -1) and 0: 2*([4, 0] - [0, 1]) / (2 members * 2).
    features = np.array([[[[4, 0]], [[0, 1]]], [[[1, 0]], [[0, 4]]]], np.float32)
    inner = np.array([[[1, -1]], [[1, -1]]], np.float32)
    heads = Heads(
        np.full((2, 1, 1), 2, np.float32), np.zeros((2, 1), np.float32), Pooling.MAX,
        inner, np.zeros((2, 1), np.float32),
    )  # fmt: skip
    assert_allclose(heatmaps(features, heads), [[[2, 0]]])


@pytest.mark.parametrize(("pooling", "hidden"), KINDS)
def test_a_folder_with_such_heads_loads_and_explains_the_network_that_answers(tmp_path, pooling, hidden):
    classifier = registry.load(make_tiny_model(tmp_path, pooling=pooling, hidden=hidden))
    output = classifier.run(random_films(3))
    for logits, features in zip(output.logits, output.features, strict=True):
        assert_allclose(classifier.heads.logits(features), logits, atol=1e-4)
        assert heatmaps(features, classifier.heads).shape == (15, 8, 8)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('pooling = "max"', 'pooling = "mean"', "logits from the heads differ"),
        ("hidden = 7", "hidden = 0", "expected logits and features ((1, 3, 15), (1, 3, 7, 8, 8))"),
        ("hidden = 7", "hidden = 8", "8 hidden, got 3 × 15, 7 hidden"),
        ("hidden = 7", "hidden = -1", "output.hidden must be"),
        ('pooling = "max"', 'pooling = "sum"', "unknown 'sum'"),
    ],
)
def test_a_manifest_that_tells_of_other_heads_is_refused(tmp_path, old, new, why):
    folder = make_tiny_model(tmp_path, pooling="max", hidden=7)
    path = folder / "manifest.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ModelError) as refusal:
        registry.load(folder)
    assert why in str(refusal.value)


def test_heads_are_the_same_after_writing_and_reading(tmp_path):
    folder = make_tiny_model(tmp_path, pooling="max", hidden=7)
    output = read_manifest(folder).output
    assert (output.pooling, output.hidden) == (Pooling.MAX, 7)
