"""One phase of training as Lightning sees it: what a step is, what an epoch is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from lightning import pytorch as pl
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cxr_core.errors import RecipeError
from cxr_core.training.augment import augmented
from cxr_core.training.judging import Judgement, judge
from cxr_core.training.losses import LossFunction
from cxr_core.training.networks import Classifier
from cxr_core.training.recipes import Fit, Judge, Optimiser, Phase, Schedule, TrainingRecipe
from cxr_core.training.sampling import Batch

ALL_BUT_HEAD = "all_but_head"


class Lesson(pl.LightningModule):
    """A network in one phase of its recipe.

    Attributes:
        network: what learns.
        average: running mean of its weights and buffers, where the recipe keeps one.
        judgement: of the last epoch.
        train_loss: of the last epoch, mean of its steps.
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
        """Freeze what the phase freezes.

        Args:
            recipe: what is done.
            phase: number of the phase, from 0.
            network: to train.
            loss: of `losses.loss_of`.
            steps: of one epoch.
            seed: of the member; with the epoch it fixes all random numbers.
        """
        super().__init__()
        self.recipe, self.phase, self.loss, self.steps, self.seed = recipe, phase, loss, steps, seed
        self.network = network
        self.average: AveragedModel | None = None
        if recipe.fit.running_mean:
            running = get_ema_multi_avg_fn(recipe.fit.running_mean)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(network, multi_avg_fn=running, use_buffers=True)
            self.average.requires_grad_(requires_grad=False)
        freeze(network, self.plan)
        self.judgement: Judgement | None = None
        self.train_loss = 0.0
        self._losses: list[Tensor] = []
        self._answers: list[tuple[Tensor, Tensor]] = []
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_before: dict[str, Any] = {}

    @property
    def plan(self) -> Phase:
        """The phase."""
        return self.recipe.fit.phases[self.phase]

    @property
    def answering(self) -> Classifier:
        """The network that is judged and kept: the running mean where there is one."""
        return self.network if self.average is None else cast(Classifier, self.average.module)

    @property
    def learning(self) -> nn.Module:
        """What the optimiser changes."""
        return self.network

    @property
    def epochs_before(self) -> int:
        """Epochs of the phases before this one."""
        return sum(phase.epochs for phase in self.recipe.fit.phases[: self.phase])

    def forward(self, films: Tensor) -> Tensor:
        """Return logits (N, K) of films (N, 1, S, S)."""
        logits: Tensor = self.network(films)
        return logits

    def on_train_epoch_start(self) -> None:
        """Keep what is frozen from following the films with its statistics, and only that."""
        self._losses.clear()
        self.network.train()
        for module in self.network.modules():
            own = list(module.parameters(recurse=False))
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment on the device that trains, outside of mixed precision."""
        films, truth, side_px = batch
        if self.trainer.training:
            self.settle_chance()
            films = augmented(films, side_px, self.recipe.augmentation)
        return films.to(memory_format=torch.channels_last), truth, side_px

    def settle_chance(self) -> None:
        """Fix the random numbers of a step by seed, epoch and step, whatever ran before it."""
        place = (self.seed, self.epochs_before + self.current_epoch, len(self._losses), self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one batch."""
        films, truth, _ = batch
        loss = self.loss(self(films).float(), truth)
        self._losses.append(loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ANN401 - Lightning's
        """Follow the weights with their running mean."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Answer one batch of val."""
        films, truth, _ = batch
        self._answers.append((self.answering(films).float(), truth))

    def on_validation_epoch_end(self) -> None:
        """Judge the epoch."""
        logits, truth = (torch.cat(parts).cpu() for parts in zip(*self._answers, strict=True))
        self._answers.clear()
        self.conclude(judge(self.recipe, self.loss, logits, truth))

    def conclude(self, judgement: Judgement) -> None:
        """Show how the epoch was judged; a flat loss lowers the rate where the schedule is plateau."""
        self.judgement = judgement
        self.train_loss = float(torch.stack(self._losses).mean())
        judged = self.recipe.fit.judged_by
        self.log(f"val_{judged}", judgement.judged, prog_bar=True, sync_dist=True)
        if judged is not Judge.LOSS:
            self.log("val_loss", judgement.loss, prog_bar=True, sync_dist=True)
        if judged is Judge.RECALL_PRECISION:
            self.log("val_mean_auc", judgement.mean_auc, prog_bar=True, sync_dist=True)
        self.log("train_loss_of_epoch", self.train_loss, prog_bar=True, sync_dist=True)
        if self._plateau is not None:
            self._plateau.step(judgement.loss)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the phase's optimiser, and its schedule unless that waits for the judgement."""
        optimiser = optimiser_of(self.learning, self.recipe.fit, self.plan.rate)
        if self.recipe.fit.schedule is Schedule.PLATEAU:
            self._plateau = ReduceLROnPlateau(optimiser, factor=0.3, patience=1)
            self._plateau.load_state_dict(self._plateau.state_dict() | self._plateau_before)
            return optimiser
        schedule = schedule_of(optimiser, self.recipe.fit, self.plan, self.steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the phase, and the schedule that Lightning does not know."""
        checkpoint["phase"] = self.phase
        checkpoint["epochs_done"] = self.epochs_before + self.current_epoch + 1
        if self._plateau is not None:
            checkpoint["plateau"] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the same up again; Lightning loads before it asks for the optimiser."""
        self._plateau_before = checkpoint.get("plateau", {})


def freeze(network: Classifier, phase: Phase) -> None:
    """Let only those parameters learn that the phase does not freeze.

    Raises:
        RecipeError: a name to freeze is that of no parameter, or nothing is left to learn.
    """
    unused = set(phase.frozen) - {ALL_BUT_HEAD}
    for name, parameter in network.named_parameters():
        reasons = {start for start in phase.frozen if name == start or name.startswith(f"{start}.")}
        unused -= reasons
        body = ALL_BUT_HEAD in phase.frozen and not name.startswith("head.")
        parameter.requires_grad_(not reasons and not body)
    if unused:
        raise RecipeError(f"frozen: no parameter begins with {', '.join(sorted(unused))}")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise RecipeError("frozen: nothing is left to learn")


def optimiser_of(network: nn.Module, fit: Fit, rate: float) -> optim.Optimizer:
    """Return the optimiser over what is not frozen; norms and biases do not decay."""
    groups = [
        {"params": list(_learning(network, matrices=True)), "weight_decay": fit.weight_decay},
        {"params": list(_learning(network, matrices=False)), "weight_decay": 0.0},
    ]
    if fit.optimiser is Optimiser.SGD:
        return optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    kind = optim.AdamW if fit.optimiser is Optimiser.ADAMW else optim.Adam
    return kind(groups, lr=rate)


def _learning(network: nn.Module, *, matrices: bool) -> Iterator[nn.Parameter]:
    for parameter in network.parameters():
        if parameter.requires_grad and (parameter.ndim > 1) is matrices:
            yield parameter


def schedule_of(optimiser: optim.Optimizer, fit: Fit, phase: Phase, steps: int) -> LRScheduler:
    """Return the schedule of a phase of this many steps an epoch, stepped once a batch."""
    total = phase.epochs * steps
    if fit.schedule is Schedule.ONE_CYCLE:
        return OneCycleLR(optimiser, max_lr=phase.rate, total_steps=total + 1, pct_start=fit.warm_up)
    if fit.schedule is Schedule.COSINE:
        return CosineAnnealingLR(optimiser, T_max=total)
    return ConstantLR(optimiser, factor=1.0, total_iters=0)
