"""How flat a served ensemble is: the slope that a refit on val would give each label.

`python benchmarks/slopes.py [ID]` reads `models/ID/evaluation/` alone. A slope above 1 says that the
calibrated probabilities lie too close together; intervals by bootstrap over patients. Beside it how far the
log-odds of the ensemble and of its members by themselves spread: a mean of several answers is flatter.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from scipy.special import logit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from cxr_core import settings
from cxr_core.evaluation.bootstrap import Floats, interval
from cxr_core.evaluation.scored import read_scored
from cxr_core.triage.budget import FEW_POSITIVES

RESAMPLES = 200


def main(model_id: str) -> None:
    """Print a line a label."""
    scored = read_scored(settings.load().models_dir / model_id, "val")
    patients = np.unique(scored.table["patient"], return_inverse=True)[1]
    rng = np.random.default_rng(0)
    count = patients.max() + 1
    counts = [np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(RESAMPLES)]
    sys.stdout.write("| label | films with it | slope on val | spread of the ensemble | of a member |\n")
    sys.stdout.write("|---|---|---|---|---|\n")
    for k, label in enumerate(scored.manifest.labels):
        truth, known = scored.truth[:, k], ~np.isnan(scored.truth[:, k])
        if min((truth == 1).sum(), (truth == 0).sum()) < FEW_POSITIVES:
            continue
        odds = logit(np.clip(scored.probabilities[:, k], 1e-9, 1 - 1e-9))
        own = logit(np.clip(scored.members[:, :, k], 1e-9, 1 - 1e-9))
        draws = [slope(odds[known], truth[known], each[patients][known]) for each in counts]
        found = interval(slope(odds[known], truth[known], np.ones(known.sum())), np.array(draws))
        spread, alone = odds[known].std(), own[known].std(axis=0).mean()
        sys.stdout.write(f"| {label} | {int((truth == 1).sum())} | {found} | {spread:.2f} | {alone:.2f} |\n")


def slope(odds: Floats, truth: Floats, weights: Floats) -> float:
    """Return the slope of a logistic regression of truth (N,) on log-odds (N,); NaN of one class."""
    if len(np.unique(truth[weights > 0])) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        line = LogisticRegression(C=1e6).fit(odds[:, None], truth, sample_weight=weights)
    return float(line.coef_[0, 0])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else settings.load().model)
