"""How often the heatmap points where a radiologist saw the finding, from the rows that `pointing` made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_core.errors import ModelError
from cxr_core.evaluation import tables
from cxr_core.evaluation.bootstrap import Floats, Interval, intervals
from cxr_core.evaluation.pointing import COLUMNS, TABLE
from cxr_core.evaluation.rates import share
from cxr_core.inference.manifest import NETWORK, read_manifest

LEAST_BOXES = 10
"""Below this many a hit rate is chance: "not measured"."""

ALL = "all findings"
LEARNED = "train"
"""The split whose films the model has seen."""


@dataclass(frozen=True, slots=True)
class HitRate:
    """How often the peak fell inside the box.

    Attributes:
        n, hits: boxes, and those hit.
        patients: whose films these are.
        hit: share, with a 95 % interval that knows of patients (`rates`); all NaN below `LEAST_BOXES`.
        iou: mean over the boxes, likewise; its interval by bootstrap over patients.
        chance: mean share of the film inside the boxes: the rate of points thrown at random.
        swapped: rate of the peaks of other patients' maps of the same finding in these boxes: what is
            known without looking at the film, since lungs lie at the same place in all; NaN of one patient.
        empty: films on which no region stood out.
        learned: whether films of train are among them, because there are too few others.
    """

    n: int
    hits: int
    patients: int
    hit: Interval
    iou: Interval
    chance: float
    swapped: float
    empty: int
    learned: bool

    @property
    def measured(self) -> bool:
        """Whether there are enough boxes."""
        return self.n >= LEAST_BOXES

    def __str__(self) -> str:
        """Say it in one line."""
        if not self.measured:
            return f"not measured: {self.n} of the {LEAST_BOXES} boxes that it takes"
        return (
            f"{self.hits} of {self.n}, {self.hit}; at random {self.chance:.3f}, by other patients' maps "
            f"{self.swapped:.3f}; IoU {self.iou}; {self.empty} without a region"
            f"{'; films of train are among them' if self.learned else ''}"
        )


def read(folder: Path) -> pd.DataFrame:
    """Return the rows that are of the folder's own network; none where nothing was measured.

    Raises:
        ModelError: the table is there but of another form.
    """
    path = folder / tables.FOLDER / TABLE
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        table = pd.read_csv(path, dtype={"patient": str, "network": str})[list(COLUMNS)]
    except (OSError, ValueError, KeyError) as exc:
        raise ModelError(f"{folder.name}: {TABLE} is not a table of hits") from exc
    own = read_manifest(folder).files.get(NETWORK, "")
    return table[[own.startswith(each) for each in table["network"]]].reset_index(drop=True)


def hit_rates(folder: Path, *, resamples: int = 2000) -> dict[str, HitRate]:
    """Return the hit rate of each finding that has a box, and of all together.

    Where labels are known in one source only, all but those stand together too: half of the boxes are
    of such a label. `HitRate.measured` tells whether there are enough boxes to say a rate.

    Args:
        folder: of the model.
        resamples: of the bootstrap over patients.

    Raises:
        ModelError: no sound manifest, or a table of another form.
    """
    manifest, table = read_manifest(folder), read(folder)
    if table.empty:
        return {}
    groups = {ALL: table}
    if tied := [label for label in manifest.labels if label in manifest.data.known_within]:
        groups[f"all but {', '.join(tied)}"] = table[~table["finding"].isin(tied)]
    groups |= {label: table[table["finding"] == label] for label in manifest.labels}
    return {name: _rate(rows, resamples) for name, rows in groups.items() if len(rows)}


STATED = "localisation_"


def is_stated(name: str) -> bool:
    """Return whether a figure of a manifest is one of `stated`."""
    return name.startswith(STATED)


def stated(folder: Path) -> dict[str, float]:
    """Return what a manifest's `[evaluation]` says of the hits, for card and report; see docs/models.md."""
    manifest = read_manifest(folder)
    found: dict[str, float] = {}
    for label, rate in hit_rates(folder).items():
        if label not in manifest.labels:
            continue
        start = f"{STATED}{label}"
        found |= {f"{start}_inside": float(rate.hits), f"{start}_films": float(rate.n)}
        if rate.measured:
            found |= {
                f"{start}_low": rate.hit.low,
                f"{start}_high": rate.hit.high,
                f"{start}_swapped": rate.swapped,
                f"{start}_chance": rate.chance,
                f"{start}_learned": float(rate.learned),
            }
    return found


def _rate(rows: pd.DataFrame, resamples: int) -> HitRate:
    """Return the rate on films that the model has not learned from, or on all where those are too few."""
    fresh = rows[rows["split"] != LEARNED]
    rows = fresh if len(fresh) >= LEAST_BOXES or len(fresh) == len(rows) else rows
    hits = (rows["hit"] == 1).to_numpy()
    patients = pd.factorize(rows["patient"])[0]
    hit, iou = (Interval(float("nan"), float("nan"), float("nan")),) * 2
    if len(rows) >= LEAST_BOXES:
        hit = share(hits, np.ones_like(hits), patients).interval
        values = rows[["iou"]].to_numpy(dtype=np.float64)
        (iou,), _ = intervals(_means, values, values, patients, resamples=resamples)
    return HitRate(
        n=len(rows),
        hits=int(hits.sum()),
        patients=len(np.unique(patients)),
        hit=hit,
        iou=iou,
        chance=float(rows["box_share"].mean()),
        swapped=_swapped(rows),
        empty=int(rows["empty"].sum()),
        learned=bool((rows["split"] == LEARNED).any()),
    )


def _swapped(rows: pd.DataFrame) -> float:
    """Return the mean over the boxes of how many other patients' peaks of that finding fall inside."""
    shares = []
    for _, same in rows.groupby("finding"):
        x, y = same["x"].to_numpy(), same["y"].to_numpy()
        for row in same.itertuples(index=False):
            others = (same["patient"] != row.patient).to_numpy()
            if others.any():
                inside = (x >= row.left) & (x <= row.right) & (y >= row.top) & (y <= row.bottom)
                shares.append(inside[others].mean())
    return float(np.mean(shares)) if shares else float("nan")


def _means(values: Floats, _truth: Floats, weights: Floats) -> Floats:
    means: Floats = weights @ values / weights.sum()
    return means
