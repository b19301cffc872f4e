import numpy as np
import pytest

from cxr_core.training.calibrate import NIH_PREVALENCE, fit_platt


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 2, (20_000, 1))


def drawn(probability):
    return (np.random.default_rng(1).random(probability.shape) < probability).astype(float)


def test_the_line_that_made_the_labels_is_found_again(logits):
    line = fit_platt(("Effusion",), logits, drawn(sigmoid(0.6 * logits - 1.5)))
    assert line.slope[0] == pytest.approx(0.6, abs=0.04)
    assert line.intercept[0] == pytest.approx(-1.5, abs=0.06)


def test_a_label_without_signal_turns_flat_never_upside_down(logits):
    line = fit_platt(("Mass",), logits, drawn(sigmoid(-0.5 * logits - 1)))
    assert line.slope[0] == pytest.approx(0.1)


def test_few_positives_move_only_the_intercept(logits):
    truth = np.zeros_like(logits)
    truth[:19] = 1
    line = fit_platt(("Hernia",), logits, truth)
    assert line.slope[0] == 1
    assert sigmoid(logits + line.intercept).mean() == pytest.approx(19 / 20_000, rel=1e-3)


def test_an_enriched_label_is_moved_to_its_prevalence_and_unknown_films_do_not_count(logits):
    truth = drawn(sigmoid(logits))
    truth[5000:] = np.nan
    line = fit_platt(("Pneumonia",), logits, truth)
    sample = truth[:5000].mean()
    odds = NIH_PREVALENCE["Pneumonia"] / (1 - NIH_PREVALENCE["Pneumonia"]) / (sample / (1 - sample))
    assert line.intercept[0] == pytest.approx(np.log(odds), abs=0.12)
