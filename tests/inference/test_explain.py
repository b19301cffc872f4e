"""The closed form against pytorch-grad-cam, against the logits it splits, and worked by hand."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import load_file
from torch import nn

from cxr_core.inference.explain import NoRegion, heatmaps, normalised
from cxr_core.inference.explain_torch import grad_cam
from cxr_core.inference.heads import Heads
from cxr_core.inference.registry import WEIGHTS
from cxr_core.training.describe import recipe_of
from cxr_core.training.networks import build
from cxr_core.training.recipes import Architecture, Network
from cxr_core.training.served import Served
from tests.inference.enlarge import on_film
from tests.inference.tiny import random_films

SIDE = 64
LABELS = 15
MOBILENET = Network(Architecture.MOBILENET_V2_GREY)


class OneMap(nn.Module):
    """An ensemble as one network: all members' maps side by side, and the mean of their logits."""

    class Maps(nn.Module):
        def __init__(self, members):
            super().__init__()
            self.members = members

        def forward(self, films):
            return torch.cat([member.maps(films) for member in self.members], dim=1)

    def __init__(self, members):
        super().__init__()
        self.maps = self.Maps(members)
        self.members = members

    def forward(self, films):
        pooled = self.maps(films).mean(dim=(2, 3)).chunk(len(self.members), dim=1)
        logits = [member.head(part) for member, part in zip(self.members, pooled, strict=True)]
        return torch.stack(logits).mean(dim=0)


def films(side, number=1):
    tripled = random_films(number, seed=3).repeat(3, axis=2).repeat(3, axis=3)
    return torch.from_numpy(np.ascontiguousarray(tripled[:, :, :side, :side]))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small tensors; more threads than free cores would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ensemble():
    """Three networks of random weights whose batch norms have seen films."""
    torch.manual_seed(0)
    members = [build(MOBILENET, LABELS) for _ in range(3)]
    with torch.no_grad():
        for member in members:
            for norm in (module for module in member.modules() if isinstance(module, nn.BatchNorm2d)):
                norm.momentum = None
            member.train()(films(SIDE, 6))
            member.head.weight.normal_(0, 0.1)
    return Served(members).eval()


def heads_of(members):
    weights, biases = (
        torch.stack([getattr(member.head, part).detach() for member in members]).numpy()
        for part in ("weight", "bias")
    )
    return Heads(weights, biases)


def weights_alone(weight):
    """Heads whose bias plays no part."""
    return Heads(weight, np.zeros(weight.shape[:2], np.float32))


def features_of(ensemble, film):
    with torch.inference_mode():
        return ensemble(film)[1][0].numpy()


def reference(network, layer, film):
    """What pytorch-grad-cam says of every label, as it comes: one copy of the film for each."""
    with GradCAM(model=network, target_layers=[layer]) as cam:
        return cam(film.repeat(LABELS, 1, 1, 1), [ClassifierOutputTarget(k) for k in range(LABELS)])


def reference_for_and_against(network, layer, film, labels):
    """What pytorch-grad-cam says for each label, then against each."""
    targets = [lambda logits, k=k, sign=sign: sign * logits[k] for sign in (1, -1) for k in labels]
    with GradCAM(model=network, target_layers=[layer]) as cam:
        return cam(film.repeat(len(targets), 1, 1, 1), targets)


def same_as_reference(maps, expected, side):
    """Compare, at least half of the maps being real ones."""
    shown = 0
    for heatmap, wanted in zip(maps, expected, strict=True):
        ours = on_film(heatmap, (side, side))
        if isinstance(ours, NoRegion):
            assert np.ptp(wanted) < 1e-4
        else:
            assert_allclose(ours, wanted, atol=1e-4)
            shown += 1
    assert shown >= len(maps) // 2


def test_each_member_equals_pytorch_grad_cam(ensemble):
    film = films(SIDE)
    features, heads = features_of(ensemble, film), heads_of(ensemble.members)
    for number, member in enumerate(ensemble.members):
        one = slice(number, number + 1)
        expected = reference(member, member.features, film)
        same_as_reference(heatmaps(features[one], weights_alone(heads.weight[one])), expected, SIDE)


def test_the_ensemble_equals_pytorch_grad_cam(ensemble):
    film = films(SIDE)
    whole = OneMap(ensemble.members).eval()
    maps = heatmaps(features_of(ensemble, film), heads_of(ensemble.members))
    same_as_reference(maps, reference(whole, whole.maps, film), SIDE)


def test_the_bundled_model_as_served_equals_pytorch_grad_cam_on_its_weights(bundled, bundled_folder):
    manifest = bundled.manifest
    side = manifest.input.height
    recipe = recipe_of(bundled_folder)
    network = Served([build(recipe.network, LABELS) for _ in recipe.served])
    weights = load_file(bundled_folder / WEIGHTS)
    network.load_state_dict({key: value for key, value in weights.items() if key.startswith("members.")})
    whole = OneMap(network.eval().members).eval()
    film, features = films(side), bundled.run(films(side).numpy()).features[0]
    labels = [0, 7, 14]
    # Whatever the film speaks for or against, one of the two maps is no blank.
    rows = bundled.heads.weight[:, labels]
    heads = weights_alone(np.concatenate([rows, -rows], axis=1))
    expected = reference_for_and_against(whole, whole.maps, film, labels)
    same_as_reference(heatmaps(features, heads), expected, side)


def test_the_torch_way_equals_the_closed_form_even_with_frozen_weights(ensemble):
    film, member = films(SIDE), ensemble.members[0]
    closed = heatmaps(features_of(ensemble, film)[:1], heads_of([member]))
    member.requires_grad_(requires_grad=False)
    by_gradient = grad_cam(member, member.features, film, range(3))
    member.requires_grad_(requires_grad=True)
    for heatmap, theirs in zip(closed, by_gradient, strict=False):
        ours = on_film(heatmap, (SIDE, SIDE))
        assert isinstance(ours, NoRegion) == isinstance(theirs, NoRegion)
        if not isinstance(ours, NoRegion) and not isinstance(theirs, NoRegion):
            assert_allclose(ours, theirs, atol=1e-4)


def test_the_torch_way_serves_a_head_that_is_not_linear():
    torch.manual_seed(1)
    body = nn.Sequential(nn.Conv2d(1, 6, 5, stride=8), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    network, film = nn.Sequential(body, head).eval(), films(64)
    shown = grad_cam(network, body, film, [0, 1, 2])
    maps = body(film).detach().requires_grad_()
    for label, got in enumerate(shown):
        (gradient,) = torch.autograd.grad(head(maps)[0, label], maps)
        raw = torch.relu((gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1))[0].detach().numpy()
        expected = on_film(raw, (64, 64))
        assert isinstance(got, NoRegion) == isinstance(expected, NoRegion)
        if not isinstance(got, NoRegion) and not isinstance(expected, NoRegion):
            assert_allclose(got, expected, atol=1e-3)


def test_worked_by_hand():
    # Two members, one channel, one label, 1 x 2 fields: (2 * [1, 3] + -1 * [4, 2]) / (2 members * 2 fields)
    features = np.array([[[[1, 3]]], [[[4, 2]]]], np.float32)
    heads = weights_alone(np.array([[[2]], [[-1]]], np.float32))
    assert_allclose(heatmaps(features, heads), [[[0, 1]]])  # [-0.5, 1.0] before the ReLU


def test_the_fields_of_a_map_without_relu_sum_to_its_logit(classifier):
    output = classifier.run(random_films(1))
    heads = np.abs(classifier.heads.weight)  # features are never negative: the ReLU changes nothing
    total = heatmaps(output.features[0], weights_alone(heads)).sum(axis=(1, 2))
    pooled = output.features[0].mean(axis=(2, 3))
    assert_allclose(total, np.einsum("mc,mlc->l", pooled, heads) / len(heads), rtol=1e-5)


def test_all_maps_at_once_with_their_shape_and_kind(classifier):
    maps = heatmaps(classifier.run(random_films(1)).features[0], classifier.heads)
    assert (maps.shape, maps.dtype) == ((15, 8, 8), np.float32)
    assert (maps >= 0).all()


@pytest.mark.parametrize(
    ("members", "channels", "side"), [(4, 1280, 10), (1, 1279, 7), (2, 6, 40), (3, 50, 64)]
)
def test_however_the_product_is_split_it_is_the_same(members, channels, side):
    rng = np.random.default_rng(0)
    features = rng.random((members, channels, side, side), np.float32)
    heads = rng.normal(size=(members, 15, channels)).astype(np.float32)
    expected = np.einsum("mlc,mchw->lhw", heads.astype(float), features.astype(float)) / (members * side**2)
    assert_allclose(heatmaps(features, weights_alone(heads)), np.maximum(expected, 0), atol=1e-5)


def test_features_and_heads_of_two_models_do_not_mix():
    with pytest.raises(ValueError, match="do not belong together"):
        heatmaps(np.zeros((2, 4, 3, 3), np.float32), weights_alone(np.zeros((3, 15, 4), np.float32)))
    with pytest.raises(ValueError, match="do not belong together"):
        heatmaps(np.zeros((2, 4, 3, 3), np.float32), weights_alone(np.zeros((2, 15, 5), np.float32)))


def test_a_map_is_stretched_from_0_to_1():
    assert_allclose(normalised(np.array([[1, 3], [2, 5]], np.float32)), [[0, 0.5], [0.25, 1]])


def test_small_numbers_are_stretched_as_well():
    assert_allclose(normalised(np.array([[0, 1e-9], [5e-10, 0]], np.float32)), [[0, 1], [0.5, 0]], rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_without_support_is_said_not_shown(value):
    empty = np.full((4, 4), value, np.float32)
    assert normalised(empty) is NoRegion.NONE
    assert on_film(empty, (50, 40)) is NoRegion.NONE


def test_an_even_map_shows_no_region():
    assert normalised(np.full((4, 4), 0.3, np.float32)) is NoRegion.EVEN


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_map_is_an_error(broken):
    heatmap = np.ones((3, 3), np.float32)
    heatmap[1, 1] = broken
    with pytest.raises(ValueError, match="number that is none"):
        normalised(heatmap)


def test_on_film_keeps_place_shape_and_range():
    heatmap = np.zeros((10, 10), np.float32)
    heatmap[2, 7] = 4.0
    shown = on_film(heatmap, (300, 200))
    assert not isinstance(shown, NoRegion)
    assert (shown.shape, shown.dtype, shown.min(), shown.max()) == ((300, 200), np.float32, 0.0, 1.0)
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert 60 <= row < 90
    assert 140 <= column < 160
