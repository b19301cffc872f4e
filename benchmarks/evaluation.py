"""How long intervals take: our bootstrap by patient beside a plain loop over scikit-learn.

`python benchmarks/evaluation.py` on made answers: 25,000 films of 5,000 patients, 15 labels, 2,000
resamples. The plain loop draws the same patients and is timed on a few resamples. Processor seconds
stand beside the clock's: on a busy machine only they compare.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score, roc_auc_score

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.evaluation.bootstrap import Resamples, areas, drawn
from cxr_core.evaluation.report import evaluate
from cxr_core.evaluation.scored import Scored, read_scored
from cxr_core.settings import ROOT, Settings

FILMS, PATIENTS, RESAMPLES = 25_000, 5_000, 2_000
PLAIN = 2
"""Resamples of the plain loop; the rest is reckoned."""

Floats = NDArray[np.float64]
T = TypeVar("T")


def main() -> None:
    """Measure and print one table."""
    scored = made()
    (again, found), ours = timed(lambda: whole(scored))
    plain, theirs = timed(lambda: plainly(scored, again))
    apart = max(np.abs(found[0][:PLAIN] - plain[0]).max(), np.abs(found[1][:PLAIN] - plain[1]).max())
    _, everything = timed(lambda: evaluate(scored, resamples=RESAMPLES))
    reckoned = theirs[1] * RESAMPLES / PLAIN
    title = f"{FILMS:,} films × {len(scored.labels)} labels, {PATIENTS:,} patients, {RESAMPLES:,} resamples"
    table = Table("", "s by the clock", "processor s", "", title=title)
    table.add_row("AUC and AP of every label", *shown(ours), "aim: under 20 s on two idle cores")
    table.add_row(f"scikit-learn, {PLAIN} resamples", *shown(theirs), f"all: {reckoned:,.0f} processor s")
    table.add_row("", "", "", f"{reckoned / ours[1]:.0f} times ours; figures apart by {apart:.0e}")
    table.add_row("evaluate: with micro, rates, calibration", *shown(everything), "")
    Console(width=130).print(table)


def made() -> Scored:
    """Return answers as of the bundled model, on more films."""
    rng, labels = np.random.default_rng(0), (*FINDINGS, ABNORMAL)
    scored = read_scored(ROOT / "models" / Settings().model, "val")
    assert scored.labels == labels  # noqa: S101 -- what the numbers below are of
    prevalence = np.concatenate([rng.uniform(0.01, 0.15, len(FINDINGS)), [0.5]])
    truth = (rng.random((FILMS, len(labels))) < prevalence).astype(np.float64)
    members = np.clip(rng.beta(1, 9, (FILMS, 4, len(labels))) + 0.1 * truth[:, None], 0, 1)
    table = scored.table.iloc[rng.integers(0, len(scored.table), FILMS)].reset_index(drop=True)
    table["patient"] = rng.integers(0, PATIENTS, FILMS)
    table[list(labels)] = truth
    return replace(
        scored, data="made", table=table, probabilities=members.mean(axis=1), members=members, truth=truth
    )


def whole(scored: Scored) -> tuple[Resamples, tuple[Floats, Floats]]:
    """Return the patients drawn, and the draws of both areas."""
    again = drawn(scored.patients, resamples=RESAMPLES)
    found = areas(scored.probabilities, scored.truth, again)
    return again, (found.auc_draws, found.ap_draws)


def plainly(scored: Scored, again: Resamples) -> tuple[Floats, Floats]:
    """Return the first draws of both areas by scikit-learn, the same patients drawn."""
    rows: tuple[list[list[float]], list[list[float]]] = [], []
    for times in again.counts.T[1 : 1 + PLAIN]:
        films = np.repeat(np.arange(FILMS), times[again.index])
        truth, scores = scored.truth[films], scored.probabilities[films]
        for kept, figure in zip(rows, (roc_auc_score, average_precision_score), strict=True):
            kept.append([figure(truth[:, k], scores[:, k]) for k in range(truth.shape[1])])
    return np.array(rows[0]), np.array(rows[1])


def timed(work: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    """Return the result with seconds by the clock and of the processor."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - clock, time.process_time() - cpu)


def shown(seconds: tuple[float, float]) -> tuple[str, str]:
    """Return both as text."""
    return f"{seconds[0]:.1f}", f"{seconds[1]:.1f}"


if __name__ == "__main__":
    main()
