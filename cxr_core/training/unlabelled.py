"""Learning from films without labels, a start for other runs: VICReg (Bardes 2022, arXiv:2105.04906)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_core.training.augment import augmented
from cxr_core.training.judging import Judgement
from cxr_core.training.losses import LossFunction
from cxr_core.training.module import Lesson
from cxr_core.training.networks import Classifier
from cxr_core.training.recipes import TrainingRecipe
from cxr_core.training.sampling import Batch

WIDTH = 512
"""Of the layers between pooled features and what two views of a film are compared by."""
ALIKE, SPREAD, APART = 25.0, 25.0, 1.0
"""Weights of the three terms, as in the paper."""


class Unlabelled(Lesson):
    """A network that learns to answer two augmented views of a film alike and different films differently.

    Attributes:
        expander: pooled features (N, C) → (N, WIDTH); only for this, and not kept.
    """

    def __init__(
        self,
        recipe: TrainingRecipe,
        phase: int,
        network: Classifier,
        loss: LossFunction,
        steps: int,
        seed: int,
    ) -> None:
        """See `Lesson`; `loss` is not asked."""
        super().__init__(recipe, phase, network, loss, steps, seed)
        # No part of the loss: several GPUs would wait for its gradient.
        network.head.requires_grad_(requires_grad=False)
        # Its own random numbers: a run that goes on draws them as one that was never stopped.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence((seed, phase)).generate_state(1)[0]))
            self.expander = nn.Sequential(
                nn.Linear(network.channels, WIDTH),
                nn.BatchNorm1d(WIDTH),
                nn.ReLU(),
                nn.Linear(WIDTH, WIDTH),
            )
        self._views: list[Tensor] = []

    @property
    def learning(self) -> nn.Module:
        """The network and the expander."""
        return nn.ModuleList([self.network, self.expander])

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Return two views of each film, one after the other in the batch; of val the same in every epoch."""
        films, truth, side_px = batch
        self.settle_chance() if self.trainer.training else torch.manual_seed(len(self._views))
        views = [augmented(films, side_px, self.recipe.augmentation) for _ in range(2)]
        return torch.cat(views).to(memory_format=torch.channels_last), truth, side_px

    def expanded(self, films: Tensor) -> Tensor:
        """Return (2, N, WIDTH) float32 of two views of N films, (2 N, 1, S, S)."""
        pooled = self.network.pooling(self.network.features(films))
        views: Tensor = self.expander(pooled).float()
        return views.view(2, -1, WIDTH)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one batch."""
        loss = vicreg(*self.expanded(batch[0]))
        self._losses.append(loss.detach())
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Answer the views of one batch of val."""
        self._views.append(self.expanded(batch[0]))

    def on_validation_epoch_end(self) -> None:
        """Judge the epoch by the loss of all val at once: there are no labels to be right about."""
        value = float(vicreg(*torch.cat(self._views, dim=1)))
        self._views.clear()
        self.conclude(Judgement(value, value, {}))


def vicreg(first: Tensor, second: Tensor) -> Tensor:
    """Return the loss of (N, W) float32 answers to one view and to another of the same N > 1 films.

    Views alike, each number spread to a standard deviation of 1 or more over the films, numbers apart.
    """
    with torch.autocast(first.device.type, enabled=False):
        loss = ALIKE * F.mse_loss(first, second)
        for view in (first, second):
            centred = view - view.mean(dim=0)
            spread = torch.sqrt(centred.var(dim=0) + 1e-4)
            covariance = centred.T @ centred / (len(view) - 1)
            apart = (covariance - covariance.diagonal().diag()).square().sum() / view.shape[1]
            loss = loss + SPREAD * F.relu(1 - spread).mean() / 2 + APART * apart
    return loss
