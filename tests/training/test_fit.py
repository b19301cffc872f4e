"""The trainer: the ImageNet file is unfolded without changing the function, and a killed run resumes."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import mobilenet_v2

from cxr_core.training import fit as module
from cxr_core.training.fit import Films, Plan, fit, masked_bce
from cxr_core.training.networks import FROZEN_BLOCKS, Ensemble, load_imagenet, mobilenet_v2_grey

PLAN = Plan(epochs=2, batch=4, peak_rate=1e-3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file like the ImageNet one: RGB, batch norms folded (weight 1, mean 0, variance 1 - eps)."""
    torch.manual_seed(0)
    network = mobilenet_v2(num_classes=1001)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_var.fill_(1 - norm.eps)
            norm.bias.data.normal_(0, 0.2)
    path = tmp_path_factory.mktemp("weights") / "imagenet.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def films():
    rng = np.random.default_rng(0)
    truth = (rng.random((16, 15)) < 0.4).astype(np.float32)
    truth[:3, 6] = np.nan
    inputs = rng.uniform(-1, 1, (16, 1, 64, 64)).astype(np.float32)
    return Films(inputs, truth, np.where(np.arange(16) < 8, 64, 128))


def test_unfolding_keeps_the_function_of_the_rgb_network(weights, films):
    torch.manual_seed(1)
    network = mobilenet_v2_grey(15)
    grey = torch.from_numpy(films.inputs)
    load_imagenet(network, weights, grey)
    rgb = mobilenet_v2(num_classes=1001).eval()
    rgb.load_state_dict(load_file(weights))
    network.eval()
    with torch.no_grad():
        expected = rgb.features[:14](grey.expand(-1, 3, -1, -1))
        assert torch.allclose(network.features[:14](grey), expected, atol=1e-4)
    assert not torch.allclose(network.features[1].conv[0][1].running_mean, torch.zeros(1))


def test_a_stopped_run_resumes_to_the_same_weights(weights, films, tmp_path):
    whole = fit(0, films, films, PLAN, weights, tmp_path / "whole", seed=3)
    fit_one = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        _stop_after_first_epoch(films, weights, fit_one)
    resumed = fit(0, films, films, PLAN, weights, fit_one, seed=3)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=1e-6), name
    rows = (fit_one / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2"]


def _stop_after_first_epoch(films, weights, folder):
    calls = 0
    step = module._step

    def stopping(*args):
        nonlocal calls
        calls += 1
        if calls > len(films.inputs) // PLAN.batch:
            raise KeyboardInterrupt
        return step(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_step", stopping)
        fit(0, films, films, PLAN, weights, folder, seed=3)


def test_early_blocks_stay_as_they_were(weights, films, tmp_path):
    network = fit(0, films, films, PLAN, weights, tmp_path / "run", seed=3)
    torch.manual_seed(3)
    fresh = mobilenet_v2_grey(15)
    picked = np.sort(np.random.default_rng(3).choice(16, size=16, replace=False))
    load_imagenet(fresh, weights, torch.from_numpy(films.inputs[picked]))
    last = FROZEN_BLOCKS - 1
    assert torch.equal(network.features[last].conv[0][0].weight, fresh.features[last].conv[0][0].weight)
    assert not torch.equal(
        network.features[last + 1].conv[0][0].weight, fresh.features[last + 1].conv[0][0].weight
    )


def test_unknown_labels_carry_no_gradient():
    logits = torch.zeros(2, 2, requires_grad=True)
    masked_bce(logits, torch.tensor([[1.0, float("nan")], [0.0, 1.0]])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0
    assert torch.allclose(logits.grad.abs().sum(), torch.tensor(0.5))


def test_the_ensemble_answers_like_its_members():
    torch.manual_seed(5)
    members = [mobilenet_v2_grey(15).eval() for _ in range(2)]
    film = torch.rand(3, 1, 64, 64)
    with torch.no_grad():
        logits, features = Ensemble(members).eval()(film)
        assert torch.allclose(logits[:, 1], members[1](film), atol=1e-6)
    assert features.shape == (3, 2, 1280, 4, 4)
