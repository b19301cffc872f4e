from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from cxr_core.access import Actor, Role
from cxr_core.domain import State, Urgency
from cxr_core.worklist import order
from cxr_core.worklist.values import Query, Status
from tests.worklist.rows import identity, image, put, study

READER = Actor("reader", Role.VIEWER)
EVERYTHING = frozenset(Status)
MOMENT = timedelta(microseconds=1)


def with_waits(policy, **minutes):
    """Return the policy with other maximum waits."""
    changed = {
        name: replace(policy.tiers[Urgency(name)], max_wait_minutes=minute)
        for name, minute in minutes.items()
    }
    return replace(policy, tiers=replace(policy.tiers, **changed))


def in_order(rows, query, policy, now):
    """The specification: filter all rows, sort them by one key, return the ids."""

    def fits(row):
        return (
            (not query.urgencies or row["urgency"] in query.urgencies)
            and (row["status"] in query.statuses if query.statuses else row["status"] != "read")
            and (not query.finding or f"|{query.finding}|" in row["findings"])
            and (query.since is None or row["received_utc"] >= query.since)
            and (query.until is None or row["received_utc"] < query.until)
        )

    def place(row):
        wait = now - row["since_utc"]
        longest = timedelta(minutes=policy.tiers[Urgency(row["urgency"])].max_wait_minutes)
        if row["tier"] == 0:
            return 0, -wait, row["id"]
        if wait > longest:
            return 1, -wait, row["id"]
        return 1 + row["tier"], -wait, row["id"]

    fitting = [row for row in rows if fits(row)]
    unread = sorted((row for row in fitting if row["status"] != "read"), key=place)
    read = sorted(
        (row for row in fitting if row["status"] == "read"),
        key=lambda row: (row["since_utc"], row["id"]),
        reverse=True,
    )
    return [row["id"] for row in unread + read]


def page_after_page(service, query, size):
    found, total = [], None
    for offset in range(0, 1000, size):
        page = service.page(READER, replace(query, offset=offset, limit=size))
        assert total in (None, page.total)
        total = page.total
        found += page.lines
        if not page.lines:
            break
    assert total == len(found)
    return found


NOW = datetime.fromisoformat("2026-01-05T09:30:00+00:00")
LIMITS = (15, 60, 120, 240, 1440)
WAITS = st.sampled_from(
    [timedelta(minutes=limit) + shift for limit in LIMITS for shift in (-MOMENT, timedelta(0), MOMENT)]
    + [timedelta(0), timedelta(days=400)]
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(list(Urgency)),
        WAITS,
        st.sampled_from(["new", "new", "claimed", "acknowledged", "read"]),
        st.sampled_from(["", "|Effusion|", "|Mass|Effusion|", "|Mass|"]),
        WAITS,
    ),
    max_size=40,
)
QUERIES = st.builds(
    Query,
    urgencies=st.frozensets(st.sampled_from(list(Urgency)), max_size=2),
    statuses=st.one_of(
        st.just(frozenset()), st.just(EVERYTHING), st.frozensets(st.sampled_from(list(Status)))
    ),
    finding=st.sampled_from(["", "", "", "Effusion"]),
    since=st.one_of(st.none(), WAITS.map(lambda wait: NOW - wait)),
    until=st.one_of(st.none(), st.none(), WAITS.map(lambda wait: NOW - wait)),
)


@given(
    drawn=ROWS,
    query=QUERIES,
    size=st.integers(1, 9),
    waits=st.sampled_from([(15, 120, 120, 1440, 1440), (15, 60, 240, 240, 1440), (60, 60, 120, 240, 1440)]),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
def test_page_after_page_is_the_sorted_list_none_twice_none_left_out(service, drawn, query, size, waits):
    waited = with_waits(
        service.policy, **dict(zip([urgency.value for urgency in Urgency], waits, strict=True))
    )
    service.in_force = replace(service.in_force, policy=waited)
    rows = [
        study(number, urgency, NOW - wait, status=status, findings=findings, received_utc=NOW - received)
        for number, (urgency, wait, status, findings, received) in enumerate(drawn)
    ]
    put(service.database, rows)
    lines = page_after_page(service, query, size)
    assert [line.study_id for line in lines] == in_order(rows, query, service.policy, NOW)
    overdue = {row["id"] for row in rows if row["status"] != "read" and late(row, service.policy)}
    assert {line.study_id for line in lines if line.overdue} == overdue & {line.study_id for line in lines}

    tiers = service.tiers(READER)
    assert [tier.urgency for tier in tiers] == list(Urgency)
    for tier in tiers:
        same = [row for row in rows if row["urgency"] == tier.urgency and row["is_open"]]
        assert tier.count == len(same)
        assert tier.overdue == sum(late(row, service.policy) for row in same)
        assert tier.oldest == min((row["since_utc"] for row in same), default=None)


def late(row, policy):
    longest = timedelta(minutes=policy.tiers[Urgency(row["urgency"])].max_wait_minutes)
    return NOW - row["since_utc"] > longest


def ids(service, **query):
    return [int(line.study_id, 16) for line in service.page(READER, Query(**query)).lines]


def test_critical_then_overdue_then_by_tier_each_the_longest_wait_first(service, clock):
    def ago(**time):
        return clock.now - timedelta(**time)

    put(
        service.database,
        [
            study(1, "routine", ago(minutes=5)),
            study(2, "routine", ago(days=4)),
            study(3, "significant", ago(days=2)),
            study(4, "urgent", ago(minutes=10)),
            study(5, "review", ago(minutes=30)),
            study(6, "urgent", ago(minutes=121)),
            study(7, "critical", ago(minutes=1)),
            study(8, "critical", ago(minutes=3)),
            study(9, "significant", ago(minutes=90)),
            study(10, "routine", ago(days=9), status="read"),
        ],
    )
    assert ids(service) == [8, 7, 2, 3, 6, 5, 4, 9, 1]
    clock.advance(110 * 60)
    assert ids(service) == [8, 7, 2, 3, 6, 5, 4, 9, 1]
    clock.advance(60 * 60 * 24)
    assert ids(service) == [8, 7, 2, 3, 6, 9, 5, 4, 1]
    assert ids(service, statuses=frozenset({Status.READ})) == [10]


def test_a_line_says_what_the_tables_say(service, clock):
    since = clock.now - timedelta(minutes=20)
    put(
        service.database,
        [
            study(
                1,
                "critical",
                since,
                received_utc=clock.now,
                acquired_utc=since,
                age_years=61.0,
                sex="F",
                view="AP",
                findings="|Pneumothorax|Effusion|",
                reasons=["first", "second"],
                cover=f"{12:064x}",
                status="acknowledged",
                claimed_by="Dr. Vey",
                version=7,
            )
        ],
        [identity(1, patient_id="P-1")],
        [
            image(12, 1, clock.now, thumbnail=b"PNG"),
            image(11, 1, clock.now - timedelta(minutes=1), thumbnail=b"other"),
        ],
    )
    (line,) = service.page(READER, Query()).lines
    assert (line.study_id, line.state, line.urgency) == (f"{1:032x}", State.FLAGGED, Urgency.CRITICAL)
    assert (line.findings, line.reason) == (("Pneumothorax", "Effusion"), "first")
    assert (line.patient_id, line.age_years, line.sex, line.view) == ("P-1", 61.0, "F", "AP")
    assert (line.acquired, line.received, line.since) == (since, clock.now, since)
    assert line.since.utcoffset() == timedelta(0)
    assert (line.waiting_s, line.limit_s, line.overdue) == (1200.0, 900.0, True)
    assert (line.status, line.claimed_by, line.acknowledged) == (Status.ACKNOWLEDGED, "Dr. Vey", True)
    assert (line.file, line.films, line.thumbnail, line.version) == ("film 12.png", 2, b"PNG", 7)


def test_without_cover_the_first_film_names_the_study(service, clock):
    films = [image(12, 1, clock.now), image(11, 1, clock.now - timedelta(minutes=1))]
    put(service.database, [study(1, state=None)], [], films)
    (line,) = service.page(READER, Query()).lines
    assert (line.file, line.thumbnail, line.state, line.patient_id) == ("film 11.png", None, None, "")


def test_a_read_study_waits_no_more_and_one_from_the_future_not_yet(service, clock):
    read = clock.now - timedelta(days=30)
    put(
        service.database,
        [
            study(1, since=read, status="read", read_utc=read + timedelta(minutes=9)),
            study(2, since=clock.now + timedelta(hours=1)),
        ],
    )
    (line,) = service.page(READER, Query(statuses=frozenset({Status.READ}))).lines
    assert (line.waiting_s, line.overdue) == (540.0, False)
    (line,) = service.page(READER, Query()).lines
    assert (line.waiting_s, line.overdue) == (0.0, False)


@pytest.mark.parametrize("age", [math.nan, math.inf, None])
def test_an_age_that_is_no_number_is_unknown(service, age):
    put(service.database, [study(1, age_years=age)])
    (line,) = service.page(READER, Query()).lines
    assert line.age_years is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("p-12", [1]),
        ("P-12", [1]),
        ("acc", [2, 3]),
        ("%", [2]),
        ("_", [3]),
        ("50%_", []),
        ("\\", [4]),
        ("/", [4]),
        ("0000000F", [15]),
        ("x' OR '1'='1", []),
        ("with\0zero", []),
        ("\udcff", []),
        ("", [1, 2, 3, 4, 15]),
    ],
)
def test_text_is_found_literally_in_patient_id_accession_and_study_id(service, text, found):
    put(
        service.database,
        [study(number, status="new" if number != 4 else "claimed") for number in (1, 2, 3, 4, 15)],
        [
            identity(1, patient_id="P-123", patient_name="acc%"),
            identity(2, accession="ACC50%"),
            identity(3, accession="acc_7", question="P-12"),
            identity(4, patient_id="a/b\\c"),
        ],
    )
    assert sorted(ids(service, text=text)) == found
    assert service.page(READER, Query(text=text, limit=0)).total == len(found)


def test_text_that_says_next_to_nothing_finds_all_of_them(service, monkeypatch):
    monkeypatch.setattr(order, "FEW", 2)
    put(service.database, [study(number) for number in range(9)], [identity(5, patient_id="P-5")])
    assert ids(service, text="00", limit=4, offset=3) == [3, 4, 5, 6]
    assert ids(service, text="p-") == [5]


def test_a_page_beyond_the_end_is_empty_and_still_counts(service):
    put(service.database, [study(1), study(2)])
    page = service.page(READER, Query(offset=50))
    assert (page.lines, page.total) == ((), 2)
    assert service.page(READER, Query(offset=-5, limit=1)).total == 2


def test_a_maximum_wait_of_ages_is_no_fault(service):
    service.in_force = replace(service.in_force, policy=with_waits(service.policy, routine=10**12))
    put(service.database, [study(1)])
    assert ids(service) == [1]
    assert service.tiers(READER)[-1].overdue == 0


def test_the_alert_names_every_unacknowledged_critical_study_the_longest_wait_first(service, clock):
    def ago(minutes):
        return clock.now - timedelta(minutes=minutes)

    put(
        service.database,
        [
            study(1, "critical", ago(1)),
            study(2, "critical", ago(5), status="claimed", version=4),
            study(3, "critical", ago(9), status="acknowledged"),
            study(4, "urgent", ago(9)),
            study(5, "critical", ago(7), status="read"),
            study(6, "critical", ago(8), status="read", acknowledged_utc=ago(8)),
        ],
        [identity(2, patient_id="P-2")],
    )
    alerts = service.alerts(READER)
    assert [int(alert.study_id, 16) for alert in alerts] == [5, 2, 1]
    assert (alerts[1].patient_id, alerts[1].since, alerts[1].version) == ("P-2", ago(5), 4)


@pytest.mark.parametrize(
    "query", [Query(), Query(offset=70), Query(urgencies=frozenset({Urgency.URGENT}), finding="Mass")]
)
def test_the_list_is_read_from_its_index_neither_scanned_nor_sorted(service, query):
    rows = [study(number, list(Urgency)[number % 5], findings="|Mass|") for number in range(100)]
    put(service.database, rows)
    postgresql = service.database.name == "postgresql"
    plans = []

    def explain(connection, cursor, statement, parameters, context, executemany):
        raw = cursor.connection
        if postgresql:  # which else scans and sorts small tables whatever their indexes
            for way in ("seqscan", "bitmapscan", "sort"):
                raw.execute(f"SET LOCAL enable_{way} = off")
        rows = raw.execute(f"EXPLAIN {'' if postgresql else 'QUERY PLAN'} {statement}", parameters).fetchall()
        plans.append("\n".join(str(row[-1]) for row in rows))

    event.listen(service.database.engine, "before_cursor_execute", explain)
    service.page(READER, query)
    service.tiers(READER)
    service.alerts(READER)
    of_list = [plan for plan in plans if "ix_study_list" in plan]
    assert len(of_list) >= 3
    for plan in of_list:
        for line in plan.splitlines():
            assert "TEMP B-TREE" not in line
            assert "Sort  (" not in line
            if " study" in line:
                assert "ix_study_list" in line
                assert "COVERING INDEX" in line or "Index Only Scan" in line
    assert "ix_study_alert" in plans[-1]
    assert any("since_utc<?" in plan or "since_utc <" in plan for plan in of_list)


def test_reading_the_list_writes_nothing(service):
    put(service.database, [study(1)])
    with service.database.read() as session:
        before = session.scalar(text("SELECT count(*) FROM audit"))
    ids(service)
    with service.database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM audit")) == before
