"""Every figure equals scikit-learn, scipy or a case worked by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binomtest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from cxr_core.evaluation import metrics
from cxr_core.evaluation.bootstrap import column_aps, column_aucs


@pytest.fixture(params=[0, 1, 2], ids=["fine", "tied", "unknown films"])
def films(request):
    """Return scores, truth, and the mask of films whose truth is known."""
    rng = np.random.default_rng(request.param)
    scores = rng.random(400) if request.param == 0 else rng.integers(0, 15, 400) / 15
    truth = (rng.random(400) < 0.1 + 0.5 * scores).astype(float)
    if request.param == 2:
        truth[rng.random(400) < 0.2] = np.nan
    return scores, truth, ~np.isnan(truth)


def test_curves_are_those_of_scikit_learn_point_by_point(films):
    scores, truth, known = films
    fpr, tpr, at = sk.roc_curve(truth[known], scores[known], drop_intermediate=False)
    ours = metrics.roc(scores, truth)
    for got, expected in ((ours.x, fpr), (ours.y, tpr), (ours.thresholds, at)):
        assert_allclose(got, expected, atol=1e-12)
    precision, recall, at = sk.precision_recall_curve(truth[known], scores[known])
    ours = metrics.precision_recall(scores, truth)
    for got, expected in ((ours.x, recall), (ours.y, precision), (ours.thresholds[1:], at)):
        assert_allclose(got, expected[::-1], atol=1e-12)
    assert np.isinf(ours.thresholds[0])


def test_areas_are_those_of_scikit_learn_and_of_the_curves(films):
    scores, truth, known = films
    curve = metrics.roc(scores, truth)
    (auc,), (ap,) = (figure(scores[:, None], truth[:, None]) for figure in (column_aucs, column_aps))
    assert auc == pytest.approx(sk.roc_auc_score(truth[known], scores[known]), abs=1e-9)
    assert auc == pytest.approx(sk.auc(curve.x, curve.y), abs=1e-9)
    assert ap == pytest.approx(sk.average_precision_score(truth[known], scores[known]), abs=1e-9)


def test_calls_at_a_threshold_are_those_of_scikit_learn(films):
    scores, truth, known = films
    true, called = truth[known], scores[known] >= 0.6
    found = metrics.confusion(scores, truth, 0.6)
    assert sk.confusion_matrix(true, called).ravel().tolist() == [found.tn, found.fp, found.fn, found.tp]
    assert found.sensitivity == pytest.approx(sk.recall_score(true, called), abs=1e-9)
    assert found.specificity == pytest.approx(sk.recall_score(true, called, pos_label=0), abs=1e-9)
    assert found.ppv == pytest.approx(sk.precision_score(true, called), abs=1e-9)
    assert found.npv == pytest.approx(sk.precision_score(true, called, pos_label=0), abs=1e-9)
    assert found.f1 == pytest.approx(sk.f1_score(true, called), abs=1e-9)
    assert found.error == pytest.approx(1 - sk.accuracy_score(true, called), abs=1e-9)
    assert found.flagged_share == pytest.approx(called.mean(), abs=1e-9)


def test_a_film_that_just_reaches_the_threshold_is_called():
    assert metrics.confusion(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 0.5) == metrics.Confusion(1, 1, 0, 0)


def test_brier_and_the_bins_are_those_of_scikit_learn(films):
    scores, truth, known = films
    brier = sk.brier_score_loss(truth[known], scores[known])
    assert metrics.brier(scores, truth) == pytest.approx(brier, abs=1e-9)
    observed, mean = calibration_curve(truth[known], scores[known], n_bins=10, strategy="quantile")
    bins = metrics.reliability(scores, truth)
    assert_allclose([each.observed for each in bins], observed, atol=1e-9)
    assert_allclose([each.mean for each in bins], mean, atol=1e-9)
    assert sum(each.n for each in bins) == known.sum()
    by_hand = sum(each.n * abs(o - m) for each, o, m in zip(bins, observed, mean, strict=True)) / known.sum()
    assert metrics.ece(scores, truth) == pytest.approx(by_hand, abs=1e-9)


def test_calibration_error_worked_by_hand():
    # Two bins of two films: means 0.15 and 0.85, observed 0.5 and 1; gaps 0.35 and 0.15.
    probabilities, truth = np.array([0.1, 0.2, 0.8, 0.9, 0.5]), np.array([0.0, 1, 1, 1, np.nan])
    assert metrics.ece(probabilities, truth, bins=2) == pytest.approx(0.25, abs=1e-9)


@pytest.mark.parametrize(("count", "of"), [(0, 10), (3, 7), (88, 88), (1, 1602)])
def test_wilson_is_that_of_scipy(count, of):
    expected = binomtest(count, of).proportion_ci(method="wilson")
    found = metrics.wilson(count, of)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_predictive_values_at_another_prevalence_worked_by_hand():
    # Of 1,000 films 20 have it: 16 called, 4 passed; of 980 others 98 called, 882 passed.
    assert metrics.ppv_at(0.8, 0.9, 0.02) == pytest.approx(16 / 114, abs=1e-9)
    assert metrics.npv_at(0.8, 0.9, 0.02) == pytest.approx(882 / 886, abs=1e-9)
    assert np.isnan(metrics.ppv_at(0.0, 1.0, 0.02))


def test_at_its_own_prevalence_the_ppv_is_that_of_the_counts(films):
    scores, truth, known = films
    found = metrics.confusion(scores, truth, 0.6)
    share = truth[known].mean()
    assert metrics.ppv_at(found.sensitivity, found.specificity, share) == pytest.approx(found.ppv, abs=1e-9)


def test_micro_is_scikit_learns_average_over_all_cells():
    rng = np.random.default_rng(5)
    scores, truth = rng.random((200, 4)), (rng.random((200, 4)) < 0.3).astype(float)
    column, true = metrics.micro(scores, truth)
    (auc,), (ap,) = (figure(column[:, None], true[:, None]) for figure in (column_aucs, column_aps))
    assert auc == pytest.approx(sk.roc_auc_score(truth, scores, average="micro"), abs=1e-9)
    assert ap == pytest.approx(sk.average_precision_score(truth, scores, average="micro"), abs=1e-9)


def test_nothing_to_divide_by_is_no_number():
    nothing = metrics.Confusion(0, 0, 0, 0)
    rates = ("sensitivity", "specificity", "ppv", "npv", "error", "f1", "flagged_share")
    assert all(np.isnan(getattr(nothing, rate)) for rate in rates)
    healthy = metrics.roc(np.array([0.1, 0.2]), np.zeros(2))
    assert np.isnan(healthy.y).all()
    assert healthy.x.tolist() == [0, 0.5, 1]
    empty = np.empty(0)
    assert metrics.reliability(empty, empty) == ()
    assert np.isnan(
        [metrics.ece(empty, empty), metrics.brier(empty, empty), metrics.wilson(0, 0).value]
    ).all()
    assert len(metrics.risk_coverage(empty, empty).x) == 0


def test_films_with_one_finding_stand_in_its_row_under_their_largest_probability():
    labels = ("Effusion", "Mass", "abnormal")
    truth = np.array([[1, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 0], [0, np.nan, 0]])
    scores = np.array([[0.9, 0.1, 1], [0.2, 0.3, 1], [0.1, 0.2, 1], [0.9, 0.8, 1], [0, 0, 0], [0, 0, 0]])
    names, matrix = metrics.single_label_confusion(scores, truth, labels)
    assert names == ("Effusion", "Mass")
    assert matrix.tolist() == [[1, 1], [0, 1]]


def test_members_that_stand_on_both_sides_flip_a_film():
    members = np.array([[[0.4, 0.1], [0.6, 0.1]], [[0.6, 0.1], [0.6, 0.3]]])  # films, members, labels
    assert metrics.flip_rate(members, (0.5, 0.5)).tolist() == [0.5, 0.0]
    assert np.isnan(metrics.flip_rate(members, (0.5, 1.01))[1])
    # Label 0: deviation 0.1 * sqrt(2) of 0.5, then none; label 1: none, then 0.1 * sqrt(2) of 0.2.
    assert_allclose(metrics.seed_spread(members), [0.2 * 2**0.5 / 2, 0.5 * 2**0.5 / 2], atol=1e-9)
    assert np.isnan(metrics.seed_spread(members[:, :1])).all()


def test_what_is_left_to_a_person_costs_coverage_and_lowers_the_risk():
    curve = metrics.risk_coverage(np.array([0.1, 0.9, 0.5, 0.5]), np.array([0.0, 1, 1, 0]))
    assert curve.thresholds.tolist() == [np.inf, 0.5, 0.1]
    assert curve.x.tolist() == [1, 0.75, 0.25]
    assert_allclose(curve.y, [2 / 4, 1 / 3, 0], atol=1e-12)


def test_a_thinned_curve_keeps_its_ends_and_its_course():
    rng = np.random.default_rng(0)
    scores, truth = rng.random(5000), rng.integers(0, 2, 5000).astype(float)
    curve = metrics.roc(scores, truth)
    thin = curve.thinned(200)
    assert len(thin.x) <= 202
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (0, 0, 1, 1)
    assert np.abs(np.interp(curve.x, thin.x, thin.y) - curve.y).max() < 0.02
