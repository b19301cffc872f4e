"""What a run leaves behind after every epoch, so that a kill costs one epoch at most."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from safetensors.torch import save_file

from cxr_core.training.judging import better
from cxr_core.training.module import Lesson
from cxr_core.training.recipes import Keep, TrainingRecipe

KEPT = "network.safetensors"
"""A member's weights, in its folder."""
LAST = "last.ckpt"
HISTORY = "history.csv"
FACTS = "run.json"


class Keeper(Checkpoint):
    """Writes history, kept weights and last of all the checkpoint, each in one piece.

    Attributes:
        best, best_epoch: by the recipe's judge.
        rows: of the history.
        minutes: of training, over all interruptions.
        per_label: AUC of the last epoch.
        best_per_label: of the best epoch; empty where a run was resumed that did not keep it yet.
    """

    def __init__(self, recipe: TrainingRecipe, folder: Path) -> None:
        """Name the member's folder."""
        self._recipe, self._folder = recipe, folder
        self.best, self.best_epoch = math.nan, 0
        self.rows: list[list[float]] = []
        self.per_label: dict[str, float] = {}
        self.best_per_label: dict[str, float] = {}
        self._began = time.monotonic()

    @property
    def kept(self) -> tuple[int, float, dict[str, float]]:
        """Number, judged figure and AUC per label of the epoch whose network is handed on."""
        if self._recipe.fit.keep is Keep.BEST and self.best_epoch:
            return self.best_epoch, self.best, self.best_per_label
        return len(self.rows), self.rows[-1][3], self.per_label

    @property
    def minutes(self) -> float:
        """Of all epochs so far."""
        return sum(row[-1] for row in self.rows) / 60

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the time."""
        self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write everything of the epoch; Lightning calls checkpoint callbacks last."""
        if not isinstance(pl_module, Lesson) or pl_module.judgement is None:
            raise TypeError("a Keeper keeps a Lesson that was judged")
        judgement, epoch = pl_module.judgement, pl_module.epochs_before + pl_module.current_epoch + 1
        rate, seconds = trainer.optimizers[0].param_groups[0]["lr"], time.monotonic() - self._began
        self.rows.append(
            [epoch, pl_module.train_loss, judgement.loss, judgement.judged, float(rate), round(seconds, 2)]
        )
        self.per_label = judgement.per_label
        improved = better(self._recipe, judgement.judged, self.best)
        if improved:
            self.best, self.best_epoch = judgement.judged, epoch
            self.best_per_label = judgement.per_label
        if trainer.is_global_zero:
            write(self._folder / HISTORY, history(self._recipe, self.rows).encode())
            if improved or not self.best_epoch or self._recipe.fit.keep is Keep.LAST:
                self._keep(pl_module)
        part = self._folder / f"{LAST}.part"
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            part.replace(self._folder / LAST)

    def _keep(self, lesson: Lesson) -> None:
        part = self._folder / f"{KEPT}.part"
        state = lesson.answering.state_dict()
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, part)
        part.replace(self._folder / KEPT)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run has to know."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "rows": self.rows,
            "per_label": self.per_label,
            "best_per_label": self.best_per_label,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again."""
        for name, value in state_dict.items():
            setattr(self, name, value)


def history(recipe: TrainingRecipe, rows: list[list[float]]) -> str:
    """Return the CSV text of the epochs."""
    columns = ["epoch", "train_loss", "val_loss", f"val_{recipe.fit.judged_by}", "rate", "seconds"]
    if columns[2] == columns[3]:
        columns[3] = "val_judged_loss"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for epoch, *figures in rows:
        writer.writerow([int(epoch), *(f"{figure:.6g}" for figure in figures)])
    return text.getvalue()


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `run.json`; figures that do not exist are null."""
    write(folder / FACTS, (json.dumps(plain(facts), indent=2) + "\n").encode())


def read_facts(folder: Path) -> dict[str, Any]:
    """Return `run.json`, empty if there is none that can be read."""
    try:
        held: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return held


def plain(value: Any) -> Any:  # noqa: ANN401 - JSON's own types
    """Return the value with None for every NaN."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def write(path: Path, content: bytes) -> None:
    """Write a file in one piece: a reader sees the old or the new one, also after a kill."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
