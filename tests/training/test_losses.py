"""Losses and orders against numbers worked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from cxr_core.errors import DataError
from cxr_core.inference.manifest import Task
from cxr_core.training import run
from cxr_core.training.augment import augmented
from cxr_core.training.losses import class_weights, classes, loss_of, positive_weights, probabilities
from cxr_core.training.recipes import Augmentation, Loss, Output, Sampler
from cxr_core.training.sampling import Order, film_weights, picks_of, training_loader
from cxr_core.training.starts import Places
from tests.training.made import made_films, made_recipe

NAN = float("nan")
BINARY = {"task": Task.BINARY, "labels": ("Effusion",), "output": Output.SOFTMAX}
CLASSES = {"task": Task.MULTICLASS, "labels": ("Effusion", "Mass"), "output": Output.SOFTMAX}


def test_unknown_labels_carry_no_gradient():
    logits = torch.zeros(2, 2, requires_grad=True)
    truth = torch.tensor([[1.0, NAN], [0.0, 1.0]])
    for loss in (Loss.BCE, Loss.WEIGHTED_BCE, Loss.FOCAL):
        logits.grad = None
        loss_of(made_recipe(loss=loss), truth)(logits, truth).backward()
        assert logits.grad[0, 1] == 0
        assert (logits.grad != 0).sum() == 3


def test_a_positive_weighs_as_much_as_the_negatives_it_stands_against():
    truth = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [NAN, 0.0]])
    assert positive_weights(truth).tolist() == [2.0, 1.0]
    loss = loss_of(made_recipe(loss=Loss.WEIGHTED_BCE), truth)(torch.zeros(4, 2), truth)
    assert float(loss) == pytest.approx(math.log(2) * (2 + 1 + 1 + 4) / 7)


def test_focal_loss_is_torchvision_s():
    torch.manual_seed(0)
    logits, truth = torch.randn(8, 2), (torch.rand(8, 2) < 0.5).float()
    ours = loss_of(made_recipe(loss=Loss.FOCAL, focal_gamma=2.0), truth)(logits, truth)
    assert torch.allclose(ours, sigmoid_focal_loss(logits, truth, alpha=-1, gamma=2.0, reduction="mean"))


def test_classes_of_films():
    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [NAN, 1.0]])
    assert classes(made_recipe(**CLASSES), truth).tolist() == [0, 1, -100, -100, 1]
    assert classes(made_recipe(**BINARY), truth[:, :1]).tolist() == [1, 0, 1, 0, -100]


def test_weighted_classes_weigh_alike_and_no_known_film_costs_nothing():
    recipe = made_recipe(**BINARY, loss=Loss.WEIGHTED_CROSS_ENTROPY)
    truth = torch.tensor([[1.0]] + [[0.0]] * 9)
    assert class_weights(recipe, truth).tolist() == pytest.approx([10 / 18, 5.0])
    logits = torch.zeros(1, 2, requires_grad=True)
    assert loss_of(recipe, truth)(logits, torch.tensor([[NAN]])).detach() == 0


def test_rare_classes_met_more_often_do_not_weigh_more_as_well(monkeypatch, tmp_path):
    """Each of three classes has a third of the loss of an epoch, with and without copies of the rare one."""
    films = made_films(12)
    numbers = np.repeat([0, 1, 2], [6, 4, 2])
    films = replace(films, truth=np.eye(3, dtype=np.float32)[numbers])
    seen = []
    monkeypatch.setattr(run, "loss_of", lambda recipe, truth: seen.append(truth) or loss_of(recipe, truth))
    for copies in (0, 10):
        recipe = made_recipe(
            **CLASSES | {"labels": ("Effusion", "Mass", "Nodule")},
            loss=Loss.WEIGHTED_CROSS_ENTROPY, copies_of_rare=copies, rare_below=3, batch=2,
        )  # fmt: skip
        own = tmp_path / str(copies)
        run.train_member(recipe, 0, films, films, own, Places(own), run.Machine("cpu", precision="32-true"))
        feed = training_loader(films, recipe.fit, seed=0, rank=0, ranks=1, workers=0)
        met = torch.cat([truth for _, truth, _ in feed]).argmax(1).bincount(minlength=3)
        shares = met * class_weights(recipe, seen.pop())
        assert met[2] == 2 * (1 + copies)
        assert (shares / shares.sum()).tolist() == pytest.approx([1 / 3] * 3)


def test_probabilities_of_a_binary_softmax_are_those_of_its_label():
    logits = torch.tensor([[0.0, math.log(3)]])
    assert probabilities(made_recipe(**BINARY), logits).tolist() == [[pytest.approx(0.75)]]


def test_rare_films_come_again_and_weights_follow_the_rarest_label():
    truth = np.array([[1, 0], [1, 1], [1, 0], [0, 0]], dtype=np.float32)
    picks = picks_of(truth, made_recipe(copies_of_rare=10, rare_below=2).fit)
    assert np.bincount(picks).tolist() == [1, 11, 1, 1]
    assert film_weights(truth).tolist() == pytest.approx([1 / 3, 1, 1 / 3, 1])


def test_an_order_is_its_seed_and_epoch_s_and_devices_share_it():
    def epoch(number, rank=0, ranks=1, weights=None):
        order = Order(weights, 10, 4, 7, rank, ranks)
        order.set_epoch(number)
        return list(order)

    assert epoch(0) == epoch(0)
    assert epoch(0) != epoch(1)
    assert len({film for batch in epoch(0) for film in batch}) == 8
    shared = [film for rank in (0, 1) for batch in epoch(0, rank, 2) for film in batch]
    assert len(set(shared)) == len(shared) == 8
    weights = np.array([1.0] + [0.0] * 9)
    assert {film for batch in epoch(0, weights=weights) for film in batch} == {0}


def test_fewer_films_than_devices_are_refused():
    with pytest.raises(DataError, match="1 films to learn from on 2 devices"):
        Order(None, 1, 4, 0, 0, 2)


def test_a_batch_is_looked_up_in_one_go_with_its_truth():
    films = made_films(10)
    fit = made_recipe(sampler=Sampler.WEIGHTED).fit
    for inputs, truth, side_px in training_loader(films, fit, seed=1, rank=0, ranks=1, workers=0):
        assert inputs.shape == (4, 1, 32, 32)
        assert ((inputs[:, 0, 4:12, 4:12].mean(dim=(1, 2)) > 0.5).float() == truth[:, 0]).all()
        assert side_px.tolist() == [128] * 4


def test_no_augmentation_changes_nothing_and_each_changes_something():
    films, side_px = made_films(4).inputs(np.arange(4)), torch.full((4,), 128)
    assert torch.equal(augmented(films, side_px, Augmentation()), films)
    every = {"rotation_deg": 9.0, "shift": 0.1, "scale": 0.1, "brightness": 0.2, "contrast": 0.2}
    every |= {"gamma": 0.3, "noise": 0.1, "blurred_share": 1.0, "mirror": True}
    for name, value in every.items():
        torch.manual_seed(1)
        assert not torch.equal(augmented(films, side_px, Augmentation(**{name: value})), films), name


def test_mirroring_keeps_top_and_bottom():
    films = made_films(64).inputs(np.arange(64))
    torch.manual_seed(0)
    changed = augmented(films, torch.full((64,), 128), Augmentation(mirror=True))
    flipped = films.flip(3)
    same, mirrored = ((changed - each).abs().amax(dim=(1, 2, 3)) < 1e-4 for each in (films, flipped))
    assert (same ^ mirrored).all()
    assert 16 < int(mirrored.sum()) < 48
