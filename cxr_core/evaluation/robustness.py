"""How far a model's answers hold on films that are noisy, blurred, tilted, cut or written on.

One row a change and label, before them one a change for all together, kept in `evaluation/robustness.csv`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.domain import ABNORMAL, GateOutcome, State
from cxr_core.errors import ModelError
from cxr_core.evaluation import tables
from cxr_core.evaluation.bootstrap import Floats, Interval, areas, drawn, interval
from cxr_core.evaluation.changes import AS_SENT, CHANGES, Change
from cxr_core.evaluation.measure import NOT_AVERAGED, RESAMPLES, is_enough
from cxr_core.evaluation.operating import NOBODY
from cxr_core.evaluation.rates import Flags, difference, share
from cxr_core.evaluation.robustness_asking import Asked
from cxr_core.inference.manifest import NETWORK, Manifest, read_manifest

TABLE = "robustness.csv"
ALL = ""
"""The label of a row of all findings together."""
DIGITS = 12
"""Of the network's SHA-256 in the table."""
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to the answers of one label, or of all together (`label` is `ALL`).

    Attributes:
        change, label: which.
        films, patients: that were sent.
        answered: films answered both as they are and changed; areas are of these.
        with_it: of these with the label; of all together, how many findings the mean is over.
        auc: as they are; NaN where there is not enough data.
        loss: AUC changed minus AUC as they are, the same patients drawn for both.
        called, called_changed: share of films at the threshold; of all together: share flagged.
        more: the one minus the other.
        altered: share of films whose call differs; of all together: whose state differs.
        stopped, stopped_changed: share of films that the gate warned of or refused; NaN of a label.
        refused: share of films refused when changed; NaN of a label.
    """

    change: str
    label: str
    films: int
    patients: int
    answered: int
    with_it: int
    auc: float
    loss: Interval
    called: float
    called_changed: float
    more: Interval
    altered: Interval
    stopped: float = NAN
    stopped_changed: float = NAN
    refused: float = NAN


INTERVALS = ("loss", "more", "altered")
TEXTS = ("change", "label", "network")


def effects(
    asked: Asked, manifest: Manifest, *, changes: Sequence[Change] = CHANGES, resamples: int = RESAMPLES
) -> list[Effect]:
    """Return of each change in turn what it does to all together, then to each label.

    A refused film is not called, its state differs, and no area counts it.
    """
    return [row for change in changes for row in _of(asked, manifest, change.id, resamples)]


def _of(asked: Asked, manifest: Manifest, change: str, resamples: int) -> list[Effect]:
    before, after = asked.probabilities[AS_SENT.id], asked.probabilities[change]
    answered: Flags = np.asarray(~np.isnan(before).any(axis=1) & ~np.isnan(after).any(axis=1))
    truth, owners = asked.truth[answered], asked.patients[answered]
    enough = [k for k in range(len(asked.labels)) if is_enough(truth[:, k], owners)]
    apart = (*NOT_AVERAGED, ABNORMAL, *manifest.data.known_within)
    averaged = [k for k in enough if asked.labels[k] not in apart] or enough
    loss = _Loss(before[answered], after[answered], truth, owners, resamples)
    patients = np.unique(asked.patients, return_inverse=True)[1]

    def row(label: str, with_it: int, columns: Sequence[int], was: Flags, now: Flags, other: Flags) -> Effect:
        every = np.ones(len(patients), dtype=np.bool_)
        called, changed, altered = (share(each, every, patients) for each in (was, now, other))
        auc, lost = loss.mean(columns)
        return Effect(
            change=change,
            label=label,
            films=len(patients),
            patients=int(patients.max()) + 1,
            answered=int(answered.sum()),
            with_it=with_it,
            auc=auc,
            loss=lost,
            called=called.value,
            called_changed=changed.value,
            more=difference(changed, called).interval,
            altered=altered.interval,
        )

    was, now = asked.states[AS_SENT.id], asked.states[change]
    flagged = [np.asarray(each == State.FLAGGED.value) for each in (was, now)]
    whole = row(ALL, len(averaged), averaged, flagged[0], flagged[1], np.asarray(was != now))
    gate = [float(np.mean(asked.gate[each] != GateOutcome.ACCEPTED.value)) for each in (AS_SENT.id, change)]
    refused = float(np.mean(now == State.REFUSED.value))
    rows = [replace(whole, stopped=gate[0], stopped_changed=gate[1], refused=refused)]
    for k, (label, point) in enumerate(zip(asked.labels, manifest.thresholds.values, strict=True)):
        one, two = (np.nan_to_num(each[:, k], nan=-1.0) >= point for each in (before, after))
        with_it = int((truth[:, k] == 1).sum())
        rows.append(row(label, with_it, [k] if k in enough else [], one, two, one != two))
    return rows


class _Loss:
    """Areas of the same films twice, the same patients drawn for both."""

    def __init__(
        self, before: Floats, after: Floats, truth: Floats, owners: NDArray[np.generic], resamples: int
    ) -> None:
        again = drawn(owners, resamples=resamples)
        one, other = (areas(each, truth, again) for each in (before, after))
        self._before = np.array([each.value for each in one.auc])
        self._lost = np.array([each.value for each in other.auc]) - self._before
        self._draws = other.auc_draws - one.auc_draws

    def mean(self, columns: Sequence[int]) -> tuple[float, Interval]:
        """Return the mean area as the films are and what it loses; NaN over no column."""
        if not columns:
            return NAN, NOBODY
        picked = list(columns)
        lost = interval(float(self._lost[picked].mean()), self._draws[:, picked].mean(axis=1))
        return float(self._before[picked].mean()), lost


def write(folder: Path, found: Sequence[Effect]) -> Path:
    """Write the rows into a model folder, with the network that they are of, and return where."""
    network, rows = read_manifest(folder).files[NETWORK][:DIGITS], []
    for each in found:
        row: dict[str, object] = {}
        for field in fields(Effect):
            value = getattr(each, field.name)
            if isinstance(value, Interval):
                row |= {
                    field.name: value.value,
                    f"{field.name}_low": value.low,
                    f"{field.name}_high": value.high,
                }
            else:
                row[field.name] = value
        rows.append(row | {"network": network})
    path = folder / tables.FOLDER / TABLE
    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    return path


def robustness(folder: Path) -> tuple[Effect, ...]:
    """Return the rows that are of the folder's own network; none where nothing was measured.

    Raises:
        ModelError: the table is there but of another form.
    """
    path = folder / tables.FOLDER / TABLE
    if not path.is_file():
        return ()
    try:
        texts = dict.fromkeys(TEXTS, str)
        table = pd.read_csv(
            path, dtype=texts, keep_default_na=False, na_values={each: [""] for each in _NUMBERS}
        )
        rows = table[table["network"] == read_manifest(folder).files[NETWORK][:DIGITS]].to_dict("records")
        return tuple(_effect(row) for row in rows)
    except (OSError, ValueError, KeyError) as exc:
        raise ModelError(f"{folder.name}: {TABLE} is not a table of changed films") from exc


_NUMBERS = tuple(
    f"{field.name}{end}"
    for field in fields(Effect)
    if field.name not in TEXTS
    for end in (("", "_low", "_high") if field.name in INTERVALS else ("",))
)


def _effect(row: dict[Hashable, Any]) -> Effect:
    values: dict[str, Any] = {}
    for field in fields(Effect):
        if field.name in INTERVALS:
            values[field.name] = Interval(
                *(float(row[f"{field.name}{end}"]) for end in ("", "_low", "_high"))
            )
        else:
            values[field.name] = row[field.name]
    return Effect(**values)


def said(found: Sequence[Effect], changes: Sequence[Change] = CHANGES) -> list[str]:
    """Return a line a change for people."""
    named = {change.id: f"{change.kind} {change.strength}" for change in changes}
    lines = []
    for each in found:
        if each.label != ALL:
            continue
        area = "not enough data" if np.isnan(each.loss.value) else f"mean AUC {_signed(each.loss)}"
        lines.append(
            f"  {named.get(each.change, each.change):26}{area}; flagged {each.called:.1%} → "
            f"{each.called_changed:.1%}, state differs {each.altered.value:.1%}, gate warned or refused "
            f"{each.stopped:.1%} → {each.stopped_changed:.1%}"
        )
    return lines


def _signed(value: Interval) -> str:
    return f"{value.value:+.3f} ({value.low:+.3f} to {value.high:+.3f})"
