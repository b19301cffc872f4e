"""Who is in the ensemble: what each member leaves out, by which seed, how it learns."""

from __future__ import annotations

from dataclasses import dataclass

from cxr_core.training.films import FOLDS
from cxr_core.training.fit import Plan


@dataclass(frozen=True, slots=True)
class Member:
    """One network of the ensemble.

    Attributes:
        seed: of its order of films and their changes.
        fold: the part of the train list that it never sees, or None.
        plan: how it learns.
    """

    seed: int
    fold: int | None = None
    plan: Plan = Plan()


MEMBERS = (*(Member(fold, fold) for fold in range(FOLDS)), *(Member(seed) for seed in (5, 6, 7)))
"""The first four answer the train films of their fold for calibration; all answer films."""
