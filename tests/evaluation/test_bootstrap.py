import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxr_core.evaluation.bootstrap import column_aps, column_aucs, intervals


def test_auc_equals_the_independent_reference_with_ties_weights_and_unknowns():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 12, (300, 3)) / 12
    truth = (rng.random((300, 3)) < scores).astype(float)
    truth[rng.random((300, 3)) < 0.1] = np.nan
    weights = rng.integers(0, 4, 300).astype(float)
    for k, area in enumerate(column_aucs(scores, truth, weights)):
        known = ~np.isnan(truth[:, k])
        assert area == pytest.approx(
            roc_auc_score(truth[known, k], scores[known, k], sample_weight=weights[known])
        )


def test_average_precision_equals_the_independent_reference_with_ties_weights_and_unknowns():
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 12, (300, 3)) / 12
    truth = (rng.random((300, 3)) < 0.3 * scores).astype(float)
    truth[rng.random((300, 3)) < 0.1] = np.nan
    weights = rng.integers(0, 4, 300).astype(float)
    for k, area in enumerate(column_aps(scores, truth, weights)):
        known = ~np.isnan(truth[:, k])
        assert area == pytest.approx(
            average_precision_score(truth[known, k], scores[known, k], sample_weight=weights[known])
        )
    assert np.isnan(column_aps(np.ones((4, 1)), np.zeros((4, 1)))[0])


def test_a_column_with_one_class_has_no_auc():
    assert np.isnan(column_aucs(np.ones((4, 1)), np.zeros((4, 1)))[0])


def test_clustering_by_patient_widens_the_interval_when_films_repeat():
    rng = np.random.default_rng(2)
    scores = rng.random((60, 1))
    truth = (rng.random((60, 1)) < scores).astype(float)
    repeated = np.repeat(scores, 8, axis=0), np.repeat(truth, 8, axis=0)
    (clustered,), _ = intervals(column_aucs, *repeated, np.repeat(np.arange(60), 8), resamples=300)
    (naive,), _ = intervals(column_aucs, *repeated, np.arange(480), resamples=300)
    assert clustered.high - clustered.low > 2 * (naive.high - naive.low)
    assert clustered.value == pytest.approx(naive.value)


def test_the_same_seed_draws_the_same_patients():
    scores, truth = np.random.default_rng(3).random((40, 1)), (np.arange(40) % 2.0)[:, None]
    patients = np.arange(40) // 2
    first = intervals(column_aucs, scores, truth, patients, resamples=20)[1]
    assert np.array_equal(first, intervals(column_aucs, scores, truth, patients, resamples=20)[1])
