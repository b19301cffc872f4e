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
HERE = f"{1:032x}"


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
        [study(n, since=THEN + at * hour) for n, at in ((1, 0), (2, -2), (3, -1), (4, 1), (5, -3), (6, -4))],
        [*(identity(n, patient_id="P-1") for n in (1, 2, 3, 4)), identity(5, patient_id="P-10"), identity(6)],
        [image(n, n, result_id=n if n in models else None) for n in range(1, 7)],
        [
            result(n, n, model, "1", body=codec.encode(analysis(model, Mass=mass[n]), (), None))
            for n, model in models.items()
        ],
    )


def test_the_same_patients_other_studies_the_newest_first(service):
    several(service)
    found = service.priors(VIC, HERE)
    assert found.total == 3
    assert [int(each.line.study_id, 16) for each in found.shown] == [4, 3, 2]
    assert [each.earlier for each in found.shown] == [False, True, True]
    unanswered, other_model, same = (each.comparison for each in found.shown)
    assert unanswered.why_not == "Only this study has an answer of the model."
    assert "this study by m 1, that one by m 2" in other_model.why_not
    assert next(each for each in same.changes if each.finding == "Mass").difference == 0.25


def test_only_the_newest_are_shown_and_all_are_counted(service):
    several(service)
    found = service.priors(VIC, HERE, limit=1)
    assert ([int(each.line.study_id, 16) for each in found.shown], found.total) == ([4], 3)
    assert service.priors(VIC, HERE, limit=0) == Priors((), 3)


def test_each_prior_that_is_shown_leaves_an_audit_row_but_not_every_refresh(service):
    several(service)
    service.priors(VIC, HERE, audited=False)
    assert viewed(service) == []
    service.priors(VIC, HERE, limit=2)
    assert viewed(service) == [("Vic", number, {"beside": HERE}) for number in (4, 3)]


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
    receipts = [
        service.submit(NURSE, Incoming("a.dcm", films.dicom(n, patient_id="P-1")), source=Source.CLI)
        for n in (1, 2)
    ]
    work(service, kit)
    one, two = (receipt.study_id for receipt in receipts)
    (prior,) = service.priors(NURSE, one).shown
    assert prior.line.study_id == two
    assert {change.finding for change in prior.comparison.changes} == set(FINDINGS)
    version = service.study(NURSE, two).line.version
    service.complete(NURSE, two, Study(patient_id="P-1", view=View.LATERAL), version)
    (prior,) = service.priors(NURSE, one).shown
    assert prior.comparison.why_not == "Only this study has an answer of the model."


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
    said = {each.comparison.why_not for each in service.priors(VIC, HERE).shown}
    assert said == {"Only this study has an answer of the model."}
