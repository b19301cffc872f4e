"""Small models with tables: the bundled model's films and answers, some of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_core.inference.manifest import read_manifest
from tests.inference.tiny import rewrite

BUNDLED = Path(__file__).parents[2] / "models" / "cxr14-mobilenetv2"


def as_it_is(table: pd.DataFrame) -> pd.DataFrame:
    return table


def with_tables(
    folder: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame] = as_it_is,
    *,
    split: str = "test",
    every: int = 4,
) -> Path:
    """Give a small model some of the bundled one's films and its answers as they are changed."""
    names = list(read_manifest(folder).labels)
    members = read_manifest(BUNDLED).model.members
    (folder / "evaluation").mkdir(exist_ok=True)
    for kind, first in (("labels", 6), ("predictions", 1), ("members", 2)):
        table = pd.read_csv(BUNDLED / "evaluation" / f"{kind}-{split}.csv", keep_default_na=False)
        rows = np.arange(len(table)) // (members if kind == "members" else 1) % every == 0
        kept = table.loc[rows, [*table.columns[:first], *names]]
        (change(kept) if kind != "labels" else kept).to_csv(
            folder / "evaluation" / f"{kind}-{split}.csv", index=False
        )
    rewrite(folder, read_manifest(folder))
    return folder
