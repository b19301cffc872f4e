"""What a score rests on: the same short training with the films or the labels spoiled on purpose."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from cxr_core.inference.registry import sha256_of
from cxr_core.training.networks import build
from cxr_core.training.prepare import shorter
from cxr_core.training.progress import read_facts
from cxr_core.training.recipes import Keep, Member, TrainingRecipe
from cxr_core.training.run import Machine, train_member
from cxr_core.training.sampling import FilmSet
from cxr_core.training.starts import Places, begin, file_of

Inputs = NDArray[np.float32]
EPOCHS = 2
MOST = 2000
TABLE = "ablation.csv"
CENTRE_ROW, CENTRE_COLUMN, HALF_HEIGHT, HALF_WIDTH = 0.48, 0.5, 0.38, 0.42
"""The ellipse taken for the lungs, in shares of the side: the same for every film, not a segmentation."""


@dataclass(frozen=True, slots=True)
class Ablated:
    """One line of the table: what was done, what it says, and the figure on val."""

    what: str
    meaning: str
    films: int
    epochs: int
    judged: float
    minutes: float


def ablate(
    recipe: TrainingRecipe, train: FilmSet, val: FilmSet, folder: Path, places: Places, machine: Machine
) -> list[Ablated]:
    """Train shortly on spoiled films and write `ablation.csv` into the run folder.

    Every line, the first with films as they are too, has the same films, epochs and seed, so that they
    compare with one another; with the full training only by order of magnitude. A table that was stopped
    goes on, one of the same films and start stays; of others it is begun anew.

    Raises:
        DataError, RecipeError: as for `run.train_member`.
    """
    phases = shorter(recipe, min(EPOCHS, recipe.fit.epochs))
    # A teacher would answer a film as it is, and so undo that its labels are shuffled.
    short = replace(recipe.fit, phases=phases, keep=Keep.LAST, running_mean=0.0, teacher="")
    brief = replace(recipe, fit=short, members=(Member(seed=recipe.members[0].seed),))
    rng = np.random.default_rng(0)
    train = train.where(np.sort(rng.permutation(len(train))[:MOST]))
    own = folder / "ablation"
    rank_zero_only(_settle)(own, "\n".join((_digest(train), _digest(val), _start(brief, train, places))))
    lines = []
    for what, meaning, spoiled, judged_by in spoilings(train, val):
        place = own / what.replace(" ", "-")
        facts = train_member(brief, 0, spoiled, judged_by, place, places, machine)
        figure = facts[f"val_{recipe.fit.judged_by}"]
        judged = float("nan") if figure is None else float(figure)
        lines.append(Ablated(what, meaning, len(spoiled), brief.fit.epochs, judged, facts["minutes"]))
        write_table(folder / TABLE, recipe, lines, read_facts(folder / "member-0"))
    return lines


def _digest(films: FilmSet) -> str:
    """Return the SHA-256 of films and truth."""
    return hashlib.sha256(films.digest() + films.truth.tobytes()).hexdigest()


def _start(recipe: TrainingRecipe, films: FilmSet, places: Places) -> str:
    """Return where the weights come from: in words, and the SHA-256 of their file."""
    some = films.inputs(np.arange(min(2, len(films))))
    words = begin(recipe, build(recipe.network, recipe.outputs), places, some)
    path = file_of(recipe, places)
    return words if path is None else f"{words}, {sha256_of(path)}"


def _settle(own: Path, of: str) -> None:
    """Discard what was learned of other films, or from another start."""
    note = own / "of.txt"
    if not note.is_file() or note.read_text(encoding="utf-8") != of:
        if own.is_dir():
            shutil.rmtree(own)
        (own.parent / TABLE).unlink(missing_ok=True)
        own.mkdir(parents=True)
        note.write_text(of, encoding="utf-8")


def spoilings(train: FilmSet, val: FilmSet) -> Iterator[tuple[str, str, FilmSet, FilmSet]]:
    """Yield name, meaning, and train and val of each spoiling; inputs are spoiled alike in both."""
    yield "as they are", "what the others are compared with", train, val
    order = np.random.default_rng(1).permutation(len(train))
    shuffled = replace(train, truth=train.truth[order])
    yield "shuffled labels", "chance, unless val leaks into train", shuffled, val
    blank = "chance, unless something beside the film tells the label"
    yield "blank images", blank, _through(train, np.zeros_like), _through(val, np.zeros_like)
    inside = ellipse(train.store.shape[-1])
    lungs = "what a fixed ellipse over the lungs tells (no segmentation)"
    yield "lungs only", lungs, _masked(train, inside), _masked(val, inside)
    borders = "what lies outside it: near chance, or marks, borders and position tell the label"
    yield "borders only", borders, _masked(train, ~inside), _masked(val, ~inside)


def ellipse(side: int) -> NDArray[np.bool_]:
    """Return (side, side) True inside the ellipse taken for the lungs."""
    row, column = (np.mgrid[:side, :side] + 0.5) / side
    down, right = (row - CENTRE_ROW) / HALF_HEIGHT, (column - CENTRE_COLUMN) / HALF_WIDTH
    inside: NDArray[np.bool_] = down**2 + right**2 <= 1
    return inside


def write_table(
    path: Path, recipe: TrainingRecipe, lines: list[Ablated], true_run: dict[str, object]
) -> None:
    """Write the lines, and the full training's own figure first where it has ended."""
    figure = true_run.get(f"val_{recipe.fit.judged_by}") if true_run.get("finished") else None
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["what", "films", "epochs", f"val_{recipe.fit.judged_by}", "minutes", "meaning"])
        if figure is not None:
            whole = [true_run["films"], true_run["epochs"], f"{figure:.4f}", true_run["minutes"]]
            itself = "the run itself" if len(recipe.members) == 1 else "member 0 of the run"
            writer.writerow([itself, *whole, "full training"])
        for line in lines:
            row = [line.what, line.films, line.epochs, f"{line.judged:.4f}", line.minutes, line.meaning]
            writer.writerow(row)


def _masked(films: FilmSet, kept: NDArray[np.bool_]) -> FilmSet:
    return _through(films, lambda inputs: np.where(kept, inputs, np.float32(-1.0)))


def _through(films: FilmSet, change: Callable[[Inputs], Inputs]) -> FilmSet:
    return replace(films, store=change(films.store[films.rows]), rows=np.arange(len(films)))
