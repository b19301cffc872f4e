"""Two models on the same films: ours minus theirs, the same patients drawn for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_core.errors import ModelError
from cxr_core.evaluation.bootstrap import Interval, areas, drawn, limits
from cxr_core.evaluation.measure import RESAMPLES, averaged, is_enough, mean_of
from cxr_core.evaluation.scored import Scored


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one label; None where there is not enough data. Of the mean, `n_pos` counts findings."""

    n: int
    n_pos: int
    auc: Interval | None
    ap: Interval | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours minus theirs on the films and labels that both answered.

    Attributes:
        model, against, data, split: what was compared.
        n, patients: films and patients.
        findings: by label, `abnormal` too.
        macro: of the mean over the findings that both have and the card averages; None if there is none.
    """

    model: str
    against: str
    data: str
    split: str
    n: int
    patients: int
    findings: dict[str, Difference]
    macro: Difference | None

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON: [difference, low, high] or null."""
        return {
            "model": self.model,
            "against": self.against,
            "data": self.data,
            "split": self.split,
            "n": self.n,
            "patients": self.patients,
            "findings": {label: _record(each) for label, each in self.findings.items()},
            "macro": None if self.macro is None else _record(self.macro),
        }


FACTS = ("patient", "sex", "view")


def same_films(ours: Scored, theirs: Scored) -> NDArray[np.int64]:
    """Return (N,) for each of our films its row in their tables, -1 where they have none.

    Films of unpublished data are numbered, so a name alone may be another film's: patient, sex, age and view
    must be the same, and where they differ under any name no film is taken for the same.
    """
    place = {file: row for row, file in enumerate(theirs.table["file"])}
    rows = np.array([place.get(file, -1) for file in ours.table["file"]], dtype=np.int64)
    met = rows >= 0
    one, other = ours.table[met], theirs.table.iloc[rows[met]]
    alike = [np.array_equal(one[fact].astype(str), other[fact].astype(str)) for fact in FACTS]
    if not all(alike) or not np.array_equal(one["age"], other["age"], equal_nan=True):
        return np.full(len(rows), -1, dtype=np.int64)
    return rows


def compare(ours: Scored, theirs: Scored, *, resamples: int = RESAMPLES) -> Comparison:
    """Return how much higher our areas are; what is true is taken from our tables.

    Raises:
        ModelError: no film or no label in common.
    """
    rows = same_films(ours, theirs)
    labels = [label for label in ours.labels if label in theirs.labels]
    if not (rows >= 0).any() or not labels:
        raise ModelError(
            f"{ours.model} and {theirs.model} have no film or no label of {ours.split} in common"
        )
    films, rows = ours.pick(rows >= 0), rows[rows >= 0]
    columns = [ours.labels.index(label) for label in labels]
    truth = films.truth[:, columns]
    answers = theirs.probabilities[rows][:, [theirs.labels.index(label) for label in labels]]
    again = drawn(films.patients, resamples=resamples)
    one, other = (areas(p, truth, again) for p in (films.probabilities[:, columns], answers))
    draws = one.auc_draws - other.auc_draws, one.ap_draws - other.ap_draws
    auc, ap = (
        limits([a.value - b.value for a, b in zip(mine, yours, strict=True)], each)
        for mine, yours, each in ((one.auc, other.auc, draws[0]), (one.ap, other.ap, draws[1]))
    )
    findings = {}
    for k, label in enumerate(labels):
        n_pos, n = int((truth[:, k] == 1).sum()), int((~np.isnan(truth[:, k])).sum())
        enough = is_enough(truth[:, k], films.patients)
        findings[label] = Difference(n, n_pos, auc[k] if enough else None, ap[k] if enough else None)
    means = [labels.index(label) for label in averaged(films.rules, films.truth) if label in labels]
    macro = None
    if means:
        both = mean_of(auc, draws[0], means), mean_of(ap, draws[1], means)
        macro = Difference(len(films.table), len(means), *both)
    patients = len(again.counts)
    found = (len(films.table), patients, findings, macro)
    return Comparison(ours.model, theirs.model, ours.data, ours.split, *found)


def _record(each: Difference) -> dict[str, Any]:
    def plain(value: Interval | None) -> list[float] | None:
        return None if value is None else [round(x, 9) for x in (value.value, value.low, value.high)]

    return {"n": each.n, "n_pos": each.n_pos, "auc": plain(each.auc), "ap": plain(each.ap)}
