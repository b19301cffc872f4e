"""Whole patients, never films, go to a split or a fold; by a hash, so that no seed and no order matters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import combinations

import pandas as pd

from cxr_core.data.index import SPLITS, Index
from cxr_core.errors import DataError

TEST_SHARE = 0.2
VAL_SHARE = 0.125
"""Of what is not test; as the paper of ChestX-ray14 divides: 70, 10 and 20 %."""


def fold_of(patient: str, folds: int) -> int:
    """Return the fold, 0 … folds - 1, in which this patient's films are held out."""
    return hashlib.sha256(str(patient).encode()).digest()[0] % folds


def share_of(patient: str, purpose: str) -> float:
    """Return where in [0, 1) the patient lies for a purpose; another purpose shuffles anew."""
    digest = hashlib.sha256(f"{purpose}:{patient}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def made_split(patient: str) -> str:
    """Return the split of a patient where nobody says one: 70 % train, 10 % val, 20 % test."""
    return "test" if share_of(patient, "test") < TEST_SHARE else train_or_val(patient)


def train_or_val(patient: str) -> str:
    """Return train or val for a patient of a list that holds both."""
    return "val" if share_of(patient, "val") < VAL_SHARE else "train"


def every_second(patients: Iterable[str]) -> set[str]:
    """Return of each two patients, in the order of their names, the first."""
    return set(sorted(set(patients))[::2])


def crossing(table: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Return the patients who have films in two splits, for each pair that shares any."""
    seen = {split: set(table.loc[table["split"] == split, "patient"]) for split in SPLITS}
    pairs = {(a, b): sorted(seen[a] & seen[b]) for a, b in combinations(SPLITS, 2)}
    return {pair: patients for pair, patients in pairs.items() if patients}


def checked_disjoint(index: Index) -> None:
    """Return if no patient has films in two splits.

    Raises:
        DataError: some have; says how many, never who.
    """
    shared = crossing(index.table)
    if shared:
        counts = ", ".join(f"{len(patients)} in {a} and {b}" for (a, b), patients in shared.items())
        raise DataError(
            f"{index.name}: patients with films in two splits: {counts}; what is learned from a patient "
            "must not be tested on the same one. `cxr data check` names films of theirs"
        )
