"""A model asked about films as they are and under each change: a file of answers that grows film by film.

Each changed film is sent as a file, so it goes every step of `pipeline.analyse`, the gate included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.data.index import Index
from cxr_core.domain import Analysis
from cxr_core.errors import DataError, Rejected
from cxr_core.evaluation.answered import facts_and_sources
from cxr_core.evaluation.asking import Told
from cxr_core.evaluation.changes import AS_SENT, CHANGES, Change
from cxr_core.evaluation.external import sampled
from cxr_core.evaluation.measure import known_truth
from cxr_core.imaging.decode import decode
from cxr_core.ledger import Ledger
from cxr_core.pipeline import Kit, answer, prepare

SPLIT = "val"
"""The only one: who sees what hurts may want to choose by it, and test is for no choice."""
FILMS = 400
"""By default; each is answered once as it is and once a change."""

KEY = ("row", "film", "change", "state", "gate")
"""Columns of the answers, before the labels; film: of its SHA-256; gate: see `Asked.gate`."""
DIGITS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a model said of the same films under each change.

    Attributes:
        labels: (L,) of the model.
        patients: (N,) whose film each is.
        truth: (N, L) 1, 0, or NaN where unknown.
        states: change → (N,) state of each film.
        gate: change → (N,) accepted, warned, or the code of the refusal.
        probabilities: change → (N, L); NaN where refused.
    """

    labels: tuple[str, ...]
    patients: NDArray[np.generic]
    truth: NDArray[np.float64]
    states: dict[str, NDArray[np.str_]]
    gate: dict[str, NDArray[np.str_]]
    probabilities: dict[str, NDArray[np.float64]]


def films_of(whole: Index, most: int = FILMS) -> Index:
    """Return the films of val to be changed: patient by patient in the order of a hash; 0: all.

    Raises:
        DataError: there is none.
    """
    index = whole.of(SPLIT)
    if not len(index):
        raise DataError(f"{whole.name}: no film in {SPLIT}")
    numbered = index.table.assign(number=np.arange(len(index)))
    return index.where(sampled(numbered, most)["number"].to_numpy())


def ask(
    index: Index,
    whole: Index,
    kit: Kit,
    to: Path,
    *,
    now: datetime,
    changes: Sequence[Change] = CHANGES,
    on_progress: Told | None = None,
) -> Asked:
    """Return what the model says of films as they are and under each change.

    Args:
        index: the films, of `films_of`.
        whole: the data set.
        kit: with the model.
        to: a file of answers; what stands there is not asked again.
        now: see `pipeline.analyse`.
        changes: each by itself.
        on_progress: told how far it is.

    Raises:
        DataError: a film cannot be read, or the data set has none of the model's labels.
        StoreError: `to` is in use or of another form.
    """
    manifest, every = kit.classifier.manifest, (AS_SENT, *changes)
    facts, within = facts_and_sources(index, whole, manifest)
    films: list[str] = []
    with Ledger(to, (*KEY, *manifest.labels)) as ledger:
        done = set(ledger.done)
        for number, path in enumerate(index.table["path"], 1):
            raw = _bytes(Path(path))
            films.append(sha256(raw).hexdigest()[:DIGITS])
            rows = {f"{films[-1]} {each.id}": each for each in every}
            missing = {name: each for name, each in rows.items() if name not in done}
            if missing:
                ledger.append([*_answers(raw, missing, kit, now)])
                done |= set(missing)
            if on_progress is not None:
                on_progress(number, len(index))
    truth = known_truth(facts, manifest.labels, within)
    return _read(to, manifest.labels, films, facts["patient"].to_numpy(), truth, every)


def _answers(raw: bytes, changes: dict[str, Change], kit: Kit, now: datetime) -> Iterator[list[str]]:
    """Yield a row for each change of a film, after one pass of the network over all of them."""
    try:
        pixels = decode(raw, kit.limits).pixels
    except Rejected:  # nothing can be done to it: refused as it is and under every change
        files = [raw] * len(changes)
    else:
        # As it is means the decoded film, too: else a DICOM file's tags would be among what changed.
        files = [each.encoded(pixels, _random(raw, each)) for each in changes.values()]
    results = answer([prepare(file, kit, now=now) for file in files], kit)
    for (name, each), result in zip(changes.items(), results, strict=True):
        yield [name, name.split(" ")[0], each.id, *_said(result, kit.classifier.manifest.labels)]


def _random(raw: bytes, change: Change) -> np.random.Generator:
    """Return what is random about a change: the same for the same film."""
    return np.random.default_rng(list(sha256(change.id.encode() + raw).digest()))


def _said(result: Analysis, labels: Sequence[str]) -> list[str]:
    both = (*result.predictions, *((result.abnormal,) if result.abnormal else ()))
    said = {each.label: f"{each.probability:.9g}" for each in both}
    gate = result.refusal.code if result.refusal else result.gate.outcome.value
    return [result.triage.state.value, gate, *(said.get(label, "") for label in labels)]


def _read(
    path: Path,
    labels: tuple[str, ...],
    films: list[str],
    patients: NDArray[np.generic],
    truth: NDArray[np.float64],
    changes: Sequence[Change],
) -> Asked:
    table = pd.read_csv(path, dtype=dict.fromkeys(KEY, str), keep_default_na=False, na_values=[""])
    table = table.set_index(["change", "film"])
    rows = {change.id: table.loc[change.id].loc[films] for change in changes}
    return Asked(
        labels=labels,
        patients=patients,
        truth=truth,
        states={name: each["state"].to_numpy(dtype=np.str_) for name, each in rows.items()},
        gate={name: each["gate"].to_numpy(dtype=np.str_) for name, each in rows.items()},
        probabilities={name: each[list(labels)].to_numpy(dtype=np.float64) for name, each in rows.items()},
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DataError(f"{path.name}: cannot be read ({exc.strerror})") from exc
