"""How well a network does on val after an epoch; for choosing and for the bar, not for the card."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_f1_score, multiclass_f1_score

from cxr_core.inference.manifest import Task
from cxr_core.training.losses import UNKNOWN, LossFunction, classes, probabilities
from cxr_core.training.recipes import Judge, TrainingRecipe


@dataclass(frozen=True, slots=True)
class Judgement:
    """Figures of one epoch.

    Attributes:
        loss: on val.
        judged: by the recipe's `judged_by`, NaN where val does not allow it.
        per_label: label → AUC, NaN where val has no film with it, or none without.
    """

    loss: float
    judged: float
    per_label: dict[str, float]

    @property
    def mean_auc(self) -> float:
        """Over the labels that have one, NaN where none has."""
        known = [value for value in self.per_label.values() if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan


def judge(recipe: TrainingRecipe, loss: LossFunction, logits: Tensor, truth: Tensor) -> Judgement:
    """Return the figures of (N, K) logits beside the (N, L) truth with NaN where unknown."""
    chances = probabilities(recipe, logits)
    per_label = {
        label: auc(chances[:, column], truth[:, column]) for column, label in enumerate(recipe.labels)
    }
    value = float(loss(logits, truth))
    found = Judgement(value, math.nan, per_label)
    return replace(found, judged=_judged(recipe, found, chances, truth))


def better(recipe: TrainingRecipe, new: float, old: float) -> bool:
    """Say whether a judged figure beats another; anything beats NaN, and nothing does by being NaN."""
    if math.isnan(new):
        return False
    return math.isnan(old) or (new < old if recipe.fit.judged_by is Judge.LOSS else new > old)


def auc(chances: Tensor, truth: Tensor) -> float:
    """Return the area under the ROC curve of (N,) values where truth is known, NaN without both classes."""
    known = ~torch.isnan(truth)
    truth = truth[known].long()
    if not 0 < int(truth.sum()) < len(truth):
        return math.nan
    return float(binary_auroc(chances[known], truth))


def _judged(recipe: TrainingRecipe, found: Judgement, chances: Tensor, truth: Tensor) -> float:
    if recipe.fit.judged_by is Judge.LOSS:
        return found.loss
    if recipe.fit.judged_by is Judge.RECALL_PRECISION:
        return _recall_precision(recipe, chances, truth)
    return found.mean_auc


def _recall_precision(recipe: TrainingRecipe, chances: Tensor, truth: Tensor) -> float:
    """Return the harmonic mean of recall and precision; of several labels, the mean of theirs."""
    if recipe.task is Task.MULTICLASS:
        target = classes(recipe, truth)
        known = target != UNKNOWN
        return float(multiclass_f1_score(chances[known], target[known], len(recipe.labels), average="macro"))
    each = []
    for column in range(truth.shape[1]):
        known = ~torch.isnan(truth[:, column])
        each.append(binary_f1_score(chances[known, column], truth[known, column].long()))
    return float(torch.stack(each).mean())
