"""The same figures by another road: scikit-learn and a plain loop, nothing of `cxr_core`.

Run alone it prints them:
    python -m tests.evaluation.independent cxr_core/evaluation/reference_chexnet.csv \
        models/cxr14-mobilenetv2/evaluation/labels-test.csv
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score


def joined(predictions: Path, labels: Path, findings: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return probabilities and truth of the films that stand in both tables, in the order of the labels."""
    said, true = (pd.read_csv(path).set_index("file") for path in (predictions, labels))
    files = [file for file in true.index if file in said.index]
    return said.loc[files, findings], true.loc[files]


def known(said: pd.Series, true: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return the films on which the truth is known."""
    return said[true.notna()], true[true.notna()].astype(int)


def figures(said: pd.Series, true: pd.Series) -> tuple[float, float]:
    """Return ROC AUC and average precision by scikit-learn."""
    said, true = known(said, true)
    return roc_auc_score(true, said), average_precision_score(true, said)


def resampled(columns: list[pd.Series], true: pd.Series, patients: pd.Series, resamples: int) -> np.ndarray:
    """Return (resamples, columns) AUCs of films of patients drawn with replacement, row by row."""
    rng = np.random.default_rng(20)
    rows_of = {patient: np.flatnonzero(patients == patient) for patient in patients.unique()}
    scores, truth = [column.to_numpy() for column in columns], true.to_numpy()
    names, drawn = list(rows_of), []
    while len(drawn) < resamples:
        rows = np.concatenate([rows_of[names[k]] for k in rng.integers(0, len(names), len(names))])
        if len(np.unique(truth[rows])) == 2:
            drawn.append([roc_auc_score(truth[rows], column[rows]) for column in scores])
    return np.array(drawn)


def main(predictions: str, labels: str) -> None:
    """Print AUC and average precision of each finding of the predictions."""
    findings = list(pd.read_csv(predictions, nrows=0).columns[1:])
    said, true = joined(Path(predictions), Path(labels), findings)
    for finding in findings:
        if true[finding].dropna().nunique() == 2:
            print(finding, int(true[finding].sum()), *figures(said[finding], true[finding]))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
