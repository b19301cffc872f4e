"""What is said of a model on its card: areas with intervals, Pneumonia within its source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.evaluation.bootstrap import Floats, Interval, auc_intervals, column_aucs, interval

LABELS = (*FINDINGS, ABNORMAL)
PRIMARY = tuple(label for label in FINDINGS if label not in ("Hernia", "Pneumonia"))
"""Hernia has too few films, Pneumonia is tied to the source of its films."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One split scored once.

    Attributes:
        films, patients: how many.
        positives: films with each label; for Pneumonia within its source.
        areas: AUC of each label; Pneumonia within its source.
        primary: mean AUC over PRIMARY.
        source_leak: AUC with which the Pneumonia output tells the enriched source among films
            without any finding, mean of AP and PA films; 0.5 means that it knows nothing of the source.
    """

    films: int
    patients: int
    positives: dict[str, int]
    areas: dict[str, Interval]
    primary: Interval
    source_leak: float


def measure(table: pd.DataFrame, probabilities: Floats, *, resamples: int = 2000) -> Measured:
    """Return the figures of one split.

    Args:
        table: rows with `patient`, `source` and the 15 labels as 0 or 1.
        probabilities: (N, 15) in the same order.
        resamples: of the patient-clustered bootstrap.
    """
    truth = known_truth(table)
    patients = table["patient"].to_numpy()
    areas, draws = auc_intervals(probabilities, truth, patients, resamples=resamples)
    picked = [LABELS.index(label) for label in PRIMARY]
    values = np.array([area.value for area in areas])
    return Measured(
        films=len(table),
        patients=len(np.unique(patients)),
        positives={label: int(np.nansum(truth[:, k])) for k, label in enumerate(LABELS)},
        areas=dict(zip(LABELS, areas, strict=True)),
        primary=interval(float(values[picked].mean()), draws[:, picked].mean(axis=1)),
        source_leak=_source_leak(table, probabilities[:, LABELS.index("Pneumonia")]),
    )


def paired_difference(
    table: pd.DataFrame, ours: Floats, theirs: Floats, *, resamples: int = 2000
) -> Interval:
    """Return ours minus theirs in mean AUC over PRIMARY, the same patients drawn for both."""
    truth, patients = known_truth(table), table["patient"].to_numpy()
    picked = [LABELS.index(label) for label in PRIMARY]
    (ours_now, ours_draws), (theirs_now, theirs_draws) = (
        auc_intervals(p[:, picked], truth[:, picked], patients, resamples=resamples) for p in (ours, theirs)
    )
    value = np.mean([a.value - b.value for a, b in zip(ours_now, theirs_now, strict=True)])
    return interval(float(value), (ours_draws - theirs_draws).mean(axis=1))


def known_truth(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return (N, 15) labels, Pneumonia NaN outside the enriched source."""
    truth = table[list(LABELS)].to_numpy(dtype=np.float64, copy=True)
    truth[(table["source"] != "enriched").to_numpy(), LABELS.index("Pneumonia")] = np.nan
    return truth


def _source_leak(table: pd.DataFrame, pneumonia: Floats) -> float:
    enriched: Floats = np.where(table["source"] == "enriched", 1.0, 0.0)
    areas = []
    for view in ("AP", "PA"):
        clean = ((table[ABNORMAL] == 0) & (table["view"] == view)).to_numpy()
        areas.append(column_aucs(pneumonia[clean, None], enriched[clean, None])[0])
    return float(np.mean(areas))
