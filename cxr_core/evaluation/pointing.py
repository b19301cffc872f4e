"""A model's heatmaps on films with drawn boxes: one row a box, kept in `evaluation/localisation.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from pathlib import Path

import pandas as pd

from cxr_core.data.index import Index
from cxr_core.evaluation import tables
from cxr_core.evaluation.asking import Told, answers
from cxr_core.evaluation.boxes import NOWHERE, Box, judged
from cxr_core.inference.manifest import NETWORK
from cxr_core.pipeline import Kit, heatmaps

TABLE = "localisation.csv"


@dataclass(frozen=True, slots=True)
class Hit:
    """One box and what the heatmap made of it; a row of `evaluation/localisation.csv`.

    Attributes:
        file, patient, split: of the film.
        finding: that was drawn.
        called: whether the model's probability reached the threshold.
        hit: whether the peak lay inside the box.
        iou: of the area within the outer contour with the box.
        box_share: of the film, the chance of a hit.
        empty: no region stood out.
        x, y: the peak in shares of the film, NaN if empty.
        left, top, right, bottom: the box.
        network: SHA-256 of the network that answered; its first twelve digits in the table.
    """

    file: str
    patient: str
    split: str
    finding: str
    called: bool
    hit: bool
    iou: float
    box_share: float
    empty: bool
    x: float
    y: float
    left: float
    top: float
    right: float
    bottom: float
    network: str


COLUMNS = tuple(each.name for each in fields(Hit))


def point(
    index: Index, drawn: Sequence[tuple[str, str, Box]], kit: Kit, *, now: datetime, told: Told | None = None
) -> list[Hit]:
    """Return what the model's heatmaps make of the boxes on films of the index.

    Findings that the model does not answer are left out, and so are films that are not at hand.

    Args:
        index: of all splits.
        drawn: as `boxes` returns them.
        kit: with the model.
        now: see `pipeline.analyse`.
        told: how far it is.
    """
    films = index.table.set_index("file")
    manifest = kit.classifier.manifest
    known = [each for each in drawn if each[0] in films.index and each[1] in manifest.labels]
    files = list(dict.fromkeys(file for file, _, _ in known))
    paths = [Path(str(films.at[file, "path"])) for file in files]
    hits: list[Hit] = []
    for file, analysis in zip(files, answers(paths, kit, now=now, on_progress=told), strict=True):
        maps = {} if analysis.refusal else heatmaps(analysis, kit)
        called = {each.label for each in analysis.predictions if each.positive}
        for finding, box in [(finding, box) for name, finding, box in known if name == file]:
            seen = judged(maps[finding], box) if maps else NOWHERE
            facts = file, str(films.at[file, "patient"]), str(films.at[file, "split"]), finding
            verdict = finding in called, seen.hit, seen.iou, box.share, seen.empty, seen.x, seen.y
            row = (*facts, *verdict, *astuple(box), manifest.files[NETWORK])
            hits.append(Hit(**dict(zip(COLUMNS, row, strict=True))))
    return hits


def write(folder: Path, hits: Sequence[Hit]) -> Path:
    """Write the rows into a model folder and return where."""
    path = folder / tables.FOLDER / TABLE
    frame = pd.DataFrame([astuple(each) for each in hits], columns=COLUMNS)
    frame["network"] = frame["network"].str[:12]
    flags = ["called", "hit", "empty"]
    frame[flags] = frame[flags].astype(int)
    frame.to_csv(path, index=False, float_format="%.5g", lineterminator="\n")
    return path
