"""Models of others to stand beside: what was published, and one that answered the very same films."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.domain import FINDINGS
from cxr_core.errors import ModelError
from cxr_core.evaluation.bootstrap import Floats, Interval, column_aucs, interval, intervals
from cxr_core.evaluation.measure import NOT_AVERAGED, RESAMPLES
from cxr_core.evaluation.scored import Scored
from cxr_core.strict import build
from cxr_core.triage.budget import FEW_POSITIVES

_HERE = Path(__file__).parent
PUBLISHED = _HERE / "published.toml"
ANSWERS = _HERE / "reference_chexnet.csv"

NAME = "CheXNet, trained again 2022"
ABOUT = (
    "A re-implementation of CheXNet (2022), trained on a random split of ChestX-ray14 by others: its own "
    "probabilities for films of our val and test lists. None of these films was in its training data; "
    "whether other films of their patients were is not known."
)


class Split(StrEnum):
    """How the films were divided on which a figure was measured."""

    RANDOM = "random"
    OFFICIAL = "official"
    UNSTATED = "unstated"


@dataclass(frozen=True, slots=True)
class Published:
    """A model's areas under the ROC curve as published; splits differ, so they are no ranking.

    Attributes:
        id, name, year, source: which.
        split: of the films.
        mean: over the 14 findings, as stated.
        auc: by finding.
    """

    id: str
    name: str
    year: int
    split: Split
    source: str
    mean: float
    auc: dict[str, float]


@dataclass(frozen=True, slots=True)
class Overall:
    """A figure that was published without those of the findings; `figure` is mean or micro."""

    name: str
    year: int
    split: Split
    figure: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The whole of `published.toml`."""

    models: tuple[Published, ...]
    overall: tuple[Overall, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A figure of two models on the same films.

    Attributes:
        films, positives: how many, those with the finding; of a mean those with any of its findings.
        ours, theirs: AUC.
        difference: ours minus theirs, the same patients drawn for both.
    """

    films: int
    positives: int
    ours: Interval
    theirs: Interval
    difference: Interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """This model and the reference on identical films.

    Attributes:
        films, patients: how many.
        pairs: by finding, those with `FEW_POSITIVES` films with and without it.
        few: findings without enough.
        averaged: the findings of the mean: of `pairs` without Hernia and those known in one source only.
        mean: over them, or None if there are none.
    """

    films: int
    patients: int
    pairs: dict[str, Pair]
    few: tuple[str, ...]
    averaged: tuple[str, ...]
    mean: Pair | None


@cache
def published() -> Table:
    """Return what others published, from `published.toml`.

    Raises:
        ModelError: the file is not complete.
    """
    document = tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))
    return build(Table, document, PUBLISHED.name, ModelError)


def reference(files: Iterable[str]) -> Floats:
    """Return the reference model's (N, 14) probabilities of films by name, NaN for those it is not known of.

    Source: see `ABOUT`; the findings are in the order of `domain.FINDINGS`.
    """
    found: Floats = _answers().reindex(list(files)).to_numpy(dtype=np.float64)
    return found


def compare(scored: Scored, *, resamples: int = RESAMPLES) -> Comparison | None:
    """Return both models on the films that both answered; None where there are none.

    Args:
        scored: this model on its films.
        resamples: of the bootstrap over patients.
    """
    theirs = reference(scored.table["file"])
    both = np.asarray(~np.isnan(theirs).any(axis=1))
    if not both.any():
        return None
    same = scored.pick(both)
    labels = [label for label in same.labels if label in FINDINGS]
    columns = [same.labels.index(label) for label in labels]
    truth = same.truth[:, columns]
    present, absent = (np.nansum(truth == value, axis=0) for value in (1, 0))
    kept = [k for k in range(len(labels)) if min(present[k], absent[k]) >= FEW_POSITIVES]
    names = [labels[k] for k in kept]
    averaged = tuple(n for n in names if n not in NOT_AVERAGED and n not in same.rules.within)
    pairs, mean = _pairs(
        same.probabilities[:, columns][:, kept],
        theirs[both][:, [FINDINGS.index(name) for name in names]],
        truth[:, kept],
        same.patients,
        [names.index(name) for name in averaged],
        resamples,
    )
    return Comparison(
        films=int(both.sum()),
        patients=len(np.unique(same.patients)),
        pairs=dict(zip(names, pairs, strict=True)),
        few=tuple(label for label in labels if label not in names),
        averaged=averaged,
        mean=mean,
    )


def _pairs(
    ours: Floats,
    theirs: Floats,
    truth: Floats,
    patients: NDArray[np.generic],
    averaged: list[int],
    resamples: int,
) -> tuple[list[Pair], Pair | None]:
    (our, our_draws), (their, their_draws) = (
        intervals(column_aucs, each, truth, patients, resamples=resamples) for each in (ours, theirs)
    )
    gap = our_draws - their_draws
    films, positives = (~np.isnan(truth)).sum(axis=0), (truth == 1).sum(axis=0)
    pairs = [
        Pair(int(films[k]), int(positives[k]), a, b, interval(a.value - b.value, gap[:, k]))
        for k, (a, b) in enumerate(zip(our, their, strict=True))
    ]
    if not averaged:
        return pairs, None
    means = [
        interval(
            float(np.mean([getattr(pairs[k], side).value for k in averaged])), draws[:, averaged].mean(1)
        )
        for side, draws in (("ours", our_draws), ("theirs", their_draws), ("difference", gap))
    ]
    return pairs, Pair(len(truth), int((truth[:, averaged] == 1).any(axis=1).sum()), *means)


@cache
def _answers() -> pd.DataFrame:
    return pd.read_csv(ANSWERS).set_index("file")[list(FINDINGS)]
