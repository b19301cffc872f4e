"""What readers hold of a study, and how it is taken back: real answers in the tables, no page."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from cxr_core.access import Actor, Role
from cxr_core.domain import Urgency, View
from cxr_core.errors import Conflict, Forbidden, Invalid, StoreError
from cxr_core.worklist import audit, codec, queue, reviews
from cxr_core.worklist.judge import HELD
from cxr_core.worklist.opinions import LONGEST_TEXT
from cxr_core.worklist.policies import FILE_ACTOR
from cxr_core.worklist.schema import AuditRow, ImageRow, ResultRow, ReviewRow, StudyRow
from cxr_core.worklist.values import Answer, Incoming, Overridden, Query, Review, Source, Status
from tests.reports import analyses
from tests.worklist.rows import image, put, result, study
from tests.worklist.test_aggregate import promise
from tests.worklist.work import work

ANN = Actor("Ann", Role.CLINICIAN)
BEN = Actor("Ben", Role.CLINICIAN)
LEAD = Actor("Lea", Role.LEAD)
VIC = Actor("Vic", Role.VIEWER)
ONE = f"{1:032x}"
PNEUMOTHORAX, NODULE, NOTHING = {"Pneumothorax": 0.9}, {"Nodule": 0.9}, {}


def analysis(film: int, positive: dict[str, float], model: str = "m 1", view: View = View.PA):
    made = analyses.assessed(positive)
    said, versions = replace(made.study, view=view), replace(made.versions, model=model)
    return replace(made, sha256=f"{film:064x}", study=said, versions=versions)


def answered(service, positive: dict[str, float]) -> None:
    """One study whose one film was answered so, with the row as workers leave it."""
    put(
        service.database,
        [study(1, state=None, urgency="review")],
        images=[image(1, 1, status="waiting")],
    )
    answer(service, 1, positive)


def answer(service, film: int, positive: dict[str, float], model: str = "m 1", view: View = View.PA) -> None:
    """Let a worker answer a film of the study; the film is made if it is not there."""
    with service.database.write() as session:
        found = session.get(ImageRow, f"{film:064x}")
        if found is None:
            session.add(ImageRow(**image(film, 1, status="waiting")))
        else:
            found.status = "waiting"
        queue.put(session.get(StudyRow, ONE), service.clock())
    (job,) = queue.claim(service, "w", 1)
    assert queue.record(service, "w", job, [Answer(analysis(film, positive, model, view), None, (), None)])


@pytest.fixture
def critical(service):
    answered(service, PNEUMOTHORAX)
    assert row(service).urgency == "critical"
    return service


@pytest.fixture
def clear(service):
    answered(service, NOTHING)
    assert row(service).urgency == "routine"
    return service


def row(service) -> StudyRow:
    with service.database.read() as session:
        return session.get(StudyRow, ONE)


def version(service) -> int:
    return row(service).version


def line(service):
    return service.study(VIC, ONE, audited=False).line


def results(service):
    with service.database.read() as session:
        return [(each.id, each.urgency, each.body) for each in session.scalars(select(ResultRow))]


def trail(service):
    """The audit rows of people, once the chain is verified and agrees with the reviews."""
    with service.database.read() as session:
        assert audit.verify(session).broken_at is None
        people = select(AuditRow).where(AuditRow.event != "result", AuditRow.actor != FILE_ACTOR)
        events = session.scalars(people.order_by(AuditRow.seq))
        found = [(each.actor, each.event, json.loads(each.detail)) for each in events]
        done = session.scalars(select(ReviewRow).order_by(ReviewRow.id)).all()
    assert [each[:2] for each in found] == [(each.actor, each.kind) for each in done]
    return found


def standing(service):
    return service.study(VIC, ONE, audited=False).standing


def last_review(service) -> int:
    return service.study(VIC, ONE, audited=False).reviews[-1].id


# ---- findings


def test_a_reader_agrees_or_disagrees_with_a_finding_present_or_not(critical, clock):
    before = results(critical)
    critical.opine(ANN, ONE, version(critical), "Pneumothorax", agrees=True)
    critical.opine(BEN, ONE, version(critical), "Mass", agrees=False)
    first, second = standing(critical).opinions
    assert (first.finding, first.agrees, first.positive, first.by, first.at, first.model) == (
        *("Pneumothorax", True, True, "Ann"),
        *(clock.now, "m 1"),
    )
    assert (second.finding, second.agrees, second.positive, second.by) == ("Mass", False, False, "Ben")
    assert trail(critical) == [
        ("Ann", "agree", {"finding": "Pneumothorax"}),
        ("Ben", "disagree", {"finding": "Mass"}),
    ]
    assert (results(critical), row(critical).urgency) == (before, "critical")


def test_a_person_has_one_opinion_of_a_finding_and_may_change_it(critical):
    critical.opine(ANN, ONE, version(critical), "Pneumothorax", agrees=True)
    with pytest.raises(Conflict, match="said so"):
        critical.opine(ANN, ONE, version(critical), "Pneumothorax", agrees=True)
    critical.opine(BEN, ONE, version(critical), "Pneumothorax", agrees=True)
    critical.opine(ANN, ONE, version(critical), "Pneumothorax", agrees=False)
    assert [(each.by, each.agrees) for each in standing(critical).opinions] == [("Ben", True), ("Ann", False)]
    critical.undo(ANN, ONE, version(critical), last_review(critical))
    assert [(each.by, each.agrees) for each in standing(critical).opinions] == [("Ann", True), ("Ben", True)]


def test_of_another_models_answer_the_same_may_be_said_again(critical):
    critical.opine(ANN, ONE, version(critical), "Pneumothorax", agrees=True)
    answer(critical, 1, PNEUMOTHORAX, "m 2")
    critical.opine(ANN, ONE, version(critical), "Pneumothorax", agrees=True)
    assert [each.model for each in standing(critical).opinions] == ["m 2"]
    answer(critical, 2, NOTHING, "m 1")
    critical.opine(BEN, ONE, version(critical), "Pneumothorax", agrees=False)
    assert [(each.model, each.positive) for each in standing(critical).opinions] == [
        ("m 2", True),
        ("m 1, m 2", True),
    ]


def test_nobody_has_an_opinion_of_what_the_model_did_not_say(critical, service):
    with pytest.raises(Invalid, match="nothing of this finding"):
        critical.opine(ANN, ONE, version(critical), "Fracture", agrees=True)
    put(service.database, [study(1)], images=[image(1, 1, status="waiting")])
    with pytest.raises(Invalid, match="nothing of this finding"):
        service.opine(ANN, ONE, 1, "Mass", agrees=True)


# ---- override


def test_the_list_goes_by_the_urgency_that_a_person_gave_and_says_so(clear, clock):
    before = results(clear)
    clear.override(ANN, ONE, version(clear), Urgency.URGENT, "known  aneurysm\nsee\x1b letter")
    shown = line(clear)
    assert (shown.urgency, shown.overridden) == (
        Urgency.URGENT,
        Overridden(Urgency.URGENT, "Ann", Urgency.ROUTINE),
    )
    assert (row(clear).tier, shown.limit_s) == (1, 7200)
    assert clear.page(VIC, Query(urgencies=frozenset({Urgency.URGENT}))).total == 1
    assert {each.urgency: each.count for each in clear.tiers(VIC)}[Urgency.URGENT] == 1
    said = standing(clear).override
    assert (said.actor, said.at) == ("Ann", clock.now)
    assert said.data == {"from": "routine", "to": "urgent", "reason": "known aneurysm see\\x1b letter"}
    assert trail(clear) == [("Ann", "override", {"from": "routine", "to": "urgent"})]
    assert results(clear) == before
    assert "overridden_by" in clear.export_csv(LEAD, Query()).decode()
    assert ",routine,Ann\r\n" in clear.export_csv(LEAD, Query()).decode()


def test_the_order_of_the_list_is_that_of_the_urgency_given(service, clock):
    put(service.database, [study(1, since=clock.now), study(2, "significant", clock.now)])
    service.override(ANN, ONE, 1, Urgency.SIGNIFICANT, "x")
    assert [each.study_id[-1] for each in service.page(VIC, Query()).lines] == ["1", "2"]
    service.override(ANN, f"{2:032x}", 1, Urgency.URGENT, "x")
    assert [each.study_id[-1] for each in service.page(VIC, Query()).lines] == ["2", "1"]


def test_an_override_needs_a_reason_of_a_bearable_length(clear):
    for reason in ("", " \n\t"):
        with pytest.raises(Invalid, match="the reason is empty"):
            clear.override(ANN, ONE, version(clear), Urgency.URGENT, reason)
    with pytest.raises(Invalid, match="2001 characters"):
        clear.override(ANN, ONE, version(clear), Urgency.URGENT, "x" * (LONGEST_TEXT + 1))
    with pytest.raises(Conflict, match="has this urgency already"):
        clear.override(ANN, ONE, version(clear), Urgency.ROUTINE, "x")
    assert (trail(clear), line(clear).overridden) == ([], None)


def test_a_study_made_critical_raises_the_alert_and_is_acknowledged_before_it_is_read(clear):
    clear.override(ANN, ONE, version(clear), Urgency.CRITICAL, "subtle apical line")
    assert [alert.study_id for alert in clear.alerts(VIC)] == [ONE]
    with pytest.raises(Conflict, match="not acknowledged"):
        clear.mark_read(ANN, ONE, version(clear))
    clear.acknowledge(ANN, ONE, version(clear), told="Dr. Vey", how="in person")
    clear.mark_read(ANN, ONE, version(clear))
    assert line(clear).status is Status.READ


def test_a_study_raised_after_it_was_read_comes_back_and_one_lowered_does_not(clear):
    clear.override(ANN, ONE, version(clear), Urgency.URGENT, "x")
    clear.mark_read(ANN, ONE, version(clear))
    clear.override(BEN, ONE, version(clear), Urgency.SIGNIFICANT, "y")
    assert line(clear).status is Status.READ
    clear.override(BEN, ONE, version(clear), Urgency.CRITICAL, "seen again: a line")
    assert (line(clear).status, row(clear).read_by) == (Status.NEW, None)
    assert len(clear.alerts(VIC)) == 1


def test_a_lowered_critical_study_ends_its_alert_with_the_reason_on_record(critical):
    critical.override(ANN, ONE, version(critical), Urgency.SIGNIFICANT, "skin fold")
    assert critical.alerts(VIC) == ()
    assert line(critical).overridden.films is Urgency.CRITICAL
    assert line(critical).findings == ("Pneumothorax",)
    with pytest.raises(Conflict, match="not critical"):
        critical.acknowledge(ANN, ONE, version(critical), told="ward", how="in person")


def test_what_another_has_may_be_raised_but_not_lowered(service):
    answered(service, NODULE)
    service.claim(BEN, ONE, version(service))
    with pytest.raises(Conflict, match="released first"):
        service.override(ANN, ONE, version(service), Urgency.ROUTINE, "x")
    service.override(ANN, ONE, version(service), Urgency.CRITICAL, "x")
    with pytest.raises(Conflict, match="released first"):
        service.undo(ANN, ONE, version(service), last_review(service))
    service.override(BEN, ONE, version(service), Urgency.ROUTINE, "x")
    assert [each[:2] for each in trail(service)] == [
        ("Ben", "claim"),
        ("Ann", "override"),
        ("Ben", "override"),
    ]


def test_a_further_film_is_shown_and_raises_above_the_override(critical):
    critical.override(ANN, ONE, version(critical), Urgency.ROUTINE, "skin fold")
    answer(critical, 2, NOTHING)
    assert line(critical).urgency is Urgency.ROUTINE
    answer(critical, 3, NODULE)
    assert (line(critical).urgency, line(critical).findings) == (
        Urgency.SIGNIFICANT,
        ("Pneumothorax", "Nodule"),
    )
    assert line(critical).overridden == Overridden(Urgency.ROUTINE, "Ann", Urgency.CRITICAL)
    assert critical.alerts(VIC) == ()


def test_a_critical_answer_after_an_override_is_critical_until_a_person_says_otherwise(critical):
    critical.override(ANN, ONE, version(critical), Urgency.ROUTINE, "skin fold")
    critical.mark_read(ANN, ONE, version(critical))
    answer(critical, 2, PNEUMOTHORAX)
    assert (line(critical).urgency, line(critical).status) == (Urgency.CRITICAL, Status.NEW)
    assert len(critical.alerts(VIC)) == 1
    critical.override(ANN, ONE, version(critical), Urgency.ROUTINE, "the same fold on both films")
    assert (line(critical).urgency, critical.alerts(VIC)) == (Urgency.ROUTINE, ())


def test_another_models_critical_answer_for_the_same_film_counts_anew(critical):
    critical.override(ANN, ONE, version(critical), Urgency.ROUTINE, "skin fold")
    answer(critical, 1, PNEUMOTHORAX, "m 2")
    assert line(critical).urgency is Urgency.CRITICAL


def test_a_film_handed_in_after_an_override_is_for_a_person_until_it_is_answered(service, films, kit):
    first = service.submit(ANN, Incoming("a.dcm", films.dicom(1, study=1)), source=Source.CLI)
    work(service, kit)
    before = service.study(VIC, first.study_id).line
    given = Urgency.SIGNIFICANT if before.urgency is Urgency.ROUTINE else Urgency.ROUTINE
    service.override(ANN, first.study_id, before.version, given, "x")
    service.mark_read(ANN, first.study_id, service.study(VIC, first.study_id).line.version)
    service.submit(ANN, Incoming("b.dcm", films.dicom(2, study=1)), source=Source.CLI)
    shown = service.study(VIC, first.study_id).line
    assert (shown.urgency, shown.status) == (Urgency.REVIEW, Status.NEW)
    work(service, kit)
    view = service.study(VIC, first.study_id)
    second = next(film for film in view.films if film.sha256 != first.sha256)
    alone = second.analysis.triage.urgency
    assert view.line.urgency is min(given, alone, key=lambda urgency: urgency.rank)


def test_further_answers_never_lower_what_a_person_raised(clear):
    clear.override(ANN, ONE, version(clear), Urgency.CRITICAL, "x")
    clear.acknowledge(ANN, ONE, version(clear), told="ward", how="in person")
    answer(clear, 2, NOTHING)
    answer(clear, 1, NOTHING, "m 2")
    assert (line(clear).urgency, line(clear).acknowledged) == (Urgency.CRITICAL, True)
    assert clear.alerts(VIC) == ()


# ---- notes and undo


def test_a_note_is_kept_on_one_line(clear):
    clear.note(VIC_AS_CLINICIAN, ONE, version(clear), " ask\nfor\x00 priors ")
    (note,) = standing(clear).notes
    assert (note.actor, note.data) == ("Vic", {"text": "ask for\\x00 priors"})
    assert trail(clear) == [("Vic", "note", {})]
    for empty in ("", "\n"):
        with pytest.raises(Invalid, match="the note is empty"):
            clear.note(ANN, ONE, version(clear), empty)
    clear.note(ANN, ONE, version(clear), "x" * LONGEST_TEXT)
    assert len(standing(clear).notes) == 2


VIC_AS_CLINICIAN = Actor("Vic", Role.CLINICIAN)


def test_an_undo_is_an_entry_of_its_own_and_nothing_is_removed(clear):
    clear.note(ANN, ONE, version(clear), "wrong study")
    note = last_review(clear)
    clear.undo(ANN, ONE, version(clear), note)
    view = clear.study(VIC, ONE, audited=False)
    assert view.standing.notes == ()
    assert [(each.kind, each.data) for each in view.reviews] == [
        ("note", {"text": "wrong study"}),
        ("undo", {"of": str(note), "what": "note"}),
    ]
    assert trail(clear)[-1] == ("Ann", "undo", {"review": note, "what": "note"})
    with pytest.raises(Conflict, match="undone before"):
        clear.undo(ANN, ONE, version(clear), note)
    with pytest.raises(Conflict, match="cannot be undone"):
        clear.undo(ANN, ONE, version(clear), last_review(clear))
    with pytest.raises(StoreError, match="no such entry"):
        clear.undo(ANN, ONE, version(clear), note + 99)


def test_anothers_opinion_or_note_is_a_leads_to_undo(clear):
    clear.note(ANN, ONE, version(clear), "x")
    note = last_review(clear)
    with pytest.raises(Forbidden, match="another person said this"):
        clear.undo(BEN, ONE, version(clear), note)
    clear.undo(LEAD, ONE, version(clear), note)
    assert standing(clear).notes == ()


def test_a_reading_is_taken_back_by_its_reader_or_a_lead_and_the_study_is_as_it_was(clear, clock):
    clear.claim(ANN, ONE, version(clear))
    clear.mark_read(ANN, ONE, version(clear))
    reading = last_review(clear)
    with pytest.raises(Forbidden, match="another person read this"):
        clear.undo(BEN, ONE, version(clear), reading)
    assert clear.page(VIC, Query()).total == 0
    clock.advance(5)
    clear.undo(ANN, ONE, version(clear), reading)
    assert (row(clear).is_open, row(clear).read_by, row(clear).read_utc) == (True, None, None)
    assert (line(clear).status, line(clear).claimed_by) == (Status.CLAIMED, "Ann")
    assert [each.study_id for each in clear.page(VIC, Query()).lines] == [ONE]
    assert trail(clear)[-1] == ("Ann", "undo", {"review": reading, "what": "read"})
    with pytest.raises(Conflict, match="undone before"):
        clear.undo(ANN, ONE, version(clear), reading)
    day = clock.now - timedelta(days=1), clock.now + timedelta(days=1)
    routine = next(each for each in clear.turnaround(LEAD, *day).tiers if each.urgency is Urgency.ROUTINE)
    assert (routine.read.n, routine.reopened) == (0, 1)
    clear.mark_read(ANN, ONE, version(clear))
    clear.undo(LEAD, ONE, version(clear), last_review(clear))
    assert line(clear).status is Status.CLAIMED


def test_a_reading_that_no_longer_holds_is_not_taken_back(clear):
    clear.mark_read(ANN, ONE, version(clear))
    first = last_review(clear)
    answer(clear, 2, NODULE)
    assert row(clear).is_open
    for _ in range(2):
        with pytest.raises(Conflict, match="came back to the list since"):
            clear.undo(ANN, ONE, version(clear), first)
        if row(clear).is_open:
            clear.mark_read(BEN, ONE, version(clear))
    assert line(clear).status is Status.READ


def test_an_acknowledged_study_whose_reading_is_taken_back_stays_acknowledged(critical):
    critical.acknowledge(ANN, ONE, version(critical), told="ward", how="in person")
    critical.mark_read(BEN, ONE, version(critical))
    critical.undo(BEN, ONE, version(critical), last_review(critical))
    assert (line(critical).status, line(critical).acknowledged_by) == (Status.ACKNOWLEDGED, "Ann")
    assert critical.alerts(VIC) == ()


def test_an_entry_of_another_study_is_not_undone_here(service):
    put(service.database, [study(1), study(2)])
    service.note(ANN, ONE, 1, "x")
    with pytest.raises(StoreError, match="no such entry"):
        service.undo(ANN, f"{2:032x}", 1, last_review(service))


def test_an_undone_override_gives_way_to_the_one_before_and_then_to_the_films(service):
    answered(service, NODULE)
    service.override(ANN, ONE, version(service), Urgency.CRITICAL, "a line")
    first = last_review(service)
    service.override(BEN, ONE, version(service), Urgency.ROUTINE, "wrong row")
    service.undo(ANN, ONE, version(service), last_review(service))
    assert line(service).overridden == Overridden(Urgency.CRITICAL, "Ann", Urgency.SIGNIFICANT)
    assert (line(service).urgency, len(service.alerts(VIC))) == (Urgency.CRITICAL, 1)
    service.undo(ANN, ONE, version(service), first)
    assert (line(service).urgency, line(service).overridden) == (Urgency.SIGNIFICANT, None)
    assert (row(service).override, row(service).films_urgency) == (None, None)
    assert standing(service).override is None
    assert trail(service)[-1] == (
        *("Ann", "undo"),
        {"review": first, "what": "override", "from": "critical", "to": "significant"},
    )


def test_an_override_that_stands_again_knows_what_had_been_seen(critical):
    critical.override(ANN, ONE, version(critical), Urgency.ROUTINE, "fold")
    answer(critical, 2, PNEUMOTHORAX)
    critical.override(BEN, ONE, version(critical), Urgency.REVIEW, "fold on both")
    assert line(critical).urgency is Urgency.REVIEW
    critical.undo(BEN, ONE, version(critical), last_review(critical))
    assert line(critical).urgency is Urgency.CRITICAL, "Ann had not seen the second film"


def test_to_undo_the_lowering_of_a_critical_study_raises_its_alert_again(critical):
    critical.override(ANN, ONE, version(critical), Urgency.ROUTINE, "fold")
    critical.mark_read(ANN, ONE, version(critical))
    critical.undo(BEN, ONE, version(critical), [each.id for each in reviewed(critical)][0])
    assert (line(critical).urgency, line(critical).status) == (Urgency.CRITICAL, Status.NEW)
    assert len(critical.alerts(VIC)) == 1


def reviewed(service):
    return service.study(VIC, ONE, audited=False).reviews


# ---- all of them

ACTS = {
    "opine": lambda s, who, at: s.opine(who, ONE, at, "Mass", agrees=True),
    "override": lambda s, who, at: s.override(who, ONE, at, Urgency.URGENT, "x"),
    "note": lambda s, who, at: s.note(who, ONE, at, "x"),
    "undo": lambda s, who, at: s.undo(who, ONE, at, 1),
}


@pytest.mark.parametrize("act", ACTS)
def test_who_saw_an_older_version_changes_nothing(clear, act):
    clear.note(ANN, ONE, version(clear), "x")
    now = version(clear)
    with pytest.raises(Conflict, match="changed since it was shown"):
        ACTS[act](clear, ANN, now - 1)
    assert (version(clear), len(trail(clear))) == (now, 1)


@pytest.mark.parametrize("act", ACTS)
def test_a_viewer_may_none_of_it(clear, act):
    with pytest.raises(Forbidden):
        ACTS[act](clear, VIC, version(clear))
    assert trail(clear) == []


@pytest.mark.parametrize("act", [*ACTS])
def test_if_the_audit_row_cannot_be_written_nothing_happened(clear, monkeypatch, act):
    clear.note(ANN, ONE, version(clear), "x")
    note, before = last_review(clear), (row(clear).version, row(clear).urgency, len(trail(clear)))

    def fail(*_, **__):
        raise StoreError("no head")

    with monkeypatch.context() as patch:
        patch.setattr(audit, "append", fail)
        with pytest.raises(StoreError, match="no head"):
            clear.undo(ANN, ONE, before[0], note) if act == "undo" else ACTS[act](clear, ANN, before[0])
    assert (row(clear).version, row(clear).urgency, len(trail(clear))) == before


def test_of_two_readers_who_override_at_once_the_second_is_told(clear):
    start, at, outcomes = threading.Barrier(2), version(clear), []

    def act(actor, urgency):
        start.wait()
        try:
            clear.override(actor, ONE, at, urgency, "x")
            outcomes.append(urgency)
        except Conflict:
            outcomes.append(None)

    threads = [
        threading.Thread(target=act, args=each) for each in ((ANN, Urgency.URGENT), (BEN, Urgency.CRITICAL))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(None) == 1
    assert line(clear).urgency in outcomes
    assert len(trail(clear)) == 1


def entries(kinds_and_targets) -> list[Review]:
    """Reviews in order; an undo names one of those before it that it may name, if there is any."""
    found: list[Review] = []
    for number, (kind, who, target) in enumerate(kinds_and_targets, 1):
        able = [each.id for each in found if each.kind in reviews.UNDOABLE]
        if kind == "undo" and not able:
            continue
        data = {"finding": "Mass", "said": "positive", "model": "m 1", "to": "urgent", "seen": "", "text": ""}
        data = {"of": str(able[target % len(able)])} if kind == "undo" else data
        found.append(Review(analyses.STUDY.acquired, who, kind, data, number))
    return found


@promise
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*sorted(reviews.UNDOABLE), "undo", "claim"]),
            st.sampled_from("ab"),
            st.integers(0, 9),
        ),
        max_size=12,
    )
)
def test_what_stands_is_what_would_stand_had_the_undone_never_been_said(said):
    every = entries(said)
    gone = reviews.undone(every)
    never = [each for each in every if each.id not in gone and each.kind != "undo"]
    assert reviews.standing(every) == reviews.standing(never)
    left = reviews.standing(every)
    assert not {each.review for each in left.opinions} & gone
    assert len({(each.by, each.finding) for each in left.opinions}) == len(left.opinions)
    assert left.override is None or "seen" not in left.override.data


def test_an_answer_written_before_overrides_were_known_is_read_as_it_is(service):
    put(
        service.database,
        [study(1, "critical")],
        images=[image(1, 1, result_id=1)],
        results=[result(1, 1, "m 1", "1", body=codec.encode(analysis(1, PNEUMOTHORAX), (), None))],
    )
    assert service.study(VIC, ONE).standing == reviews.standing(())
    assert line(service).overridden is None


# ---- what was read


@pytest.mark.parametrize("status", ["waiting", "dead"])
def test_a_study_read_before_it_was_answered_comes_back_with_what_is_found(service, status):
    """For review, as it was while nobody knew, stands above significant."""
    put(service.database, [study(1, state=None, urgency="review")], images=[image(1, 1, status=status)])
    service.mark_read(ANN, ONE, version(service))
    answer(service, 1, NODULE)
    assert (line(service).urgency, line(service).status) == (Urgency.SIGNIFICANT, Status.NEW)
    assert [each.study_id for each in service.page(VIC, Query()).lines] == [ONE]
    service.mark_read(ANN, ONE, version(service))
    answer(service, 1, NODULE, "m 2")
    answer(service, 1, NOTHING, "m 3")
    assert line(service).status is Status.READ, "nothing that was not seen"


def test_a_study_read_with_its_answer_stays_read_where_another_one_is_no_graver(service):
    answered(service, NODULE)
    service.mark_read(ANN, ONE, version(service))
    answer(service, 1, NODULE | {"Mass": 0.95}, "m 2")
    assert (line(service).findings, line(service).urgency) == (("Mass", "Nodule"), Urgency.SIGNIFICANT)
    assert line(service).status is Status.READ


def test_a_study_read_while_its_film_waited_stays_read_where_nothing_is_found(service):
    put(service.database, [study(1, state=None, urgency="review")], images=[image(1, 1, status="waiting")])
    service.mark_read(ANN, ONE, version(service))
    answer(service, 1, NOTHING)
    assert (line(service).urgency, line(service).status) == (Urgency.ROUTINE, Status.READ)


# ---- what was critical


def test_a_form_saved_for_a_lateral_film_takes_no_later_frontal_finding_away(service, films):
    lateral = service.submit(ANN, Incoming("a.dcm", films.dicom(1, ViewPosition="LL")), source=Source.CLI)
    shown = service.study(VIC, lateral.study_id, audited=False)
    form = replace(shown.study, referrer_phone="4711")
    service.complete(ANN, lateral.study_id, form, shown.line.version)
    second = service.submit(
        ANN, Incoming("b.dcm", films.dicom(2, study=1, ViewPosition="PA")), source=Source.CLI
    )
    assert second.study_id == lateral.study_id
    (job,) = queue.claim(service, "w", 1)
    said = replace(analysis(0, PNEUMOTHORAX), sha256=second.sha256)
    assert queue.record(service, "w", job, [Answer(said, None, (), None)])
    after = service.study(VIC, lateral.study_id, audited=False).line
    assert (after.urgency, after.view, len(service.alerts(VIC))) == (Urgency.CRITICAL, View.PA, 1)


def test_an_alert_stands_until_a_person_acknowledges_it_whatever_other_answers_say(critical):
    """A typed lateral view refuses the film, another model finds nothing: neither may end the alert."""
    answer(critical, 1, PNEUMOTHORAX, model="m 0", view=View.UNKNOWN)
    typed = replace(critical.study(VIC, ONE, audited=False).study, view=View.LATERAL)
    critical.complete(ANN, ONE, typed, version(critical))
    assert (row(critical).state, row(critical).urgency) == ("refused", "critical")
    answer(critical, 1, NOTHING, model="m 2", view=View.UNKNOWN)
    assert [alert.study_id for alert in critical.alerts(VIC)] == [ONE]
    assert HELD in row(critical).reasons
    critical.acknowledge(ANN, ONE, version(critical), told="ward", how="in person")
    assert critical.alerts(VIC) == ()
    assert (row(critical).urgency, row(critical).status) == ("review", "acknowledged")
    assert HELD not in row(critical).reasons


def test_a_study_that_became_critical_after_it_was_overridden_stays_so_until_somebody_acknowledges_it(clear):
    """The answer may be taken back by a policy that is reverted; nobody has seen that it was critical."""
    clear.override(ANN, ONE, version(clear), Urgency.SIGNIFICANT, "cough for weeks")
    answer(clear, 1, PNEUMOTHORAX, model="m 2")
    assert row(clear).urgency == "critical"
    answer(clear, 1, NOTHING, model="m 3")
    assert (row(clear).urgency, HELD in row(clear).reasons) == ("critical", True)
    assert [alert.study_id for alert in clear.alerts(VIC)] == [ONE]
    clear.acknowledge(ANN, ONE, version(clear), told="ward", how="in person")
    assert row(clear).urgency == "significant"


def test_to_undo_an_override_ends_no_alert_that_it_had_not_raised(clear):
    clear.override(ANN, ONE, version(clear), Urgency.SIGNIFICANT, "cough for weeks")
    old = last_review(clear)
    answer(clear, 1, PNEUMOTHORAX, model="m 2")
    answer(clear, 1, NOTHING, model="m 3")
    clear.undo(BEN, ONE, version(clear), old)
    assert (row(clear).urgency, HELD in row(clear).reasons) == ("critical", True)
    assert [alert.study_id for alert in clear.alerts(VIC)] == [ONE]
    clear.acknowledge(ANN, ONE, version(clear), told="ward", how="in person")
    assert row(clear).urgency == "routine"


@pytest.fixture
def held(critical):
    """Critical, though its films no longer say so: nobody has acknowledged it."""
    answer(critical, 1, NOTHING, model="m 2")
    assert (row(critical).urgency, HELD in row(critical).reasons) == ("critical", True)
    return critical


def test_a_held_alert_that_was_lowered_by_mistake_stands_again_once_that_is_undone(held):
    held.override(ANN, ONE, version(held), Urgency.URGENT, "wrong row")
    held.mark_read(ANN, ONE, version(held))
    held.undo(ANN, ONE, version(held), [each.id for each in reviewed(held)][0])
    assert (line(held).urgency, line(held).status) == (Urgency.CRITICAL, Status.NEW)
    assert (HELD in row(held).reasons, len(held.alerts(VIC))) == (True, 1)


@pytest.mark.parametrize("first", [0, 1])
def test_a_held_alert_lowered_twice_stands_again_once_both_are_undone_in_any_order(held, first):
    held.override(ANN, ONE, version(held), Urgency.URGENT, "wrong row")
    held.override(BEN, ONE, version(held), Urgency.ROUTINE, "wrong row too")
    given = [each.id for each in reviewed(held)]
    held.undo(LEAD, ONE, version(held), given[first])
    assert line(held).urgency is (Urgency.URGENT if first else Urgency.ROUTINE)
    held.undo(LEAD, ONE, version(held), given[1 - first])
    assert (line(held).urgency, len(held.alerts(VIC))) == (Urgency.CRITICAL, 1)


def test_what_only_an_undone_override_had_made_critical_is_not_held(clear):
    clear.override(ANN, ONE, version(clear), Urgency.CRITICAL, "a line")
    clear.override(BEN, ONE, version(clear), Urgency.URGENT, "a fold")
    for entry in reviewed(clear):
        clear.undo(LEAD, ONE, version(clear), entry.id)
    assert (line(clear).urgency, clear.alerts(VIC)) == (Urgency.ROUTINE, ())


def test_to_undo_an_older_override_that_had_raised_ends_no_later_alert(clear):
    clear.override(ANN, ONE, version(clear), Urgency.CRITICAL, "a line")
    old = last_review(clear)
    clear.override(BEN, ONE, version(clear), Urgency.ROUTINE, "a fold")
    answer(clear, 1, PNEUMOTHORAX, model="m 2")
    answer(clear, 1, NOTHING, model="m 3")
    assert line(clear).urgency is Urgency.CRITICAL
    clear.undo(LEAD, ONE, version(clear), old)
    assert (line(clear).urgency, len(clear.alerts(VIC))) == (Urgency.CRITICAL, 1)
