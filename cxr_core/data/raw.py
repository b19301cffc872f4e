"""What every reader hands on, and how it becomes an index."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from cxr_core.data import values
from cxr_core.data.index import FACTS, Index, Problem
from cxr_core.data.splits import made_split, train_or_val
from cxr_core.errors import DataError

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".dcm", ".dicom"})
_TEXT = ("file", "path", "patient", "split", "sex", "view", "source")
_SAMPLED = 9
"""Films of a folder whose size is looked at; if they agree it is taken for all of the folder."""


@dataclass(frozen=True, slots=True)
class About:
    """What a data set says of itself in dataset.toml; for cards."""

    name: str = ""
    url: str = ""
    attribution: str = ""
    licence: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """The rows of one reader.

    Attributes:
        about: what the layout knows of the data set.
        table: `file`, `path` ("" if it is missing or ambiguous) and, as far as known, the other columns of an
            index as they were written; `split` as train, val, test, "" (unknown) where any is said.
        labels, truth: columns of truth and (N, L) float32.
        problems: what was found.
        official: the splits are the publisher's and stay as they are, also where none is val.
    """

    about: About
    table: pd.DataFrame
    labels: tuple[str, ...]
    truth: NDArray[np.float32]
    problems: tuple[Problem, ...]
    official: bool = False


def films_below(folder: Path) -> Iterator[Path]:
    """Yield every film in a folder and the folders in it; by its ending, none is opened."""
    for base, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in ENDINGS and not name.startswith("."):  # noqa: PTH122 - of 112,120 names
                yield Path(base, name)


def names_in(folder: Path) -> set[str]:
    """Return the names of the files in a folder, none if there is no such folder."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries}


def indexed(raw: Raw, root: Path, about: About) -> Index:
    """Return the index of a reader's rows, in their order.

    Raises:
        DataError: no film is left, or the data set names no label.
    """
    if not raw.labels or bool(np.isnan(raw.truth).all()):
        raise DataError(f"{root.name}: no film has a label that is known; see docs/data.md")
    table, problems = raw.table.reset_index(drop=True), list(raw.problems)
    for column in ("patient", "split", "age", "sex", "view", "source"):
        if column not in table:
            table[column] = ""
    table = table.assign(**{label: raw.truth[:, k] for k, label in enumerate(raw.labels)})
    table = _present(table, problems)
    table = _once(table, raw.labels, problems)
    _set_patients(table, root, problems)
    table = _in_splits(table, root, problems)
    if not raw.official:
        table = _with_val(table, root, problems)
    _set_facts(table, root, problems)
    if table.empty:
        several = sum(problem.code == "ambiguous_file" for problem in problems)
        more = f"; {several} names fit several films each: write the folder and the ending" if several else ""
        raise DataError(f"{root.name}: none of the films listed is there{more}")
    known = raw.about
    return Index(
        name=about.name or known.name or root.stem,
        url=about.url or known.url,
        attribution=about.attribution or known.attribution,
        licence=about.licence or known.licence,
        labels=raw.labels,
        table=table[[*FACTS, *raw.labels]].astype(dict.fromkeys(_TEXT, str)).reset_index(drop=True),
        problems=tuple(problems),
    )


def _present(table: pd.DataFrame, problems: list[Problem]) -> pd.DataFrame:
    there = table["path"] != ""
    ambiguous = [problem.where for problem in problems if problem.code == "ambiguous_file"]
    problems += [
        Problem("missing_file", str(file), "listed, but not there: left out")
        for file in table.loc[~there & ~table["file"].isin(ambiguous), "file"]
    ]
    return table[there]


def _once(table: pd.DataFrame, labels: Iterable[str], problems: list[Problem]) -> pd.DataFrame:
    """Return the rows with each film once in a split; what two rows say differently is unknown."""
    twice = table.duplicated(["path", "split"], keep=False)
    if not twice.any():
        return table
    columns = list(labels)
    kept = table[~table.duplicated(["path", "split"])].copy()
    for _, rows in table[twice].groupby(["path", "split"], sort=False):
        first = rows.index[0]
        said = rows[columns]
        torn = [name for name in columns if said[name].nunique(dropna=False) > 1]
        kept.loc[first, torn] = np.float32(np.nan)
        code, text = "duplicate_row", f"listed {len(rows)} times: taken once"
        if torn:
            code, text = "contradictory_rows", f"listed with different {', '.join(torn)}: unknown there"
        problems.append(Problem(code, str(rows["file"].iloc[0]), text))
    return kept


def _set_patients(table: pd.DataFrame, root: Path, problems: list[Problem]) -> None:
    table["patient"] = values.texts(table["patient"])
    nobody = table["patient"] == ""
    if nobody.any():
        table.loc[nobody, "patient"] = "film:" + table.loc[nobody, "file"].astype(str)
        text = (
            f"{int(nobody.sum())} films name no patient: each counts as a patient of its own, so films of "
            "one patient in two splits cannot be ruled out"
        )
        problems.append(Problem("no_patient", root.name, text))


def _in_splits(table: pd.DataFrame, root: Path, problems: list[Problem]) -> pd.DataFrame:
    """Return the rows that have a split; all of them, by patient, if none is said."""
    if (table["split"] == "").all():
        of_patient = {patient: made_split(patient) for patient in table["patient"].unique()}
        text = "no split is said: 70, 10 and 20 % of the patients by a hash of their number"
        problems.append(Problem("split_made", root.name, text))
        return table.assign(split=table["patient"].map(of_patient))
    without = table["split"] == ""
    if without.any():
        text = f"{int(without.sum())} films are in no split: left out"
        problems.append(Problem("no_split", root.name, text))
    return table[~without]


def _with_val(table: pd.DataFrame, root: Path, problems: list[Problem]) -> pd.DataFrame:
    """Return the rows; if none is of val, so many of train's patients are as where no split is said."""
    train = table["split"] == "train"
    if not train.any() or (table["split"] == "val").any():
        return table
    of_patient = {patient: train_or_val(patient) for patient in table.loc[train, "patient"].unique()}
    moved = sum(split == "val" for split in of_patient.values())
    if not moved:
        text = f"no film is of val, and train's {len(of_patient)} patients are too few to make it of"
        problems.append(Problem("no_val", root.name, text))
        return table
    text = (
        f"no film is of val: by a hash of their number {moved} of train's {len(of_patient)} patients "
        "become val, test stays as it is"
    )
    problems.append(Problem("val_made", root.name, text))
    return table.assign(split=table["split"].where(~train, table["patient"].map(of_patient)))


def _set_facts(table: pd.DataFrame, root: Path, problems: list[Problem]) -> None:
    table["age"], impossible = values.ages(table["age"])
    table["sex"] = values.sexes(table["sex"])
    table["view"], others = values.views(table["view"])
    table["source"] = values.texts(table["source"])
    if "side_px" not in table:
        table["side_px"] = _sides(table["path"])
    table["side_px"] = table["side_px"].astype(int)
    if impossible:
        text = f"{impossible} films with an age that is none, or above 120: unknown there"
        problems.append(Problem("impossible_age", root.name, text))
    if others:
        text = f"{others} films name a view other than PA and AP; this app reads frontal films only"
        problems.append(Problem("other_view", root.name, text))


def _sides(paths: pd.Series) -> pd.Series:
    """Return the shorter side of each film if a sample of its folder agrees on it, else 0."""
    folders = [path.rpartition("/")[0] for path in paths.tolist()]
    sides = pd.Series(0, index=paths.index)
    for _, inside in paths.groupby(folders):
        picked = inside.iloc[np.unique(np.linspace(0, len(inside) - 1, _SAMPLED).astype(int))]
        found = {_side(Path(path)) for path in picked}
        if len(found) == 1:
            sides.loc[inside.index] = found.pop()
    return sides


def _side(path: Path) -> int:
    """Return the shorter side by the header, 0 if that cannot be read (or is DICOM's)."""
    try:
        with Image.open(path) as image:
            return min(image.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0
