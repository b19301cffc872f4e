from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import select

from cxr_core.access import Actor, Role
from cxr_core.errors import Busy, Changed, Conflict, Forbidden, Invalid, ModelError, StoreError
from cxr_core.worklist import actions, audit, queue
from cxr_core.worklist.policies import FILE_ACTOR
from cxr_core.worklist.schema import AuditRow, ImageRow, ReviewRow, StudyRow
from cxr_core.worklist.values import AGAIN, Incoming, Query, Source, Status
from tests.worklist.rows import image, put, result, study

ANN = Actor("Ann", Role.CLINICIAN)
BEN = Actor("Ben", Role.CLINICIAN)
LEAD = Actor("Lea", Role.LEAD)
ONE = f"{1:032x}"


@pytest.fixture
def one(service):
    """The service with one critical study."""
    put(service.database, [study(1, "critical")])
    return service


def row(service, study_id=ONE):
    with service.database.read() as session:
        return session.get(StudyRow, study_id)


def film(service, number):
    with service.database.read() as session:
        return session.get(ImageRow, f"{number:064x}")


def events(service):
    """What the audit trail holds of people, once it has been verified; it agrees with the reviews."""
    with service.database.read() as session:
        assert audit.verify(session).broken_at is None
        people = select(AuditRow).where(AuditRow.actor != FILE_ACTOR)
        rows = session.scalars(people.order_by(AuditRow.seq)).all()
        reviews = session.scalars(select(ReviewRow).order_by(ReviewRow.id)).all()
    assert [(each.actor, each.kind) for each in reviews] == [
        (each.actor, each.event) for each in rows if each.event != "export"
    ]
    return [(each.actor, each.event, each.subject) for each in rows]


def test_claim_and_release(one, clock):
    one.claim(ANN, ONE, 1)
    claimed = row(one)
    assert (claimed.status, claimed.claimed_by, claimed.claimed_utc) == ("claimed", "Ann", clock.now)
    assert claimed.version == 2
    one.release(ANN, ONE, 2)
    released = row(one)
    assert (released.status, released.claimed_by, released.version) == ("new", None, 3)
    assert events(one) == [("Ann", "claim", ONE), ("Ann", "release", ONE)]


def test_what_another_has_cannot_be_claimed_read_or_released_but_by_a_lead(one):
    one.claim(ANN, ONE, 1)
    with pytest.raises(Conflict, match="somebody has this study"):
        one.claim(BEN, ONE, 2)
    with pytest.raises(Conflict, match="another person has this study"):
        one.mark_read(BEN, ONE, 2)
    with pytest.raises(Forbidden):
        one.release(BEN, ONE, 2)
    assert row(one).version == 2
    one.release(LEAD, ONE, 2)
    with pytest.raises(Conflict, match="nobody has"):
        one.release(LEAD, ONE, 3)
    assert [event for _, event, _ in events(one)] == ["claim", "release"]


ACTS = {
    "claim": {},
    "release": {},
    "acknowledge": {"told": "Dr. Vey", "how": "in person"},
    "mark_read": {},
}


@pytest.mark.parametrize("act", ACTS)
def test_who_saw_an_older_version_changes_nothing(one, act):
    with pytest.raises(Changed, match="changed since it was shown"):
        getattr(one, act)(ANN, ONE, 2, **ACTS[act])
    with pytest.raises(StoreError, match="no such study"):
        getattr(one, act)(ANN, "0" * 32, 1, **ACTS[act])
    assert row(one).version == 1
    assert events(one) == []


def test_of_two_who_claim_at_once_one_has_it(one):
    start, outcomes = threading.Barrier(2), []

    def claim(actor):
        start.wait()
        try:
            one.claim(actor, ONE, 1)
            outcomes.append(actor.name)
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=claim, args=(actor,)) for actor in (ANN, BEN)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = row(one).claimed_by
    assert sorted(outcomes) == sorted([winner, "conflict"])
    assert events(one) == [(winner, "claim", ONE)]


def test_an_acknowledgement_ends_the_alert_and_says_who_was_told_how(one, clock):
    one.claim(BEN, ONE, 1)
    one.acknowledge(ANN, ONE, 2, told="Dr. Vey,\n ward\x1b[31m 4", how="telephone", read_back=True)
    acknowledged = row(one)
    assert (acknowledged.status, acknowledged.acknowledged_by) == ("acknowledged", "Ann")
    assert (acknowledged.acknowledged_utc, acknowledged.claimed_by) == (clock.now, "Ben")
    assert one.alerts(ANN) == ()
    with one.database.read() as session:
        review = session.scalars(select(ReviewRow).where(ReviewRow.kind == "acknowledge")).one()
        told = session.scalars(select(AuditRow.detail).where(AuditRow.event == "acknowledge")).one()
    assert review.data == {"told": "Dr. Vey, ward\\x1b[31m 4", "how": "telephone", "read_back": "yes"}
    assert told == "{}"
    with pytest.raises(Conflict, match="acknowledged before"):
        one.acknowledge(BEN, ONE, 3, told="", how="")


def test_only_a_critical_result_is_acknowledged(service):
    put(service.database, [study(1, "urgent")])
    with pytest.raises(Conflict, match="not critical"):
        service.acknowledge(ANN, ONE, 1, told="Dr. Vey", how="in person")
    assert events(service) == []


def test_a_critical_study_is_not_read_before_it_is_acknowledged(one, clock):
    with pytest.raises(Conflict, match="acknowledge it, then mark it read"):
        one.mark_read(ANN, ONE, 1)
    one.acknowledge(ANN, ONE, 1, told="Dr. Vey", how="in person")
    clock.advance(60)
    one.mark_read(ANN, ONE, 2)
    read = row(one)
    assert (read.is_open, read.status, read.read_by, read.read_utc) == (False, "read", "Ann", clock.now)
    assert one.page(ANN, Query()).total == 0
    assert one.page(ANN, Query(statuses=frozenset({Status.READ}))).total == 1
    for act in ("claim", "release", "mark_read"):
        with pytest.raises(Conflict):
            getattr(one, act)(ANN, ONE, 3)
    assert [event for _, event, _ in events(one)] == ["acknowledge", "read"]


def test_what_became_critical_after_it_was_read_is_acknowledged_as_it_is(service):
    put(service.database, [study(1, "critical", status="read")])
    service.acknowledge(ANN, ONE, 1, told="Dr. Vey", how="in person")
    assert (row(service).status, row(service).is_open) == ("read", False)
    assert service.alerts(ANN) == ()


def test_if_the_audit_row_cannot_be_written_nothing_happened(one, monkeypatch):
    def fail(*_, **__):
        raise StoreError("no head")

    monkeypatch.setattr(audit, "append", fail)
    with pytest.raises(StoreError):
        one.claim(ANN, ONE, 1)
    assert (row(one).version, row(one).claimed_by) == (1, None)
    with one.database.read() as session:
        assert session.scalars(select(ReviewRow)).all() == []


@pytest.fixture
def several(service):
    """Studies answered by the model in force, by another model, under another policy, not yet, given up."""
    policy = service.policy.version
    put(
        service.database,
        [*(study(number) for number in range(1, 6)), study(6, status="read"), study(7, lease_owner="w")],
        images=[
            image(1, 1, result_id=1),
            image(2, 2, result_id=2),
            image(3, 3, result_id=3, status="refused"),
            image(4, 4, status="waiting"),
            image(5, 5, status="dead", attempts=3),
            image(6, 6, result_id=6),
            image(7, 7, result_id=7),
        ],
        results=[
            result(1, 1, service.model, policy),
            result(2, 2, "old 1", policy),
            result(3, 3, service.model, "0.9"),
            result(6, 6, "old 1", policy),
            result(7, 7, "old 1", policy),
        ],
    )
    return service


def queued(service):
    with service.database.read() as session:
        rows = session.scalars(select(StudyRow).where(StudyRow.queued_utc.is_not(None))).all()
    return {int(each.id, 16): each for each in rows}


def test_all_open_studies_of_another_model_or_policy_are_asked_about_again(several, clock):
    assert several.reanalyse(LEAD, None, None) == 3
    asked = queued(several)
    assert sorted(asked) == [2, 3, 7]
    for study_row in asked.values():
        assert (study_row.priority, study_row.queued_utc, study_row.version) == (AGAIN, clock.now, 2)
        assert (study_row.wanted_model, study_row.lease_owner) == (None, None)
    assert [film(several, number).status for number in (1, 2, 3, 5)] == ["assessed", *["waiting"] * 2, "dead"]
    assert film(several, 2).result_id == 2, "the old answer counts until the new one is there"
    assert events(several) == [("Lea", "reanalyse", f"{number:032x}") for number in (2, 3, 7)]
    assert [job.study_id for job in queue.claim(several, "w", 9)] == [
        f"{number:032x}" for number in (2, 3, 7)
    ]
    assert several.reanalyse(LEAD, None, None) == 0


def test_named_studies_are_asked_about_again_read_ones_too(several):
    chosen = [f"{number:032x}" for number in (1, 2, 6, 2, 99)]
    assert several.reanalyse(LEAD, chosen, several.settings.model) == 2
    assert sorted(queued(several)) == [2, 6]


def test_another_model_is_asked_of_every_film_that_waits_too(several, monkeypatch):
    monkeypatch.setattr(type(several), "model_named", lambda self, model: f"{model} 2")
    assert several.reanalyse(LEAD, None, "other") == 5
    assert {number: each.wanted_model for number, each in queued(several).items()} == dict.fromkeys(
        (1, 2, 3, 4, 7), "other"
    )


def test_an_unknown_model_is_asked_nothing(several):
    with pytest.raises(ModelError):
        several.reanalyse(LEAD, None, "no-such-model")
    assert queued(several) == {}


def test_more_studies_than_one_transaction_takes_are_all_asked_about_again(service):
    numbers = range(1, 1202)
    put(
        service.database,
        [study(number) for number in numbers],
        images=[image(number, number, result_id=number) for number in numbers],
        results=[result(number, number, "old 1", service.policy.version) for number in numbers],
    )
    assert service.reanalyse(LEAD, None, None) == 1201
    assert len(events(service)) == 1201
    assert len(queued(service)) == 1201


def test_a_film_that_was_given_up_is_tried_again(several, clock):
    clock.advance(5)
    with several.database.write() as session:
        study_row = session.get(StudyRow, f"{5:032x}")
        study_row.wanted_model, study_row.lease_owner = "gone", "w1"
    several.retry(LEAD, f"{5:064x}")
    asked = row(several, f"{5:032x}")
    assert (asked.wanted_model, asked.lease_owner) == (None, None)
    again = film(several, 5)
    assert (again.status, again.attempts) == ("waiting", 0)
    asked = row(several, f"{5:032x}")
    assert (asked.queued_utc, asked.version, asked.state) == (clock.now, 2, None)
    assert asked.reasons == ["1 film is still waiting."]
    assert events(several) == [("Lea", "retry", f"{5:064x}")]
    with pytest.raises(Conflict, match="waits again already"):
        several.retry(LEAD, f"{5:064x}")
    with pytest.raises(StoreError, match="no such film"):
        several.retry(LEAD, "0" * 64)


def test_the_roles_of_the_table_are_asked_for(several):
    viewer = Actor("Vic", Role.VIEWER)
    for act, said in ACTS.items():
        with pytest.raises(Forbidden):
            getattr(several, act)(viewer, ONE, 1, **said)
    with pytest.raises(Forbidden):
        several.reanalyse(ANN, None, None)
    with pytest.raises(Forbidden):
        several.retry(ANN, f"{5:064x}")
    with pytest.raises(Forbidden):
        several.export_csv(ANN, Query())
    assert events(several) == []
    assert row(several).claimed_utc is None


def test_asking_everything_anew_neither_stops_nor_delays_what_comes_in(several, clock, films):
    several.settings = replace(several.settings, queue_limit=2)  # the fourth film waits already
    assert several.reanalyse(LEAD, None, None) == 3
    clock.advance(60)
    receipt = several.submit(ANN, Incoming("new.png", films.png(1)), source=Source.CLI)
    assert [job.study_id for job in queue.claim(several, "w", 1)] == [receipt.study_id]
    with pytest.raises(Busy):
        several.submit(ANN, Incoming("next.png", films.png(2)), source=Source.CLI)


@pytest.mark.parametrize(
    ("told", "how", "read_back", "want"),
    [
        ("", "", False, "say who was told"),
        (" \n", "in person", False, "say who was told"),
        ("", "by telephone", True, "say who was told"),
        ("Dr. Vey", "", True, "say how they were told"),
        ("Dr. Vey", "by telephone", False, "have them read it back"),
        ("Dr. Vey", "Phone", False, "have them read it back"),
        ("Dr. Vey", "by telephone", True, ""),
        ("Dr. Vey", "in person", False, ""),
    ],
)
def test_a_critical_result_is_acknowledged_with_whom_and_how_or_not_at_all(one, told, how, read_back, want):
    said = {"told": told, "how": how, "read_back": read_back}
    assert want in actions.lacking(told, how, read_back=read_back)
    if want:
        with pytest.raises(Invalid, match=want):
            one.acknowledge(ANN, ONE, 1, **said)
        assert events(one) == []
        assert len(one.alerts(ANN)) == 1
    else:
        one.acknowledge(ANN, ONE, 1, **said)
        assert one.alerts(ANN) == ()


def test_who_acknowledged_is_named_also_where_another_has_the_study(one):
    one.claim(BEN, ONE, 1)
    one.acknowledge(ANN, ONE, 2, told="Dr. Vey", how="in person")
    line = one.study(ANN, ONE, audited=False).line
    assert (line.status, line.acknowledged_by, line.claimed_by) == (Status.ACKNOWLEDGED, "Ann", "Ben")
