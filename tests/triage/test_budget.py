"""Thresholds keep the budget and come close to the best there is."""

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_core.domain import ABNORMAL, Urgency
from cxr_core.errors import PolicyError
from cxr_core.triage.budget import FEW_POSITIVES, SMALL_SHARE, Rate, choose_thresholds, share_report
from cxr_core.triage.fill import Stage
from cxr_core.triage.policy import parse_policy
from cxr_core.triage.terms import ReviewBudget
from tests.triage.builders import LABELS, POLICY, POLICY_PATH, films

NARROW = replace(POLICY, review_budget=ReviewBudget.UNCLASSIFIED)
WIDE = replace(POLICY, review_budget=ReviewBudget.ALL)


def tiers_of(policy, labels, scores, thresholds):
    """Rank of each film's most urgent positive finding, 99 for none: written apart from the package."""
    ranks = np.full(len(scores), 99)
    for j, label in enumerate(labels):
        if label != ABNORMAL:
            rank = policy.rule(label).tier.rank
            ranks = np.where(scores[:, j] >= thresholds[j], np.minimum(ranks, rank), ranks)
    return ranks


# The budget


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("policy", [NARROW, WIDE], ids=["unclassified", "all"])
def test_no_tier_takes_more_films_than_its_budget(policy, seed):
    scores, truth = films(1500, seed)
    chosen = choose_thresholds(policy, LABELS, scores, truth)
    ranks = tiers_of(policy, LABELS, scores, chosen.values)
    for urgency in Urgency:
        share = float(np.mean(ranks == urgency.rank))
        if urgency is Urgency.REVIEW:
            high = scores[:, -1] >= chosen[ABNORMAL]
            beyond = Urgency.URGENT.rank if policy is WIDE else 98
            share = float(np.mean(high & (ranks > beyond)))
        assert chosen.shares[urgency] == pytest.approx(share)
        assert share <= policy.tiers[urgency].budget
        assert share > 0.5 * policy.tiers[urgency].budget


def test_the_review_tier_itself_keeps_its_budget_where_the_policy_counts_all():
    scores, truth = films(1500)
    narrow, wide = (choose_thresholds(p, LABELS, scores, truth) for p in (NARROW, WIDE))
    reports = [share_report(POLICY, LABELS, scores, None, chosen, truth) for chosen in (narrow, wide)]
    assert reports[1].urgency[Urgency.REVIEW].share <= 0.10
    assert reports[0].unable.share <= 0.10 < reports[0].urgency[Urgency.REVIEW].share
    assert wide[ABNORMAL] > narrow[ABNORMAL]
    assert reports[0].missed.count < reports[1].missed.count
    assert wide.values[:14] == narrow.values[:14]


def test_a_larger_budget_never_lowers_the_sensitivity_of_the_critical_finding():
    scores, truth = films(1500)
    found = []
    for budget in ("0.01", "0.05", "0.15"):
        policy = parse_policy(
            POLICY_PATH.read_text(encoding="utf-8").replace("budget = 0.05", f"budget = {budget}")
        )
        chosen = choose_thresholds(policy, LABELS, scores, truth)
        found.append(
            share_report(policy, LABELS, scores, None, chosen, truth).sensitivity["Pneumothorax"].share
        )
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_a_film_in_a_more_urgent_tier_costs_nothing_in_a_lower_one():
    # 100 films; the five critical ones are also the first five of Mass, whose 30 films come on top.
    scores, truth = np.full((100, 2), 0.01), np.zeros((100, 2))
    scores[:5, 0], truth[:30, 0] = 0.9, 1
    scores[:35, 1], truth[:60, 1] = 0.8, 1
    scores[35:60, 1] = 0.5
    chosen = choose_thresholds(POLICY, ("Pneumothorax", "Mass"), scores, truth)
    assert chosen.shares[Urgency.CRITICAL] == 0.05
    assert chosen.shares[Urgency.SIGNIFICANT] == 0.30
    assert chosen.values == pytest.approx(((0.9 + 0.01) / 2, (0.8 + 0.5) / 2))


def test_ties_are_never_cut_and_never_burst_the_budget():
    scores, truth = np.full((100, 1), 0.7), np.ones((100, 1))
    scores[:3] = 0.9
    chosen = choose_thresholds(POLICY, ("Pneumothorax",), scores, truth)
    assert chosen.shares[Urgency.CRITICAL] == 0.03
    assert chosen.values == pytest.approx((0.8,))


def test_nothing_fits_so_nothing_is_positive():
    scores, truth = np.full((100, 1), 0.7), np.ones((100, 1))
    assert choose_thresholds(POLICY, ("Pneumothorax",), scores, truth).values == pytest.approx((0.85,))
    certain = choose_thresholds(POLICY, ("Pneumothorax",), np.ones((100, 1)), truth)
    assert certain.values[0] > 1.0  # out of reach: `decide` calls the finding not assessed
    assert certain.shares[Urgency.CRITICAL] == 0.0


def test_unknown_truth_counts_for_the_share_and_not_for_the_sensitivity():
    scores = np.linspace(0.99, 0.01, 1000)[:, None]
    truth = np.zeros((1000, 1))
    truth[:40] = np.nan
    truth[40:80] = 1
    chosen = choose_thresholds(POLICY, ("Pneumothorax",), scores, truth)
    # 50 films fit: 40 unknown ones, then 10 of the 40 with the finding.
    assert chosen.shares[Urgency.CRITICAL] == 0.05
    report = share_report(POLICY, ("Pneumothorax",), scores, None, chosen, truth)
    assert report.sensitivity["Pneumothorax"] == Rate(10, 40)


# Few positives


def test_below_twenty_positives_a_fixed_small_share():
    scores, truth = films(1000)
    truth[:, 0] = 0
    truth[:FEW_POSITIVES, 0] = 1
    truth[:, 1] = 0
    truth[: FEW_POSITIVES - 1, 1] = 1
    chosen = choose_thresholds(POLICY, LABELS, scores, truth)
    assert "Cardiomegaly" in chosen.few_positives
    assert "Atelectasis" not in chosen.few_positives
    called = np.mean(scores[:, 1] >= chosen["Cardiomegaly"])
    assert called == SMALL_SHARE


def test_no_positive_at_all_still_gets_a_threshold():
    scores, truth = films(1000)
    truth[:] = 0
    chosen = choose_thresholds(POLICY, LABELS, scores, truth)
    assert chosen.few_positives == LABELS
    assert all(0 < value <= 1 for value in chosen.values)
    ranks = tiers_of(POLICY, LABELS, scores, chosen.values)
    assert all(np.mean(ranks == u.rank) <= POLICY.tiers[u].budget for u in Urgency)


def test_unknown_truth_is_no_positive():
    scores, truth = films(1000)
    truth[:, 0] = np.nan
    truth[: FEW_POSITIVES - 1, 0] = 1
    assert "Atelectasis" in choose_thresholds(POLICY, LABELS, scores, truth).few_positives


def test_groups_count_patients_instead_of_films():
    scores, truth = films(1000)
    truth[:, 0] = 0
    truth[:100, 0] = 1
    patients = np.arange(1000)
    patients[:100] = np.arange(100) // 10  # the hundred films come from ten patients
    assert "Atelectasis" not in choose_thresholds(POLICY, LABELS, scores, truth).few_positives
    chosen = choose_thresholds(POLICY, LABELS, scores, truth, groups=[f"p{n}" for n in patients])
    assert "Atelectasis" in chosen.few_positives


# Against every combination


def worth(values, scores, truth, taken):
    positive = scores >= np.asarray(values)
    cost = int(np.count_nonzero(positive.any(axis=1) & ~taken))
    return cost, float(np.mean([np.mean(positive[truth[:, j] == 1, j]) for j in range(scores.shape[1])]))


def small_stage(case, findings):
    rng = np.random.default_rng(case)
    truth = (rng.random((14, findings)) < 0.35).astype(float)
    truth[0] = 1
    scores = np.clip(0.5 * truth + rng.normal(0.3, 0.25, truth.shape), 0.01, 0.98).round(1 + case % 2)
    return scores, truth, rng.random(14) < 0.2, int(rng.integers(2, 9))


def best_of_all(scores, truth, taken, room):
    candidates = [[2.0, *np.unique(column)] for column in scores.T]
    tried = (worth(values, scores, truth, taken) for values in itertools.product(*candidates))
    return max(gain for cost, gain in tried if cost <= room)


def test_one_finding_is_exactly_the_best_of_all():
    for case in range(60):
        scores, truth, taken, room = small_stage(case, 1)
        values = Stage(scores, truth, taken, (room + 0.5) / 14).fill([False], SMALL_SHARE)
        cost, gain = worth(values, scores, truth, taken)
        assert cost <= room
        assert gain == pytest.approx(best_of_all(scores, truth, taken, room))


def test_several_findings_come_close_to_the_best_of_all():
    shares = []
    for case in range(60):
        scores, truth, taken, room = small_stage(case, 3)
        values = Stage(scores, truth, taken, (room + 0.5) / 14).fill([False] * 3, SMALL_SHARE)
        cost, gain = worth(values, scores, truth, taken)
        assert cost <= room
        best = best_of_all(scores, truth, taken, room)
        shares.append(gain / best if best else 1.0)
    assert np.mean(shares) > 0.99
    assert min(shares) > 0.8


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0), st.lists(st.booleans(), min_size=3, max_size=3))
def test_no_stage_ever_takes_more_than_its_share(case, budget, few):
    scores, truth, taken, _ = small_stage(case, 3)
    stage = Stage(scores, truth, taken, budget)
    values = stage.fill(few, 0.2)
    cost, _ = worth(values, scores, truth, taken)
    assert cost <= budget * 14 + 1e-6
    assert np.array_equal(stage.taken, taken | (scores >= np.array(values)).any(axis=1))


def test_twelve_thousand_films_in_seconds():
    scores, truth = films(12_000)
    start = time.perf_counter()
    choose_thresholds(POLICY, LABELS, scores, truth)
    assert time.perf_counter() - start < 30


def test_the_order_of_labels_does_not_matter_and_the_result_says_its_rule():
    scores, truth = films(800)
    back = choose_thresholds(POLICY, LABELS[::-1], scores[:, ::-1], truth[:, ::-1])
    chosen = choose_thresholds(POLICY, LABELS, scores.astype(np.float32).astype(float), truth)
    assert back.values[::-1] == pytest.approx(chosen.values, abs=1e-6)
    assert chosen.policy == POLICY.version
    assert "mean sensitivity" in chosen.rule
    assert f"{FEW_POSITIVES} positives" in chosen.rule
    assert f"{SMALL_SHARE:.1%}".replace("%", " %") in chosen.rule


# Misuse

GOOD = np.full((4, 1), 0.5), np.ones((4, 1))


@pytest.mark.parametrize(
    ("labels", "scores", "truth", "message"),
    [
        (("Mass", "Mass"), np.full((4, 2), 0.5), np.ones((4, 2)), "twice"),
        (("Mass",), np.full((4, 2), 0.5), np.ones((4, 2)), "films × 1 labels"),
        (("Mass",), np.full((4, 1), 0.5), np.ones((5, 1)), "films × 1 labels"),
        (("Mass",), np.empty((0, 1)), np.empty((0, 1)), "films × 1 labels"),
        (("Mass",), np.full((4, 1), 1.5), np.ones((4, 1)), "lie in"),
        (("Mass",), np.full((4, 1), math.nan), np.ones((4, 1)), "lie in"),
        (("Mass",), np.full((4, 1), 0.5), np.full((4, 1), 0.5), "truth must be"),
    ],
)
def test_what_cannot_be_counted_is_refused(labels, scores, truth, message):
    with pytest.raises(ValueError, match=message):
        choose_thresholds(POLICY, labels, scores, truth)


def test_an_unknown_label_and_wrong_shapes_are_refused():
    with pytest.raises(PolicyError, match="Fracture"):
        choose_thresholds(POLICY, ("Fracture",), *GOOD)
    with pytest.raises(ValueError, match="groups"):
        choose_thresholds(POLICY, ("Mass",), *GOOD, groups=[1, 2])
    with pytest.raises(ValueError, match="thresholds"):
        share_report(POLICY, ("Mass",), GOOD[0], None, [0.5, 0.5], GOOD[1])
    with pytest.raises(ValueError, match="members"):
        share_report(POLICY, ("Mass",), GOOD[0], np.zeros((4, 2)), [0.5], GOOD[1])
