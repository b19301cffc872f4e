"""How many films are taken for unlike those that a model has seen: by set and kind, from `distance.csv`.

One row a film: set, kind, number of the patient, distance. Nothing else of a film is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_core.errors import ModelError
from cxr_core.evaluation import tables
from cxr_core.evaluation.rates import Share, share
from cxr_core.inference.manifest import DistanceTable, Manifest

COLUMNS = ("set", "kind", "patient", "distance")
TITLE = "Outside what it has seen"
NOT_MEASURED = (
    "Not measured: it answers every film that the gate lets through, like those it has seen or not."
)


@dataclass(frozen=True, slots=True)
class Unlike:
    """Films of one kind.

    Attributes:
        set, kind: which.
        warned: those sent to a person or refused.
        refused: those not answered.
    """

    set: str
    kind: str
    warned: Share
    refused: Share


def path_of(folder: Path) -> Path:
    """Return where a model folder keeps the distances."""
    return folder / tables.FOLDER / "distance.csv"


def write(folder: Path, table: pd.DataFrame) -> None:
    """Write distances into a model folder, patients numbered anew."""
    numbered = table.assign(patient=pd.factorize(table["set"] + " " + table["patient"].astype(str))[0] + 1)
    path_of(folder).parent.mkdir(parents=True, exist_ok=True)
    numbered[list(COLUMNS)].to_csv(path_of(folder), index=False, float_format="%.5g", lineterminator="\n")


def read(folder: Path, table: DistanceTable) -> tuple[Unlike, ...]:
    """Return what the limits of a manifest make of the distances, in the order of the table.

    Raises:
        ModelError: there is no such table.
    """
    try:
        found = pd.read_csv(path_of(folder), keep_default_na=False)[list(COLUMNS)]
    except (OSError, ValueError, KeyError) as exc:
        raise ModelError(
            f"{folder.name}: has limits of distance and no sound {path_of(folder).name}"
        ) from exc
    return tuple(counted(found, table))


def counted(found: pd.DataFrame, table: DistanceTable) -> Iterator[Unlike]:
    """Yield every kind's films, limits by patient."""
    distance = found["distance"].to_numpy(dtype=np.float64)
    patients = pd.factorize(found["patient"])[0].astype(np.int64)
    for (name, kind), _ in found.groupby(["set", "kind"], sort=False):
        among = ((found["set"] == name) & (found["kind"] == kind)).to_numpy()
        yield Unlike(
            str(name),
            str(kind),
            share(distance > table.warn, among, patients),
            share(distance > table.refuse, among, patients),
        )


def lines(folder: Path, manifest: Manifest) -> list[str]:
    """Return the card's section as Markdown.

    Raises:
        ModelError: see `read`.
    """
    far = manifest.distance
    if far is None:
        return [f"## {TITLE}\n", f"{NOT_MEASURED}\n"]
    groups = " and ".join(
        f"{name} ({count} axes)" for name, count in zip(far.groups, far.components, strict=True)
    )
    rows = "\n".join(
        f"| {each.set} | {each.kind} | {each.warned.of:,} | {said(each.warned)} | {said(each.refused)} |"
        for each in read(folder, far)
    )
    return [
        f"## {TITLE}\n",
        f"After the network the distance of a film's features to those that it has seen is measured "
        f"({far.method}; {groups}; {far.fitted_on}). A film beyond {far.warn:.3f} is answered and sent to a "
        f"person, one beyond {far.refuse:.3f} is refused. The films counted here were neither fitted on nor "
        "chosen by, but for those said to have set the limits. Not every film that the model cannot judge "
        "lies far from those it has seen.\n",
        f"| set | films | how many | warned or refused | of these refused |\n"
        f"| --- | --- | --- | --- | --- |\n{rows}\n",
    ]


def said(part: Share) -> str:
    """Return a share with its limits and counts."""
    at = part.interval
    return f"{at.value:.1%} ({at.low:.1%} to {at.high:.1%}), {part.count:,}"
