"""The reading room as a queue: the same films read in three orders, and how long each waits. Pure.

The films are real ones with what a model said of them and what they truly show, so its errors keep their
correlations. Every discipline gets the same films at the same minutes with the same reading times (common
random numbers): what differs between them is the order alone. Reading is never interrupted.

Source of the question: Baltruschat et al., Eur Radiol 2021, doi 10.1007/s00330-020-07480-7.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import takewhile
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from cxr_core.domain import Urgency
from cxr_core.triage.order import max_wait, place, tier_of
from cxr_core.triage.policy import Policy
from cxr_core.triage.reading_room import Floats, Room, Shift, arrivals, reading_times

Ranks = NDArray[np.int64]
URGENCIES = tuple(Urgency)


class Discipline(StrEnum):
    """In which order the films are read."""

    FIRST_COME = "first come, first served"
    URGENCY = "most urgent first"
    LIMITED = "most urgent first, with maximum wait"
    """The worklist's own order, see `triage.order`."""


@dataclass(frozen=True, slots=True, eq=False)
class Films:
    """Films to draw from.

    Attributes:
        said: (N,) rank of the urgency that the model gives; see `Urgency.rank`.
        true: (N,) rank of the most urgent tier of what the film truly shows.
        patients: (N,) whose film each is.
    """

    said: Ranks
    true: Ranks
    patients: NDArray[np.generic]

    def perfect(self) -> Films:
        """Return them as a model without errors would say."""
        return replace(self, said=self.true)

    def blind(self) -> Films:
        """Return them as a model would say that takes every film for routine."""
        return replace(self, said=np.full_like(self.said, Urgency.ROUTINE.rank))


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One replication: (K,) each, of the films that count, in order of arrival.

    Attributes:
        said, true: as `Films`.
        waited: by discipline, minutes from arrival to the end of reading.
    """

    said: Ranks
    true: Ranks
    waited: dict[Discipline, Floats]


def simulate(
    room: Room,
    films: Films,
    policy: Policy,
    *,
    replications: int = 10,
    seed: int = 0,
    shares: dict[Urgency, float] | None = None,
    on_progress: Callable[[float], object] | None = None,
) -> tuple[Passage, ...]:
    """Return what came of each replication.

    Args:
        room: arrivals, readers, reading times.
        films: to draw from; for each replication the patients are drawn anew with replacement, so that
            the spread over replications holds the sample's own chance too.
        policy: names the longest waits.
        replications: with their own random numbers.
        seed: of the first; the same seed gives the same answer.
        shares: share of arrivals that truly are of a tier, where it shall differ from the films'; the other
            tiers keep their proportions.
        on_progress: told the share that is done.

    Raises:
        ValueError: nobody reads, no films, or shares of a tier that no film has.
    """
    if not room.load < float("inf"):
        raise ValueError("somebody must read")
    if not len(films.said):
        raise ValueError("there are no films to draw from")
    waits = [max_wait(policy, urgency).total_seconds() / 60 for urgency in URGENCIES]
    found = []
    steps = replications * len(Discipline)
    for number in range(replications):
        coming, drawing, reading = (
            np.random.default_rng(each) for each in np.random.SeedSequence([seed, number]).spawn(3)
        )
        at = arrivals(room, coming)
        which = draw(films, len(at), drawing, shares)
        minutes = reading_times(room, len(at), reading)
        counts = at >= room.before * 1440
        waited = {}
        for step, discipline in enumerate(Discipline):
            ended = read_all(at, minutes, films.said[which], room.shifts, discipline, waits)
            waited[discipline] = (ended - at)[counts]
            if on_progress:
                on_progress((number * len(Discipline) + step + 1) / steps)
        found.append(Passage(films.said[which][counts], films.true[which][counts], waited))
    return tuple(found)


def draw(
    films: Films, number: int, rng: np.random.Generator, shares: dict[Urgency, float] | None = None
) -> Ranks:
    """Return (number,) films, as `simulate` says.

    Raises:
        ValueError: a share of a tier that no film has, or shares above 1 together.
    """
    patients, owner = np.unique(films.patients, return_inverse=True)
    times = np.bincount(rng.integers(0, len(patients), len(patients)), minlength=len(patients))
    weights = times[owner].astype(np.float64)
    for urgency in shares or {}:
        if not weights[films.true == urgency.rank].any():
            # Rare films may all be left out by chance: they count as in the sample then.
            weights[films.true == urgency.rank] = 1.0
    if shares:
        weights = _weighted(weights, films.true, shares)
    return rng.choice(len(weights), size=number, p=weights / weights.sum())


def _weighted(weights: Floats, true: Ranks, shares: dict[Urgency, float]) -> Floats:
    rest = 1.0 - sum(shares.values())
    if rest < 0 or min(shares.values()) < 0:
        raise ValueError("shares lie in [0, 1] and are not above 1 together")
    weights, others = weights.copy(), ~np.isin(true, [urgency.rank for urgency in shares])
    for mask, share in [
        (others, rest),
        *((true == urgency.rank, share) for urgency, share in shares.items()),
    ]:
        total = weights[mask].sum()
        if share > 0 and not total:
            raise ValueError("no film is of a tier that shall come in")
        weights[mask] *= share / total if total else 0.0
    return weights


def read_all(
    at: Floats,
    minutes: Floats,
    said: Ranks,
    shifts: Sequence[Shift],
    discipline: Discipline,
    max_waits: Sequence[float],
) -> Floats:
    """Return (K,) minutes at which each film was read; each is read once, however long that takes.

    Args:
        at: (K,) rising, minutes of arrival.
        minutes: (K,) that reading takes.
        said: (K,) ranks of the urgency by which they are put in order.
        shifts: of the readers; a film begun within a shift is read to its end.
        discipline: the order.
        max_waits: by rank, minutes.
    """
    room = simpy.Environment()
    pile = _Pile(room, at, said, discipline, max_waits)
    ended = [float("nan")] * len(at)
    room.process(_arriving(room, at, pile))
    for shift in shifts:
        room.process(_ending(room, shift, pile))
        for _ in range(shift.readers):
            room.process(_reading(room, shift, pile, minutes.tolist(), ended))
    room.run()
    return np.array(ended)


class _Pile:
    """Films that wait, one row for each urgency; within a row the oldest is first to be due as well."""

    def __init__(
        self,
        room: simpy.Environment,
        at: Floats,
        said: Ranks,
        discipline: Discipline,
        max_waits: Sequence[float],
    ) -> None:
        self._room, self._waits = room, max_waits
        self._at, self._said = at.tolist(), said.tolist()
        self._tiers = [tier_of(urgency) for urgency in URGENCIES]
        self._limited, self._plain = discipline is Discipline.LIMITED, discipline is Discipline.FIRST_COME
        self._rows: list[deque[int]] = [deque() for _ in URGENCIES]
        self._called: list[simpy.Event] = []
        self._left = len(at)

    @property
    def done(self) -> bool:
        """Whether every film has been taken."""
        return not self._left

    def add(self, film: int) -> None:
        """Lay a film on the pile; whoever waits for one looks."""
        self._rows[0 if self._plain else self._said[film]].append(film)
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        called, self._called = self._called, []
        for each in called:
            each.succeed()

    def call(self) -> simpy.Event:
        """Return what happens when a film comes or a shift ends."""
        self._called.append(self._room.event())
        return self._called[-1]

    def take(self) -> int | None:
        """Return the film to be read now, and no longer have it."""
        best, first = None, (0, 0.0)
        for rank, row in enumerate(self._rows):
            if row:
                since = self._at[row[0]]
                late = self._limited and self._room.now - since > self._waits[rank]
                key = (place(self._tiers[rank], late=late), since)
                if best is None or key < first:
                    best, first = row, key
        if best is None:
            return None
        self._left -= 1
        return best.popleft()


def _arriving(room: simpy.Environment, at: Floats, pile: _Pile) -> Generator[simpy.Event, Any, None]:
    for film, moment in enumerate(at.tolist()):
        yield room.timeout(max(0.0, moment - room.now))
        pile.add(film)


def _ending(room: simpy.Environment, shift: Shift, pile: _Pile) -> Generator[simpy.Event, Any, None]:
    for _, end in takewhile(lambda _: not pile.done, shift.turns()):
        yield room.timeout(end - room.now)
        pile.wake()


def _reading(
    room: simpy.Environment, shift: Shift, pile: _Pile, minutes: list[float], ended: list[float]
) -> Generator[simpy.Event, Any, None]:
    for begin, end in takewhile(lambda _: not pile.done, shift.turns()):
        if begin > room.now:
            yield room.timeout(begin - room.now)
        while room.now < end and not pile.done:
            film = pile.take()
            if film is None:
                yield pile.call()
                continue
            yield room.timeout(minutes[film])
            ended[film] = room.now
