"""A folder on disk as an index: which of three layouts it is, then what all of them have in common."""

from __future__ import annotations

import tomllib
from pathlib import Path

from cxr_core.data import read_csv, read_folders, read_nih
from cxr_core.data.index import Index
from cxr_core.data.raw import About, Raw, indexed
from cxr_core.data.splits import checked_disjoint
from cxr_core.errors import DataError
from cxr_core.strict import build

ABOUT = "dataset.toml"


def read(root: Path, *, small_films: bool = False, checked: bool = True) -> Index:
    """Return the films of a data set in one of three layouts.

    NIH ChestX-ray14 (`Data_Entry_2017*.csv`); a CSV file of films, or a folder with one; a folder
    for each class, within train, val and test folders or not. A `dataset.toml` beside them may give
    `name`, `url`, `attribution`, `licence` and the `labels` that there are. Where nobody says the
    split, patients are divided 70, 10 and 20 % by a hash; where there is train but no val, it is made
    of an eighth of train's patients, NIH's lists excepted. Films that are missing are listed in
    `problems` and left out; no film is opened except a few for `side_px`.

    Args:
        root: the folder, or a CSV file.
        small_films: add the training films that the NIH layout lists as existing at 64 pixels only;
            val and test stay as they are, for figures at full detail.
        checked: refuse patients with films in two splits; `cxr data check` wants to list them instead.

    Raises:
        DataError: none of the layouts, nothing readable in it, or patients in two splits.
    """
    root = root.expanduser().absolute()
    about = _about(root if root.is_dir() else root.parent)
    index = indexed(_raw(root, about, small_films), root, about)
    if checked:
        checked_disjoint(index)
    return index


def _raw(root: Path, about: About, small_films: bool) -> Raw:
    """Return what the layout's own reader finds."""
    if root.is_file():
        return read_csv.read(root, about)
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder or CSV file")
    if read_nih.entry_file(root):
        return read_nih.read(root, small_films=small_films)
    inner = [each.name for each in sorted(root.iterdir()) if each.is_dir() and _is_data_set(each)]
    if inner and not (root / read_csv.PREFERRED).is_file():
        raise DataError(f"{root}: holds data sets of its own; name one of them: {', '.join(inner)}")
    if listing := read_csv.only_csv(root):
        return read_csv.read(listing, about)
    if read_folders.classes(root):
        return read_folders.read(root, about)
    raise DataError(
        f"{root}: expected Data_Entry_2017*.csv, one CSV file of films, or a folder for each class with "
        "films in it; docs/data.md describes the three"
    )


def _is_data_set(folder: Path) -> bool:
    return bool(read_nih.entry_file(folder)) or (folder / read_csv.PREFERRED).is_file()


def _about(folder: Path) -> About:
    path = folder / ABOUT
    if not path.is_file():
        return About()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise DataError(f"{ABOUT}: cannot be read as TOML: {exc}") from exc
    return build(About, table, ABOUT, DataError)
