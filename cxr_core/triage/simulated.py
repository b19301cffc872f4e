"""What a simulation says in figures: how long films of a tier wait under each discipline. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from cxr_core.domain import Urgency
from cxr_core.triage.budget import FEW_POSITIVES
from cxr_core.triage.order import max_wait
from cxr_core.triage.policy import Policy
from cxr_core.triage.reading_room import Floats
from cxr_core.triage.simulate import Discipline, Films, Passage, Ranks

LEVEL = 0.95


class By(StrEnum):
    """Whose word on a film's tier it is sorted under."""

    TRUE = "what the film truly shows"
    SAID = "what the model says"


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean over replications with its 95 % interval (Student's t); NaN bounds of a single one."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Waits:
    """Minutes from arrival to the end of reading, of one tier under one discipline.

    Attributes:
        films: in a replication, on average.
        real: of that tier among those drawn from; what is drawn from them knows no more.
        mean, p90, worst: of a replication's films.
        over: share that waited longer than the tier allows, which counts from arrival to the end of reading.
    """

    urgency: Urgency
    discipline: Discipline
    films: float
    real: int
    mean: Spread
    p90: Spread
    worst: Spread
    over: Spread

    @property
    def few(self) -> bool:
        """Whether there is not enough data."""
        return min(self.films, self.real) < FEW_POSITIVES


def waits(passages: Sequence[Passage], films: Films, policy: Policy, by: By = By.TRUE) -> tuple[Waits, ...]:
    """Return the figures of each tier that occurs, most urgent first, by discipline.

    Args:
        passages: as `simulate` gives them.
        films: that they were drawn from.
        policy: names the longest waits.
        by: whose word counts.
    """
    real = np.bincount(_ranks(films, by), minlength=len(Urgency))
    return tuple(
        _waits(passages, policy, by, urgency, discipline, int(real[urgency.rank]))
        for urgency in Urgency
        for discipline in Discipline
        if any((_ranks(each, by) == urgency.rank).any() for each in passages)
    )


def pooled(passages: Sequence[Passage], urgency: Urgency, discipline: Discipline, by: By = By.TRUE) -> Floats:
    """Return the waits of all replications together, rising: what a distribution is drawn from."""
    each = [passage.waited[discipline][_ranks(passage, by) == urgency.rank] for passage in passages]
    return np.sort(np.concatenate(each))


def spread(values: Sequence[float]) -> Spread:
    """Return the mean of independent replications and its interval."""
    known = np.array(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return Spread(float("nan"), float("nan"), float("nan"))
    mean = float(known.mean())
    if len(known) == 1:
        return Spread(mean, float("nan"), float("nan"))
    from scipy import stats  # not before somebody simulates

    half = float(stats.t.ppf((1 + LEVEL) / 2, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    return Spread(mean, mean - half, mean + half)


def _waits(
    passages: Sequence[Passage],
    policy: Policy,
    by: By,
    urgency: Urgency,
    discipline: Discipline,
    real: int,
) -> Waits:
    limit = max_wait(policy, urgency).total_seconds() / 60
    each = [passage.waited[discipline][_ranks(passage, by) == urgency.rank] for passage in passages]
    some = [minutes for minutes in each if len(minutes)]
    return Waits(
        urgency=urgency,
        discipline=discipline,
        films=float(np.mean([len(minutes) for minutes in each])),
        real=real,
        mean=spread([float(minutes.mean()) for minutes in some]),
        p90=spread([float(np.quantile(minutes, 0.9)) for minutes in some]),
        worst=spread([float(minutes.max()) for minutes in some]),
        over=spread([float(np.mean(minutes > limit)) for minutes in some]),
    )


def _ranks(films: Passage | Films, by: By) -> Ranks:
    return films.true if by is By.TRUE else films.said
