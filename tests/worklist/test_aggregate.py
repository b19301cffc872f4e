"""Films' outcomes to the study's."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_core.domain import FINDINGS, Notice, State, Triage, Urgency
from cxr_core.imaging.refusals import REFUSALS, refusal
from cxr_core.triage.decide import refuse
from cxr_core.triage.order import tier_of
from cxr_core.worklist.aggregate import NOT_FOR_THE_MODEL, Outcome, aggregate
from cxr_core.worklist.values import ImageStatus
from tests.reports import analyses
from tests.reports.analyses import POLICY

CRITICAL = analyses.assessed({"Pneumothorax": 0.9}).triage
SIGNIFICANT = analyses.assessed({"Nodule": 0.9}).triage
CLEAR, UNABLE = analyses.clear().triage, analyses.unable().triage
_numbers = count()


def film(triage: Triage, status: ImageStatus = ImageStatus.ASSESSED) -> Outcome:
    return Outcome(f"{next(_numbers):064x}", status, triage)


def refused(code: str) -> Outcome:
    notice = refusal(code)
    return Outcome(f"{next(_numbers):064x}", ImageStatus.REFUSED, refuse(POLICY, notice), notice)


def bare(status: ImageStatus) -> Outcome:
    return Outcome(f"{next(_numbers):064x}", status)


WAITING, DEAD, CONFLICT = (
    bare(status) for status in (ImageStatus.WAITING, ImageStatus.DEAD, ImageStatus.CONFLICT)
)
LOST = bare(ImageStatus.ASSESSED), bare(ImageStatus.REFUSED)
"""Answered by what their rows say, but the results are not there or cannot be read."""


def test_the_examples_are_what_their_names_say():
    assert [each.urgency for each in (CRITICAL, SIGNIFICANT, CLEAR, UNABLE)] == [
        Urgency.CRITICAL,
        Urgency.SIGNIFICANT,
        Urgency.ROUTINE,
        Urgency.REVIEW,
    ]
    assert CLEAR.state is State.NO_DISEASE_DETECTED


@pytest.mark.parametrize("triage", [CRITICAL, SIGNIFICANT, CLEAR, UNABLE])
def test_a_single_film_speaks_for_its_study(triage):
    only = film(triage)
    verdict = aggregate([only], POLICY)
    assert (verdict.state, verdict.urgency, verdict.findings) == (
        triage.state,
        triage.urgency,
        triage.findings,
    )
    assert verdict.action == triage.action
    assert verdict.reasons == tuple(dict.fromkeys(triage.reasons))
    assert verdict.cover == only.sha256


def test_a_single_refused_film_speaks_for_its_study():
    only = refused("broken_image")
    verdict = aggregate([only], POLICY)
    assert (verdict.state, verdict.urgency) == (State.REFUSED, Urgency.REVIEW)
    assert verdict.reasons == only.triage.reasons
    assert verdict.action == only.triage.action
    assert verdict.cover == only.sha256


def test_the_most_urgent_film_decides_and_all_findings_are_named_in_clinical_order():
    low, high = film(SIGNIFICANT), film(CRITICAL)
    verdict = aggregate([film(CLEAR), low, high], POLICY)
    assert (verdict.state, verdict.urgency, verdict.cover) == (State.FLAGGED, Urgency.CRITICAL, high.sha256)
    assert set(verdict.findings) == {"Pneumothorax", "Nodule"}
    assert list(verdict.findings) == [label for label in POLICY.labels if label in verdict.findings]
    assert verdict.action.startswith(CRITICAL.action)
    assert not set(CLEAR.reasons) & set(verdict.reasons)


def test_a_refused_lateral_beside_an_assessed_frontal_only_adds_a_reason():
    verdict = aggregate([refused("lateral_view"), film(CLEAR)], POLICY)
    assert (verdict.state, verdict.urgency) == (State.NO_DISEASE_DETECTED, Urgency.ROUTINE)
    assert any("lateral" in reason for reason in verdict.reasons)
    assert verdict.action == CLEAR.action


@pytest.mark.parametrize(
    "other", [refused("broken_image"), refused("blank_image"), refused("internal"), DEAD, CONFLICT, *LOST]
)
def test_a_film_that_could_not_be_judged_sends_the_study_to_a_person(other):
    clear = aggregate([film(CLEAR), other], POLICY)
    assert (clear.state, clear.urgency) == (State.UNABLE_TO_CLASSIFY, Urgency.REVIEW)
    assert clear.action == POLICY.states.unable_to_classify.action
    flagged = aggregate([film(SIGNIFICANT), other], POLICY)
    assert (flagged.state, flagged.urgency) == (State.FLAGGED, Urgency.REVIEW)
    assert aggregate([film(CRITICAL), other], POLICY).urgency is Urgency.CRITICAL
    assert len(clear.reasons) == 1


@pytest.mark.parametrize("outcomes", [[], [WAITING], [WAITING, bare(ImageStatus.WAITING)]])
def test_while_all_films_wait_there_is_no_state(outcomes):
    verdict = aggregate(outcomes, POLICY)
    assert (verdict.state, verdict.urgency, verdict.cover) == (None, Urgency.REVIEW, None)
    assert len(verdict.reasons) == bool(outcomes)


@pytest.mark.parametrize("other", [refused("lateral_view"), DEAD, CONFLICT])
def test_a_study_without_assessed_film_is_refused_and_for_review(other):
    for outcomes in ([other], [other, WAITING]):
        verdict = aggregate(outcomes, POLICY)
        assert (verdict.state, verdict.urgency) == (State.REFUSED, Urgency.REVIEW)
        assert verdict.action.startswith(POLICY.states.refused.action)


def test_no_disease_is_not_said_while_a_film_waits():
    verdict = aggregate([film(CLEAR), WAITING], POLICY)
    assert (verdict.state, verdict.urgency) == (None, Urgency.REVIEW)
    assert verdict.reasons == ("1 film is still waiting.",)
    flagged = aggregate([film(SIGNIFICANT), WAITING, bare(ImageStatus.WAITING)], POLICY)
    assert (flagged.state, flagged.urgency) == (State.FLAGGED, Urgency.SIGNIFICANT)
    assert flagged.reasons[-1] == "2 films are still waiting."


def test_an_older_answer_counts_while_the_film_is_asked_about_again_or_was_given_up():
    again = aggregate([film(CRITICAL, ImageStatus.WAITING)], POLICY)
    assert (again.state, again.urgency, again.reasons) == (State.FLAGGED, Urgency.CRITICAL, CRITICAL.reasons)
    dead = aggregate([film(CRITICAL, ImageStatus.DEAD)], POLICY)
    assert (dead.state, dead.urgency) == (State.FLAGGED, Urgency.CRITICAL)
    assert aggregate([film(CLEAR, ImageStatus.DEAD)], POLICY).state is State.UNABLE_TO_CLASSIFY


def test_codes_that_say_what_a_film_is_are_known_refusals():
    assert set(REFUSALS) >= NOT_FOR_THE_MODEL


def test_tiers_follow_the_order_of_urgency():
    assert [tier_of(urgency) for urgency in Urgency] == [0, 1, 1, 2, 3]


triages = st.builds(
    lambda labels, state: analyses.assessed(dict.fromkeys(labels, 0.9)).triage if labels else state,
    st.lists(st.sampled_from(FINDINGS), max_size=3, unique=True),
    st.sampled_from([CLEAR, UNABLE]),
)
assessed = triages.map(film)
unassessed = st.one_of(
    st.sampled_from(sorted(REFUSALS)).map(refused),
    st.builds(bare, st.sampled_from([ImageStatus.WAITING, ImageStatus.DEAD, ImageStatus.CONFLICT])),
)
older = st.builds(film, triages, st.sampled_from([ImageStatus.WAITING, ImageStatus.DEAD]))
outcomes = st.lists(st.one_of(assessed, unassessed, older), max_size=5)
promise = settings(deadline=None, max_examples=200)


@promise
@given(outcomes, st.one_of(assessed, unassessed, older), st.data())
def test_adding_a_film_never_lowers_urgency_below_that_of_the_assessed_ones(films, more, data):
    place = data.draw(st.integers(0, len(films)))
    verdict = aggregate([*films[:place], more, *films[place:]], POLICY)
    for each in films:
        if each.assessed is not None:
            assert verdict.urgency.rank <= each.assessed.urgency.rank
            assert set(each.assessed.findings) <= set(verdict.findings)


@promise
@given(outcomes)
def test_missing_never_reads_as_normal(films):
    verdict = aggregate(films, POLICY)
    answered = [each.assessed for each in films if each.assessed is not None]
    harmless = [each for each in films if each.refusal and each.refusal.code in NOT_FOR_THE_MODEL]
    settled = [each for each in films if each.assessed and each.status is not ImageStatus.DEAD]
    if verdict.state is State.NO_DISEASE_DETECTED:
        assert answered
        assert all(triage.state is State.NO_DISEASE_DETECTED for triage in answered)
        assert len(settled) + len(harmless) == len(films)
    elif not verdict.findings:
        assert verdict.urgency.rank <= Urgency.REVIEW.rank
    if not answered:
        assert verdict.urgency is Urgency.REVIEW


@promise
@given(outcomes, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_neither_state_nor_urgency_nor_findings(films, random):
    shuffled = films[:]
    random.shuffle(shuffled)
    one, other = aggregate(films, POLICY), aggregate(shuffled, POLICY)
    assert (one.state, one.urgency, one.findings) == (other.state, other.urgency, other.findings)


def test_a_notice_without_hint_leaves_no_empty_line():
    odd = Outcome("0" * 64, ImageStatus.REFUSED, None, Notice("odd", "Odd."))
    assert "" not in aggregate([odd], POLICY).action.split("\n")
