"""What is said of a model on its card: figures with intervals, the naive model beside it, subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.domain import ABNORMAL
from cxr_core.evaluation.bootstrap import (
    Areas,
    Floats,
    Interval,
    Resamples,
    areas,
    column_aucs,
    drawn,
    interval,
)
from cxr_core.evaluation.metrics import naive_ap
from cxr_core.evaluation.operating import NOBODY, at_points
from cxr_core.evaluation.rates import share
from cxr_core.evaluation.subgroups import By, subgroups
from cxr_core.inference.manifest import Manifest, Task
from cxr_core.triage.budget import FEW_POSITIVES, Rate

RESAMPLES = 2000
NOT_AVERAGED = ("Hernia",)
"""Too few films of ChestX-ray14 for an area: left out of every mean."""
FEW_PATIENTS = 10
"""With fewer on either side, drawing patients again gives areas that look too certain."""
LEAST_TO_AVERAGE = 5
"""Films with and without a label that it takes to be part of a mean."""


@dataclass(frozen=True, slots=True)
class One:
    """A label on one split; its films are those where it is known.

    Attributes:
        films, positives: how many.
        auc, ap: areas under the ROC and the precision–recall curve.
        few: whether there is not enough data for an area, see `is_enough`.
        error: share of films on the wrong side of the threshold; NaN where that cannot be reached.
        naive_error: of the model that says of every film what most films of val are.
        sensitivity, specificity, precision: at the threshold.
    """

    films: int
    positives: int
    few: bool
    auc: Interval
    ap: Interval
    error: Interval
    naive_error: float
    sensitivity: Rate
    specificity: Rate
    precision: Rate

    @property
    def naive_ap(self) -> float:
        """Of the model that says the same of every film: the share with the label; NaN of no films."""
        return naive_ap(self.films, self.positives)


@dataclass(frozen=True, slots=True)
class Group:
    """Films of one sex or one decade of age.

    Attributes:
        kind: "sex" or "age".
        name: for people.
        films: how many.
        each: by label.
    """

    kind: str
    name: str
    films: int
    each: dict[str, One]


@dataclass(frozen=True, slots=True)
class Measured:
    """One split scored once.

    Attributes:
        films, patients: how many.
        each: by label.
        averaged: the labels of the means, see `averaged`.
        auc, ap: means over them.
        top: of a multiclass model, share of films whose label has the largest probability, and
            that of the label most frequent on val; NaN for other tasks.
        leaks: for each label that is known within one source only, the AUC with which its output tells
            that source among films without finding, mean of AP and PA films; 0.5 is not at all.
        groups: by sex, then by decade.
    """

    films: int
    patients: int
    each: dict[str, One]
    averaged: tuple[str, ...]
    auc: Interval
    ap: Interval
    top: Interval
    top_naive: float
    leaks: dict[str, float]
    groups: tuple[Group, ...]

    @property
    def naive_ap(self) -> float:
        """Mean of `One.naive_ap` over `averaged`."""
        return float(np.mean([self.each[label].naive_ap for label in self.averaged]))


@dataclass(frozen=True, slots=True)
class Rules:
    """What a model's figures depend on beside its answers.

    Attributes:
        labels: (L,) in order.
        thresholds: (L,); above 1 cannot be reached.
        within: label → the only source in which it is known.
        usual: (L,) share of films of val with each label: what the naive model goes by.
        exclusive: multiclass: exactly one label is true.
    """

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    within: Mapping[str, str]
    usual: tuple[float, ...]
    exclusive: bool = False


def measure(
    table: pd.DataFrame, probabilities: Floats, rules: Rules, *, resamples: int = RESAMPLES
) -> Measured:
    """Return the figures of one split.

    Args:
        table: rows with `patient`, `sex`, `age`, `view`, `source` and the labels as 1, 0 or NaN.
        probabilities: (N, L) in the same order.
        rules: of the model.
        resamples: of the patient-clustered bootstrap; a quarter of them for subgroups.
    """
    truth = known_truth(table, rules.labels, rules.within)
    again = drawn(table["patient"].to_numpy(), resamples=resamples)
    found = areas(probabilities, truth, again)
    names = averaged(rules, truth)
    picked = [rules.labels.index(label) for label in names]
    top, top_naive = top_of(truth, probabilities, rules, again)
    return Measured(
        films=len(table),
        patients=len(again.counts),
        each=_each(truth, probabilities, rules, found, again),
        averaged=names,
        auc=mean_of(found.auc, found.auc_draws, picked),
        ap=mean_of(found.ap, found.ap_draws, picked),
        top=top,
        top_naive=top_naive,
        leaks={
            label: _leak(table, source, probabilities[:, rules.labels.index(label)])
            for label, source in rules.within.items()
            if label in rules.labels
        },
        groups=tuple(_groups(table, truth, probabilities, rules, max(1, resamples // 4))),
    )


def rules_of(manifest: Manifest, val: pd.DataFrame) -> Rules:
    """Return what a model's figures depend on; the naive model goes by `val`."""
    known = manifest.data.known_within
    truth = known_truth(val, manifest.labels, known)
    usual = np.nan_to_num((truth == 1).sum(axis=0) / np.maximum((~np.isnan(truth)).sum(axis=0), 1))
    return Rules(
        labels=manifest.labels,
        thresholds=manifest.thresholds.values,
        within=known,
        usual=tuple(map(float, usual)),
        exclusive=manifest.model.task is Task.MULTICLASS,
    )


def averaged(rules: Rules, truth: Floats) -> tuple[str, ...]:
    """Return the findings of the mean figures: known in every source, frequent enough; all if none is."""
    return _averaged(rules, truth, (*NOT_AVERAGED, ABNORMAL, *rules.within)) or rules.labels


def with_hernia(rules: Rules, truth: Floats) -> tuple[str, ...]:
    """Return the same with Hernia where that is frequent enough too."""
    return _averaged(rules, truth, (ABNORMAL, *rules.within))


def _averaged(rules: Rules, truth: Floats, apart: Sequence[str]) -> tuple[str, ...]:
    enough = np.minimum(np.nansum(truth == 1, axis=0), np.nansum(truth == 0, axis=0)) >= LEAST_TO_AVERAGE
    return tuple(label for k, label in enumerate(rules.labels) if enough[k] and label not in apart)


def is_enough(truth: Floats, patients: NDArray[np.generic]) -> bool:
    """Return whether there is enough data for an area: (N,) films with the label and without, and patients.

    FEW_POSITIVES films of FEW_PATIENTS patients are, on either side.
    """
    sides = [patients[truth == side] for side in (0, 1)]
    return all(len(side) >= FEW_POSITIVES and len(np.unique(side)) >= FEW_PATIENTS for side in sides)


def paired_difference(
    table: pd.DataFrame, ours: Floats, theirs: Floats, rules: Rules, *, resamples: int = RESAMPLES
) -> Interval:
    """Return ours minus theirs in mean AUC over `averaged`, the same patients drawn for both."""
    truth, patients = known_truth(table, rules.labels, rules.within), table["patient"].to_numpy()
    picked = [rules.labels.index(label) for label in averaged(rules, truth)]
    again = drawn(patients, resamples=resamples)
    one, other = (areas(p[:, picked], truth[:, picked], again) for p in (ours, theirs))
    value = np.mean([a.value - b.value for a, b in zip(one.auc, other.auc, strict=True)])
    return interval(float(value), (one.auc_draws - other.auc_draws).mean(axis=1))


def known_truth(table: pd.DataFrame, labels: Sequence[str], within: Mapping[str, str]) -> Floats:
    """Return (N, L) labels: 1, 0, or NaN where unknown, as outside a label's one source."""
    truth: NDArray[np.float64] = table[list(labels)].to_numpy(dtype=np.float64, copy=True)
    for label, source in within.items():
        if label in labels:
            truth[(table["source"] != source).to_numpy(), list(labels).index(label)] = np.nan
    return truth


def naive_error(films: int, positives: int, usual: float) -> float:
    """Return the error of saying of every film what most films of val are; `usual` is the share there."""
    return (films - positives if usual > 0.5 else positives) / films if films else float("nan")


def mean_of(each: Sequence[Interval], draws: Floats, picked: Sequence[int]) -> Interval:
    """Return the mean of some columns with its interval; NaN in a resample where one of them is."""
    value = float(np.mean([each[k].value for k in picked]))
    return interval(value, draws[:, picked].mean(axis=1))


def top_of(truth: Floats, probabilities: Floats, rules: Rules, again: Resamples) -> tuple[Interval, float]:
    """Return `Measured.top` and `Measured.top_naive`."""
    if not rules.exclusive:
        return NOBODY, float("nan")
    present = truth == 1
    sure = present.sum(axis=1) == 1
    if not sure.any():
        return NOBODY, float("nan")
    true = present.argmax(axis=1)
    right = share(probabilities.argmax(axis=1) == true, sure, again.index).interval
    return right, float(np.mean(true[sure] == int(np.argmax(rules.usual))))


def _each(
    truth: Floats, probabilities: Floats, rules: Rules, found: Areas, again: Resamples
) -> dict[str, One]:
    points = np.array(rules.thresholds)
    errors = [each.error for each in at_points(probabilities, truth, rules.thresholds, again.index)]
    return {
        label: _one(truth[:, k], again.index, probabilities[:, k] >= points[k], rules.usual[k], at)
        for k, (label, *at) in enumerate(zip(rules.labels, found.auc, found.ap, errors, strict=True))
    }


def _one(
    truth: Floats,
    patients: NDArray[np.int64],
    called: NDArray[np.bool_],
    usual: float,
    at: Sequence[Interval],
) -> One:
    present, absent = truth == 1, truth == 0
    films, positives = int(present.sum() + absent.sum()), int(present.sum())
    auc, ap, error = at
    return One(
        films=films,
        positives=positives,
        few=not is_enough(truth, patients),
        auc=auc,
        ap=ap,
        error=error,
        naive_error=naive_error(films, positives, usual),
        sensitivity=Rate(int((called & present).sum()), positives),
        specificity=Rate(int((~called & absent).sum()), films - positives),
        precision=Rate(int((called & present).sum()), int((called & (present | absent)).sum())),
    )


def _leak(table: pd.DataFrame, source: str, answers: Floats) -> float:
    if ABNORMAL not in table:
        return float("nan")
    inside: Floats = np.where(table["source"] == source, 1.0, 0.0)
    areas = []
    for view in ("AP", "PA"):
        clean = ((table[ABNORMAL] == 0) & (table["view"] == view)).to_numpy()
        areas.append(column_aucs(answers[clean, None], inside[clean, None])[0])
    return float(np.mean(areas))


def _groups(
    table: pd.DataFrame, truth: Floats, probabilities: Floats, rules: Rules, resamples: int
) -> list[Group]:
    groups = []
    for of in (*subgroups(table, By.SEX), *subgroups(table, By.AGE)):
        if not of.known:
            continue
        mask = of.mask
        again = drawn(table["patient"].to_numpy()[mask], resamples=resamples)
        found = areas(probabilities[mask], truth[mask], again)
        each = _each(truth[mask], probabilities[mask], rules, found, again)
        groups.append(Group(of.kind.value, of.name, int(mask.sum()), each))
    return groups
