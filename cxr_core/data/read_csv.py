"""Any CSV file of films: which column is what is told by its name."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.data import labels, values
from cxr_core.data.index import Problem
from cxr_core.data.raw import About, Raw, films_below
from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.errors import DataError

_NAMES = {
    "file": ("file", "filename", "image", "imageindex", "path", "filepath", "imagepath", "film", "imageid"),
    "said": ("labels", "label", "findinglabels", "findings", "finding", "diagnosis", "class"),
    "patient": ("patient", "patientid", "patientnumber", "subjectid", "subject"),
    "split": ("split", "set", "subset", "partition"),
    "age": ("age", "patientage", "ageyears"),
    "sex": ("sex", "gender", "patientsex", "patientgender"),
    "view": ("view", "viewposition", "projection"),
    "source": ("source", "collection", "site", "hospital", "institution"),
    "licence": ("licence", "license"),
}
"""Column of the index → names it goes by, spelt as `labels.key` spells."""

PREFERRED = "labels.csv"


def only_csv(root: Path) -> Path | None:
    """Return labels.csv, or the folder's one CSV file; None if there is none, or several."""
    found = sorted(root.glob("*.csv"))
    preferred = root / PREFERRED
    return preferred if preferred in found else found[0] if len(found) == 1 else None


def read(path: Path, about: About) -> Raw:
    """Return the films of a CSV file; films lie beside it, in folders below it, or where a full path says.

    Raises:
        DataError: it is no CSV file, or has no column of files or of labels.
    """
    return _read(path, path.name, path.parent, about)


def listed(said: bytes, name: str, about: About) -> Raw:
    """Return the rows of a CSV file in memory; no film is looked for, so every path is empty.

    Findings alone do not tell `abnormal` here: that is left to whoever knows which findings there should be.

    Raises:
        DataError: as `read`.
    """
    return _read(BytesIO(said), name, None, about)


def _read(source: Path | BytesIO, name: str, folder: Path | None, about: About) -> Raw:
    try:
        file = _column(list(pd.read_csv(source, nrows=0).columns), _NAMES["file"])
        if isinstance(source, BytesIO):
            source.seek(0)
        texts = dict.fromkeys(("patient_id", "patient", file), str)  # 0012 is no number
        table = pd.read_csv(source, dtype=texts, low_memory=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as exc:
        raise DataError(f"{name}: cannot be read as a CSV file: {type(exc).__name__}") from exc
    said = list(table.columns)
    columns = {column: _column(said, aliases) for column, aliases in _NAMES.items()}
    if not file:
        raise DataError(f"{name}: no column of files among {', '.join(map(str, said))}")
    rows = pd.DataFrame({own: table[column] for own, column in columns.items() if column})
    unnamed = rows["file"].isna()
    rows, table = rows[~unnamed].reset_index(drop=True), table[~unnamed].reset_index(drop=True)
    problems = [Problem("no_file", name, f"{unnamed.sum()} rows name no file")] if unnamed.any() else []
    rows["file"] = rows["file"].astype(str).str.strip()
    rows["path"] = "" if folder is None else _paths(rows["file"], folder, problems)
    if "split" in rows:
        rows["split"] = _splits(rows["split"], name, problems)
    if columns["said"]:
        found = labels.labelled(rows["said"], about.labels, name)
    else:
        found = _wide(table, about, name, findings_tell=folder is not None)
    if "licence" in rows:
        stated = rows["licence"].dropna().astype(str).unique()
        about = replace(about, licence=about.licence or "; ".join(stated[:5]))
    return Raw(about, rows, found.labels, found.truth, (*problems, *found.problems))


def _column(said: list[str], aliases: tuple[str, ...]) -> str:
    """Return the column that goes by the first of the names that any goes by, "" if none does."""
    keys = {labels.key(str(column)): column for column in reversed(said)}
    return next((keys[alias] for alias in aliases if alias in keys), "")


_LEFT_OUT = "go by this name: left out; write the folder and the ending"


def _paths(files: pd.Series, folder: Path, problems: list[Problem]) -> list[str]:
    """Return where each file lies: by its path from the CSV file, else by its name; an ending may be lacking.

    "" if it lies nowhere, or if one of several films would have to be guessed: a film is nobody's by its name
    alone where another row names it by its path, or another row that lies elsewhere goes by that name too.
    """
    named: dict[str, list[str]] = defaultdict(list)
    stems: dict[str, list[str]] = defaultdict(list)
    for path in films_below(folder):
        full = str(path)
        for name in {full, path.name}:
            named[name].append(full)
        for stem in {str(path.with_suffix("")), path.stem}:
            stems[stem].append(full)
    found: dict[str, str] = {}
    by_name: dict[str, set[str]] = defaultdict(set)
    for file in files.unique():
        words = (str(folder / file), file.rsplit("/", 1)[-1])
        word, paths = next(
            ((word, known[word]) for known in (named, stems) for word in words if word in known), ("", [])
        )
        if not paths and file.startswith("/") and Path(file).is_file():
            paths = [file]
        if len(paths) > 1:
            problems.append(Problem("ambiguous_file", file, f"several films {_LEFT_OUT}"))
        found[file] = paths[0] if len(paths) == 1 else ""
        if found[file] and "/" in file and word == words[1]:
            by_name[found[file]].add(file)
    claimed = {film for file, film in found.items() if file not in by_name[film]}
    for film, rows in by_name.items():
        if film in claimed or len(rows) > 1:
            for file in sorted(rows):
                problems.append(Problem("ambiguous_file", file, f"several rows {_LEFT_OUT}"))
                found[file] = ""
    return [found[file] for file in files]


def _splits(said: pd.Series, where: str, problems: list[Problem]) -> pd.Series:
    words = said.fillna("").astype(str)
    names = {word: values.split_name(word) for word in words.unique()}
    for word in sorted(word for word, name in names.items() if word.strip() and not name):
        text = f"{word!r} ({int((words == word).sum())} films) is none of train, val and test"
        problems.append(Problem("unknown_split", where, text))
    return words.map(names)


def _wide(table: pd.DataFrame, about: About, where: str, *, findings_tell: bool) -> labels.Labelled:
    """Return the truth of a file with one column for each label: 1, 0; empty and -1 are unknown.

    `abnormal` is what its own column says; where that is empty it is derived.

    Args:
        table: the whole file.
        about: for the labels that the data set declares.
        where: for the problems.
        findings_tell: derive `abnormal` also where no column says that nothing was found.
    """
    names = {column: labels.known_label(str(column), about.labels) for column in table.columns}
    wanted = {name: column for column, name in names.items() if name}
    normal = next((column for column in table.columns if labels.is_normal(str(column))), None)
    order = [name for name in (*FINDINGS, *about.labels) if name in wanted and name != ABNORMAL]
    if not order and ABNORMAL not in wanted:
        raise DataError(f"{where}: no column of labels, and none that is named like a finding")
    problems: list[Problem] = []
    truth = {name: _values(table[wanted[name]], name, where, problems) for name in dict.fromkeys(order)}
    derived = unknown = np.full(len(table), np.nan, dtype=np.float32)
    derivable = findings_tell or normal is not None
    if derivable:
        nothing = unknown if normal is None else _values(table[normal], str(normal), where, problems)
        findings = np.stack(list(truth.values()) or [unknown], axis=1)
        derived = _abnormal(findings, nothing, where, problems, findings_tell=findings_tell)
    if ABNORMAL in wanted:
        own = table[wanted[ABNORMAL]]
        truth[ABNORMAL] = np.where(own.isna(), derived, _values(own, ABNORMAL, where, problems))
    elif derivable:
        truth[ABNORMAL] = derived
    return labels.Labelled(tuple(truth), np.stack(list(truth.values()), axis=1), tuple(problems))


def _abnormal(
    findings: NDArray[np.float32],
    nothing: NDArray[np.float32],
    where: str,
    problems: list[Problem],
    *,
    findings_tell: bool,
) -> NDArray[np.float32]:
    """Return (N,) whether films are abnormal, by (N, L) findings and (N,) whether nothing was found.

    1 with any finding, or where it is denied that nothing was found; 0 where nothing was found, and if
    `findings_tell` also where every finding is known to be absent; unknown else, and in a contradiction.
    """
    found = (findings == 1).any(axis=1)
    torn = found & (nothing == 1)
    absent = findings_tell & (findings == 0).all(axis=1)
    problems += labels.contradictory(int(torn.sum()), where)
    said = np.select([torn, found | (nothing == 0), absent | (nothing == 1)], [np.nan, 1, 0], np.nan)
    return said.astype(np.float32)


def _values(said: pd.Series, name: str, where: str, problems: list[Problem]) -> NDArray[np.float32]:
    number = pd.to_numeric(said.replace({True: 1, False: 0}), errors="coerce").astype(np.float32)
    strange = (number.isna() & said.notna()) | (number.notna() & ~number.isin([0, 1, -1]))
    if strange.any():
        text = f"{int(strange.sum())} values of {name} are none of 1, 0 and -1: unknown there"
        problems.append(Problem("unknown_value", where, text))
    result: NDArray[np.float32] = number.where(number.isin([0, 1])).to_numpy(dtype=np.float32, copy=True)
    return result
