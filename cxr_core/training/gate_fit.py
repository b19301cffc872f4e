"""Training the gate's network: one small network says what a picture shows and how it hangs."""

from __future__ import annotations

import hashlib
import logging
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset

from cxr_core.errors import RecipeError
from cxr_core.imaging.gate import ANSWERS, Kind
from cxr_core.training import gate_films
from cxr_core.training.gate_changes import Changed, changed
from cxr_core.training.gate_films import Pictures
from cxr_core.training.gate_recipe import GateRecipe

KINDS = len(Kind)
TURNS = slice(KINDS, KINDS + 4)
LAST, MADE_OF = "last.ckpt", "made_of.txt"
OTHERS = 48
"""Pictures in a batch that are no chest films, evenly from every source of them."""


class GateNet(nn.Module):
    """Pictures (N, 1, 64, 64) to (N, 11) logits: four kinds, four turns, inverted, mirrored, cropped."""

    def __init__(self, width: int) -> None:
        """Make the untrained network."""
        super().__init__()
        sizes = [(1, width, 2), (width, 2 * width, 2), (2 * width, 2 * width, 1), (2 * width, 4 * width, 2)]
        sizes += [(4 * width, 4 * width, 1), (4 * width, 4 * width, 2)]
        self.layers = nn.Sequential(
            *(_block(*size) for size in sizes),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(4 * width * 16, 128),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(128, ANSWERS),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.layers(pictures)
        return logits


def _block(inward: int, outward: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU()
    )


class Batches(Dataset[tuple[Tensor, Tensor, int]]):
    """Batch k of an epoch: chest films once each in a seeded order, beside them others drawn at random."""

    def __init__(self, pictures: Pictures, recipe: GateRecipe) -> None:
        """Sort the pictures by source."""
        self.inputs = torch.from_numpy(pictures.inputs)
        kinds = np.array([list(Kind).index(kind) for kind in pictures.kinds])
        sources = np.array(pictures.sources)
        self.kinds = torch.from_numpy(kinds)
        self.chest = np.flatnonzero(kinds == 0)
        self.groups = [
            np.flatnonzero((sources == source) & (kinds > 0)) for source in sorted(set(sources[kinds > 0]))
        ]
        self.recipe, self.epoch = recipe, 0

    def __len__(self) -> int:
        """Return batches of an epoch."""
        return len(self.chest) // self.recipe.batch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        """Return pictures, kinds and how many are chest films, which stand first."""
        recipe = self.recipe
        order = np.random.default_rng([recipe.seed, self.epoch]).permutation(self.chest)
        rng = np.random.default_rng([recipe.seed, self.epoch, index])
        chest = order[index * recipe.batch : (index + 1) * recipe.batch]
        each = OTHERS // len(self.groups) + 1
        picked = np.concatenate([chest, *(rng.choice(group, each) for group in self.groups)])
        return self.inputs[picked], self.kinds[picked], len(chest)


class GateLesson(pl.LightningModule):
    """The network and what a step is."""

    def __init__(self, recipe: GateRecipe, batches: Batches) -> None:
        """Make the network."""
        super().__init__()
        self.recipe, self.batches = recipe, batches
        self.network = GateNet(recipe.width)

    def on_train_epoch_start(self) -> None:
        """Let the loader draw this epoch's order."""
        self.batches.epoch = self.current_epoch

    def training_step(self, batch: tuple[Tensor, Tensor, int], index: int) -> Tensor:
        """Return the loss of one batch; its random numbers are fixed by seed, epoch and step."""
        pictures, kinds, chest = batch
        place = np.random.SeedSequence((self.recipe.seed, self.current_epoch, index))
        torch.manual_seed(int(place.generate_state(1)[0]))
        after = changed(pictures, self.recipe.changes)
        loss = loss_of(self.network(after.pictures), kinds, after, chest)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with one cycle."""
        recipe = self.recipe
        optimiser = torch.optim.AdamW(
            self.network.parameters(), recipe.rate, weight_decay=recipe.weight_decay
        )
        steps = recipe.epochs * len(self.batches)
        schedule = OneCycleLR(optimiser, recipe.rate, total_steps=steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def loss_of(logits: Tensor, kinds: Tensor, after: Changed, chest: int) -> Tensor:
    """Return the loss: kind of all, turn and inversion of chest films, the rest of those that hang well."""
    said, turns, inverted = logits[:chest], after.turns[:chest], after.inverted[:chest]
    loss = F.cross_entropy(logits[:, :KINDS], kinds)
    loss = loss + F.cross_entropy(said[:, TURNS], turns) + _binary(said[:, -3], inverted)
    well = (turns == 0) & (inverted == 0)
    whole = well & (after.cropped[:chest] == 0)
    for column, truth, where in ((-2, after.mirrored, whole), (-1, after.cropped, well)):
        if bool(where.any()):
            loss = loss + _binary(said[where, column], truth[:chest][where])
    return loss


def _binary(logits: Tensor, truth: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, truth)


def to_learn_from(data: Path, recipe: GateRecipe) -> Pictures:
    """Return the pictures of the data folder and the invented ones, each as often as it is shown."""
    amounts = recipe.pictures
    films = gate_films.chest_films(data / "nih", "train", "nih")
    children = gate_films.collection(data / "kermany", held_out=False)
    some = np.zeros(len(children), bool)
    some[np.random.default_rng(recipe.seed).permutation(len(children))[: amounts.kermany]] = True
    covid = gate_films.collection(data / "covid", held_out=False)
    invented = gate_films.phantoms(range(100_000, 100_000 + amounts.phantoms))
    return gate_films.joined(
        [
            films,
            children.where(some),
            *[covid] * amounts.covid_times,
            *[invented] * amounts.phantom_times,
            gate_films.other_pictures(data, held_out=False),
            gate_films.pieces(data, amounts.pieces),
            gate_films.drawn(range(amounts.drawn)),
        ]
    )


def train(recipe: GateRecipe, pictures: Pictures, run: Path, *, bar: bool = False) -> GateNet:
    """Return the trained network; a run that was stopped goes on from its last epoch.

    Args:
        recipe: how.
        pictures: of `to_learn_from`.
        run: folder of the checkpoint.
        bar: show progress.

    Raises:
        RecipeError: the run was begun by another recipe or with other pictures.
    """
    _belongs(run, recipe, pictures)
    torch.manual_seed(recipe.seed)
    batches = Batches(pictures, recipe)
    lesson = GateLesson(recipe, batches)
    keep = ModelCheckpoint(run, save_last=True, save_top_k=1)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=recipe.epochs,
            callbacks=[keep],
            logger=False,
            enable_progress_bar=bar,
            enable_model_summary=False,
        )
        last = run / LAST
        loader = DataLoader(batches, batch_size=None, shuffle=False)
        trainer.fit(lesson, loader, ckpt_path=last if last.exists() else None, weights_only=True)
    return lesson.network.eval()


def _belongs(run: Path, recipe: GateRecipe, pictures: Pictures) -> None:
    """Note of what the run is made, or refuse to go on with one that is made of something else."""
    made_of = hashlib.sha256(repr((recipe, pictures.kinds, pictures.sources, pictures.names)).encode())
    made_of.update(pictures.inputs.tobytes())
    note = run / MADE_OF
    if not note.exists():
        run.mkdir(parents=True, exist_ok=True)
        note.write_text(made_of.hexdigest() + "\n", encoding="ascii")
    elif note.read_text(encoding="ascii").strip() != made_of.hexdigest():
        raise RecipeError(f"{run}: begun by another recipe or with other pictures; --anew discards it")


def answers(network: GateNet, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, 11) logits of (N, 1, 64, 64) pictures."""
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(np.ascontiguousarray(inputs[k : k + 512])))
            for k in range(0, len(inputs), 512)
        ]
    joined: NDArray[np.float32] = torch.cat(parts).numpy()
    return joined
