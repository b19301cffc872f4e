"""Ways to learn rare findings, on made features: what each learns from, and that the comparison is paired."""

import numpy as np
import pytest

from cxr_core.training.imbalance import TIMES, Films, Way, answers, compared, material, rare_labels, smote
from tests.training.made import made_recipe

WAYS = list(Way)


@pytest.fixture
def films():
    """600 films of 8 features; label 1 is rare and stands in its own direction, label 0 is common."""
    rng = np.random.default_rng(0)
    truth = np.stack([rng.random(600) < 0.4, rng.random(600) < 0.05], axis=1).astype(np.float32)
    pooled = rng.normal(0, 1, (600, 8)).astype(np.float32)
    pooled[:, :2] += 1.5 * truth
    copied = np.repeat(np.flatnonzero(truth[:, 1] == 1), TIMES)
    noise = rng.normal(0, 0.1, (len(copied), 8)).astype(np.float32)
    return Films(pooled, truth, pooled[copied] + noise, copied)


def test_new_films_lie_on_lines_between_near_films_of_the_finding():
    rng = np.random.default_rng(1)
    clusters = np.concatenate([rng.normal(0, 0.1, (8, 4)), rng.normal(9, 0.1, (8, 4))]).astype(np.float32)
    made = smote(clusters, 160, rng)
    assert made.dtype == np.float32
    inside = [(made > side - 1).all(axis=1) & (made < side + 1).all(axis=1) for side in (0, 9)]
    assert (inside[0] | inside[1]).all(), "none between the clusters: five nearest only"
    assert min(each.sum() for each in inside) == 80, "every film is the base of as many"
    base = clusters[:2]
    on_line = smote(base, 20, rng)
    shares = (on_line - base[0]) / (base[1] - base[0])
    assert np.ptp(shares, axis=1).max() < 1e-3
    assert (shares > -1e-3).all()
    assert (shares < 1 + 1e-3).all()


def test_every_way_learns_from_what_it_says(films):
    rng = np.random.default_rng(0)
    rare = int((films.truth[:, 1] == 1).sum())
    assert rare_labels(films.truth, 200) == [1]
    for way in WAYS:
        pooled, truth = material(films, way, 200, rng)
        more = TIMES * rare if way in (Way.REPEATED, Way.COPIES, Way.SMOTE) else 0
        assert len(pooled) == len(truth) == 600 + more
        if more:
            assert (truth[600:, 1] == 1).all()
        assert np.isnan(truth[600:, 0]).all() == (way in (Way.SMOTE,) or not more)


def test_heads_learn_and_are_compared_on_the_same_patients(films):
    recipe = made_recipe()
    rng = np.random.default_rng(5)
    truth = np.stack([rng.random(300) < 0.4, rng.random(300) < 0.15], axis=1).astype(np.float64)
    asked = rng.normal(0, 1, (300, 8)).astype(np.float32)
    asked[:, :2] += 1.5 * truth.astype(np.float32)
    by_way = {
        way: [answers(films, asked, way, recipe, below=200, seed=seed, steps=300) for seed in (0, 1)]
        for way in WAYS
    }
    patients = np.arange(300) // 3
    found = compared(by_way, truth, patients, recipe.labels, averaged=[0, 1], shown=[1], resamples=50)
    plain, *others = found
    assert plain.way is Way.NOTHING
    assert (plain.auc_gain.value, plain.auc_gain.low, plain.auc_gain.high) == (0, 0, 0)
    assert min(each.auc for each in found) > 0.7
    for each in others:
        assert each.auc_gain.value == pytest.approx(each.auc - plain.auc)
        assert each.gains["Mass"].low <= each.gains["Mass"].value <= each.gains["Mass"].high
    of = {each.way: each for each in found}
    assert of[Way.WEIGHTED].ece > plain.ece + 0.05, "weighting moves every probability up"
    assert np.array_equal(
        by_way[Way.SMOTE][0], answers(films, asked, Way.SMOTE, recipe, below=200, seed=0, steps=300)
    )
