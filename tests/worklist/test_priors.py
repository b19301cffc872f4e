"""A patient's other studies beside this one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from cxr_core.access import Actor, Role
from cxr_core.domain import FINDINGS, Study, View
from cxr_core.errors import StoreError
from cxr_core.worklist import audit, codec
from cxr_core.worklist.priors import compare
from cxr_core.worklist.schema import AuditRow
from cxr_core.worklist.values import Incoming, Priors, Source
from tests.reports import analyses
from tests.worklist.rows import THEN, identity, image, put, result, study
from tests.worklist.test_aggregate import promise
from tests.worklist.work import NURSE, work

VIC = Actor("Vic", Role.VIEWER)
HERE, THERE = f"{1:032x}", f"{2:032x}"


def analysis(model="m 1", **probabilities):
    made = analyses.assessed(probabilities)
    return replace(made, versions=replace(made.versions, model=model))


def viewed(service):
    with service.database.read() as session:
        assert audit.verify(session).broken_at is None
        rows = session.scalars(select(AuditRow).where(AuditRow.event == "view").order_by(AuditRow.seq))
        return [(each.actor, int(each.subject, 16), json.loads(each.detail)) for each in rows]


def test_the_change_of_each_finding_in_the_models_order():
    said = compare([analysis(Mass=0.75, Edema=0.25)], [analysis(Mass=0.5, Edema=0.5)])
    assert said.why_not == ""
    assert [change.finding for change in said.changes] == list(FINDINGS)
    by_name = {change.finding: change for change in said.changes}
    assert (by_name["Mass"].before, by_name["Mass"].now, by_name["Mass"].difference) == (0.5, 0.75, 0.25)
    assert by_name["Edema"].difference == -0.25
    assert by_name["Hernia"].difference == 0


def test_of_several_films_the_highest_counts():
    said = compare([analysis(Mass=0.2), analysis(Mass=0.9)], [analysis(Mass=0.6), analysis(Mass=0.3)])
    change = next(change for change in said.changes if change.finding == "Mass")
    assert (change.before, change.now) == (0.6, 0.9)


@pytest.mark.parametrize(
    ("now", "before", "why"),
    [
        ([], [], "Neither study has an answer of the model."),
        ([], [analysis()], "Only that study has an answer of the model."),
        ([analysis()], [], "Only this study has an answer of the model."),
        (
            [analysis("m 2")],
            [analysis("m 1")],
            "Answered by different models: this study by m 2, that one by m 1.",
        ),
        (
            [analysis("m 2"), analysis("m 1")],
            [analysis("m 1"), analysis("m 2")],
            "Answered by different models: this study by m 1 and m 2, that one by m 1 and m 2.",
        ),
    ],
)
def test_where_nothing_can_be_compared_it_is_said_why(now, before, why):
    said = compare(now, before)
    assert (said.changes, said.why_not) == ((), why)


probabilities = st.dictionaries(st.sampled_from(FINDINGS), st.floats(0, 1))
answers = st.lists(
    st.builds(lambda model, p: analysis(model, **p), st.sampled_from("ab"), probabilities), max_size=3
)


@promise
@given(answers, answers)
def test_changes_are_told_exactly_where_one_model_answered_both(now, before):
    said, other = compare(now, before), compare(before, now)
    one = len({each.versions.model for each in [*now, *before]}) == 1 and now and before
    assert bool(said.changes) == bool(one)
    assert bool(said.changes) != bool(said.why_not)
    assert [-each.difference for each in said.changes] == [each.difference for each in other.changes]
    assert all(-1 <= each.difference <= 1 for each in said.changes)


def several(service):
    """A patient's studies 1 to 4, of which 1 is looked at, one of another patient, one of nobody."""
    hour = timedelta(hours=1)
    models = {1: "m 1", 2: "m 1", 3: "m 2", 5: "m 1"}
    mass = {1: 0.75, 2: 0.5, 3: 0.5, 5: 0.5}
    put(
        service.database,
        [
            study(n, since=THEN + at * hour, acquired_utc=THEN + at * hour)
            for n, at in ((1, 0), (2, -2), (3, -1), (4, 1), (5, -3), (6, -4))
        ],
        [*(identity(n, patient_id="P-1") for n in (1, 2, 3, 4)), identity(5, patient_id="P-10"), identity(6)],
        [image(n, n, result_id=n if n in models else None) for n in range(1, 7)],
        [
            result(n, n, model, "1", body=codec.encode(analysis(model, Mass=mass[n]), (), None))
            for n, model in models.items()
        ],
    )


def two(service, here=(), there=(), named=("", ""), **probabilities):
    """Studies 1 and 2 of one patient, both answered; `here` and `there` are columns of theirs."""
    given = {1: dict(here), 2: dict(there)}
    put(
        service.database,
        [study(n, **columns) for n, columns in given.items()],
        [identity(n, patient_id="P-1", patient_name=name) for n, name in zip(given, named, strict=True)],
        [image(n, n, result_id=n) for n in given],
        [
            result(1, 1, "m 1", "1", body=codec.encode(analysis(Mass=0.75), (), None)),
            result(2, 2, "m 1", "1", body=codec.encode(analysis(Mass=0.25), (), None)),
        ],
    )


def mass(beside):
    change = next(each for each in beside.comparison.changes if each.finding == "Mass")
    return change.before, change.now, change.was_positive, change.is_positive


def taken(days):
    at = THEN + timedelta(days=days)
    return {"since": at, "acquired_utc": at, "received_utc": at}


def test_the_same_patients_other_studies_the_newest_first(service):
    several(service)
    found = service.priors(VIC, HERE)
    assert found.total == 3
    assert [int(each.line.study_id, 16) for each in found.shown] == [4, 3, 2]
    assert [each.earlier for each in found.shown] == [False, True, True]
    sides = [service.beside(VIC, HERE, each.line.study_id) for each in found.shown]
    assert [each.earlier for each in sides] == [False, True, True]
    unanswered, other_model, same = sides
    assert unanswered.comparison.why_not == "Only this study has an answer of the model."
    assert "this study by m 1, that one by m 2" in other_model.comparison.why_not
    assert mass(same)[:2] == (0.5, 0.75)


def test_earlier_ones_come_before_later_ones_and_all_are_counted(service):
    several(service)
    found = service.priors(VIC, HERE, limit=2)
    assert ([int(each.line.study_id, 16) for each in found.shown], found.total) == ([3, 2], 3)
    assert service.priors(VIC, HERE, limit=0) == Priors((), 3)


@pytest.mark.parametrize(
    ("days", "earlier", "figures"),
    [(-5, True, (0.25, 0.75, False, True)), (5, False, (0.75, 0.25, True, False))],
)
def test_a_change_runs_from_the_study_taken_first_to_the_other(service, days, earlier, figures):
    two(service, taken(0), taken(days))
    beside = service.beside(VIC, HERE, THERE)
    assert (beside.earlier, beside.doubts, mass(beside)) == (earlier, (), figures)


def test_without_times_the_order_is_not_known_unless_a_receipt_tells(service):
    without = {"acquired_utc": None}
    two(service, taken(0), taken(-1) | without)
    assert service.beside(VIC, HERE, THERE).earlier is True, "in the house before the other was taken"
    assert service.beside(VIC, THERE, HERE).earlier is False
    for here, there in ((0, 1), (0, 0)):
        two(service, taken(here), taken(there) | without)
        assert service.beside(VIC, HERE, THERE).earlier is None
    two(service, taken(0), taken(0))
    assert service.beside(VIC, HERE, THERE).earlier is None
    assert mass(service.beside(VIC, HERE, THERE))[:2] == (0.25, 0.75)


@pytest.mark.parametrize(
    ("here", "there", "names", "said"),
    [
        ({}, {}, ("Silva^Ana", "Ana Silva"), ()),
        ({}, {}, ("SILVA, José", "silva^jose"), ()),
        ({}, {}, ("Silva^Ana", ""), ()),
        ({}, {}, ("Silva^Ana", "Rossi^Ana"), ("the name differs",)),
        ({}, {}, ("王^小東", "李^小東"), ("the name differs",)),
        ({"sex": "M"}, {"sex": "unknown"}, ("", ""), ()),
        ({"sex": "M"}, {"sex": "F"}, ("", ""), ("the sex differs",)),
        ({"age_years": 61.0}, {"age_years": 51.0}, ("", ""), ()),
        ({"age_years": 61.0}, {"age_years": 52.5}, ("", ""), ()),
        ({"age_years": 61.0}, {"age_years": None}, ("", ""), ()),
        ({"age_years": 61.0}, {"age_years": 61.0}, ("", ""), ("the age does not fit the dates",)),
        (
            {"age_years": 61.0, "sex": "M"},
            {"age_years": 20.0, "sex": "F"},
            ("A", "B"),
            ("the name differs", "the sex differs", "the age does not fit the dates"),
        ),
    ],
)
def test_what_speaks_for_another_person_is_said_and_nothing_compared(service, here, there, names, said):
    two(service, taken(0) | here, taken(-3652) | there, names)
    for one, other in ((HERE, THERE), (THERE, HERE)):
        beside = service.beside(VIC, one, other)
        assert beside.doubts == said
        assert bool(beside.comparison.changes) != bool(said)
        assert ("another person" in beside.comparison.why_not) == bool(said)


def test_only_the_study_put_beside_leaves_an_audit_row_and_not_every_refresh(service):
    several(service)
    service.priors(VIC, HERE)
    service.beside(VIC, HERE, THERE, audited=False)
    assert viewed(service) == []
    service.beside(VIC, HERE, THERE)
    assert viewed(service) == [("Vic", 2, {"beside": HERE})]


def test_a_study_under_another_id_is_not_put_beside(service):
    several(service)
    for one, other in ((1, 5), (1, 6), (6, 1), (1, 1), (1, 99), (99, 1)):
        with pytest.raises(StoreError):
            service.beside(VIC, f"{one:032x}", f"{other:032x}")
    assert viewed(service) == []


@pytest.mark.parametrize("patient_id", ["", "  "])
def test_studies_without_patient_id_are_nobodys_priors(service, patient_id):
    put(service.database, [study(1), study(2)], [identity(n, patient_id=patient_id) for n in (1, 2)])
    assert service.priors(VIC, HERE) == Priors((), 0)
    put(service.database, [study(1), study(2)])
    assert service.priors(VIC, HERE) == Priors((), 0)
    assert viewed(service) == []


def test_an_unknown_study_is_an_error(service):
    with pytest.raises(StoreError, match="no such study"):
        service.priors(VIC, "nothing")


def test_what_a_person_typed_counts_in_the_comparison(service, films, kit):
    open_ = {"ViewPosition": None, "ViewCodeSequence": None}
    receipts = [
        service.submit(NURSE, Incoming("a.dcm", films.dicom(n, patient_id="P-1", **open_)), source=Source.CLI)
        for n in (1, 2)
    ]
    work(service, kit)
    one, two = (receipt.study_id for receipt in receipts)
    (prior,) = service.priors(NURSE, one).shown
    assert prior.line.study_id == two
    changes = service.beside(NURSE, one, two).comparison.changes
    assert {change.finding for change in changes} == set(FINDINGS)
    version = service.study(NURSE, two).line.version
    service.complete(NURSE, two, Study(patient_id="P-1", view=View.LATERAL), version)
    assert service.beside(NURSE, one, two).comparison.why_not == "Only this study has an answer of the model."


def test_films_in_conflict_and_refusals_have_no_say(service):
    body = codec.encode(analysis(Mass=0.75), (), None)
    put(
        service.database,
        [study(1), study(2), study(3)],
        [identity(n, patient_id="P-1") for n in (1, 2, 3)],
        [
            image(1, 1, result_id=1),
            image(2, 2, result_id=2, status="conflict", conflicts_with=f"{1:064x}"),
            image(3, 3, result_id=3, status="refused"),
        ],
        [
            result(1, 1, "m 1", "1", body=body),
            result(2, 2, "m 1", "1", body=body),
            result(3, 3, "m 1", "1", body=codec.encode(analyses.refused(), (), None)),
        ],
    )
    said = {service.beside(VIC, HERE, f"{n:032x}").comparison.why_not for n in (2, 3)}
    assert said == {"Only this study has an answer of the model."}
