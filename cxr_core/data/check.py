"""What is to be known of a data set before anything is learned from it: counts, leaks, copies, shortcuts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from cxr_core.data.index import SPLITS, Index, Problem
from cxr_core.data.pixels import Pixels, copies
from cxr_core.data.selection import rare_labels
from cxr_core.data.splits import crossing
from cxr_core.data.ties import SHORTCUTS, Tie, ties

NOTES = frozenset(
    {"new_label", "split_made", "val_made", "no_label", "no_split", "impossible_age", "no_sources"}
)
"""Codes that are worth knowing, but no fault: what they tell of has been dealt with."""

_OTHERS = "other sizes"


@dataclass(frozen=True, slots=True)
class Copy:
    """Two films in different splits that look the same, not said to be of one patient; rows of the index."""

    one: int
    other: int
    likeness: float


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """The result.

    Attributes:
        index: what was checked, all problems with it.
        labels: one row a label: for each split `positive` and `known`.
        groups: sex, view, age decade and size → value → films by split.
        ties: how much facts tell of labels.
        copies: near-duplicates across splits, most alike first.
        looked: whether the films themselves were opened.
    """

    index: Index
    labels: pd.DataFrame
    groups: dict[str, pd.DataFrame]
    ties: tuple[Tie, ...]
    copies: tuple[Copy, ...]
    looked: bool

    @property
    def faults(self) -> tuple[Problem, ...]:
        """What should be put right first."""
        return tuple(problem for problem in self.index.problems if problem.code not in NOTES)

    @property
    def notes(self) -> tuple[Problem, ...]:
        """What is worth knowing."""
        return tuple(problem for problem in self.index.problems if problem.code in NOTES)


def check(index: Index, pixels: Pixels | None, *, min_count: int = 2) -> Check:
    """Return what is to be known.

    Args:
        index: read with `checked=False`, so that leaks are found rather than refused.
        pixels: of the index's films; None: sizes as the index has them, no copies, nothing unreadable.
        min_count: training films that a label needs.
    """
    problems = [
        Problem("rare_label", label, f"{count} training films, below {min_count}")
        for label, count in rare_labels(index, min_count).items()
    ]
    problems += _one_sided(index, min_count)
    problems += _leaks(index.table)
    if pixels is None:
        sides = index.table["side_px"]
        sizes = sides.astype(str).where(sides > 0, "")
        areas = sides.astype(float).where(sides > 0) ** 2
        alike: list[Copy] = []
    else:
        known = pixels.height > 0
        written = [f"{w} × {h}" for h, w in zip(pixels.height, pixels.width, strict=True)]
        sizes = pd.Series(written).where(known, "")
        areas = pd.Series(pixels.height * pixels.width, dtype=float).where(known)
        problems += [
            Problem("unreadable_film", str(index.table["file"].iloc[row]), why)
            for row, why in pixels.refused.items()
        ]
        problems += _same_bytes(index, pixels)
        alike = _copies(index, pixels)
        problems += [_of_copy(index, each) for each in alike]
    tied = ties(index, sizes, areas)
    problems += [_of_tie(each) for each in tied if each.fact in SHORTCUTS and each.strong]
    return Check(
        index.noted(problems),
        _by_label(index),
        _groups(index.table, sizes),
        tuple(tied),
        tuple(alike),
        pixels is not None,
    )


def as_record(result: Check) -> dict[str, Any]:
    """Return everything but the pictures, for JSON."""
    index = result.index
    labels = {
        str(label): {split: {k: int(row[split, k]) for k in ("positive", "known")} for split in SPLITS}
        for label, row in result.labels.iterrows()
    }
    groups = {
        name: {str(value): {str(k): int(v) for k, v in row.items()} for value, row in table.iterrows()}
        for name, table in result.groups.items()
    }
    return {
        "name": index.name,
        "licence": index.licence,
        "films": len(index),
        "patients": index.patients,
        "splits": {
            split: {"films": len(index.of(split)), "patients": index.of(split).patients} for split in SPLITS
        },
        "films_opened": result.looked,
        "labels": labels,
        **groups,
        "ties": [_tie_record(each) for each in result.ties],
        "faults": [_problem_record(each) for each in result.faults],
        "notes": [_problem_record(each) for each in result.notes],
    }


def _problem_record(problem: Problem) -> dict[str, str]:
    return {"code": problem.code, "where": problem.where, "message": problem.message}


def _tie_record(tie: Tie) -> dict[str, Any]:
    v = None if np.isnan(tie.cramers_v) else round(tie.cramers_v, 4)
    return {"label": tie.label, "fact": tie.fact, "auc": round(tie.auc, 4), "cramers_v": v}


def _one_sided(index: Index, min_count: int) -> list[Problem]:
    """Return the labels that hardly any training film is without: nothing can be learned of them."""
    absent = (index.of("train").truth() == 0).sum(axis=0)
    return [
        Problem("one_sided_label", label, f"{count} training films are without it, below {min_count}")
        for label, count in zip(index.labels, absent.tolist(), strict=True)
        if count < min_count
    ]


def _leaks(table: pd.DataFrame) -> list[Problem]:
    problems = []
    for (one, other), patients in crossing(table).items():
        theirs = table[table["patient"] == patients[0]].drop_duplicates("split").set_index("split")["file"]
        text = (
            f"{len(patients)} patients have films in both, for example {theirs[one]} and {theirs[other]}: "
            "what is learned from a patient is tested on the same one"
        )
        problems.append(Problem("patient_in_two_splits", f"{one} and {other}", text))
    return problems


def _same_bytes(index: Index, pixels: Pixels) -> list[Problem]:
    """Return the files that are there twice: across splits, or with different labels."""
    digests = pd.Series(pixels.sha256)
    repeated = digests[(digests != "") & digests.duplicated(keep=False)]
    problems, truth = [], index.truth()
    for rows in repeated.groupby(repeated).groups.values():
        numbers = np.array(list(rows))
        films = index.table.iloc[numbers]
        where = ", ".join(films["file"].iloc[:3])
        if films["split"].nunique() > 1:
            splits = " and ".join(sorted(films["split"].unique(), key=SPLITS.index))
            problems.append(Problem("same_film", where, f"the same bytes in {splits}"))
        said = truth[numbers]
        if not all(np.array_equal(said[0], each, equal_nan=True) for each in said[1:]):
            problems.append(Problem("same_film_other_labels", where, "the same bytes, labelled differently"))
    return problems


def _copies(index: Index, pixels: Pixels) -> list[Copy]:
    """Return pairs across splits that look the same; not those of one patient or of the same bytes."""
    rows = {split: np.flatnonzero(index.table["split"] == split) for split in SPLITS}
    patients, found = index.table["patient"].tolist(), []
    for a, b in combinations(SPLITS, 2):
        for i, j, alike in copies(pixels.prints[rows[a]], pixels.prints[rows[b]]):
            one, other = int(rows[a][i]), int(rows[b][j])
            if patients[one] != patients[other] and pixels.sha256[one] != pixels.sha256[other]:
                found.append(Copy(one, other, alike))
    return sorted(found, key=lambda each: -each.likeness)


def _of_copy(index: Index, copy: Copy) -> Problem:
    files, splits = index.table["file"], index.table["split"]
    where = f"{files.iloc[copy.one]}, {files.iloc[copy.other]}"
    text = f"look like one film (likeness {copy.likeness:.2f}) in {splits.iloc[copy.one]}"
    return Problem(
        "near_duplicate", where, f"{text} and {splits.iloc[copy.other]}, not said to be of one patient"
    )


def _of_tie(tie: Tie) -> Problem:
    text = (
        f"the {tie.fact} of a film alone tells {tie.label} with an AUC of {tie.auc:.2f} (Cramér's V "
        f"{tie.cramers_v:.2f}): a network will learn the {tie.fact}"
    )
    if tie.fact == "source":
        text += ", unless the label counts within one source only (known_within)"
    return Problem(f"tied_to_{tie.fact}", tie.label, text)


def _by_label(index: Index) -> pd.DataFrame:
    columns = {}
    for split in SPLITS:
        truth = index.of(split).truth()
        columns[split, "positive"] = (truth == 1).sum(axis=0)
        columns[split, "known"] = (~np.isnan(truth)).sum(axis=0)
    return pd.DataFrame(columns, index=list(index.labels))


def _groups(table: pd.DataFrame, sizes: pd.Series) -> dict[str, pd.DataFrame]:
    decades = table["age"].map(lambda years: "" if np.isnan(years) else f"{int(years) // 10 * 10:d}s")
    common = [value for value, _ in Counter(sizes).most_common(12)]
    shown = sizes.where(sizes.isin(common), _OTHERS)
    facts = {
        "sex": table["sex"],
        "view": table["view"],
        "age": decades,
        "size": shown,
        "source": table["source"],
    }
    return {name: _by_split(values, table["split"], name) for name, values in facts.items()}


def _by_split(values: pd.Series, splits: pd.Series, name: str) -> pd.DataFrame:
    named = values.replace("", "unknown").to_numpy()
    counted = pd.crosstab(pd.Series(named, name=name), splits.to_numpy())
    counted = counted.reindex(columns=list(SPLITS), fill_value=0)
    if name in ("size", "source"):
        order = counted.sum(axis=1).where(counted.index != _OTHERS, 0)
        return counted.loc[order.sort_values(ascending=False, kind="stable").index]
    if name == "age":
        return counted.loc[
            sorted(counted.index, key=lambda decade: (decade == "unknown", len(decade), decade))
        ]
    return counted
