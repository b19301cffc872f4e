"""What a folder of films holds: one row a film, its truth, its split, and what was wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.errors import DataError

SPLITS = ("train", "val", "test")

FACTS = ("file", "path", "patient", "split", "age", "sex", "view", "source", "side_px")
"""Columns of every table, before the labels."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a person should know of the data.

    Attributes:
        code: a stable word such as missing_file; docs/data.md lists them all.
        where: the film's file name, or the part of the data set.
        message: one plain sentence.
    """

    code: str
    where: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The films of one data set.

    Attributes:
        name, url, attribution, licence: of the data set, for cards; "" where nobody said.
        labels: columns of truth in the data set's order, `abnormal` last where it can be derived.
        table: one row a film, numbered from 0. `file`, `path` (absolute), `patient` (str),
            `split` (train, val or test), `age` (float years, NaN unknown), `sex` (F, M or ""),
            `view` (PA, AP or ""), `source` (str, "" unknown), `side_px` (int, shorter side, 0
            unknown), then each label as float32: 1, 0, or NaN where it is not known.
        problems: what was found on reading.
    """

    name: str
    url: str
    attribution: str
    licence: str
    labels: tuple[str, ...]
    table: pd.DataFrame
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        """Films."""
        return len(self.table)

    @property
    def patients(self) -> int:
        """How many different patients."""
        return int(self.table["patient"].nunique())

    def of(self, split: str) -> Index:
        """Return the films of one split, the problems with them.

        Raises:
            DataError: no split of that name.
        """
        if split not in SPLITS:
            raise DataError(f"expected a split among {', '.join(SPLITS)}, got {split!r}")
        return self.where((self.table["split"] == split).to_numpy())

    def where(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Index:
        """Return the films of a mask, or of row numbers in their order, numbered anew."""
        taken = self.table.iloc[np.flatnonzero(rows) if rows.dtype == np.bool_ else rows]
        return replace(self, table=taken.reset_index(drop=True))

    def truth(self, labels: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Return (N, L) float32: 1, 0, or NaN where a label must be neither learned nor scored.

        Args:
            labels: the columns wanted, in this order; all of the data set's if None.

        Raises:
            DataError: the data set does not say anything of a label.
        """
        wanted = list(self.labels if labels is None else labels)
        lacking = [label for label in wanted if label not in self.labels]
        if lacking:
            raise DataError(f"{self.name} has no label {', '.join(lacking)}; it has {', '.join(self.labels)}")
        return self.table[wanted].to_numpy(dtype=np.float32, copy=True)

    def noted(self, problems: Iterable[Problem]) -> Index:
        """Return the same films with further problems."""
        return replace(self, problems=(*self.problems, *problems))
