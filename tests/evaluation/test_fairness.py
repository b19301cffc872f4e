"""Groups side by side: worked by hand, a gap put there is found, and where there is none few are marked."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxr_core.domain import ABNORMAL
from cxr_core.evaluation import fairness
from cxr_core.evaluation.measure import Rules
from cxr_core.evaluation.scored import Scored
from cxr_core.evaluation.subgroups import By
from cxr_core.inference.manifest import Task
from cxr_core.triage.budget import share_report
from tests.triage.builders import LABELS, POLICY, films


def scored(table, probabilities, labels, thresholds=None, members=None, truth=None):
    """Answers on films of which each is of a patient of its own, unless the table says otherwise."""
    count = len(table)
    usual = {"patient": np.arange(count), "sex": "F", "age": 50.0, "view": "AP", "source": ""}
    table = table.assign(**{name: value for name, value in usual.items() if name not in table})
    points = thresholds or (0.5,) * len(labels)
    known = table[list(labels)].to_numpy(dtype=float) if truth is None else truth
    each = probabilities[:, None] if members is None else members
    manifest = SimpleNamespace(model=SimpleNamespace(task=Task.MULTILABEL))
    rules = Rules(tuple(labels), points, {}, (0.1,) * len(labels))
    return Scored("tiny 1", "made", "test", manifest, table, probabilities, each, rules, known)


def two_sexes(seed, women=0.7, men=0.7, patients=160, labels=("Mass", "Edema", "Nodule")):
    """Films, four a patient, with a sensitivity of each sex's own; a patient's films are somewhat alike."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["F", "M"], patients)
    whose = np.repeat(np.arange(patients), 4)
    likely = np.where(sex == "F", women, men)
    likely = rng.beta(6 * likely, 6 * (1 - likely))[whose, None]
    truth = (rng.random((len(whose), len(labels))) < 0.3).astype(float)
    called = rng.random(truth.shape) < np.where(truth == 1, likely, 0.2)
    table = pd.DataFrame(truth, columns=labels).assign(patient=whose, sex=sex[whose])
    return scored(table, np.where(called, 0.9, 0.1), labels)


def test_shares_of_a_group_by_hand():
    # 22 women with a mass of whom 11 are found, 21 men of whom 14; without one, 30 of each, 3 and 6 called.
    sex = np.array(["F"] * 52 + ["M"] * 51)
    mass = np.array([1] * 22 + [0] * 30 + [1] * 21 + [0] * 30)
    called = np.array([1] * 11 + [0] * 11 + [1] * 3 + [0] * 27 + [1] * 14 + [0] * 7 + [1] * 6 + [0] * 24)
    made = scored(pd.DataFrame({"Mass": mass, "sex": sex}), called[:, None] * 0.8, ("Mass",))
    women, men = fairness.by_finding(made, By.SEX)["Mass"]
    assert (women.films, women.positives, men.films, men.positives) == (52, 22, 51, 21)
    assert (women.found.value, men.found.value) == (0.5, pytest.approx(2 / 3))
    assert (women.wrong.value, men.wrong.value) == (0.1, 0.2)
    assert women.gap.interval.value == pytest.approx(0.5 - 2 / 3)
    assert men.gap.interval.low == pytest.approx(-women.gap.interval.high)
    assert women.from_median == pytest.approx(-men.from_median) == pytest.approx((0.5 - 2 / 3) / 2)
    assert not women.gap.marked


def test_below_twenty_there_is_no_gap_and_no_area():
    sex = np.array(["F"] * 19 + ["M"] * 61)
    mass = np.array([1] * 19 + [1] * 30 + [0] * 31)
    made = scored(pd.DataFrame({"Mass": mass, "sex": sex}), mass[:, None] * 0.8, ("Mass",))
    women, men = fairness.by_finding(made, By.SEX)["Mass"]
    assert women.few_found
    assert not men.few_found
    assert women.gap is men.gap is None, "what the rest has too little of cannot be compared with either"
    assert np.isnan(women.from_median)
    first, second = fairness.areas(made, By.SEX, "Mass", resamples=20)
    assert np.isnan(first.value)
    assert second.value == 1.0


def test_thirty_films_of_nine_patients_are_not_enough_for_an_area():
    table = pd.DataFrame({"Mass": [1, 0] * 90, "patient": np.arange(180) // 2 % 9})
    made = scored(table, np.random.default_rng(0).random((180, 1)), ("Mass",))
    assert np.isnan(fairness.areas(made, By.SEX, "Mass", resamples=20)[0].value)


def test_areas_are_those_of_scikit_learn_in_each_group():
    made = two_sexes(0)
    made = replace(made, probabilities=made.probabilities + np.random.default_rng(1).random((640, 3)))
    for group, area in zip(("F", "M"), fairness.areas(made, By.SEX, "Edema", resamples=50), strict=True):
        mask = (made.table["sex"] == group).to_numpy()
        theirs = roc_auc_score(made.truth[mask, 1], made.probabilities[mask, 1])
        assert area.value == pytest.approx(theirs, abs=1e-9)
        assert area.low < area.value < area.high


def test_a_label_that_cannot_be_called_has_no_gap():
    made = two_sexes(0)
    made = replace(made, rules=replace(made.rules, thresholds=(0.5, 1.01, 0.5)))
    assert list(fairness.by_finding(made, By.SEX)) == ["Mass", "Nodule"]


def test_a_gap_that_was_put_there_is_found_and_is_left_among_many():
    found = fairness.by_finding(two_sexes(4, women=0.4, men=0.7), By.SEX)
    gaps = fairness.gaps_of(found)
    assert all(row.gap.interval.high < 0 for rows in found.values() for row in rows[:1])
    assert fairness.looked(gaps) == fairness.Looked(3, 3, 3)
    assert fairness.left(gaps) == (True,) * 6


def test_where_nothing_differs_about_one_in_twenty_is_marked_and_next_to_none_is_left():
    looked = [fairness.looked(fairness.gaps_of(fairness.by_finding(two_sexes(k), By.SEX))) for k in range(50)]
    gaps = sum(each.gaps for each in looked)
    assert gaps == 150
    assert 0.015 < sum(each.marked for each in looked) / gaps < 0.09
    assert sum(each.left > 0 for each in looked) <= 6, "a false discovery in one look in twenty"
    assert looked[0].by_chance == pytest.approx(0.15)


def test_no_gap_at_all_is_nothing_to_correct():
    assert fairness.looked([None]) == fairness.Looked(0, 0, 0)
    assert fairness.left([None]) == (False,)


def test_underdiagnosis_by_hand():
    # 20 women and 20 men diseased: 5 and 2 cleared, 8 and 2 without a finding at its threshold.
    # 20 healthy of each: 15 and 10 cleared.
    sex = np.repeat(["F", "M"], 40)
    mass = np.tile(np.repeat([1, 0], 20), 2)
    silent, clear = np.zeros(80, dtype=bool), np.zeros(80, dtype=bool)
    for start, quiet, cleared in ((0, 8, 5), (20, 18, 15), (40, 2, 2), (60, 12, 10)):
        silent[start : start + quiet] = clear[start : start + cleared] = True
    table = pd.DataFrame({"Mass": mass, ABNORMAL: mass, "sex": sex})
    answers = np.stack([np.where(silent, 0.1, 0.9), np.where(clear, 0.1, 0.9)], axis=1)
    women, men = fairness.missed(scored(table, answers, ("Mass", ABNORMAL)), clear, By.SEX)
    assert (women.missed.share.value, men.missed.share.value) == (0.25, 0.1)
    assert (women.silent.share.value, men.silent.share.value) == (0.4, 0.1)
    assert (women.alarmed.share.value, men.alarmed.share.value) == (0.25, 0.5)
    assert (women.called.share.value, men.called.share.value) == (0.1, 0.4)
    assert women.silent.gap.interval.value == pytest.approx(0.3)
    assert women.silent.gap.marked
    assert not women.missed.few


def test_what_is_cleared_is_what_the_policy_clears():
    scores, truth = films(200, 3)
    table = pd.DataFrame(truth, columns=LABELS)
    points = tuple(np.quantile(scores, 0.9, axis=0))
    made = scored(table, scores, LABELS, points, truth=truth)
    cleared = fairness.cleared(made, POLICY)
    report = share_report(POLICY, LABELS, scores, None, points, truth)
    (one,) = fairness.missed(made, cleared, By.SEX)
    assert (one.missed.share.count, one.missed.share.of) == (report.missed.count, report.missed.of)
    assert report.missed.count > 0


def test_a_model_that_lacks_a_finding_never_clears_a_film():
    made = two_sexes(0)
    assert fairness.cleared(made, POLICY) is None
    (women, _) = fairness.missed(made, None, By.SEX)
    assert women.missed is women.alarmed is None
    assert women.silent.share.of > 20


def test_a_film_of_which_a_label_is_unknown_is_not_healthy():
    made = scored(pd.DataFrame({"Mass": [0.0, np.nan]}), np.zeros((2, 1)), ("Mass",))
    (one,) = fairness.missed(made, None, By.SEX)
    assert (one.called.share.of, one.silent.share.of) == (1, 0)
