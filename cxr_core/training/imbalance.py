"""Ways to learn rare findings, tried on one head over the features of a network that stays as it is.

Every way takes the same number of steps of the same size, so that none wins by being trained for longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import nn, optim

from cxr_core.evaluation.bootstrap import Interval, column_aps, column_aucs, interval, intervals
from cxr_core.evaluation.metrics import ece
from cxr_core.training.losses import loss_of
from cxr_core.training.recipes import Loss, TrainingRecipe
from cxr_core.training.sampling import film_weights

Floats = NDArray[np.float64]
Pooled = NDArray[np.float32]

STEPS, BATCH, DECAY, DROPOUT = 600, 128, 0.05, 0.2
RATE, BIAS_RATE = 1e-3, 3e-2
"""The bias has to go as far as the log-odds of one film in a hundred, a weight hardly anywhere."""
NEIGHBOURS = 5
"""As in Chawla 2002."""
TIMES = 10
"""New films for each film with a rare finding."""


class Way(StrEnum):
    """What is done about rare findings."""

    NOTHING = "binary cross-entropy"
    WEIGHTED = "positives weighted by their rarity"
    FOCAL = "focal loss, gamma 2"
    SAMPLER = "films drawn by their rarest finding"
    REPEATED = "films with a rare finding ten times more"
    COPIES = "ten augmented copies of each film with a rare finding"
    SMOTE = "ten SMOTE films for each film with a rare finding"


LOSSES = {Way.WEIGHTED: Loss.WEIGHTED_BCE, Way.FOCAL: Loss.FOCAL}


@dataclass(frozen=True, slots=True, eq=False)
class Films:
    """Films as a network's features.

    Attributes:
        pooled: (N, C) float32.
        truth: (N, L) float32, 1, 0 or NaN.
        copies: of the films that have a rare finding, (R * TIMES, C), augmented before the network saw them.
        copied: (R * TIMES,) which film each is a copy of.
    """

    pooled: Pooled
    truth: NDArray[np.float32]
    copies: Pooled
    copied: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way beside doing nothing, on the same films.

    Attributes:
        auc, ap, ece: means over labels, then over seeds; `spread` is the deviation of the AUC over seeds.
        gains: label → its average precision less that of doing nothing, mean over seeds, patients paired.
        auc_gain, ap_gain: the same of the means over labels.
    """

    way: Way
    auc: float
    spread: float
    ap: float
    ece: float
    auc_gain: Interval
    ap_gain: Interval
    gains: dict[str, Interval]


def rare_labels(truth: NDArray[np.float32], below: int) -> list[int]:
    """Return the columns that some films have, but fewer than `below`."""
    counts = (truth == 1).sum(axis=0)
    return np.flatnonzero((counts > 1) & (counts < below)).tolist()


def smote(pooled: Pooled, count: int, rng: np.random.Generator) -> Pooled:
    """Return new films on the lines from a film of a finding to one of its nearest with the same finding.

    Args:
        pooled: (P, C) of the films that have the finding, two or more.
        count: of new films.
        rng: source of randomness.

    Source: Chawla 2002, SMOTE: Synthetic Minority Over-sampling Technique, JAIR 16.
    """
    near = min(NEIGHBOURS, len(pooled) - 1)
    places = NearestNeighbors(n_neighbors=near + 1).fit(pooled).kneighbors(pooled, return_distance=False)
    base = np.resize(rng.permutation(len(pooled)), count)
    other = places[base, rng.integers(1, near + 1, count)]
    along = rng.random((count, 1), dtype=np.float32)
    made: Pooled = pooled[base] + along * (pooled[other] - pooled[base])
    return made


def material(
    films: Films, way: Way, below: int, rng: np.random.Generator
) -> tuple[Pooled, NDArray[np.float32]]:
    """Return the features and truth that a way learns from.

    Of a film made by SMOTE only the finding that it was made for is known: its others are neither parent's.
    """
    rare = rare_labels(films.truth, below)
    if way is Way.COPIES:
        pooled = np.concatenate([films.pooled, films.copies])
        return pooled, np.concatenate([films.truth, films.truth[films.copied]])
    if way is Way.REPEATED:
        again = np.repeat(np.flatnonzero((films.truth[:, rare] == 1).any(axis=1)), TIMES)
        return np.concatenate([films.pooled, films.pooled[again]]), np.concatenate(
            [films.truth, films.truth[again]]
        )
    made_of, known_of = [films.pooled], [films.truth]
    for label in rare if way is Way.SMOTE else []:
        own = films.pooled[films.truth[:, label] == 1]
        made = smote(own, TIMES * len(own), rng)
        only = np.full((len(made), films.truth.shape[1]), np.nan, dtype=np.float32)
        only[:, label] = 1
        made_of.append(made)
        known_of.append(only)
    return np.concatenate(made_of), np.concatenate(known_of)


def answers(
    films: Films,
    asked: Pooled,
    way: Way,
    recipe: TrainingRecipe,
    *,
    below: int,
    seed: int,
    steps: int = STEPS,
) -> Floats:
    """Return the (N, L) uncalibrated probabilities of a head that learned one way.

    Args:
        films: to learn from.
        asked: (N, C) features of the films to answer.
        way: what is done about rare findings.
        recipe: whose labels and loss settings hold.
        below: films that make a finding no longer rare.
        seed: of order, dropout and made films.
        steps: of BATCH films.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pooled, truth = material(films, way, below, rng)
    middle, scale = films.pooled.mean(axis=0), films.pooled.std(axis=0) + 1e-6
    inputs, known = torch.from_numpy((pooled - middle) / scale), torch.from_numpy(truth)
    loss = loss_of(replace(recipe, fit=replace(recipe.fit, loss=LOSSES.get(way, Loss.BCE))), known)
    weights = film_weights(truth) if way is Way.SAMPLER else np.ones(len(truth))
    last = nn.Linear(pooled.shape[1], truth.shape[1])
    nn.init.zeros_(last.weight)
    head = nn.Sequential(nn.Dropout(DROPOUT), last)
    groups = [
        {"params": [last.weight], "lr": RATE, "weight_decay": DECAY},
        {"params": [last.bias], "lr": BIAS_RATE, "weight_decay": 0.0},
    ]
    optimiser = optim.AdamW(groups)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    drawn = rng.choice(len(truth), size=(steps, BATCH), p=weights / weights.sum())
    for picks in drawn:
        optimiser.zero_grad()
        loss(head(inputs[picks]), known[picks]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    with torch.inference_mode():
        logits = head.eval()(torch.from_numpy((asked - middle) / scale))
    return torch.sigmoid(logits).numpy().astype(np.float64)


def compared(
    by_way: dict[Way, Sequence[Floats]],
    truth: Floats,
    patients: NDArray[np.generic],
    labels: Sequence[str],
    *,
    averaged: Sequence[int],
    shown: Sequence[int],
    resamples: int = 1000,
) -> list[Outcome]:
    """Return every way beside `Way.NOTHING`, in the order given.

    Args:
        by_way: (N, L) probabilities of each seed.
        truth: (N, L), NaN where unknown.
        patients: (N,), drawn whole.
        labels: names of the columns.
        averaged: columns that the means are over.
        shown: columns whose own gain is returned.
        resamples: of the patients.
    """
    plain, drawn_plain = _figures(by_way[Way.NOTHING], truth, patients, resamples)
    found = []
    for way, seeds in by_way.items():
        own, drawn = _figures(seeds, truth, patients, resamples)
        value, draws = (own - plain).mean(axis=1), (drawn - drawn_plain).mean(axis=1)
        auc, ap = (figures[:, averaged].mean(axis=1) for figures in own)
        gaps = [[ece(scores[:, k], truth[:, k]) for k in averaged] for scores in seeds]
        gained = [
            interval(float(value[kind][averaged].mean()), draws[kind][:, averaged].mean(axis=1))
            for kind in (0, 1)
        ]
        found.append(
            Outcome(
                way=way,
                auc=float(auc.mean()),
                spread=float(auc.std(ddof=1)) if len(auc) > 1 else float("nan"),
                ap=float(ap.mean()),
                ece=float(np.mean(gaps)),
                auc_gain=gained[0],
                ap_gain=gained[1],
                gains={labels[k]: interval(float(value[1, k]), draws[1][:, k]) for k in shown},
            )
        )
    return found


def _figures(
    seeds: Sequence[Floats], truth: Floats, patients: NDArray[np.generic], resamples: int
) -> tuple[Floats, Floats]:
    """Return (2, S, L) AUC and average precision of each seed, and (2, S, resamples, L) of them drawn."""
    count, labels = len(seeds), truth.shape[1]
    scores, repeated = np.concatenate(seeds, axis=1), np.tile(truth, (1, count))
    values, drawn = [], []
    for figure in (column_aucs, column_aps):
        each, draws = intervals(figure, scores, repeated, patients, resamples=resamples)
        values.append(np.array([one.value for one in each]).reshape(count, labels))
        drawn.append(draws.reshape(resamples, count, labels).transpose(1, 0, 2))
    return np.stack(values), np.stack(drawn)
