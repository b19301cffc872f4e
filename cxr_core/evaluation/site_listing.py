"""A list of labelled films as a site hands it in: which film has which findings, and whose it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cxr_core.data import read_csv
from cxr_core.data.raw import ENDINGS, About
from cxr_core.data.values import texts
from cxr_core.domain import ABNORMAL
from cxr_core.errors import DataError
from cxr_core.evaluation.site_cases import with_abnormal

MOST_BYTES = 50_000_000
"""Of a list; one of 100,000 films has five."""


@dataclass(frozen=True, slots=True)
class Line:
    """One film of the list: its name as written, whose it is ("" unknown), and the labels that are known."""

    file: str = field(repr=False)
    patient: str = field(repr=False)
    truth: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Listing:
    """The films of a list.

    Attributes:
        lines: each film once, in order.
        labels: of the list.
        remarks: what a person should know of it, in plain sentences without names.
        names: path of a file → number of its line; after a slash, names that no two lines have.
    """

    lines: tuple[Line, ...]
    labels: tuple[str, ...]
    remarks: tuple[str, ...]
    names: Mapping[str, int] = field(repr=False)

    def find(self, name: str) -> int | None:
        """Return which line a file belongs to, or None where no line is its.

        The file's path ends with the line's, which may lack a film's ending. A file that names no folder
        belongs to the only line of its name; where films lie as `IM1` in every patient's folder, a name alone
        would be another patient's.
        """
        parts = [part for part in _plain(name).split("/") if not part.lower().endswith(".zip")]
        for start in range(len(parts)):
            path = "/".join(parts[start:])
            for word in (path, _stem(path)):
                if (line := self.names.get(word)) is not None:
                    return line
        words = (f"/{parts[0]}", f"/{_stem(parts[0])}") if len(parts) == 1 else ()
        return next((self.names[word] for word in words if word in self.names), None)


def read_listing(said: bytes, name: str, labels: Sequence[str]) -> Listing:
    """Return the films of a CSV file as docs/data.md describes it.

    Args:
        said: the file's bytes.
        name: of the file, for messages.
        labels: of the model; others in the list are left out.

    Raises:
        DataError: it is no such file, names no film, or knows none of the model's labels.
    """
    if len(said) > MOST_BYTES:
        raise DataError(f"{name}: {len(said) / 1e6:.0f} MB; a list has at most {MOST_BYTES / 1e6:.0f} MB")
    try:
        raw = read_csv.listed(said, name, About())
    except ValueError as exc:  # pandas has many words for what is no table
        raise DataError(f"{name}: cannot be read as a CSV file: {type(exc).__name__}") from exc
    known = [label for label in raw.labels if label in labels]
    if not known:
        raise DataError(f"{name}: none of its labels is the model's: {', '.join(raw.labels[:20])}")
    columns = [raw.labels.index(label) for label in known]
    remarks = [problem.message for problem in raw.problems]
    if left := [label for label in raw.labels if label not in labels]:
        remarks.append(f"not the model's, left out: {', '.join(left[:20])}")
    patients = texts(raw.table["patient"]).tolist() if "patient" in raw.table else [""] * len(raw.table)
    patient_of: dict[str, str] = {}
    said_of: dict[str, dict[str, set[float]]] = {}
    for file, patient, row in zip(raw.table["file"].tolist(), patients, raw.truth[:, columns], strict=True):
        patient_of[file] = patient_of.get(file) or patient
        values = said_of.setdefault(file, {})
        for label, value in zip(known, row, strict=True):
            if not np.isnan(value):
                values.setdefault(label, set()).add(float(value))
    told = {
        file: {label: min(each) for label, each in values.items() if len(each) == 1}
        for file, values in said_of.items()
    }
    complete = dict if ABNORMAL in known else with_abnormal
    lines = tuple(Line(file, patient_of[file], complete(each)) for file, each in told.items())
    torn = sum(any(len(each) > 1 for each in values.values()) for values in said_of.values())
    nameless = sum(not line.patient for line in lines)
    if torn:
        remarks.append(f"{torn} films stand there twice with different labels: unknown there")
    if nameless:
        remarks.append(
            f"{nameless} films name no patient: where the films do not either, each counts as a patient of "
            "its own, so films of one patient may be fitted by and held out, and intervals are too narrow"
        )
    if not any(line.truth for line in lines):
        raise DataError(f"{name}: no film has a label that is known")
    return Listing(lines, tuple(known), tuple(remarks), _numbers(lines))


def _numbers(lines: Sequence[Line]) -> dict[str, int]:
    bases = Counter(_stem(_base(line.file)) for line in lines)
    names = {f"/{_base(line.file)}": n for n, line in enumerate(lines) if bases[_stem(_base(line.file))] == 1}
    return names | {_plain(line.file): n for n, line in enumerate(lines)}


def _plain(name: str) -> str:
    return name.replace("\\", "/").strip().removeprefix("./")


def _stem(path: str) -> str:
    """Return a path without a film's ending; a UID keeps its last number."""
    stem, point, ending = path.rpartition(".")
    return stem if f"{point}{ending}".lower() in ENDINGS else path


def _base(name: str) -> str:
    return _plain(name).rsplit("/", 1)[-1]
