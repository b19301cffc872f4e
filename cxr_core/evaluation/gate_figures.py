"""What the gate's network does to pictures that it was not fitted on: which pass, which faults it catches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import Gate, GateOutcome, Radiograph
from cxr_core.errors import Rejected
from cxr_core.evaluation.rates import share
from cxr_core.imaging.gate import Look, LookLimits, judged

Inputs = NDArray[np.float32]
Looking = Callable[[Inputs], Sequence[Look]]

PASSES = "passes"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the gate's table.

    Attributes:
        what: the pictures, and what was done to them.
        wanted: the share is of pictures that got one of these codes; `passes` is no refusal.
        count, of: how many did, of how many.
        low, high: 95 % interval of the share, by patient where there are patients.
        said: every code that was given, with its number.
    """

    what: str
    wanted: tuple[str, ...]
    count: int
    of: int
    low: float
    high: float
    said: tuple[tuple[str, int], ...]

    @property
    def value(self) -> float:
        """The share; NaN of no pictures."""
        return self.count / self.of if self.of else float("nan")


TURNS = {1: "turned_left", 2: "upside_down", 3: "turned_right"}
REFUSED = ("not_radiograph", "cross_section", "other_radiograph")


def figures(
    look: Looking, limits: LookLimits, groups: Sequence[tuple[str, str, Inputs, Sequence[str]]]
) -> list[Figure]:
    """Return a line for each group, and for the faults made in the groups of chest films.

    Args:
        look: what the network sees on (N, 1, 64, 64) inputs.
        limits: of the gate.
        groups: name; "chest", "other" or "adults" (chest films in which faults are made as well); inputs;
            patient of each.
    """
    lines = []
    for name, kind, inputs, patients in groups:
        codes = codes_of(look(inputs), limits)
        if kind == "other":
            lines.append(line(f"{name}: refused as no chest film", REFUSED, codes, patients))
            continue
        lines.append(line(f"{name}: not refused", (PASSES, "mirrored", "cropped"), codes, patients))
        lines += [
            line(f"{name}: warned, {code}", (code,), codes, patients) for code in ("mirrored", "cropped")
        ]
        if kind == "adults":
            lines += _faults(look, limits, name, inputs, patients)
    return lines


def codes_of(looks: Sequence[Look], limits: LookLimits) -> list[tuple[str, ...]]:
    """Return what is said of each picture by the network alone: a refusal, warnings, or `passes`."""
    nothing = Gate(GateOutcome.ACCEPTED)
    bare = Radiograph(np.empty((0, 0), np.float32), "", "PNG")
    said: list[tuple[str, ...]] = []
    for look in looks:
        try:
            said.append(judged(bare, nothing, look, limits).codes or (PASSES,))
        except Rejected as exc:
            said.append((exc.code,))
    return said


def _faults(
    look: Looking, limits: LookLimits, name: str, inputs: Inputs, patients: Sequence[str]
) -> list[Figure]:
    lines = []
    for turns, code in TURNS.items():
        turned = np.ascontiguousarray(np.rot90(inputs, turns, (2, 3)))
        said = codes_of(look(turned), limits)
        lines.append(line(f"{name}, turned by {90 * turns}°: refused as such", (code,), said, patients))
    said = codes_of(look(-inputs), limits)
    lines.append(line(f"{name}, inverted: refused as such", ("inverted",), said, patients))
    said = codes_of(look(np.ascontiguousarray(inputs[..., ::-1])), limits)
    lines.append(line(f"{name}, mirrored: warned", ("mirrored",), said, patients))
    for side, cut in (
        ("left", np.s_[:, :, :, 20:]),
        ("right", np.s_[:, :, :, :-20]),
        ("top", np.s_[:, :, 20:]),
    ):
        said = codes_of(look(_stretched(inputs[cut])), limits)
        lines.append(line(f"{name}, {side} third cut off: warned", ("cropped",), said, patients))
    return lines


def _stretched(inputs: Inputs) -> Inputs:
    """Return the cut pictures at 64 pixels a side, as a cut film would be seen."""
    high, wide = inputs.shape[2:]
    rows, columns = (np.linspace(0, size - 1, 64) for size in (high, wide))
    top, left = (np.minimum(where.astype(int), size - 2) for where, size in ((rows, high), (columns, wide)))
    down, right = (rows - top)[:, None], (columns - left)[None, :]
    upper, lower = inputs[:, :, top], inputs[:, :, top + 1]
    mixed = (upper[..., left] * (1 - right) + upper[..., left + 1] * right) * (1 - down)
    mixed = mixed + (lower[..., left] * (1 - right) + lower[..., left + 1] * right) * down
    return np.ascontiguousarray(mixed, dtype=np.float32)


def line(
    what: str, wanted: Sequence[str], codes: Sequence[tuple[str, ...]], patients: Sequence[str]
) -> Figure:
    """Return the share of pictures that got one of the wanted codes, with its interval by patient."""
    hit = np.array([not set(wanted).isdisjoint(said) for said in codes], dtype=bool)
    numbers = np.unique(np.asarray(patients), return_inverse=True)[1].astype(np.int64)
    low, high = share(hit, np.ones(len(hit), bool), numbers).limits()
    said = Counter(code for each in codes for code in each)
    return Figure(what, tuple(wanted), int(hit.sum()), len(hit), low, high, tuple(said.most_common()))
