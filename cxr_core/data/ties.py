"""How much of a label a fact about the film gives away before anybody looks at the lung."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, mannwhitneyu

from cxr_core.data.index import Index
from cxr_core.data.splits import share_of

FACTS = ("size", "source", "view", "sex", "age")
SHORTCUTS = ("size", "source")
"""Facts that have nothing to do with the patient: tied to a label they are a fault."""

STRONG = 0.65
"""AUC from which a tie counts."""
_CHANCE = 0.001
FEWEST = 10
"""Films with and without the label that a tie needs before it is reckoned."""


@dataclass(frozen=True, slots=True)
class Tie:
    """One label and one fact.

    Attributes:
        label, fact: which.
        auc: with which the fact alone tells the label: 0.5 tells nothing, 1 all.
        cramers_v: for size, source, view and sex, 0 to 1; NaN for age.
        by_chance: p of such an AUC if nothing were told (Mann-Whitney).
    """

    label: str
    fact: str
    auc: float
    cramers_v: float
    by_chance: float

    @property
    def strong(self) -> bool:
        """Whether the label is told well, and hardly by chance."""
        return self.auc >= STRONG and self.by_chance < _CHANCE


def ties(index: Index, sizes: pd.Series, areas: pd.Series) -> list[Tie]:
    """Return a tie for each label and fact that vary and are known of enough films.

    Args:
        index: the films; all splits.
        sizes: (N,) text such as 1024 × 1024, "" unknown.
        areas: (N,) float pixels, NaN unknown.
    """
    facts = {"size": sizes} | {name: index.table[name] for name in FACTS[1:]}
    values = {name: _numbers(name, said) for name, said in facts.items()}
    half = index.table["patient"].map(lambda patient: share_of(patient, "ties") < 0.5).to_numpy()
    truth, found = index.truth(), []
    for k, label in enumerate(index.labels):
        for fact, numbers in values.items():
            known = ~np.isnan(truth[:, k]) & ~np.isnan(numbers)
            present, there = truth[known, k] == 1, numbers[known]
            if min(present.sum(), (~present).sum()) < FEWEST or not np.ptp(there):
                continue
            if fact == "age":
                auc, by_chance, v = *_told(there, present), float("nan")
            else:
                auc, by_chance, v = _of_values(there, present, half[known])
            if fact == "size":  # films may have hundreds of sizes: the larger ones may be the ill
                auc, by_chance = max((auc, by_chance), _told(areas[known].to_numpy(), present))
            found.append(Tie(label, fact, auc, v, by_chance))
    return found


def source_tie(index: Index, label: str) -> Tie | None:
    """Return how well the source of a training film tells a label; None where that cannot be reckoned.

    It cannot where films name no source or one alone, or too few films have the label or lack it.
    """
    train = index.of("train")
    truth, sources = train.truth([label])[:, 0], _numbers("source", train.table["source"])
    known = ~np.isnan(truth) & ~np.isnan(sources)
    present, there = truth[known] == 1, sources[known]
    if min(present.sum(), (~present).sum()) < FEWEST or not np.ptp(there):
        return None
    half = train.table["patient"].map(lambda patient: share_of(patient, "ties") < 0.5).to_numpy()
    auc, by_chance, v = _of_values(there, present, half[known])
    return Tie(label, "source", auc, v, by_chance)


def _of_values(
    numbers: NDArray[np.float64], present: NDArray[np.bool_], half: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Return AUC, p and Cramér's V of a fact that is one of several values."""
    codes = np.unique(numbers, return_inverse=True)[1]
    counts = [np.bincount(codes[side], minlength=codes.max() + 1) for side in (~present, present)]
    auc, by_chance = _told(_expected(codes, present, half), present, either=False)
    return auc, by_chance, cramers_v(np.stack(counts))


def cramers_v(table: NDArray[np.int64]) -> float:
    """Return Cramér's V of a table of counts, 0 to 1.

    Source: Cramér, Mathematical Methods of Statistics, 1946, 21.9.
    """
    chi2 = chi2_contingency(table, correction=False).statistic
    return float(np.sqrt(chi2 / (table.sum() * (min(table.shape) - 1))))


def _numbers(fact: str, said: pd.Series) -> NDArray[np.float64]:
    """Return years, or a number for each value; NaN where the fact is unknown."""
    if fact == "age":
        return said.to_numpy(dtype=np.float64)
    numbers: NDArray[np.float64] = pd.factorize(said)[0].astype(np.float64)
    numbers[(said == "").to_numpy()] = np.nan
    return numbers


def _expected(
    codes: NDArray[np.int64], present: NDArray[np.bool_], half: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the label's share among films of the same value, counted on the other half of the patients.

    Counted on the same films, a fact of many values would seem to tell any label.
    """
    scores = np.empty(len(codes))
    for one in (True, False):
        others = half != one
        films = np.bincount(codes[others], minlength=codes.max() + 1)
        positive = np.bincount(codes[others], present[others], minlength=codes.max() + 1)
        share = np.where(films > 0, positive / np.maximum(films, 1), present.mean())
        scores[~others] = share[codes[~others]]
    return scores


def _told(
    scores: NDArray[np.float64], present: NDArray[np.bool_], *, either: bool = True
) -> tuple[float, float]:
    """Return the AUC with which scores tell the label, whichever way round if told so, and its p."""
    if not np.ptp(scores):
        return 0.5, 1.0
    test = mannwhitneyu(scores[present], scores[~present], method="asymptotic")
    area = float(test.statistic) / (int(present.sum()) * int((~present).sum()))
    return max(area, 1 - area) if either else area, float(test.pvalue)
