"""NIH ChestX-ray14 as published: one entry file, official lists, images in one or twelve folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cxr_core.data import labels, values
from cxr_core.data.index import SPLITS, Problem
from cxr_core.data.raw import About, Raw, names_in
from cxr_core.data.splits import train_or_val
from cxr_core.errors import DataError

ABOUT = About(
    name="NIH ChestX-ray14",
    url="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    attribution=(
        "NIH ChestX-ray14, NIH Clinical Center; Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM: "
        "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks, CVPR 2017"
    ),
    licence="no restriction, attribution asked",
)
_COLUMNS = {
    "Image Index": "file",
    "Finding Labels": "said",
    "Patient ID": "patient",
    "Patient Age": "age",
    "Patient Gender": "sex",
    "View Position": "view",
}
_SMALL = "_64"


def entry_file(root: Path) -> Path | None:
    """Return the entry file, the newest version of several; None if this is not the layout."""
    return max(root.glob("Data_Entry_2017*.csv"), default=None)


def read(root: Path, *, small_films: bool) -> Raw:
    """Return the films of the official lists; train_val_list.txt gives an eighth of its patients to val.

    Without lists all films of the entry file take part. `sources.csv`, if there is one, names the
    collection of a film; films it does not name are of the source `block`.

    Raises:
        DataError: the entry file lacks a column.
    """
    entry = entry_file(root)
    if entry is None:
        raise DataError(f"{root}: expected Data_Entry_2017*.csv")
    entries = pd.read_csv(entry)
    if lacking := set(_COLUMNS) - set(entries.columns):
        raise DataError(f"{entry.name}: lacks the column {', '.join(sorted(lacking))}")
    entries = entries[list(_COLUMNS)].rename(columns=_COLUMNS)
    problems: list[Problem] = []
    table = _listed(root, entries, small_films, problems)
    found = labels.labelled(table["said"], (), entry.name, complete=True)
    sources = root / "sources.csv"
    if sources.is_file():
        by_file = pd.read_csv(sources).set_index("Image Index")["source"]
        table["source"] = table["file"].map(by_file).fillna("block")
    return Raw(ABOUT, table, found.labels, found.truth, (*problems, *found.problems), official=True)


def _listed(root: Path, entries: pd.DataFrame, small_films: bool, problems: list[Problem]) -> pd.DataFrame:
    """Return the entries of the lists in the lists' order, with split and path."""
    paths = _paths([root / "images", *sorted(root.glob("images_0[01][0-9]")), root])
    parts = []
    for split, files in _lists(root, entries).items():
        parts.append(pd.DataFrame({"file": files, "split": split}))
        parts[-1]["path"] = [paths.get(file, "") for file in files]
        if small_films and split == "train" and (root / f"train_list{_SMALL}.txt").is_file():
            small = pd.DataFrame({"file": _words(root / f"train_list{_SMALL}.txt"), "split": split})
            small["path"] = small["file"].map(_paths([root / f"images{_SMALL}"])).fillna("")
            parts.append(small)
    listed = pd.concat(parts, ignore_index=True)
    once = entries.drop_duplicates("file")
    problems += [
        Problem("duplicate_row", str(file), "has two entries: the first is taken")
        for file in entries.loc[entries["file"].duplicated(), "file"].unique()
    ]
    known = set(once["file"].tolist())
    unknown = np.array([file not in known for file in listed["file"].tolist()], dtype=np.bool_)
    problems += [
        Problem("no_entry", str(file), "in a list, but not in the entry file: left out")
        for file in listed.loc[unknown, "file"]
    ]
    return listed[~unknown].merge(once, on="file", how="left", sort=False)


def _lists(root: Path, entries: pd.DataFrame) -> dict[str, list[str]]:
    """Return the files of train, val and test; under "" all of them if there is no list."""
    lists = {name: root / f"{name}_list.txt" for name in (*SPLITS, "train_val")}
    there = {name: _words(path) for name, path in lists.items() if path.is_file()}
    if "train_val" in there and "train" not in there:
        patients = values.texts(entries.drop_duplicates("file").set_index("file")["patient"])
        both = pd.Series(there.pop("train_val"), dtype=object)
        split = both.map(patients).fillna("").map(train_or_val)
        there |= {name: list(both[split == name]) for name in ("train", "val")}
    there.pop("train_val", None)
    return {name: there[name] for name in SPLITS if name in there} or {"": list(entries["file"].unique())}


def _words(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split()


def _paths(folders: list[Path]) -> dict[str, str]:
    """Return where each file lies; the publisher's archives hold images_001/images/."""
    found: dict[str, str] = {}
    for folder in folders:
        for place in (folder, folder / "images"):
            for name in names_in(place):
                found.setdefault(name, f"{place}/{name}")
    return found
