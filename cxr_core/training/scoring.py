"""What the members of a run answer on films that they have not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import nn

from cxr_core.data.cache import network_inputs
from cxr_core.data.index import Index, Problem
from cxr_core.data.splits import fold_of
from cxr_core.domain import ABNORMAL
from cxr_core.errors import DataError, ModelError
from cxr_core.training.networks import Classifier
from cxr_core.training.recipes import FOLDS, TrainingRecipe
from cxr_core.training.served import head_logits, last_layer, pool

Floats = NDArray[np.float64]

TELLING = 300
"""Films of one kind whose mean feature is near enough to that of all."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One split with each member's logits.

    Attributes:
        index: its films.
        logits: (N, M, L) of every member; of out-of-fold films the mean over their own members, M = 1.
        inputs: (N, 1, S, S) as the network sees them.
        left_out: films that cannot be read.
    """

    index: Index
    logits: Floats
    inputs: NDArray[np.float32]
    left_out: tuple[Problem, ...] = ()


def score(
    members: Sequence[Classifier], recipe: TrainingRecipe, index: Index, cache: Path, name: str
) -> Scored:
    """Return the logits of every member on the films of val or test.

    Raises:
        DataError: there are none, or none can be read.
    """
    if not len(index):
        raise DataError(f"{index.name}: no film in {name}, so nothing can be fitted or measured there")
    known, inputs = network_inputs(index, recipe.preprocessing, cache)
    logits = [head_logits(member, pool(member, inputs)) for member in _shown(members, f"scoring {name}")]
    return Scored(known, np.stack(logits, axis=1), inputs, known.problems[len(index.problems) :])


def held_out(recipe: TrainingRecipe, index: Index) -> NDArray[np.bool_]:
    """Return (N,) whether a training film's patient was kept from any member."""
    folds = _folds(index)
    return np.isin(folds, [member.fold for member in recipe.members if member.fold >= 0])


def score_held_out(
    members: Sequence[Classifier], recipe: TrainingRecipe, index: Index, cache: Path
) -> Scored:
    """Return the logits of training films by the members that have not seen their patients.

    Each film is answered by the members of its own fold. Their heads are first made blind to the source of
    the films where the recipe says so, in place, so that this comes before any other scoring.
    """
    known, inputs = network_inputs(index, recipe.preprocessing, cache)
    folds = _folds(known)
    total, count = np.zeros((len(known), 1, len(recipe.labels))), np.zeros(len(known))
    plans = list(zip(members, recipe.members, strict=True))
    for member, plan in _shown(plans, "scoring held-out folds"):
        own = folds == plan.fold
        if not own.any():
            continue
        pooled = pool(member, inputs[own])
        make_blind(member, recipe, pooled, known.table[own])
        total[own, 0] += head_logits(member, pooled)
        count[own] += 1
    seen = count > 0
    return Scored(known.where(seen), total[seen] / count[seen, None, None], inputs)


def telling(recipe: TrainingRecipe, index: Index) -> NDArray[np.bool_]:
    """Return (N,) films that tell how the sources of the `blind` labels differ: at most `TELLING` of a kind.

    A kind is films without finding of one source and view; see `source_direction`.
    """
    table = index.table
    picked = np.zeros(len(table), dtype=np.bool_)
    for label in recipe.blind:
        inside = table["source"] == recipe.films.known_within[label]
        places = np.arange(len(table))[(table[ABNORMAL] == 0).to_numpy()]
        kinds = [inside.iloc[places], table["view"].iloc[places], table["side_px"].iloc[places]]
        for _, group in pd.Series(places).groupby([kind.to_numpy() for kind in kinds]):
            picked[group.iloc[:TELLING]] = True
    return picked


def make_all_blind(members: Sequence[Classifier], recipe: TrainingRecipe, index: Index, cache: Path) -> None:
    """Make members blind by films that they may have learned from, in place; see `make_blind`."""
    known, inputs = network_inputs(index, recipe.preprocessing, cache)
    for member in _shown(members, "telling the sources apart"):
        make_blind(member, recipe, pool(member, inputs), known.table)


def make_blind(
    member: Classifier, recipe: TrainingRecipe, pooled: NDArray[np.float32], table: pd.DataFrame
) -> None:
    """Take the direction between sources out of the heads of the recipe's `blind` labels, in place.

    Where the data set names no sources there is nothing to be blind to.

    Args:
        member: network.
        recipe: names the labels and, in `films.known_within`, their source.
        pooled: (N, C) features of films.
        table: `view`, `source`, `side_px`, `abnormal` of the same films.

    Raises:
        ModelError: the head has a hidden layer, in which no such direction can be taken out.
    """
    if (table["source"] == "").all():
        return
    for label in recipe.blind:
        if isinstance(member.head, nn.Sequential):
            raise ModelError(f"{label} can be made blind to its source in a head of one layer only")
        source = recipe.films.known_within[label]
        blind(member, recipe.labels.index(label), source_direction(pooled, table, source))


def source_direction(pooled: NDArray[np.float32], table: pd.DataFrame, source: str) -> NDArray[np.float32]:
    """Return the (C,) direction in which films without finding differ between a source and the others.

    The difference of the mean features is taken within each view and then averaged, so that AP
    against PA, which a model may use, is not part of it. Only films of sizes that both have take part.

    Raises:
        DataError: no view holds films without finding of that source and of another.
    """
    clean = (table[ABNORMAL] == 0).to_numpy()
    inside = (table["source"] == source).to_numpy()
    sizes = [set(table["side_px"].to_numpy()[clean & side]) for side in (inside, ~inside)]
    clean = clean & table["side_px"].isin(sizes[0] & sizes[1]).to_numpy()
    differences = []
    for view in ("AP", "PA"):
        seen = clean & (table["view"] == view).to_numpy()
        if (seen & inside).any() and (seen & ~inside).any():
            differences.append(pooled[seen & inside].mean(axis=0) - pooled[seen & ~inside].mean(axis=0))
    if not differences:
        raise DataError(f"no films without finding tell how the source {source!r} differs from the others")
    direction: NDArray[np.float32] = np.mean(differences, axis=0)
    return direction


def blind(member: Classifier, row: int, direction: NDArray[np.float32]) -> None:
    """Take `direction` out of one label's weights, in place."""
    weights = last_layer(member).weight.data[row]
    along = torch.from_numpy(direction).to(weights)
    weights -= along * (weights @ along) / (along @ along)


def _folds(index: Index) -> NDArray[np.int64]:
    return np.array([fold_of(patient, FOLDS) for patient in index.table["patient"]], dtype=np.int64)


def _shown(items: Sequence, text: str):  # type: ignore[no-untyped-def, type-arg]  # noqa: ANN202
    console = Console(stderr=True)
    return track(items, text, console=console, transient=True, disable=not console.is_terminal)
