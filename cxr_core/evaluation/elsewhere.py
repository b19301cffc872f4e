"""Figures of a model on another population, from its table of answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_core.domain import State
from cxr_core.evaluation import external, tables
from cxr_core.evaluation.bootstrap import Interval, column_aucs, intervals
from cxr_core.evaluation.measure import is_enough
from cxr_core.evaluation.metrics import ece
from cxr_core.evaluation.populations import POPULATIONS, Contrast, Population
from cxr_core.evaluation.rates import share
from cxr_core.evaluation.scored import Scored, read_scored

STATES = (State.FLAGGED, State.NO_DISEASE_DETECTED, State.UNABLE_TO_CLASSIFY, State.REFUSED)


@dataclass(frozen=True, slots=True)
class Kind:
    """Films of one kind, where the table says it of patients that the gate did not learn from.

    Attributes:
        name: of the kind.
        films, patients: how many; a film without a patient counts as one.
        states: share of films of each of `STATES`, with an interval that knows of patients.
        above: share of the films above the threshold of each label that has one.
    """

    name: str
    films: int
    patients: int
    states: dict[State, Interval]
    above: dict[str, float]


@dataclass(frozen=True, slots=True)
class ToldApart:
    """How well a label tells two kinds apart; the AUC is NaN where there is not enough data."""

    contrast: Contrast
    positives: int
    negatives: int
    auc: Interval


@dataclass(frozen=True, slots=True)
class Shift:
    """Calibration of a label here and at home.

    Attributes:
        label: which.
        ece: expected calibration error here.
        home: the same on each split of the model's own data.
        mean, observed: mean probability here, and the share of films with it.
    """

    label: str
    ece: float
    home: dict[str, float]
    mean: float
    observed: float


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A model on another population.

    Attributes:
        population: whose films, with the warning to be shown beside every figure.
        films, patients, refused: how many.
        held_out: films of patients that the gate did not learn from; None where the table does not say it.
        kinds: of films, in the set's order.
        told: contrasts whose label the model has.
        shifts: of the labels whose truth is known here, and at home in all films.
    """

    population: Population
    films: int
    patients: int
    refused: int
    held_out: int | None
    kinds: tuple[Kind, ...]
    told: tuple[ToldApart, ...]
    shifts: tuple[Shift, ...]

    @property
    def of_the_gate(self) -> str:
        """Say which films the kinds are counted on: the gate learned from half of these patients."""
        if self.held_out is None:
            return (
                "The gate learned from every second of these patients, and this table does not say from "
                "which: states and refusals are of all films, those that it knows among them."
            )
        return (
            f"States and refusals of the kinds are of the {self.held_out:,} films of patients that the gate "
            "did not learn from, all else is of all films."
        )

    def __str__(self) -> str:
        """Say it in some lines, the warning first."""
        said = self.population
        lines = [
            f"{said.name}: another population ({said.who}); {self.films} films of {self.patients} patients, "
            f"{self.refused} refused",
            f"  {said.warning}",
            f"  {self.of_the_gate}",
        ]
        for kind in self.kinds:
            states = (f"{state.value} {share}" for state, share in kind.states.items())
            lines.append(f"  {kind.name}, {kind.films} films: {', '.join(states)}")
        for each in self.told:
            enough = not np.isnan(each.auc.value)
            count = f"{each.positives} and {each.negatives} films"
            area = f"AUC {each.auc}" if enough else "not enough data"
            lines.append(f"  {each.contrast.name} by {each.contrast.label}: {area}, {count}")
        for shift in self.shifts:
            home = ", ".join(f"{split} {value:.3f}" for split, value in shift.home.items())
            lines.append(
                f"  calibration of {shift.label}: ECE {shift.ece:.3f} here, {home} at home; "
                f"mean probability {shift.mean:.3f}, observed {shift.observed:.3f}"
            )
        return "\n".join(lines)


def elsewhere(folder: Path, population: str, *, resamples: int = 2000) -> Elsewhere:
    """Return a model's figures on a population from the tables of its folder.

    Raises:
        ModelError: there is no such table.
    """
    known = POPULATIONS[population]
    scored = external.scored(folder, population)
    table = external.read(folder, population, scored.labels)
    told = bool((table[external.GATE] != "").all())
    counted = table[table[external.GATE] == external.HELD_OUT] if told else table
    home = {split: read_scored(folder, split) for split in tables.splits_in(folder)}
    tied = scored.manifest.data.known_within  # at home such a label is known among other films than all
    contrasts = [each for each in known.contrasts if each.label in scored.labels]
    return Elsewhere(
        population=known,
        films=len(table),
        patients=int(table["patient"].nunique()),
        refused=int((table["refusal"] != "").sum()),
        held_out=len(counted) if told else None,
        kinds=tuple(
            _kind(name, counted[counted["kind"] == name], scored)
            for name in dict.fromkeys(known.kinds.values())
            if (counted["kind"] == name).any()
        ),
        told=tuple(_told(each, table[table["refusal"] == ""], resamples) for each in contrasts),
        shifts=tuple(
            _shift(each.label, scored, home) for each in contrasts if each.truth and each.label not in tied
        ),
    )


def _kind(name: str, rows: pd.DataFrame, scored: Scored) -> Kind:
    patients, everything = pd.factorize(rows["patient"])[0], np.ones(len(rows), dtype=np.bool_)
    answered = rows[rows["refusal"] == ""]
    return Kind(
        name=name,
        films=len(rows),
        patients=int(rows["patient"].nunique()),
        states={
            state: share((rows["state"] == state.value).to_numpy(), everything, patients).interval
            for state in STATES
        },
        above={
            label: float((answered[label] >= threshold).mean())
            for label, threshold in zip(scored.labels, scored.rules.thresholds, strict=True)
            if threshold <= 1 and len(answered)
        },
    )


def _told(contrast: Contrast, rows: pd.DataFrame, resamples: int) -> ToldApart:
    of = rows[rows["kind"].isin((*contrast.positive, *contrast.negative)) & rows[contrast.label].notna()]
    truth = np.asarray(of["kind"].isin(contrast.positive), dtype=np.float64)[:, None]
    positives, auc = int(truth.sum()), Interval(float("nan"), float("nan"), float("nan"))
    if is_enough(truth[:, 0], of["patient"].to_numpy()):
        scores = of[[contrast.label]].to_numpy(dtype=np.float64)
        (auc,), _ = intervals(column_aucs, scores, truth, of["patient"].to_numpy(), resamples=resamples)
    return ToldApart(contrast, positives, len(of) - positives, auc)


def _shift(label: str, scored: Scored, home: dict[str, Scored]) -> Shift:
    probabilities, truth = scored.column(label)
    return Shift(
        label=label,
        ece=ece(probabilities, truth),
        home={split: ece(*each.column(label)) for split, each in home.items()},
        mean=float(probabilities.mean()),
        observed=float(truth.mean()),
    )
