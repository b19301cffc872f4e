"""Train one ensemble member on all films outside its fold; resumes from its last epoch."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import MobileNetV2

from cxr_core.evaluation.bootstrap import column_aucs
from cxr_core.training.augment import augmented
from cxr_core.training.networks import freeze_early_blocks, load_imagenet, mobilenet_v2_grey
from cxr_core.training.recipes import Augmentation

CHANGES = Augmentation(10.0, 0.12, 0.12, 0.15, 0.2, 0.25, 0.03, mirror=True, blurred_share=0.3)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is asked to do.

    Attributes:
        epochs, batch, peak_rate, weight_decay: AdamW on one cycle.
    """

    epochs: int = 6
    batch: int = 32
    peak_rate: float = 6e-4
    weight_decay: float = 0.02


@dataclass(frozen=True, slots=True)
class Films:
    """Inputs (N, 1, S, S) in [-1, 1], truth (N, L) with NaN where unknown, and source resolution (N,)."""

    inputs: NDArray[np.float32]
    truth: NDArray[np.float32]
    side_px: NDArray[np.int64]


def masked_bce(logits: Tensor, truth: Tensor) -> Tensor:
    """Return mean binary cross-entropy over the known labels; NaN in `truth` is unknown."""
    known = ~torch.isnan(truth)
    losses = F.binary_cross_entropy_with_logits(logits, torch.nan_to_num(truth), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def fit(
    member: int, train: Films, check: Films, plan: Plan, pretrained: Path, folder: Path, *, seed: int
) -> MobileNetV2:
    """Return the network after `plan.epochs`, having written a checkpoint after every one.

    Args:
        member: number of the ensemble member, for the log.
        train: films to learn from.
        check: films to report on after each epoch; nothing is chosen by them.
        plan: schedule.
        pretrained: ImageNet weights, see `load_imagenet`.
        folder: where `last.pt` and `history.csv` go; an existing `last.pt` is resumed.
        seed: with the epoch number it fixes order and augmentation, so that a resumed run sees
            what an uninterrupted one would have seen.
    """
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    network = mobilenet_v2_grey(train.truth.shape[1])
    first = np.random.default_rng(seed).choice(
        len(train.inputs), size=min(64, len(train.inputs)), replace=False
    )
    load_imagenet(network, pretrained, torch.from_numpy(train.inputs[np.sort(first)]))
    network = network.to(memory_format=torch.channels_last)
    freeze_early_blocks(network.train())
    steps = len(train.inputs) // plan.batch
    optimiser, schedule = _optimiser(network, plan, steps)
    checkpoint = folder / "last.pt"
    start = 0
    if checkpoint.exists():
        saved: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        start = saved["epoch"]
    with Progress() as progress:
        for epoch in range(start, plan.epochs):
            task = progress.add_task(f"member {member} epoch {epoch + 1}/{plan.epochs}", total=steps)
            torch.manual_seed(1000 * seed + epoch)
            freeze_early_blocks(network.train())
            total = 0.0
            order = torch.randperm(len(train.inputs))[: steps * plan.batch].view(steps, plan.batch)
            for picks in order:
                total += _step(network, optimiser, train, picks.sort().values.numpy())
                schedule.step()
                progress.advance(task)
            logits = predict(network, check.inputs)
            auc = float(np.nanmean(column_aucs(logits.astype(np.float64), check.truth.astype(np.float64))))
            _note(folder / "history.csv", epoch + 1, total / steps, auc)
            unfinished = checkpoint.with_suffix(".part")
            torch.save(
                {
                    "network": network.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "epoch": epoch + 1,
                },
                unfinished,
            )
            unfinished.replace(checkpoint)
    return network.eval()


def predict(network: MobileNetV2, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, L) float32 logits of inputs (N, 1, S, S)."""
    with torch.inference_mode():
        logits: NDArray[np.float32] = (
            network.eval().classifier(torch.from_numpy(pool(network, inputs))).numpy()
        )
    return logits


def pool(network: MobileNetV2, inputs: NDArray[np.float32], batch: int = 64) -> NDArray[np.float32]:
    """Return (N, C) float32 mean features of inputs (N, 1, S, S): what the linear head sees."""
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(inputs), batch):
            films = torch.from_numpy(inputs[start : start + batch].copy()).to(
                memory_format=torch.channels_last
            )
            parts.append(network.features(films).mean(dim=(2, 3)).numpy())
    return np.concatenate(parts)


def _optimiser(
    network: MobileNetV2, plan: Plan, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    learned = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in learned if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=plan.peak_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=plan.peak_rate, total_steps=plan.epochs * steps + 1, pct_start=0.2
    )
    return optimiser, schedule


def _step(
    network: MobileNetV2, optimiser: torch.optim.Optimizer, films: Films, picks: NDArray[np.int64]
) -> float:
    batch = augmented(torch.from_numpy(films.inputs[picks]), torch.from_numpy(films.side_px[picks]), CHANGES)
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(batch.to(memory_format=torch.channels_last))
    loss = masked_bce(logits.float(), torch.from_numpy(films.truth[picks]))
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


def _note(path: Path, epoch: int, loss: float, auc: float) -> None:
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["epoch", "train_loss", "val_mean_auc"])
        writer.writerow([epoch, f"{loss:.5f}", f"{auc:.4f}"])
