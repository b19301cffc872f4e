"""What readers held of all studies together: what stands, who said it, what the model said; few queries."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event

from cxr_core.access import Actor, Role
from cxr_core.errors import Forbidden
from cxr_core.worklist import codec, verdicts
from cxr_core.worklist.schema import ReviewRow
from tests.reports import analyses
from tests.worklist.rows import THEN, id_of, image, put, result, study

LEAD = Actor("Lea", Role.LEAD)


def body(film, positive, model="m 1"):
    made = analyses.assessed(positive)
    made = replace(made, sha256=f"{film:064x}", versions=replace(made.versions, model=model))
    return codec.encode(made, (), None)


def said(service, *opinions):
    """Put opinions (number of study, who, finding, agrees, model called it, model) a minute apart."""
    with service.database.write() as session:
        for minute, (number, who, finding, agrees, positive, *model) in enumerate(opinions):
            data = {"finding": finding, "said": "positive" if positive else "negative"}
            data["model"] = model[0] if model else "m 1"
            kind = "agree" if agrees else "disagree"
            at = THEN + timedelta(minutes=minute)
            session.add(ReviewRow(study_id=id_of(number), at_utc=at, actor=who, kind=kind, data=data))
            session.flush()


def undo(service, review):
    with service.database.write() as session:
        row = session.get_one(ReviewRow, review)
        undone = {"of": str(review), "what": row.kind}
        session.add(ReviewRow(study_id=row.study_id, at_utc=THEN, actor=row.actor, kind="undo", data=undone))


@pytest.fixture
def read(service):
    """Three studies, the second of two films, each answered by m 1, the last by m 2 as well."""
    answers = [
        result(1, 1, "m 1", "p", body=body(1, {"Mass": 0.9})),
        result(2, 2, "m 1", "p", body=body(2, {"Mass": 0.6})),
        result(3, 3, "m 1", "p", body=body(3, {"Mass": 0.8})),
        result(4, 4, "m 1", "p", body=body(4, {})),
        result(5, 4, "m 2", "p", body=body(4, {"Mass": 0.7}, "m 2")),
    ]
    films = [image(1, 1, result_id=1), image(2, 2, result_id=2)]
    films += [image(3, 2, result_id=3), image(4, 3, result_id=5)]
    put(service.database, [study(1), study(2), study(3)], images=films, results=answers)
    return service


def test_one_opinion_a_person_stands_and_none_that_was_undone(read):
    said(
        read,
        (1, "Ann", "Mass", True, True),
        (1, "Ben", "Mass", False, True),
        (1, "Ann", "Mass", False, True),
        (2, "Ann", "Mass", True, True),
        (2, "Ann", "Edema", False, False),
    )
    undo(read, 4)
    found = read.verdicts(LEAD)
    assert not found.older
    assert [
        (each.study_id, each.opinion.by, each.opinion.finding, each.opinion.agrees) for each in found.each
    ] == [
        (id_of(1), "Ben", "Mass", False),
        (id_of(1), "Ann", "Mass", False),
        (id_of(2), "Ann", "Edema", False),
    ]
    undo(read, 3)
    stands = {(each.opinion.by, each.opinion.agrees) for each in read.verdicts(LEAD).each}
    assert ("Ann", True) in stands, "what the undone one had replaced stands again"


def test_discrepancies_say_what_that_model_said_then_the_newest_first(read):
    said(
        read,
        (1, "Ann", "Mass", True, True),
        (2, "Ann", "Mass", False, True),
        (3, "Ben", "Mass", False, False),
        (3, "Ann", "Mass", False, True, "m 1, m 2"),
        (1, "Ben", "Mass", False, True, "m 0"),
    )
    found = read.discrepancies(LEAD)
    assert found.total == 4
    assert [(each.study_id, each.opinion.by) for each in found.shown] == [
        (id_of(1), "Ben"), (id_of(3), "Ann"), (id_of(3), "Ben"), (id_of(2), "Ann"),
    ]  # fmt: skip
    lost, both, older, two_films = (each.said for each in found.shown)
    assert lost is None, "no answer of m 0 is kept"
    assert both is not None
    assert both.probability == 0.7, "the highest of the two models it is of"
    assert older is not None
    assert older.probability < 0.5, "that of m 1, though m 2 answered since"
    assert two_films is not None
    assert two_films.probability == 0.8, "the higher of two films"


def test_discrepancies_are_filtered_and_paged(read):
    said(read, *[(1 + k % 3, f"R{k}", "Mass" if k % 2 else "Edema", False, True) for k in range(7)])
    second = read.discrepancies(LEAD, offset=2, limit=3).shown
    assert [each.opinion.by for each in second] == [
        "R4",
        "R3",
        "R2",
    ]
    masses = read.discrepancies(LEAD, finding="Mass")
    assert (masses.total, [each.opinion.by for each in masses.shown]) == (3, ["R5", "R3", "R1"])
    assert read.discrepancies(LEAD, model="m 2").total == 0
    assert read.discrepancies(LEAD, offset=7).shown == ()


def test_nobody_opined_yet(service):
    assert service.verdicts(LEAD) == verdicts.Verdicts((), older=False)
    assert service.discrepancies(LEAD) == verdicts.Discrepancies((), 0)


def test_the_queries_are_as_few_for_many_studies(read):
    said(read, (1, "Ann", "Mass", False, True))
    few = queries(read)
    put(
        read.database,
        [study(k) for k in range(1, 41)],
        images=[image(k, k, result_id=k) for k in range(1, 41)],
        results=[result(k, k, "m 1", "p", body=body(k, {"Mass": 0.9})) for k in range(1, 41)],
    )
    said(read, *[(k, "Ann", "Mass", False, True) for k in range(1, 41)])
    assert queries(read) == few
    assert len(read.discrepancies(LEAD).shown) == 25


def queries(service):
    asked = []

    def note(*given):
        asked.append(given[2])

    event.listen(service.database.engine, "before_cursor_execute", note)
    try:
        service.discrepancies(LEAD)
    finally:
        event.remove(service.database.engine, "before_cursor_execute", note)
    return sum("FROM review" in each or "FROM result" in each or "FROM image" in each for each in asked)


def test_of_more_entries_than_are_read_the_oldest_are_left_out_and_that_is_said(read, monkeypatch):
    said(read, *[(1, f"R{k}", "Mass", False, True) for k in range(5)])
    monkeypatch.setattr(verdicts, "MOST", 4)
    found = read.verdicts(LEAD)
    assert found.older
    assert [each.opinion.by for each in found.each] == ["R1", "R2", "R3", "R4"]


def test_only_a_lead_sees_them(service):
    for role in (Role.VIEWER, Role.CLINICIAN):
        with pytest.raises(Forbidden):
            service.verdicts(Actor("x", role))
        with pytest.raises(Forbidden):
            service.discrepancies(Actor("x", role))
