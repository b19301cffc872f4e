"""What counts beside a person's word on a study's urgency."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_core.domain import Urgency
from cxr_core.worklist.aggregate import NOT_FOR_THE_MODEL, Outcome, aggregate
from cxr_core.worklist.overrides import Override, counting, mark, marks
from cxr_core.worklist.values import ImageStatus
from tests.reports.analyses import POLICY
from tests.worklist.test_aggregate import (
    CLEAR,
    CRITICAL,
    SIGNIFICANT,
    bare,
    film,
    outcomes,
    promise,
    refused,
)

urgencies = st.sampled_from(list(Urgency))


def given_on(urgency: Urgency, films: list[Outcome]) -> Override:
    return Override(urgency, "Ann", marks(films))


@promise
@given(outcomes)
def test_without_an_override_the_films_decide(films):
    assert counting(None, films, POLICY) is aggregate(films, POLICY).urgency


@promise
@given(outcomes, urgencies)
def test_what_a_person_saw_is_as_urgent_as_they_say(films, urgency):
    assert counting(given_on(urgency, films), films, POLICY) is urgency


@promise
@given(outcomes, outcomes, urgencies, st.randoms(use_true_random=False))
def test_what_came_since_only_raises_and_counts_at_least_for_itself(seen, since, urgency, random):
    override = given_on(urgency, seen)
    since = [each for each in since if mark(each) not in override.seen]
    films = [*seen, *since]
    random.shuffle(films)
    counts = counting(override, films, POLICY)
    assert counts.rank <= urgency.rank
    for each in since:
        if each.assessed is not None:
            assert counts.rank <= each.assessed.urgency.rank


@promise
@given(outcomes, outcomes, urgencies)
def test_a_critical_answer_that_nobody_looked_at_is_critical(seen, since, urgency):
    critical = film(CRITICAL)
    assert counting(given_on(urgency, seen), [*seen, *since, critical], POLICY) is Urgency.CRITICAL


@promise
@given(outcomes, urgencies)
def test_an_override_survives_being_kept(films, urgency):
    override = given_on(urgency, films)
    assert Override.from_json(json.loads(json.dumps(override.as_json()))) == override


SEEN = Outcome("1" * 64, ImageStatus.ASSESSED, CRITICAL, None, 7)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SEEN, result_id=8),
        replace(SEEN, sha256="2" * 64),
        replace(SEEN, triage=SIGNIFICANT),
        replace(SEEN, status=ImageStatus.DEAD),
        replace(SEEN, status=ImageStatus.CONFLICT),
        replace(SEEN, status=ImageStatus.REFUSED, refusal=refused("broken_image").refusal),
    ],
)
def test_another_answer_or_film_is_looked_at_anew(changed):
    assert mark(changed) != mark(SEEN)


def test_that_an_answered_film_is_asked_about_again_is_nothing_new():
    again = replace(SEEN, status=ImageStatus.WAITING)
    assert mark(again) == mark(SEEN)
    assert counting(given_on(Urgency.ROUTINE, [SEEN]), [again], POLICY) is Urgency.ROUTINE
    answered = replace(SEEN, result_id=8)
    assert counting(given_on(Urgency.ROUTINE, [SEEN]), [answered], POLICY) is Urgency.CRITICAL


def test_a_film_that_waits_or_could_not_be_judged_is_for_review_until_it_is():
    override = given_on(Urgency.ROUTINE, [SEEN])
    for more in (bare(ImageStatus.WAITING), bare(ImageStatus.DEAD), refused("broken_image")):
        assert counting(override, [SEEN, more], POLICY) is Urgency.REVIEW
    assert counting(override, [SEEN, film(CLEAR)], POLICY) is Urgency.ROUTINE


@pytest.mark.parametrize("code", sorted(NOT_FOR_THE_MODEL))
def test_a_further_film_that_is_not_for_the_model_raises_nothing(code):
    assert counting(given_on(Urgency.ROUTINE, [SEEN]), [SEEN, refused(code)], POLICY) is Urgency.ROUTINE
    doubtful = replace(refused(code), status=ImageStatus.CONFLICT)
    assert counting(given_on(Urgency.ROUTINE, [SEEN]), [SEEN, doubtful], POLICY) is Urgency.REVIEW
