"""One model on one set of films: its tables, its rules and what is true, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.domain import ABNORMAL
from cxr_core.evaluation import tables
from cxr_core.evaluation.measure import Rules, known_truth, rules_of
from cxr_core.inference.manifest import Manifest, Task, read_manifest
from cxr_core.triage.budget import Report, share_report
from cxr_core.triage.policy import Policy

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One model on one data set and split, as its tables say.

    Attributes:
        model: id and version.
        data: name of the data set.
        split: val, test, or the id of an external set.
        manifest: of the model.
        table: (N rows) `tables.FACTS` and the labels.
        probabilities: (N, L) calibrated, of the ensemble.
        members: (N, M, L) calibrated, of each member.
        rules: of the model.
        truth: (N, L) 1, 0, or NaN where unknown.
        warned: (N,) whether the gate warned; None where no gate was asked, as of a model's own tables.
    """

    model: str
    data: str
    split: str
    manifest: Manifest
    table: pd.DataFrame
    probabilities: Floats
    members: Floats
    rules: Rules
    truth: Floats
    warned: NDArray[np.bool_] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """(L,) in order."""
        return self.rules.labels

    @property
    def patients(self) -> NDArray[np.generic]:
        """(N,) whose film each is."""
        return self.table["patient"].to_numpy()

    @property
    def diseased(self) -> Floats:
        """(N,) 1 with any label; 0 where `abnormal`, or else every label, is known to be absent; else NaN."""
        absent = self.truth == 0
        healthy = absent[:, self.labels.index(ABNORMAL)] if ABNORMAL in self.labels else absent.all(axis=1)
        found: Floats = np.where((self.truth == 1).any(axis=1), 1.0, np.where(healthy, 0.0, np.nan))
        return found

    def pick(self, mask: NDArray[np.bool_]) -> Scored:
        """Return the films of a mask (N,), numbered anew."""
        return replace(
            self,
            table=self.table[mask].reset_index(drop=True),
            probabilities=self.probabilities[mask],
            members=self.members[mask],
            truth=self.truth[mask],
            warned=None if self.warned is None else self.warned[mask],
        )

    def column(self, label: str) -> tuple[Floats, Floats]:
        """Return (K,) probabilities and (K,) truth of a label, on the films where it is known."""
        column = self.labels.index(label)
        known = ~np.isnan(self.truth[:, column])
        return self.probabilities[known, column], self.truth[known, column]


def read_scored(folder: Path, split: str) -> Scored:
    """Return what the tables of a model folder say of a split.

    Raises:
        ModelError: no sound manifest, or no tables of that split.
    """
    manifest = read_manifest(folder)
    first = next(iter(tables.splits_in(folder)), split)
    usual = tables.read_labels(folder, first)
    return scored_of(manifest, manifest.data.name, split, tables.read(folder, split, manifest.labels), usual)


def scored_of(
    manifest: Manifest,
    data: str,
    split: str,
    answers: tables.Answers,
    usual: pd.DataFrame,
    *,
    within: Mapping[str, str] | None = None,
) -> Scored:
    """Return answers beside what is true.

    Args:
        manifest: of the model.
        data: name of the data set.
        split: val, test, or the id of an external set.
        answers: of the model on these films.
        usual: the model's table of val, by which the naive model goes.
        within: label → the only source of these films in which it is known; None: as in the manifest.
    """
    rules = rules_of(manifest, usual)
    if within is not None:
        rules = replace(rules, within=within)
    return Scored(
        model=f"{manifest.id} {manifest.version}",
        data=data,
        split=split,
        manifest=manifest,
        table=answers.table,
        probabilities=answers.probabilities,
        members=answers.members,
        rules=rules,
        truth=known_truth(answers.table, rules.labels, rules.within),
    )


def reports(scored: Scored, policy: Policy) -> Report | None:
    """Return what the policy makes of the films: of multilabel models; None for others, no worklist."""
    if scored.manifest.model.task is not Task.MULTILABEL:
        return None
    return share_report(
        policy,
        scored.labels,
        scored.probabilities,
        scored.members if scored.members.shape[1] > 1 else None,
        scored.rules.thresholds,
        scored.truth,
        warned=scored.warned,
    )
