"""How long studies waited, against numbers worked out by hand."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cxr_core.access import Actor, Role
from cxr_core.domain import Urgency
from cxr_core.errors import Forbidden
from cxr_core.worklist import audit
from cxr_core.worklist.judge import reopen
from cxr_core.worklist.schema import StudyRow
from cxr_core.worklist.turnaround import Passage, Waits, measured, waits
from cxr_core.worklist.values import Query, Status
from tests.worklist.rows import put, study

ANN = Actor("Ann", Role.CLINICIAN)
LEAD = Actor("Lea", Role.LEAD)
DAY = datetime(2026, 1, 5, tzinfo=UTC)
NEVER = timedelta(days=36_500).total_seconds()
LIMITS = {
    Urgency.CRITICAL: 900.0,
    Urgency.URGENT: 7200.0,
    Urgency.REVIEW: 7200.0,
    Urgency.SIGNIFICANT: 86_400.0,
    Urgency.ROUTINE: NEVER,
}


def at(hour, minute=0, day=0):
    return DAY + timedelta(days=day, hours=hour, minutes=minute)


def id_of(number):
    return f"{number:032x}"


def note(service, *events):
    """Append (time, event, number of study) to the audit trail."""
    with service.database.write() as session:
        audit.append_many(
            session, [audit.Event(when, "Ann", event, id_of(number)) for when, event, number in events]
        )


def tier(found, urgency):
    return next(each for each in found if each.urgency == urgency)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([], Waits()),
        ([30.0], Waits(1, 30.0, 30.0, 30.0)),
        ([900.0, 60.0, 180.0, 120.0], Waits(4, 150.0, 900.0, 900.0)),
        ([float(n) for n in range(1, 11)], Waits(10, 5.5, 9.0, 10.0)),
        ([float(n) for n in range(1, 12)], Waits(11, 6.0, 10.0, 11.0)),
    ],
)
def test_median_lies_between_the_middle_two_and_nine_in_ten_waited_no_longer_than_p90(seconds, expected):
    assert waits(seconds) == expected


def test_overdue_is_a_share_of_those_of_which_it_can_be_said():
    def critical(read_minutes=None, since_minutes=0):
        read = None if read_minutes is None else at(9, read_minutes)
        return Passage(Urgency.CRITICAL, at(9), at(9) - timedelta(minutes=since_minutes), read=read)

    # At 09:10: read after 5 and after 25 (taken 12 earlier); unread for 10 of 15 minutes, and for 16.
    found = measured(
        [critical(5), critical(13, 12), critical(), critical(None, 6)], LIMITS, at(0), at(0, day=1), at(9, 10)
    )
    times = tier(found.tiers, "critical")
    assert (times.studies, times.due, times.overdue) == (4, 3, 2)
    assert times.overdue_share == pytest.approx(2 / 3)
    assert times.read == Waits(2, 900.0, 1500.0, 1500.0)
    assert tier(found.tiers, "urgent").overdue_share is None


def test_what_was_overdue_when_it_came_in_is_counted_apart():
    """A film 190 days old on arrival waited for no reader here."""

    def received(age_s, **done):
        return Passage(Urgency.CRITICAL, at(9), at(9) - timedelta(seconds=age_s), **done)

    old = timedelta(days=190).total_seconds()
    passages = [received(old, viewed=at(10), acknowledged=at(10), read=at(10)), received(901), received(900)]
    found = measured(passages, LIMITS, at(0), at(0, day=1), at(9, 5))
    times = tier(found.tiers, "critical")
    assert (times.studies, times.arrived_late, times.due, times.overdue) == (3, 2, 1, 1)
    assert (times.viewed, times.acknowledged, times.read) == (Waits(), Waits(), Waits())
    assert [each.arrived_late for _, tiers in found.days for each in tiers[:2]] == [2, 0]
    assert tier(found.tiers, "urgent").arrived_late == 0


def test_an_old_film_is_counted_apart_by_the_service(service, clock):
    put(
        service.database,
        [
            study(1, "urgent", at(8, day=-190), received_utc=at(8)),
            study(2, "urgent", at(7), received_utc=at(8)),
            study(3, "routine", at(8, day=-190), received_utc=at(8)),
        ],
    )
    clock.now = at(8, 30)
    found = service.turnaround(LEAD, at(0), at(0, day=1)).tiers
    told = {each.urgency: (each.studies, each.arrived_late, each.due) for each in found if each.studies}
    assert told == {"urgent": (2, 1, 0), "routine": (1, 1, 0)}


def test_a_wait_of_exactly_the_limit_is_not_overdue_as_on_the_list():
    read = Passage(Urgency.CRITICAL, at(9), at(9), read=at(9, 15))
    waiting = Passage(Urgency.CRITICAL, at(9), at(9))
    found = measured([read, waiting], LIMITS, at(0), at(1), at(9, 15))
    assert (found.tiers[0].due, found.tiers[0].overdue) == (1, 0)


def test_days_and_hours_are_those_of_the_zone_asked_for():
    # 23:30 UTC is 00:30 of the next day in Berlin in winter, 01:30 in summer.
    winter = Passage(Urgency.URGENT, at(23, 30), at(23, 30))
    moment = datetime(2026, 7, 1, 23, 30, tzinfo=UTC)
    summer = Passage(Urgency.URGENT, moment, moment)
    zone = ZoneInfo("Europe/Berlin")
    found = measured([summer, winter], LIMITS, at(0), moment, moment, zone)
    assert [day for day, _ in found.days] == [date(2026, 1, 6), date(2026, 7, 2)]
    assert [hour for hour, _ in found.hours] == [0, 1]
    assert [tier(tiers, "urgent").studies for _, tiers in found.days] == [1, 1]
    assert tier(found.tiers, "urgent").studies == 2


def test_days_and_hours_on_both_sides_of_a_clock_change_are_those_of_the_clock_then(monkeypatch):
    winter, summer = at(23, 30), datetime(2026, 7, 1, 23, 30, tzinfo=UTC)
    came = [Passage(Urgency.URGENT, moment, moment) for moment in (winter, summer)]
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        found = measured(came, LIMITS, winter.astimezone(), summer, summer)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [day for day, _ in found.days] == [date(2026, 1, 6), date(2026, 7, 2)]
    assert [hour for hour, _ in found.hours] == [0, 1]


def test_a_clock_set_back_makes_no_negative_wait():
    found = measured([Passage(Urgency.URGENT, at(9), at(9), viewed=at(8))], LIMITS, at(0), at(1), at(9))
    assert tier(found.tiers, "urgent").viewed == Waits(1, 0.0, 0.0, 0.0)


def test_times_come_from_the_audit_trail_and_are_those_worked_by_hand(service, clock):
    put(
        service.database,
        [
            # 1: taken 07:50, received 08:00; viewed 08:02 and 08:20, acknowledged 08:05, read 08:10.
            study(1, "critical", at(7, 50), received_utc=at(8), status="read", acknowledged_utc=at(8, 5)),
            # 2: received 08:00, viewed 08:30, acknowledged 08:40, not read: overdue.
            study(2, "critical", at(8), status="acknowledged"),
            # 3: received 13:00 the day after, viewed 13:01, nothing else; 2 minutes old.
            study(3, "critical", at(13, day=1)),
            # 4: read after 2 h and a minute: overdue. 5: read after an hour.
            study(4, "urgent", at(8), status="read"),
            study(5, "urgent", at(13, day=1), status="read"),
            # 6: before the period. 7: at its very end, which is not included.
            study(6, "urgent", at(23, 59, day=-1)),
            study(7, "urgent", at(0, day=2)),
        ],
    )
    note(
        service,
        (at(8, 2), "view", 1),
        (at(8, 5), "acknowledge", 1),
        (at(8, 10), "read", 1),
        (at(8, 20), "view", 1),
        (at(8, 25), "claim", 2),
        (at(8, 30), "view", 2),
        (at(8, 40), "acknowledge", 2),
        (at(10, 1), "read", 4),
        (at(10, 5), "view", 6),
        (at(13, 1, day=1), "view", 3),
        (at(14, 0, day=1), "read", 5),
    )
    clock.now = at(13, 2, day=1)
    found = service.turnaround(LEAD, at(0), at(0, day=2), UTC)
    assert found.at == clock.now
    assert [each.urgency for each in found.tiers] == list(Urgency)

    critical = tier(found.tiers, "critical")
    assert (critical.studies, critical.limit_s) == (3, 900.0)
    assert critical.viewed == Waits(3, 720.0, 1800.0, 1800.0)  # 12 min from 07:50, 30 min, 1 min
    assert critical.acknowledged == Waits(2, 1650.0, 2400.0, 2400.0)  # 15 and 40 min
    assert critical.read == Waits(1, 1200.0, 1200.0, 1200.0)  # 20 min
    assert (critical.due, critical.overdue, critical.overdue_share) == (2, 2, 1.0)

    urgent = tier(found.tiers, "urgent")
    assert (urgent.studies, urgent.viewed, urgent.acknowledged) == (2, Waits(), Waits())
    assert urgent.read == Waits(2, 5430.0, 7260.0, 7260.0)
    assert (urgent.due, urgent.overdue, urgent.reopened) == (2, 1, 0)
    assert tier(found.tiers, "routine").studies == 0

    assert [day for day, _ in found.days] == [date(2026, 1, 5), date(2026, 1, 6)]
    assert [tier(tiers, "critical").studies for _, tiers in found.days] == [2, 1]
    assert [tier(tiers, "urgent").overdue for _, tiers in found.days] == [1, 0]
    assert [hour for hour, _ in found.hours] == [8, 13]
    assert [tier(tiers, "urgent").read.worst_s for _, tiers in found.hours] == [7260.0, 3600.0]


def test_what_the_service_does_is_what_is_measured_and_agrees_with_the_list(service, clock):
    clock.now = at(8)
    put(service.database, [study(1, "critical", at(8)), study(2, "critical", at(8))])
    clock.now = at(8, 4)
    service.study(ANN, id_of(1))
    service.study(ANN, id_of(2), audited=False)
    clock.now = at(8, 6)
    service.acknowledge(ANN, id_of(1), 1, told="ward", how="in person")
    clock.now = at(8, 20)
    service.mark_read(ANN, id_of(1), 2)
    critical = tier(service.turnaround(LEAD, at(0), at(0, day=1)).tiers, "critical")
    assert (critical.viewed.median_s, critical.viewed.n) == (240.0, 1)
    assert (critical.acknowledged.worst_s, critical.read.worst_s) == (360.0, 1200.0)
    assert (critical.due, critical.overdue) == (2, 2)
    lines = service.page(ANN, Query(statuses=frozenset(Status))).lines
    assert {line.study_id: line.waiting_s for line in lines}[id_of(1)] == critical.read.worst_s


def test_a_study_back_on_the_list_is_not_read_until_it_is_read_again(service, clock):
    put(service.database, [study(1, "urgent", at(8))])
    clock.now = at(9)
    service.mark_read(ANN, id_of(1), 1)

    def urgent():
        return tier(service.turnaround(LEAD, at(0), at(0, day=1)).tiers, "urgent")

    assert (urgent().read.n, urgent().overdue, urgent().reopened) == (1, 0, 0)
    with service.database.write() as session:
        reopen(session.get_one(StudyRow, id_of(1)))
    clock.now = at(11)
    assert (urgent().read.n, urgent().overdue, urgent().reopened) == (0, 1, 1)
    service.mark_read(ANN, id_of(1), 2)
    assert (urgent().read, urgent().reopened) == (Waits(1, 10_800.0, 10_800.0, 10_800.0), 1)


def test_an_acknowledgement_that_a_graver_result_undid_does_not_count(service):
    put(service.database, [study(1, "critical", at(8))])
    note(service, (at(8, 5), "acknowledge", 1))
    found = service.turnaround(LEAD, at(0), at(0, day=1))
    assert tier(found.tiers, "critical").acknowledged == Waits()


def test_a_day_without_studies_a_period_that_ends_before_it_begins_and_a_time_without_zone(service):
    for until in (at(0, day=1), at(0, day=-1)):
        found = service.turnaround(LEAD, at(0), until)
        assert (found.days, found.hours) == ((), ())
        assert [each.studies for each in found.tiers] == [0] * 5
    with pytest.raises(ValueError, match="aware"):
        service.turnaround(LEAD, at(0).replace(tzinfo=None), at(1))
    with pytest.raises(Forbidden):
        service.turnaround(ANN, at(0), at(1))
