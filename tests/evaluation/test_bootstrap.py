import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from cxr_core.evaluation import bootstrap
from cxr_core.evaluation.bootstrap import areas, column_aps, column_aucs, drawn, intervals


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


def plainly(scores, truth, patients, resamples, seed):
    """The bootstrap as one would write it down: scikit-learn on the films of every patient drawn."""
    names, index = np.unique(patients, return_inverse=True)
    rng, draws = np.random.default_rng(seed), np.full((2, resamples, scores.shape[1]), np.nan)
    for row in range(resamples):
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))[index]
        for k in range(scores.shape[1]):
            films = np.repeat(np.arange(len(scores)), np.where(np.isnan(truth[:, k]), 0, times))
            if truth[films, k].any():
                draws[1, row, k] = average_precision_score(truth[films, k], scores[films, k])
            if truth[films, k].any() and not truth[films, k].all():
                draws[0, row, k] = roc_auc_score(truth[films, k], scores[films, k])
    return draws


@pytest.mark.parametrize("levels", [None, 9], ids=["fine", "tied"])
@pytest.mark.parametrize("exact", [2**24, 0], ids=["float32", "float64"])
def test_fast_draws_equal_plain_ones(levels, exact, monkeypatch):
    monkeypatch.setattr(bootstrap, "EXACT", exact)
    monkeypatch.setattr(bootstrap, "BLOCK", 7)
    rng = np.random.default_rng(6)
    scores = rng.random((250, 3)) if levels is None else rng.integers(0, levels, (250, 3)) / levels
    truth = (rng.random((250, 3)) < (0.4, 0.02, 0.95)).astype(float)  # some resamples lack a class
    truth[rng.random((250, 3)) < 0.1] = np.nan
    patients = rng.integers(0, 40, 250)
    found = areas(scores, truth, drawn(patients, resamples=15, seed=3))
    auc, ap = plainly(scores, truth, patients, 15, 3)
    np.testing.assert_allclose(found.auc_draws, auc, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.ap_draws, ap, rtol=0, atol=1e-12)
    alone, draws = intervals(column_aps, scores, truth, patients, resamples=15, seed=3)
    assert np.array_equal(draws, found.ap_draws, equal_nan=True)
    assert str(alone) == str(found.ap)


def test_any_other_figure_is_asked_with_the_same_patients():
    rng = np.random.default_rng(8)
    scores, truth = rng.random((80, 2)), rng.integers(0, 2, (80, 2)).astype(float)
    patients = np.arange(80) // 4

    def slowly(scores, truth, weights):
        return column_aucs(scores, truth, weights)

    fast = intervals(column_aucs, scores, truth, patients, resamples=30)[1]
    slow = intervals(slowly, scores, truth, patients, resamples=30)[1]
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-12)


def test_the_clustered_interval_covers_what_it_promises_and_a_naive_one_does_not():
    """50 patients of 10 films, alike within a patient; the true AUC is known from the normal distribution."""
    rng, runs, patients = np.random.default_rng(11), 120, np.repeat(np.arange(50), 10)
    true = norm.cdf(1.0 / np.sqrt(2 * (1.0**2 + 0.5**2)))
    covered = {"clustered": 0, "naive": 0}
    for _ in range(runs):
        ill = np.arange(50) % 2.0
        truth = ill[patients][:, None]
        scores = (ill + rng.normal(0, 1.0, 50))[patients][:, None] + rng.normal(0, 0.5, (500, 1))
        for name, groups in (("clustered", patients), ("naive", np.arange(500))):
            found = areas(scores, truth, drawn(groups, resamples=200)).auc[0]
            covered[name] += found.low <= true <= found.high
    spread = np.sqrt(0.95 * 0.05 / runs)
    assert abs(covered["clustered"] / runs - 0.95) < 3 * spread
    assert covered["naive"] / runs < 0.7


def test_the_band_of_a_roc_curve_is_that_of_curves_of_the_films_drawn_one_by_one():
    rng = np.random.default_rng(5)
    patients = rng.integers(0, 40, 150)
    truth = (rng.random(150) < 0.4).astype(float)
    truth[::17] = np.nan
    scores = np.round(rng.normal(0, 1, 150) + np.nan_to_num(truth), 1)  # with ties
    again, at = bootstrap.drawn(patients, resamples=60, seed=1), np.linspace(0, 1, 21)
    low, high = bootstrap.roc_limits(scores, truth, again, at)
    curves = []
    for times in again.counts.T[1:]:
        films = np.repeat(np.arange(150), times[again.index])
        s, t = scores[films], truth[films]
        points = [(0.0, 0.0)] + [
            ((s[t == 0] >= score).mean(), (s[t == 1] >= score).mean()) for score in np.unique(s)
        ]
        curves.append([max(y for x, y in points if x <= each) for each in at])
    assert np.allclose(np.percentile(curves, 2.5, axis=0), low)
    assert np.allclose(np.percentile(curves, 97.5, axis=0), high)
    assert (low <= high).all()
    assert high[-1] == 1.0


def test_a_band_of_one_patient_or_of_one_kind_of_films_is_none():
    truth, at = np.array([1.0, 0.0, 1.0]), np.array([0.5])
    one = bootstrap.drawn(np.array(["a"] * 3), resamples=5)
    assert np.isnan(bootstrap.roc_limits(np.arange(3.0), truth, one, at)).all()
    several = bootstrap.drawn(np.array(["a", "b", "c"]), resamples=5)
    for known in (0.0, 1.0, np.nan):
        assert np.isnan(bootstrap.roc_limits(np.arange(3.0), np.full(3, known), several, at)).all()
