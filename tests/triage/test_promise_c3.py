"""Promise C3: a positive finding never lowers urgency, missing is never normal, refused is never routine."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_core.domain import ABNORMAL, FINDINGS, Gate, GateOutcome, Notice, State, Urgency
from cxr_core.triage.decide import decide, refuse
from tests.triage.builders import BLURRED, POLICY, answer, given_label

promise = settings(deadline=None, max_examples=60)
unit = st.floats(0.0, 1.0)
members = st.lists(unit, min_size=0, max_size=5).map(tuple)
broken = st.sampled_from([math.nan, math.inf, -1.0, 2.0])


@st.composite
def films(draw, whole=False):
    """Predictions in any order, some missing or broken unless `whole`; abnormal, maybe missing."""
    labels = draw(st.permutations(FINDINGS))
    if not whole:
        labels = labels[: draw(st.integers(0, len(labels)))]
    figure = unit if whole else st.one_of(unit, unit, unit, broken)
    predictions = tuple(answer(name, draw(figure), draw(unit), draw(members)) for name in labels)
    score = answer(ABNORMAL, draw(figure), draw(unit), draw(members))
    return predictions, score if whole or draw(st.booleans()) else None


notices = st.lists(st.builds(Notice, st.text(), st.text(), st.text()), max_size=3).map(tuple)
gates = st.builds(Gate, st.sampled_from([GateOutcome.ACCEPTED, GateOutcome.WARNED]), notices, notices)


@promise
@given(films(), gates, st.data())
def test_c3_adding_a_positive_finding_never_lowers_urgency(film, gate, data):
    predictions, score = film
    usable = [p for p in predictions if 0 <= p.probability <= 1]
    if not usable:
        return
    before = decide(POLICY, gate, predictions, score)
    chosen = data.draw(st.sampled_from(usable))
    worse = given_label(
        predictions,
        chosen.label,
        probability=max(chosen.probability, chosen.threshold),
        members=data.draw(members),
    )
    after = decide(POLICY, gate, worse, score)
    assert chosen.label in after.findings
    assert after.urgency.rank <= before.urgency.rank
    assert after.state is State.FLAGGED


@promise
@given(films(), gates, notices.filter(len))
def test_c3_adding_a_warning_never_lowers_urgency_nor_hides_a_finding(film, gate, more):
    before = decide(POLICY, gate, *film)
    after = decide(POLICY, Gate(GateOutcome.WARNED, gate.warnings + more, gate.notes), *film)
    assert after.urgency.rank <= before.urgency.rank
    assert after.findings == before.findings
    assert after.state is not State.NO_DISEASE_DETECTED
    replaced = {
        POLICY.texts.reason_warned,
        *(r for r in before.reasons if r.startswith("No finding reaches")),
    }
    assert set(before.reasons) - set(after.reasons) <= replaced


@promise
@given(films(), gates)
def test_c3_a_missing_answer_never_reads_as_normal(film, gate):
    predictions, score = film
    triage = decide(POLICY, gate, predictions, score)
    usable = {p.label for p in predictions if 0 <= p.probability <= 1}
    if usable != set(FINDINGS) or score is None or not 0 <= score.probability <= 1:
        assert triage.not_assessed
        assert triage.state is not State.NO_DISEASE_DETECTED
        assert triage.urgency.rank <= Urgency.REVIEW.rank


@promise
@given(films(whole=True), gates, st.data())
def test_c3_taking_an_answer_away_never_makes_a_film_normal(film, gate, data):
    predictions, score = film
    lost = data.draw(st.sampled_from(FINDINGS))
    after = decide(POLICY, gate, tuple(p for p in predictions if p.label != lost), score)
    assert after.state is not State.NO_DISEASE_DETECTED
    assert after.urgency.rank <= Urgency.REVIEW.rank


@promise
@given(films(), st.builds(Gate, st.just(GateOutcome.REFUSED), notices, notices))
def test_c3_refused_never_sorts_as_routine(film, gate):
    for triage in (decide(POLICY, gate, *film), refuse(POLICY, BLURRED)):
        assert (triage.state, triage.urgency) == (State.REFUSED, Urgency.REVIEW)
        assert triage.findings == ()
        assert triage.reasons


@promise
@given(films(), gates, st.randoms())
def test_the_order_of_predictions_does_not_matter(film, gate, random):
    predictions, score = film
    shuffled = random.sample(predictions, len(predictions))
    assert decide(POLICY, gate, tuple(shuffled), score) == decide(POLICY, gate, predictions, score)


@promise
@given(films(whole=True), gates, st.data())
def test_a_finding_depends_on_its_own_threshold_only_never_on_the_largest(film, gate, data):
    predictions, score = film
    triage = decide(POLICY, gate, predictions, score)
    assert set(triage.findings) == {p.label for p in predictions if p.probability >= p.threshold}
    other = data.draw(st.sampled_from(FINDINGS))
    changed = decide(POLICY, gate, given_label(predictions, other, probability=data.draw(unit)), score)
    assert set(changed.findings) ^ set(triage.findings) <= {other}


@promise
@given(films(), gates)
def test_state_and_urgency_go_together_and_nothing_goes_without_a_reason_and_an_action(film, gate):
    triage = decide(POLICY, gate, *film)
    assert triage.reasons
    assert triage.action
    assert (triage.state is State.FLAGGED) == bool(triage.findings)
    if triage.state is State.UNABLE_TO_CLASSIFY:
        assert triage.urgency is Urgency.REVIEW
    if triage.state is State.NO_DISEASE_DETECTED:
        assert triage.urgency is Urgency.ROUTINE
    if triage.findings:
        tiers = [POLICY.tier_of(label, frozenset(triage.findings)) for label in triage.findings]
        assert triage.urgency.rank <= min(tier.rank for tier in tiers)
    order = [POLICY.labels.index(label) for label in triage.findings]
    assert order == sorted(order)
