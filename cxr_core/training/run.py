"""From a recipe and films to a run folder; what was stopped goes on from its last epoch."""

from __future__ import annotations

import logging
import platform
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import pytorch as pl
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from cxr_core.data.splits import fold_of
from cxr_core.errors import DataError, RecipeError
from cxr_core.training.losses import loss_of
from cxr_core.training.module import Lesson
from cxr_core.training.networks import Classifier, build
from cxr_core.training.progress import LAST, Keeper, read_facts, write_facts
from cxr_core.training.recipes import COPY, FILMS, FOLDS, Loss, Member, TrainingRecipe
from cxr_core.training.sampling import FilmSet, checking_loader, picks_of, training_loader
from cxr_core.training.starts import CACHE, Places, begin
from cxr_core.training.teaching import softened, teacher_of
from cxr_core.training.unlabelled import Unlabelled

CHECKING_BATCH = 64
HOPELESS = 5.0
"""A step so many times slower than another precision's best is not asked again: one may take minutes."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run may use.

    Attributes:
        accelerator, devices: Lightning's words; "auto" takes every GPU there is.
        precision: Lightning's word; "" measures which is faster here.
        workers: processes that read films beside the one that trains.
        bar: show progress.
    """

    accelerator: str = "auto"
    devices: str = "auto"
    precision: str = ""
    workers: int = 0
    bar: bool = False


def train_member(
    recipe: TrainingRecipe,
    number: int,
    train: FilmSet,
    val: FilmSet,
    folder: Path,
    places: Places,
    machine: Machine,
) -> dict[str, Any]:
    """Train one member on the films outside its fold and return the facts of `run.json`.

    A finished member is left as it is; a stopped one goes on from its last whole epoch and ends as it
    would have without the stop.

    Raises:
        DataError: no film is left to learn from, or to judge by.
        RecipeError: its start, its teacher or its frozen names do not fit.
    """
    own = folder / f"member-{number}"
    facts = read_facts(own)
    if facts.get("finished"):
        return facts
    own.mkdir(parents=True, exist_ok=True)
    recipe, member = recipe.of_member(number), recipe.members[number]
    films = without_fold(train, member)
    if len(films) < 2 or len(val) < (2 if recipe.fit.loss is Loss.VICREG else 1):
        raise DataError(
            f"{len(films)} films to learn from and {len(val)} to judge by: there is nothing to do"
        )
    teacher = teacher_of(recipe, member.fold, folder, places.runs)
    now = teacher.name if teacher else ""
    if facts.get("teacher", now) != now:
        raise RecipeError(
            f"{recipe.name}: member {number} began with the teacher {facts['teacher']!r}, "
            f"now it would be {now!r}; --anew discards it"
        )
    if teacher is not None:
        films = softened(recipe, teacher, films, places.runs / CACHE)
    torch.manual_seed(member.seed)
    network = build(recipe.network, recipe.outputs)
    init = begin(recipe, network, places, _some(films, member.seed), member.fold)
    if facts.get("init", init) != init:
        raise RecipeError(
            f"{recipe.name}: member {number} began from {facts['init']}, now it would be from {init}; "
            "--anew discards it"
        )
    network = network.to(memory_format=torch.channels_last)
    precision = str(facts.get("precision") or machine.precision or faster_precision(network, films, recipe))
    facts = {
        "films": len(films),
        "patients": len(set(films.patients.tolist())),
        "epochs": 0,
        "of_epochs": recipe.fit.epochs,
        "minutes": 0.0,
        "seed": member.seed,
        "fold": member.fold,
        "init": init,
        "teacher": now,
        "torch": torch.__version__,
        "device": device_name(),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "finished": False,
        "per_label": {},
    }
    rank_zero_only(write_facts)(own, facts)
    keeper = Keeper(recipe, own)
    done = _resume(own, network, keeper)
    for phase in range(len(recipe.fit.phases)):
        before = sum(each.epochs for each in recipe.fit.phases[:phase])
        if done < before + recipe.fit.phases[phase].epochs:
            ckpt = own / LAST if done > before else None
            with _quiet():
                _phase(recipe, number, phase, network, films, val, keeper, folder, machine, precision, ckpt)
    kept, judged, per_label = keeper.kept
    facts |= {
        "epochs": len(keeper.rows),
        "minutes": round(keeper.minutes, 2),
        "finished": True,
        "kept_epoch": kept,
        f"val_{recipe.fit.judged_by}": judged,
        "best": keeper.best,
        "per_label": per_label,
    }
    rank_zero_only(write_facts)(own, facts)
    return facts


def _phase(
    recipe: TrainingRecipe,
    number: int,
    phase: int,
    network: Classifier,
    films: FilmSet,
    val: FilmSet,
    keeper: Keeper,
    folder: Path,
    machine: Machine,
    precision: str,
    ckpt: Path | None,
) -> None:
    callbacks: list[Callback] = [keeper, *([RichProgressBar(leave=True)] if machine.bar else [])]
    trainer = pl.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        precision=precision,  # type: ignore[arg-type]  # one of Lightning's words, as the probe or the caller says
        max_epochs=recipe.fit.phases[phase].epochs,
        callbacks=callbacks,
        logger=TensorBoardLogger(folder / "logs", name=f"member-{number}", version=f"phase-{phase}"),
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=machine.bar,
        enable_model_summary=False,
    )
    seed = recipe.members[number].seed
    feed = training_loader(
        films,
        recipe.fit,
        seed=1000 * seed + phase,
        rank=trainer.global_rank,
        ranks=trainer.world_size,
        workers=machine.workers,
    )
    truth = torch.from_numpy(films.truth[picks_of(films.truth, recipe.fit)])
    kind = Unlabelled if recipe.fit.loss is Loss.VICREG else Lesson
    lesson = kind(recipe, phase, network, loss_of(recipe, truth), len(feed), seed)
    check = checking_loader(val, CHECKING_BATCH, machine.workers)
    trainer.fit(lesson, feed, check, ckpt_path=ckpt, weights_only=True)
    if lesson.average is not None:
        network.load_state_dict(lesson.average.module.state_dict())


def _resume(own: Path, network: Classifier, keeper: Keeper) -> int:
    """Return the epochs done; at the border of two phases the weights are taken up here, not by Lightning."""
    if not (own / LAST).exists():
        return 0
    held: dict[str, Any] = torch.load(own / LAST, map_location="cpu", weights_only=True)
    prefix = (
        "average.module." if any(key.startswith("average.") for key in held["state_dict"]) else "network."
    )
    state = {key.removeprefix(prefix): value for key, value in held["state_dict"].items()}
    network.load_state_dict({key: value for key, value in state.items() if key in network.state_dict()})
    keeper.load_state_dict(held["callbacks"][keeper.state_key])
    return int(held["epochs_done"])


def without_fold(films: FilmSet, member: Member) -> FilmSet:
    """Return the films of patients outside the member's fold."""
    if member.fold < 0:
        return films
    folds = np.array([fold_of(str(patient), FOLDS) for patient in films.patients])
    return films.where(folds != member.fold)


def faster_precision(network: Classifier, films: FilmSet, recipe: TrainingRecipe) -> str:
    """Return "bf16-mixed" where a training step is faster in it, else "32-true"; on a GPU bf16 or fp16."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    batch = films.inputs(np.arange(min(recipe.fit.batch, len(films))))
    batch = batch.to(memory_format=torch.channels_last)
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    seconds: dict[str, float] = {}
    for precision, mixed in (("32-true", False), ("bf16-mixed", True)):
        taken = []
        for _ in range(4):
            began = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
                answer = network(batch)
            answer.float().square().mean().backward()
            taken.append(time.perf_counter() - began)
            if taken[-1] > HOPELESS * min(seconds.values(), default=taken[-1]):
                break
        seconds[precision] = min(taken)
    network.zero_grad(set_to_none=True)
    network.load_state_dict(kept)
    return min(seconds, key=lambda precision: seconds[precision])


def device_name() -> str:
    """Return what trains here, in words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"{torch.get_num_threads()} threads of {platform.processor() or platform.machine()}"


def start_anew(folder: Path, member: int = -1) -> None:
    """Remove what a run, or only one member of it, left in its folder; nothing else in it is touched."""
    if member >= 0:
        for each in (folder / f"member-{member}", folder / "logs" / f"member-{member}"):
            shutil.rmtree(each, ignore_errors=True)
        return
    for each in (*folder.glob("member-*"), folder / "logs", folder / "ablation"):
        if each.is_dir():
            shutil.rmtree(each)
    for name in (COPY, FILMS, "ablation.csv"):
        (folder / name).unlink(missing_ok=True)


def _some(films: FilmSet, seed: int) -> torch.Tensor:
    picks = np.random.default_rng(seed).choice(len(films), size=min(64, len(films)), replace=False)
    return films.inputs(np.sort(picks))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide Lightning's advice on loaders and checkpoints, and its advertisements."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        yield
