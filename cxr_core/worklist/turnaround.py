"""How long studies waited to be viewed, acknowledged and read: from the audit trail, not from guesses.

The wait runs as on the list: from when the film was taken where it says so and that is not in the future,
else from receipt, until a person did something. What that was stands in the audit trail; the study's row says
only whether it still holds: a study put back on the list is not read, a result graver than the one
acknowledged is not acknowledged.

A study that was overdue before its first film came in, as a film of last year is, says nothing of the reading
room: such studies are counted apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from statistics import median
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from cxr_core.domain import Urgency
from cxr_core.triage.order import max_wait
from cxr_core.worklist.schema import AuditRow, StudyRow

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

_VIEW, _ACKNOWLEDGE, _READ = "view", "acknowledge", "read"


@dataclass(frozen=True, slots=True)
class Passage:
    """One study's way through the reading room; times are aware, None is what has not happened.

    Attributes:
        urgency: as the list says now.
        received: when its first film came in.
        since: from when the wait runs.
        viewed: when somebody first opened it.
        acknowledged: when the acknowledgement that holds was made.
        read: when it was read, for the last time where it was put back on the list in between.
        reopened: it was put back on the list after it had been read.
    """

    urgency: Urgency
    received: datetime
    since: datetime
    viewed: datetime | None = None
    acknowledged: datetime | None = None
    read: datetime | None = None
    reopened: bool = False


@dataclass(frozen=True, slots=True)
class Waits:
    """What `n` studies waited, in seconds; None where there are none.

    Attributes:
        n: how many.
        median_s: half of them waited at most this long; between the middle two where `n` is even.
        p90_s: the shortest of the waits that at least nine in ten did not exceed (nearest rank).
        worst_s: the longest.
    """

    n: int = 0
    median_s: float | None = None
    p90_s: float | None = None
    worst_s: float | None = None


@dataclass(frozen=True, slots=True)
class TierTimes:
    """How studies of one urgency fared.

    Attributes:
        urgency: of them.
        studies: how many came in.
        arrived_late: how many of them were overdue when they came in; nothing of what follows counts them.
        limit_s: the longest wait by the policy now in force.
        viewed, acknowledged, read: waits of those for which it has happened.
        due: those read, and those not read whose limit has passed; of the others it cannot be said yet.
        overdue: those among `due` that waited longer than the limit.
        reopened: put back on the list after they had been read; their wait ran on.
    """

    urgency: Urgency
    studies: int
    arrived_late: int
    limit_s: float
    viewed: Waits
    acknowledged: Waits
    read: Waits
    due: int
    overdue: int
    reopened: int

    @property
    def overdue_share(self) -> float | None:
        """Share in [0, 1] of `due` that is overdue; None where nothing is due."""
        return self.overdue / self.due if self.due else None


@dataclass(frozen=True, slots=True)
class Turnaround:
    """Studies received in [since, until), by tier; also by day and by hour of the day of receipt.

    Attributes:
        since, until: the period asked for.
        at: when it was counted.
        tiers: one of each urgency, most urgent first, also those without studies.
        days: each day on which a study came in.
        hours: each hour of the day, 0 to 23, in which a study came in, all days together.
    """

    since: datetime
    until: datetime
    at: datetime
    tiers: tuple[TierTimes, ...]
    days: tuple[tuple[date, tuple[TierTimes, ...]], ...]
    hours: tuple[tuple[int, tuple[TierTimes, ...]], ...]


def turnaround(service: Service, since: datetime, until: datetime, zone: tzinfo | None = None) -> Turnaround:
    """Return how long the studies received in [since, until) waited; days and hours are of the zone.

    Args:
        service: whose list it is.
        since: start of the period, aware.
        until: end of the period, aware, not included.
        zone: None: this machine's, as it was at each moment.

    Raises:
        ValueError: a time without zone.
    """
    if since.tzinfo is None or until.tzinfo is None:
        raise ValueError("expected aware times")
    now = service.clock()
    with service.database.read() as session:
        found = passages(session, since, until)
    limits = {urgency: max_wait(service.policy, urgency).total_seconds() for urgency in Urgency}
    return measured(found, limits, since, until, now, zone)


def passages(session: Session, since: datetime, until: datetime) -> list[Passage]:
    """Return the studies received in [since, until), with what the audit trail says was done with them."""
    did = and_(AuditRow.subject == StudyRow.id, AuditRow.event.in_((_VIEW, _ACKNOWLEDGE, _READ)))
    query = (
        select(
            StudyRow.urgency,
            StudyRow.received_utc,
            StudyRow.since_utc,
            func.min(AuditRow.at_utc).filter(AuditRow.event == _VIEW),
            func.max(AuditRow.at_utc).filter(AuditRow.event == _ACKNOWLEDGE),
            func.max(AuditRow.at_utc).filter(AuditRow.event == _READ),
            func.count(AuditRow.seq).filter(AuditRow.event == _READ),
            StudyRow.acknowledged_utc,
            StudyRow.is_open,
        )
        .outerjoin(AuditRow, did)
        .where(StudyRow.received_utc >= since, StudyRow.received_utc < until)
        .group_by(StudyRow.id)
    )
    return [
        Passage(
            urgency=Urgency(urgency),
            received=received,
            since=start,
            viewed=viewed,
            acknowledged=acknowledged if holds is not None else None,
            read=None if is_open else read,
            reopened=reads > (0 if is_open else 1),
        )
        for urgency, received, start, viewed, acknowledged, read, reads, holds, is_open in session.execute(
            query
        )
    ]


def measured(
    passages: Sequence[Passage],
    limits_s: dict[Urgency, float],
    since: datetime,
    until: datetime,
    now: datetime,
    zone: tzinfo | None = None,
) -> Turnaround:
    """Return the waits of these studies, by tier, by day and by hour of receipt in the zone.

    Args:
        passages: studies received in [since, until).
        limits_s: longest wait of every urgency.
        since: start of the period, aware.
        until: end of the period, aware, not included.
        now: until when unread studies have waited.
        zone: None: this machine's, as it was at each moment; the one `since` bears would be that day's alone.
    """
    days: dict[date, list[Passage]] = {}
    hours: dict[int, list[Passage]] = {}
    for each in passages:
        local = each.received.astimezone(zone)
        days.setdefault(local.date(), []).append(each)
        hours.setdefault(local.hour, []).append(each)
    return Turnaround(
        since=since,
        until=until,
        at=now,
        tiers=by_tier(passages, limits_s, now),
        days=tuple((day, by_tier(days[day], limits_s, now)) for day in sorted(days)),
        hours=tuple((hour, by_tier(hours[hour], limits_s, now)) for hour in sorted(hours)),
    )


def by_tier(
    passages: Sequence[Passage], limits_s: dict[Urgency, float], now: datetime
) -> tuple[TierTimes, ...]:
    """Return the waits of each urgency, most urgent first."""
    return tuple(
        _tier(urgency, [each for each in passages if each.urgency is urgency], limits_s[urgency], now)
        for urgency in Urgency
    )


def waits(seconds: Iterable[float]) -> Waits:
    """Return number, median, ninth decile by nearest rank, and longest.

    >>> waits([60, 120, 180, 900])
    Waits(n=4, median_s=150.0, p90_s=900, worst_s=900)
    """
    ordered = sorted(seconds)
    if not ordered:
        return Waits()
    nine_in_ten = -(-9 * len(ordered) // 10)
    return Waits(len(ordered), median(ordered), ordered[nine_in_ten - 1], ordered[-1])


def _tier(urgency: Urgency, came: Sequence[Passage], limit_s: float, now: datetime) -> TierTimes:
    limit = timedelta(seconds=limit_s)
    passages = [each for each in came if each.received - each.since <= limit]
    waited = [(each.read or now) - each.since for each in passages]
    late = sum(wait > limit for wait in waited)
    in_time = sum(
        each.read is not None and wait <= limit for each, wait in zip(passages, waited, strict=True)
    )
    return TierTimes(
        urgency=urgency,
        studies=len(came),
        arrived_late=len(came) - len(passages),
        limit_s=limit_s,
        viewed=waits(_seconds(each.since, each.viewed) for each in passages if each.viewed),
        acknowledged=waits(_seconds(each.since, each.acknowledged) for each in passages if each.acknowledged),
        read=waits(_seconds(each.since, each.read) for each in passages if each.read),
        due=late + in_time,
        overdue=late,
        reopened=sum(each.reopened for each in passages),
    )


def _seconds(since: datetime, until: datetime) -> float:
    """Return the seconds between; none where a machine's clock was set back in between."""
    return max((until - since).total_seconds(), 0.0)
