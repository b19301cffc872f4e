"""The demo's invented readers: who does what with a study, and when, as a reading room's week might go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count

from cxr_core.access import Actor, Role
from cxr_core.demo.past import Clock
from cxr_core.domain import Urgency
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Line

READERS = tuple(Actor(f"Dr {name} (invented)", Role.CLINICIAN) for name in ("Okafor", "Lind", "Marsh"))
SHARES = (0.35, 0.6, 0.45, 0.8, 0.3, 0.7, 0.5, 0.9, 0.4, 0.65, 1.4, 0.55, 0.75)
"""Of a tier's longest wait until a study is read, one after the other: one in thirteen too late."""

SLOWER = 0.05
"""By this share a day ago took longer than today: they get better at it."""

RAISED_WAIT = timedelta(minutes=80)
"""Until a routine study is read that a reader calls urgent."""

CLAIMED = 0.7
"""Of the wait until reading, when a reader claims the study and looks at it."""


@dataclass(frozen=True, slots=True, order=True)
class _Plan:
    at: datetime
    number: int
    act: Callable[[], None]


class Readers:
    """What the readers have before them, done when its time has come."""

    def __init__(self, service: Service, clock: Clock, now: datetime) -> None:
        """Have nothing to do; `now` is when the demo's past ends."""
        self._service, self._clock, self._now = service, clock, now
        self._plans: list[_Plan] = []
        self._numbers, self._seen = count(), count()
        self._by_tier = {urgency: count(urgency.rank) for urgency in Urgency}

    def until(self, at: datetime) -> None:
        """Do what is due until then, each at its time."""
        while self._plans and self._plans[0].at <= at:
            plan = heappop(self._plans)
            self._clock.catch_up(plan.at)
            plan.act()

    def take_on(self, study_id: str, *, leave: bool) -> None:
        """Decide who looks at a study and when; `leave` it for whoever sees the demo."""
        if leave:
            return
        line = self._service.study(READERS[0], study_id, audited=False).line
        number = next(self._seen)
        reader = READERS[number % len(READERS)]
        share = SHARES[next(self._by_tier[line.urgency]) % len(SHARES)]
        share *= 1 + SLOWER * (self._now - line.since).days
        discussed = number % 5 == 2
        raised = discussed and line.urgency is Urgency.ROUTINE
        wait = RAISED_WAIT if raised else timedelta(seconds=line.limit_s * share)
        for part, act in self._steps(reader, study_id, line, discussed=discussed):
            at = max(line.since + part * wait, line.received + timedelta(minutes=1 + part))
            heappush(self._plans, _Plan(at, next(self._numbers), act))

    def _steps(
        self, reader: Actor, study_id: str, line: Line, *, discussed: bool
    ) -> Iterator[tuple[float, Callable[[], None]]]:
        """Yield what is done with a study and at which part of the wait until it is read."""
        yield CLAIMED, lambda: self._claim(reader, study_id)
        if line.urgency is Urgency.CRITICAL:
            yield 0.8, lambda: self._acknowledge(reader, study_id)
        if discussed:
            yield 0.9, lambda: self._discuss(study_id)
        yield 1.0, lambda: self._read(reader, study_id)

    def _line(self, reader: Actor, study_id: str) -> Line:
        return self._service.study(reader, study_id).line

    def _claim(self, reader: Actor, study_id: str) -> None:
        self._service.claim(reader, study_id, self._line(reader, study_id).version)

    def _acknowledge(self, reader: Actor, study_id: str) -> None:
        line = self._line(reader, study_id)
        told = "ward physician (invented)"
        self._service.acknowledge(
            reader, study_id, line.version, told=told, how="by telephone", read_back=True
        )

    def _read(self, reader: Actor, study_id: str) -> None:
        line = self._line(reader, study_id)
        if line.urgency is Urgency.CRITICAL and not line.acknowledged:
            self._acknowledge(reader, study_id)  # a later film made it critical
        self._service.mark_read(reader, study_id, self._line(reader, study_id).version)

    def _discuss(self, study_id: str) -> None:
        """Let two readers differ about a study, and one of them say how urgent it is."""
        ann, ben = READERS[:2]
        line = self._line(ann, study_id)
        for finding in line.findings[:1]:
            self._service.opine(ann, study_id, self._line(ann, study_id).version, finding, agrees=True)
            self._service.opine(ben, study_id, self._line(ben, study_id).version, finding, agrees=False)
        text = "Compared with the film from elsewhere: unchanged (invented)"
        self._service.note(ann, study_id, self._line(ann, study_id).version, text)
        if line.urgency is Urgency.ROUTINE:
            reason = "The ward asks for it before theatre (invented)"
            version = self._line(ben, study_id).version
            self._service.override(ben, study_id, version, Urgency.URGENT, reason)
