"""What a network is punished for; a label that is not known costs nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_core.inference.manifest import Task
from cxr_core.training.recipes import Fit, Loss, Output, TrainingRecipe

UNKNOWN = -100
"""Class of a film whose truth is not known; torch's cross-entropy leaves it out."""

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(N, K) float32 logits and (N, L) truth with NaN where unknown → the mean loss."""


def loss_of(recipe: TrainingRecipe, truth: Tensor) -> LossFunction:
    """Return the loss of a recipe, weighted by the training films where it asks for that.

    Args:
        recipe: says which.
        truth: (N, L) of the films as an epoch meets them, copies too: no rarity is made up for twice.
    """
    fit = recipe.fit
    if recipe.output is Output.SOFTMAX:
        weights = class_weights(recipe, truth) if fit.loss is Loss.WEIGHTED_CROSS_ENTROPY else None
        return lambda logits, known: cross_entropy(recipe, logits, known, weights)
    if fit.loss is Loss.FOCAL:
        return lambda logits, known: masked(_focal(logits, known, fit), known)
    ratio = positive_weights(truth) if fit.loss is Loss.WEIGHTED_BCE else None
    return lambda logits, known: masked(_bce(logits, known, fit, ratio), known)


def masked(losses: Tensor, truth: Tensor) -> Tensor:
    """Return the mean of (N, L) losses over the labels that are known."""
    known = ~torch.isnan(truth)
    return (losses * known).sum() / known.sum().clamp(min=1)


def positive_weights(truth: Tensor) -> Tensor:
    """Return (L,) negatives per positive, what a positive weighs; 1 where a label has neither."""
    positives, negatives = (truth == 1).sum(dim=0), (truth == 0).sum(dim=0)
    both = (positives > 0) & (negatives > 0)
    return torch.where(both, negatives / positives.clamp(min=1), torch.ones(truth.shape[1]))


def class_weights(recipe: TrainingRecipe, truth: Tensor) -> Tensor:
    """Return (K,) weights under which every class weighs alike; 1 where a class has no film."""
    found = classes(recipe, truth)
    counts = torch.bincount(found[found != UNKNOWN], minlength=recipe.outputs)
    return torch.where(counts > 0, counts.sum() / (recipe.outputs * counts.clamp(min=1)), 1.0)


def classes(recipe: TrainingRecipe, truth: Tensor) -> Tensor:
    """Return (N,) the class of each film: 0 or 1 of a binary recipe, else which label it has.

    A film without any of the labels, with more than one, or of unknown truth is UNKNOWN.
    """
    if recipe.task is Task.BINARY:
        return torch.where(torch.isnan(truth[:, 0]), UNKNOWN, torch.nan_to_num(truth[:, 0])).long()
    one = (truth == 1).sum(dim=1) == 1
    return torch.where(one, torch.nan_to_num(truth).argmax(dim=1), UNKNOWN)


def cross_entropy(recipe: TrainingRecipe, logits: Tensor, truth: Tensor, weights: Tensor | None) -> Tensor:
    """Return the cross-entropy over the films whose class is known, 0 if there is none."""
    target = classes(recipe, truth)
    if bool((target == UNKNOWN).all()):
        return logits.sum() * 0
    weights = None if weights is None else weights.to(logits)
    return F.cross_entropy(logits, target, weights, label_smoothing=recipe.fit.label_smoothing)


def probabilities(recipe: TrainingRecipe, logits: Tensor) -> Tensor:
    """Return (N, L) uncalibrated probabilities of (N, K) logits; of a binary softmax, of its label."""
    if recipe.output is Output.SIGMOID:
        return torch.sigmoid(logits)
    shares = torch.softmax(logits, dim=1)
    return shares[:, 1:] if recipe.task is Task.BINARY else shares


def _bce(logits: Tensor, truth: Tensor, fit: Fit, ratio: Tensor | None) -> Tensor:
    ratio = None if ratio is None else ratio.to(logits)
    return F.binary_cross_entropy_with_logits(
        logits, _smoothed(truth, fit), pos_weight=ratio, reduction="none"
    )


def _focal(logits: Tensor, truth: Tensor, fit: Fit) -> Tensor:
    """Lin 2017, arXiv:1708.02002, without the weight alpha."""
    target = _smoothed(truth, fit)
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    distance = (torch.sigmoid(logits) - target).abs()
    return losses * distance**fit.focal_gamma


def _smoothed(truth: Tensor, fit: Fit) -> Tensor:
    return torch.nan_to_num(truth) * (1 - fit.label_smoothing) + fit.label_smoothing / 2
