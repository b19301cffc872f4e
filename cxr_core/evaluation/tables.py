"""The tables under `evaluation/`: what the model answered and what is true, one row a film."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.data.index import Index
from cxr_core.errors import ModelError

Floats = NDArray[np.float64]

FOLDER = "evaluation"
HISTORY = "history.csv"
FACTS = ("file", "patient", "age", "sex", "view", "source")
TEXTS = ("sex", "view", "source")
"""Of these, what may be unknown of every film."""


@dataclass(frozen=True, slots=True)
class Answers:
    """One split as its tables hold it.

    Attributes:
        table: `FACTS` and the data set's labels.
        probabilities: (N, L) calibrated, of the ensemble.
        members: (N, M, L) calibrated, of each member.
    """

    table: pd.DataFrame
    probabilities: Floats
    members: Floats


def facts_of(index: Index, whole: Index | None = None, *, told: Collection[str] = ()) -> pd.DataFrame:
    """Return what the tables may say of the films.

    Films, patients and sources of a data set that nobody published are numbered: a model folder is handed
    on, and names and patient numbers of a hospital are not.

    Args:
        index: the films.
        whole: all films of the data set, which are numbered together, so that a film or a patient in two
            splits is seen; None: `index` is all that is looked at.
        told: sources that keep their names, because the manifest says them.
    """
    table = index.table[[*FACTS, *index.labels]].copy()
    if not index.url:
        every, said = (index if whole is None else whole).table, {"", *told}
        table["file"] = _numbered(every["path"], "film-{:06d}", index.table["path"])
        table["patient"] = _numbered(every["patient"], "patient-{:06d}", table["patient"])
        table["source"] = _numbered(every["source"], "source-{}", table["source"], kept=said)
    return table


def write(folder: Path, split: str, labels: Sequence[str], answers: Answers) -> None:
    """Write predictions, each member's predictions and labels of a split, in the order of its list."""
    films, members, _ = answers.members.shape
    files = answers.table["file"]
    together = pd.DataFrame(answers.probabilities, columns=list(labels))
    together.insert(0, "file", files.to_numpy())
    each = pd.DataFrame(answers.members.reshape(films * members, len(labels)), columns=list(labels))
    each.insert(0, "member", np.tile(np.arange(members), films))
    each.insert(0, "file", files.repeat(members).to_numpy())
    for kind, frame in (("predictions", together), ("members", each), ("labels", answers.table)):
        path = folder / FOLDER / f"{kind}-{split}.csv"
        frame.to_csv(path, index=False, float_format="%.9g", lineterminator="\n")


def read(folder: Path, split: str, labels: Sequence[str]) -> Answers:
    """Return a split's tables as `write` left them.

    Raises:
        ModelError: a table is missing, or they are not of the same films and labels.
    """
    try:
        table, together, each = (_table(folder, kind, split) for kind in ("labels", "predictions", "members"))
        shape = (len(table), -1, len(labels))
        answers = Answers(
            _facts(table),
            together[list(labels)].to_numpy(dtype=np.float64),
            each[list(labels)].to_numpy(dtype=np.float64).reshape(shape),
        )
    except (OSError, ValueError, KeyError) as exc:
        raise ModelError(f"{folder.name}: the tables of {split} are missing or of other labels") from exc
    if list(together["file"]) != list(table["file"]) or not len(table):
        raise ModelError(f"{folder.name}: the tables of {split} are not of the same films")
    return answers


def read_labels(folder: Path, split: str) -> pd.DataFrame:
    """Return `FACTS` and labels of a split's films.

    Raises:
        ModelError: there is no such table.
    """
    try:
        return _facts(_table(folder, "labels", split))
    except (OSError, ValueError) as exc:
        raise ModelError(f"{folder.name}: holds no tables of {split} under {FOLDER}/") from exc


def splits_in(folder: Path) -> tuple[str, ...]:
    """Return which splits have tables, val first."""
    return tuple(
        split for split in ("val", "test") if (folder / FOLDER / f"predictions-{split}.csv").is_file()
    )


def write_history(folder: Path, members: Sequence[Path]) -> None:
    """Join the members' `history.csv` into one with the member's number in front."""
    parts = []
    for number, run in enumerate(members):
        history = pd.read_csv(run / HISTORY)
        history.insert(0, "member", number)
        parts.append(history)
    joined = pd.concat(parts, ignore_index=True)
    joined.to_csv(folder / FOLDER / HISTORY, index=False, lineterminator="\n")


def _numbered(every: Iterable[str], form: str, names: Iterable[str], kept: Collection[str] = ()) -> list[str]:
    """Return names as numbers, each the same wherever it stands in `every`."""
    others = (name for name in dict.fromkeys(every) if name not in kept)
    numbers = {name: form.format(number) for number, name in enumerate(others, 1)}
    return [name if name in kept else numbers[name] for name in names]


def _table(folder: Path, kind: str, split: str) -> pd.DataFrame:
    path = folder / FOLDER / f"{kind}-{split}.csv"
    return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(TEXTS, str))


def _facts(table: pd.DataFrame) -> pd.DataFrame:
    return table.fillna(dict.fromkeys(TEXTS, ""))
