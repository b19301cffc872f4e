"""A folder for each class: `effusion/` beside `normal/`, within `train/`, `val/`, `test/` or not."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pandas as pd

from cxr_core.data import labels, values
from cxr_core.data.raw import About, Raw, films_below

_NIH_NAME = re.compile(r"(\d{8})_\d{3}\.png")


def classes(root: Path) -> list[tuple[str, str, Path]]:
    """Return (split or "", class, folder) of every class; none if this is not the layout."""
    inner = _folders(root)
    splits = [folder for folder in inner if values.split_name(folder.name)]
    if splits:
        return [(values.split_name(each.name), own.name, own) for each in splits for own in _folders(each)]
    return [("", folder.name, folder) for folder in inner if next(films_below(folder), None)]


def read(root: Path, about: About) -> Raw:
    """Return the films of all classes.

    A film belongs to its folder's class and to no other, unless the same bytes lie under the same name in
    several. NIH's file names tell the patient; others do not.
    """
    rows = [
        (str(path.relative_to(root)), str(path), split, name, path.name)
        for split, name, folder in classes(root)
        for path in films_below(folder)
    ]
    table = pd.DataFrame(rows, columns=["file", "path", "split", "said", "name"])
    table["same"] = _same_films(table)
    said = table.groupby(["split", "same"], sort=False)["said"].agg("|".join)
    table = table.drop_duplicates(["split", "same"]).set_index(["split", "same"], drop=False)
    table["said"] = said
    table = table.reset_index(drop=True)
    matches = table["name"].map(lambda name: _NIH_NAME.fullmatch(name))
    table["patient"] = matches.map(lambda match: str(int(match[1])) if match else "")
    found = labels.labelled(table["said"], about.labels, root.name)
    return Raw(about, table, found.labels, found.truth, found.problems)


def _folders(root: Path) -> list[Path]:
    return sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))


def _same_films(table: pd.DataFrame) -> list[str]:
    """Return a word by which the rows of one film are known: name and bytes, where a name comes twice."""
    twice = table["name"].duplicated(keep=False)
    return [
        f"{name} {hashlib.sha256(Path(path).read_bytes()).hexdigest()}" if again else path
        for name, path, again in zip(table["name"], table["path"], twice, strict=True)
    ]
