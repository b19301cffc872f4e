"""Each method against a place planted by hand, against its library, and with random weights."""

import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from onnx import helper, numpy_helper
from pytorch_grad_cam import GradCAMPlusPlus
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from cxr_core.errors import ModelError
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.preprocess import network_input
from cxr_core.inference import explain, explainers_sanity, explainers_torch, registry
from cxr_core.inference.explainers import explained, plus_plus
from cxr_core.inference.explanation import MEANS, NAMES, Explanation, Method, pack, unpack
from cxr_core.inference.heads import Heads, Pooling
from cxr_core.inference.manifest import NETWORK
from cxr_core.inference.runtime import open_session
from tests.inference.tiny import SIDE, make_tiny_model, random_films

LABEL = "Effusion"
SQUARE = np.s_[8:24, 32:48]
KINDS = [("mean", 0), ("max", 0), ("mean", 7), ("max", 7)]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def film():
    return random_films(1, seed=4)[0]


def planted(films):
    """A logit that is the mean brightness of one square, whatever the rest shows."""
    assert films.dtype == np.float32
    return films[:, 0][:, *SQUARE].mean(axis=(1, 2))


def share_inside(heatmap):
    return np.maximum(heatmap, 0)[SQUARE].sum() / np.maximum(heatmap, 0).sum()


# ---- the film with parts hidden


def test_occlusion_is_the_mean_fall_of_the_logit_over_the_squares_that_hide_a_pixel(film):
    bright = film.copy()
    bright[0][SQUARE] = 1.0
    got = explainers_torch.occlusion(planted, bright, side=16, step=8)
    fallen, times = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for row in range(0, SIDE - 15, 8):
        for column in range(0, SIDE - 15, 8):
            hidden = bright.copy()
            hidden[0, row : row + 16, column : column + 16] = bright.mean()
            place = np.s_[row : row + 16, column : column + 16]
            fallen[place] += planted(bright[None])[0] - planted(hidden[None])[0]
            times[place] += 1
    assert_allclose(got, fallen / times, atol=1e-5)
    assert share_inside(got) > 0.4


def test_lime_finds_what_the_logit_rests_on(film):
    bright = film.copy()
    bright[0][SQUARE] = 1.0
    got = explainers_torch.lime(planted, bright)
    inside, outside = got[SQUARE], np.delete(got, np.s_[8:24], axis=0)
    assert share_inside(got) > 0.7
    assert inside.mean() > 10 * np.abs(outside).mean()
    # All patches together hide the square: their weights come to what the logit falls by then.
    weights = [got[explainers_torch.patches(bright) == patch].mean() for patch in range(64)]
    assert np.nansum(weights) == pytest.approx(1.0 - bright.mean(), rel=0.15)


def test_lime_is_the_same_every_time_and_leaves_others_their_random_numbers(film):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = explainers_torch.lime(planted, film, samples=50)
    assert_array_equal(torch.rand(3), expected)
    assert_array_equal(explainers_torch.lime(planted, film, samples=50), first)
    assert (explainers_torch.lime(planted, film, samples=50, seed=1) != first).any()


def test_patches_are_numbered_follow_edges_and_exist_on_a_blank_film(film):
    edge = np.full((1, SIDE, SIDE), -1.0, np.float32)
    edge[:, :, 30:] = 1.0  # within a column of squares, not between two
    numbers = explainers_torch.patches(edge)
    assert set(numbers[:, :30].ravel()).isdisjoint(numbers[:, 30:].ravel())
    for each in (film, np.zeros_like(film)):
        numbers = explainers_torch.patches(each)
        assert_array_equal(np.unique(numbers), np.arange(numbers.max() + 1))
        assert 40 < numbers.max() < 64


# ---- the feature maps


class HeadOf(nn.Module):
    """One member's head on top of its feature maps, for the library to take gradients of."""

    def __init__(self, heads, member):
        super().__init__()
        self.maps = nn.Identity()
        self.heads, self.member = heads, member
        self.unused = nn.Parameter(torch.zeros(1))  # the library asks a parameter for its device

    def forward(self, maps):
        maps = self.maps(maps)
        pooled = maps.amax((2, 3)) if self.heads.pooling is Pooling.MAX else maps.mean((2, 3))
        tensors = [None if each is None else torch.from_numpy(each[self.member]) for each in (
            self.heads.weight, self.heads.bias, self.heads.hidden_weight, self.heads.hidden_bias
        )]  # fmt: skip
        weight, bias, inner, inner_bias = tensors
        if inner is not None:
            pooled = torch.relu(pooled @ inner.T + inner_bias)
        return pooled @ weight.T + bias


def one(heads, member):
    """The heads of one member, as heads of an ensemble of one."""
    parts = (heads.weight, heads.bias, heads.hidden_weight, heads.hidden_bias)
    weight, bias, inner, inner_bias = (None if each is None else each[member : member + 1] for each in parts)
    return Heads(weight, bias, heads.pooling, inner, inner_bias)


@pytest.mark.parametrize(("pooling", "hidden"), KINDS)
def test_grad_cam_plus_plus_equals_pytorch_grad_cam(tmp_path, film, pooling, hidden):
    classifier = registry.load(make_tiny_model(tmp_path, pooling=pooling, hidden=hidden))
    features = classifier.run(film[None]).features[0] * 8
    compared = 0
    for member in range(len(features)):
        network = HeadOf(classifier.heads, member)
        maps = plus_plus(features[member : member + 1], one(classifier.heads, member))
        tensor = torch.from_numpy(features[member : member + 1]).requires_grad_()
        for place in range(0, len(maps), 3):
            with GradCAMPlusPlus(model=network, target_layers=[network.maps]) as cam:
                theirs = cam(tensor, [ClassifierOutputTarget(place)])[0]
            ours = explain.normalised(maps[place])
            if not isinstance(ours, explain.NoRegion):
                # The library adds 1e-6 to a denominator that is as small where gradients are.
                assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99
                compared += 1
    assert compared >= 5


def test_grad_cam_plus_plus_worked_by_hand():
    features = np.array([[[[4.0, 0.0]], [[0.0, 2.0]]]], np.float32)
    heads = Heads(np.array([[[2.0, -1.0]]], np.float32), np.zeros((1, 1), np.float32))
    # Slope 2, mean 2: 2 / (2 + 2 * 2) = 1/3 of the first map; the second speaks against it.
    assert_allclose(plus_plus(features, heads), [[[4 / 3, 0.0]]], rtol=1e-6)


# ---- all of them


@pytest.mark.parametrize("method", Method)
def test_every_method_gives_a_finite_map_its_time_and_how_often_it_asked(classifier, film, method):
    made = explained(classifier, film, LABEL, method)
    again = explained(classifier, film, LABEL, method)
    assert_array_equal(made.heatmap, again.heatmap)
    assert made.heatmap.dtype == np.float32
    assert made.heatmap.ndim == 2
    assert np.isfinite(made.heatmap).all()
    assert made.heatmap.min() >= 0 < made.heatmap.max()
    assert made.ms > 0
    expected = {"grad_cam": 1, "grad_cam_plus_plus": 1, "lime": 400}
    assert made.films == expected.get(method.value, made.films)
    assert method in NAMES
    assert method in MEANS


def test_methods_differ_and_labels_differ(classifier, film):
    maps = {method: explained(classifier, film, LABEL, method).heatmap for method in Method}
    other = explained(classifier, film, "Mass", Method.OCCLUSION).heatmap
    assert (other != maps[Method.OCCLUSION]).any()
    assert (maps[Method.GRAD_CAM] != maps[Method.GRAD_CAM_PLUS_PLUS]).any()
    assert_allclose(
        maps[Method.GRAD_CAM],
        explain.heatmaps(classifier.run(film[None]).features[0], classifier.heads)[2],
    )


def test_a_label_that_the_model_does_not_know_is_refused(classifier, film):
    with pytest.raises(ModelError, match="knows no 'Gout'"):
        explained(classifier, film, "Gout", Method.LIME)


# ---- packed


def test_what_is_packed_comes_back(classifier, film):
    for method in Method:
        made = explained(classifier, film, LABEL, method)
        back = unpack(pack(made))
        assert (back.label, back.method, back.films) == (LABEL, method, made.films)
        assert back.ms == pytest.approx(made.ms, abs=0.01)
        assert_allclose(back.heatmap, made.heatmap, atol=made.heatmap.max() * 1e-3)


def test_a_blank_and_a_tiny_map_are_packed_too():
    for top in (0.0, 1e-9):
        heatmap = np.full((3, 4), top, np.float32)
        heatmap[0, 0] = top / 2
        assert_allclose(unpack(pack(Explanation(LABEL, Method.LIME, heatmap, 1.0, 1))).heatmap, heatmap)


@pytest.mark.parametrize("packed", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_explanation_is_refused(packed):
    with pytest.raises(ModelError, match="not whole"):
        unpack(packed)


def test_a_cut_explanation_is_refused(classifier, film):
    packed = pack(explained(classifier, film, LABEL, Method.GRAD_CAM))
    with pytest.raises(ModelError, match="not whole"):
        unpack(packed[:-40])


# ---- random weights


def test_structural_similarity_equals_torchmetrics():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmetrics.functional.image import structural_similarity_index_measure as reference
    one, other = random_films(2, seed=9)[:, 0] + 1
    fields = [torch.from_numpy(explainers_sanity.drawn(each).astype(np.float64)) for each in (one, other)]
    expected = reference(fields[0][None, None], fields[1][None, None], data_range=1.0, sigma=1.5)
    assert explainers_sanity.similarity(one, other) == pytest.approx(float(expected), abs=0.02)
    assert explainers_sanity.similarity(one, one) == pytest.approx(1.0)


def test_a_random_network_is_another_one_whose_heads_still_make_its_logits(classifier, tiny_model, film):
    random = explainers_sanity.randomised(classifier, tiny_model, seed=1)
    ours, theirs = classifier.run(film[None]), random.run(film[None])
    assert np.abs(ours.logits - theirs.logits).max() > 0.1
    assert_allclose(random.heads.logits(theirs.features[0]), theirs.logits[0], atol=1e-4)
    sizes = [np.sort(np.abs(each.heads.weight), axis=None) for each in (random, classifier)]
    assert_array_equal(*sizes)
    again = explainers_sanity.randomised(classifier, tiny_model, seed=1)
    assert_array_equal(again.run(film[None]).logits, theirs.logits)


@pytest.mark.parametrize("method", [Method.GRAD_CAM, Method.OCCLUSION, Method.LIME])
def test_a_map_changes_with_random_weights(classifier, tiny_model, film, method):
    """Not Grad-CAM++: of filters that are random already its map hardly changes, and the check says so."""
    made = explained(classifier, film, LABEL, method)
    sanity = explainers_sanity.check(classifier, tiny_model, film, made)
    assert sanity is not None
    assert sanity.changed
    assert sanity.similarity < 0.9


def test_a_map_that_only_shows_the_film_fails_the_check(classifier, tiny_model, film, monkeypatch):
    """An edge detector looks like an explanation and is none."""

    def edges(_, film, label, method):
        return Explanation(label, method, np.hypot(*np.gradient(film[0])).astype(np.float32), 0.0, 0)

    monkeypatch.setattr(explainers_sanity, "explained", edges)
    made = edges(None, film, LABEL, Method.GRAD_CAM)
    sanity = explainers_sanity.check(classifier, tiny_model, film, made, networks=1)
    assert sanity == explainers_sanity.Sanity(1.0, pytest.approx(1.0), 1)
    assert not sanity.changed


def test_a_flat_map_has_nothing_to_compare(classifier, tiny_model, film):
    flat = Explanation(LABEL, Method.LIME, np.zeros((4, 4), np.float32), 0.0, 0)
    assert explainers_sanity.check(classifier, tiny_model, film, flat) is None


# ---- what of a network becomes random


def rewritten(classifier, folder, change):
    """The classifier with its network changed, in the folder too; its heads stay as they were."""
    network = onnx.load(folder / NETWORK)
    change(network.graph)
    onnx.checker.check_model(network)
    onnx.save(network, folder / NETWORK)
    return replace(classifier, session=open_session(folder / NETWORK, 1))


def with_norms(graph):
    """Put a batch norm behind each member's first convolution, some variances near 0 as of dead maps."""
    rng = np.random.default_rng(3)
    for place, node in reversed(list(enumerate(graph.node))):
        if node.op_type == "Relu" and node.input[0].endswith(".a"):
            named = [f"{node.input[0]}.{each}" for each in ("scale", "bias", "mean", "variance")]
            values = (
                rng.normal(1, 0.5, 12),
                rng.normal(0, 0.2, 12),
                rng.normal(0, 0.2, 12),
                rng.random(12) ** 6,
            )
            graph.initializer.extend(
                numpy_helper.from_array(each.astype(np.float32), name)
                for name, each in zip(named, values, strict=True)
            )
            norm = helper.make_node(
                "BatchNormalization", [node.input[0], *named], [f"{node.input[0]}.normed"]
            )
            node.input[0] = norm.output[0]
            graph.node.insert(place, norm)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_network_with_batch_norms_answers_finite_numbers_of_its_own(
    classifier, tiny_model, film, seed
):
    """A variance of random sign has no square root: half of all maps would be no numbers."""
    normed = rewritten(classifier, tiny_model, with_norms)
    random = explainers_sanity.randomised(normed, tiny_model, seed=seed)
    ours, theirs, other = normed.run(film[None]), random.run(film[None]), random.run(-film[None])
    assert np.isfinite(theirs.logits).all()
    assert np.isfinite(theirs.features).all()
    assert np.abs(ours.logits - theirs.logits).max() > 0.1
    assert np.abs(other.logits - theirs.logits).max() > 0.1, "it sees the film"


def test_a_random_network_of_the_bundled_model_answers_finite_numbers_and_draws_maps(bundled, bundled_folder):
    recipe = bundled.manifest.preprocessing
    films = [make_phantom(number, (LABEL,), size=256).image for number in (1, 2)]
    films = np.stack([network_input(each, recipe) for each in films])
    random = explainers_sanity.randomised(bundled, bundled_folder, seed=0)
    ours, theirs = bundled.run(films[:1]), random.run(films)
    assert np.isfinite(theirs.logits).all()
    assert np.abs(theirs.logits[0] - ours.logits[0]).max() > 0.5
    assert (theirs.logits[0] != theirs.logits[1]).all(), "no number that is none was clipped to one"
    drawn = [np.ptp(each) > 0 for each in explain.heatmaps(theirs.features[0], random.heads)]
    assert np.mean(drawn) > 0.5
    assert np.isfinite(explain.heatmaps(theirs.features[0], random.heads)).all()


def test_of_the_bundled_network_all_weights_become_random_no_constant_and_variances_keep_their_sign(
    bundled, bundled_folder
):
    graph = onnx.load(bundled_folder / NETWORK).graph
    signed = explainers_sanity.weights_of(graph)
    left = [tensor.name for tensor in graph.initializer if tensor.name not in signed]
    assert not [name for name in left if name.startswith("members.")]
    assert all(name.startswith("members.") for name in signed)
    kept = {name for name, sign in signed.items() if not sign}
    assert kept == {name for name in signed if name.endswith(".running_var")}
    assert len(kept) == 52 * bundled.manifest.model.members, "52 normalisations in a MobileNetV2"


def test_constants_of_a_network_are_no_weights():
    shapes = {
        "weight": (4, 4),
        "bias": (4,),
        "places": (9, 4),
        "scale": (4,),
        "shift": (4,),
        "angles": (2, 3),
    }
    shapes |= {"factor": (), "ones": (4,), "deviation": (4,), "low": (), "halves": (1,)}
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["film", "places"], ["placed"]),
            helper.make_node("LayerNormalization", ["placed", "scale", "shift"], ["normed"]),
            helper.make_node("MatMul", ["normed", "weight"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["sum"]),
            helper.make_node("Clip", ["sum", "low", ""], ["clipped"]),
            helper.make_node("Mul", ["clipped", "factor"], ["scaled"]),
            helper.make_node("Div", ["scaled", "deviation"], ["divided"]),
            helper.make_node("Mul", ["divided", "halves"], ["halved"]),
            helper.make_node("BatchNormalization", ["halved", "ones", "bias", "bias", "ones"], ["answer"]),
            helper.make_node("Sin", ["angles"], ["sines"]),
        ],
        "one",
        [],
        [],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()],
    )
    signed = explainers_sanity.weights_of(graph)
    # An exporter keeps equal tensors once: what is a variance anywhere has no sign.
    assert signed == {"scale": True, "shift": True, "weight": True, "bias": True, "ones": False}


def test_a_random_network_that_answers_no_numbers_is_an_error(classifier, tiny_model):
    def overflow(graph):
        for tensor in graph.initializer:
            if tensor.name.endswith("head.weight"):
                values = np.full(tuple(tensor.dims), 3e38, np.float32)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    strange = rewritten(classifier, tiny_model, overflow)
    with pytest.raises(ModelError, match="with random weights it answers with a number that is none"):
        explainers_sanity.randomised(strange, tiny_model, seed=0)


def test_a_film_on_which_a_random_network_answers_no_number_is_an_error(
    classifier, tiny_model, film, monkeypatch
):
    class Failing:
        def run(self, names, films):
            return [np.nan * each for each in classifier.session.run(names, films)]

    made = explained(classifier, film, LABEL, Method.GRAD_CAM)
    failing = replace(classifier, session=Failing())
    monkeypatch.setattr(explainers_sanity, "randomised", lambda *_, **__: failing)
    with pytest.raises(ModelError, match="with random weights it answers with a number that is none"):
        explainers_sanity.check(classifier, tiny_model, film, made)


def test_a_network_whose_weights_are_not_found_is_an_error(classifier, tiny_model):
    """Nothing would be random, and the map would be said not to change."""

    def hide(graph):
        hidden = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
        for tensor in hidden:
            graph.initializer.remove(tensor)
            graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))

    strange = rewritten(classifier, tiny_model, hide)
    with pytest.raises(ModelError, match="no weights"):
        explainers_sanity.randomised(strange, tiny_model, seed=0)
