"""How right the text-mined labels are: beside what several radiologists agreed on (Majkowska 2020).

Three of their four findings have counterparts among ours; which is our choice, see `OURS`. Fracture has
none. What they said of each film is kept in `evaluation/noise.csv`, so that no film is needed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from cxr_core.data.index import Index
from cxr_core.errors import DataError, ModelError
from cxr_core.evaluation import tables
from cxr_core.evaluation.bootstrap import Floats, Interval, column_aucs, interval, intervals
from cxr_core.evaluation.measure import is_enough
from cxr_core.evaluation.rates import share
from cxr_core.evaluation.scored import Scored, read_scored
from cxr_core.triage.budget import FEW_POSITIVES

ADJUDICATED = "adjudicated_labels_2019.csv"
TABLE = "noise.csv"

OURS = {
    "Pneumothorax": ("Pneumothorax",),
    "Nodule or mass": ("Nodule", "Mass"),
    "Airspace opacity": ("Infiltration", "Consolidation", "Pneumonia", "Edema", "Atelectasis"),
}
"""The radiologists' finding → any of ours; the model's answer is the largest of their probabilities."""

WITHOUT = ("Fracture",)
"""Findings of theirs that none of our labels stands for."""

_NONE = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Noise:
    """One finding by both kinds of label.

    Attributes:
        finding: the radiologists' word.
        films, patients: how many were adjudicated.
        adjudicated, mined, both: films with it by each kind of label, and by both.
        agreement: share of films of which both say the same.
        kappa: Cohen's, agreement beyond chance.
        sensitivity, specificity: of the mined label, the adjudicated one being true; an interval is NaN
            below `FEW_POSITIVES` films with, or without, the finding.
        scored: films among these that the model has answered and not learned from.
        scored_adjudicated, scored_mined: those of them with it by each kind of label.
        auc_adjudicated, auc_mined: of the model's answer by each kind; NaN where there is not enough data.
        gap: the former minus the latter, the same patients drawn for both.
    """

    finding: str
    films: int
    patients: int
    adjudicated: int
    mined: int
    both: int
    agreement: Interval
    kappa: float
    sensitivity: Interval
    specificity: Interval
    scored: int
    scored_adjudicated: int
    scored_mined: int
    auc_adjudicated: Interval
    auc_mined: Interval
    gap: Interval

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"{self.finding}: {self.adjudicated} of {self.films} films adjudicated, {self.mined} mined, "
            f"{self.both} both; agreement {self.agreement}, kappa {self.kappa:.2f}; mined label "
            f"sensitivity {_or_few(self.sensitivity)}, specificity {_or_few(self.specificity)}; model on "
            f"{self.scored} films: AUC by adjudicated {_or_few(self.auc_adjudicated)}, "
            f"by mined {_or_few(self.auc_mined)}, difference {_or_few(self.gap)}"
        )


def gather(index: Index, root: Path) -> pd.DataFrame:
    """Return a row for each adjudicated film of the index: file, patient, split, both kinds of label.

    Columns are `<finding> adjudicated` and `<finding> mined`, 1 or 0.

    Args:
        index: of all splits.
        root: the folder with the publisher's list.

    Raises:
        DataError: the list is missing or of another form.
    """
    try:
        said = pd.read_csv(root / ADJUDICATED).set_index("Image Index")[list(OURS)]
    except (OSError, ValueError, KeyError) as exc:
        raise DataError(f"{ADJUDICATED}: missing, or lacks {', '.join(OURS)}") from exc
    if strange := set(np.unique(said.to_numpy(dtype=str))) - {"YES", "NO"}:
        raise DataError(f"{ADJUDICATED}: expected YES or NO, got {sorted(strange)[0]!r}")
    films = index.table[index.table["file"].isin(said.index)].reset_index(drop=True)
    table = films[["file", "patient", "split"]].copy()
    for finding, labels in OURS.items():
        table[f"{finding} adjudicated"] = (said.loc[films["file"], finding] == "YES").to_numpy(dtype=int)
        table[f"{finding} mined"] = (films[list(labels)] == 1).any(axis=1).to_numpy(dtype=int)
    return table


def write(folder: Path, table: pd.DataFrame) -> Path:
    """Write what `gather` returned into a model folder and return where."""
    path = folder / tables.FOLDER / TABLE
    table.to_csv(path, index=False, lineterminator="\n")
    return path


def read(folder: Path) -> pd.DataFrame | None:
    """Return the table as `write` left it, or None where nobody compared.

    Raises:
        ModelError: it is of another form.
    """
    path = folder / tables.FOLDER / TABLE
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype={"patient": str})
        return table[["file", "patient", "split", *(f"{f} {kind}" for f in OURS for kind in KINDS)]]
    except (OSError, ValueError, KeyError) as exc:
        raise ModelError(f"{folder.name}: {TABLE} is not a table of adjudicated films") from exc


KINDS = ("adjudicated", "mined")


def label_noise(folder: Path, *, resamples: int = 2000) -> dict[str, Noise]:
    """Return both kinds of label, and the model by both, from the tables of a model folder.

    Raises:
        ModelError: tables of another form.
    """
    table = read(folder)
    if table is None:
        return {}
    answered = [read_scored(folder, split) for split in tables.splits_in(folder)]
    return {
        finding: noise_of(finding, table, _said(finding, table, answered), resamples=resamples)
        for finding in OURS
    }


def noise_of(finding: str, table: pd.DataFrame, said: Floats, *, resamples: int = 2000) -> Noise:
    """Return one finding by both kinds of label.

    Args:
        finding: of `OURS`.
        table: as `gather` returns it.
        said: (N,) the model's answer, NaN on films that it learned from or did not answer.
        resamples: of the bootstrap over patients.
    """
    true, mined = (table[f"{finding} {kind}"].to_numpy(dtype=np.float64) for kind in KINDS)
    patients = pd.factorize(table["patient"])[0]
    agreement, found, passed = (
        share(flags, among, patients).interval
        for flags, among in ((true == mined, true >= 0), (mined == 1, true == 1), (mined == 0, true == 0))
    )
    known = ~np.isnan(said)
    ours = _areas(said[known], true[known], mined[known], patients[known], resamples)
    return Noise(
        finding=finding,
        films=len(table),
        patients=len(np.unique(patients)),
        adjudicated=int(true.sum()),
        mined=int(mined.sum()),
        both=int((true * mined).sum()),
        agreement=agreement,
        kappa=float(cohen_kappa_score(true, mined)) if len({*true, *mined}) > 1 else float("nan"),
        sensitivity=found if true.sum() >= FEW_POSITIVES else _NONE,
        specificity=passed if (1 - true).sum() >= FEW_POSITIVES else _NONE,
        scored=int(known.sum()),
        scored_adjudicated=int(true[known].sum()),
        scored_mined=int(mined[known].sum()),
        auc_adjudicated=ours[0],
        auc_mined=ours[1],
        gap=ours[2],
    )


def _areas(
    said: Floats, true: Floats, mined: Floats, patients: NDArray[np.generic], resamples: int
) -> tuple[Interval, Interval, Interval]:
    """Return the AUC by each kind of label and their difference, NaN where films are too few."""
    both = np.stack([true, mined], axis=1)
    enough = [is_enough(column, patients) for column in both.T]
    if not any(enough):
        return _NONE, _NONE, _NONE
    areas, draws = intervals(column_aucs, np.stack([said, said], 1), both, patients, resamples=resamples)
    gap = interval(areas[0].value - areas[1].value, draws[:, 0] - draws[:, 1])
    first, second = (area if enough[k] else _NONE for k, area in enumerate(areas))
    return first, second, gap if all(enough) else _NONE


def _said(finding: str, table: pd.DataFrame, answered: list[Scored]) -> Floats:
    """Return (N,) the largest probability of our labels that stand for a finding, NaN where none is known."""
    said = pd.Series(np.nan, index=table["file"])
    for scored in answered:
        columns = [scored.labels.index(label) for label in OURS[finding] if label in scored.labels]
        if not columns:
            continue
        highest = pd.Series(scored.probabilities[:, columns].max(axis=1), index=scored.table["file"])
        said = said.fillna(highest)
    found: Floats = np.asarray(said, dtype=np.float64)
    return found


def _or_few(each: Interval) -> str:
    return "not enough data" if np.isnan(each.value) else str(each)
