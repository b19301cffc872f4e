import numpy as np
import pytest
from scipy.special import softmax

from cxr_core.evaluation.calibrate import (
    FIXED_SPECIFICITY,
    NIH_PREVALENCE,
    UNREACHABLE,
    Points,
    between,
    choose_points,
    fit_platt,
    fit_softmax,
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 2, (20_000, 1))


def drawn(probability):
    return (np.random.default_rng(1).random(probability.shape) < probability).astype(float)


def test_the_line_that_made_the_labels_is_found_again(logits):
    line = fit_platt(("Effusion",), logits, drawn(sigmoid(0.6 * logits - 1.5)), {})
    assert line.slope[0] == pytest.approx(0.6, abs=0.04)
    assert line.intercept[0] == pytest.approx(-1.5, abs=0.06)


def test_a_label_without_signal_turns_flat_never_upside_down(logits):
    line = fit_platt(("Mass",), logits, drawn(sigmoid(-0.5 * logits - 1)), {})
    assert line.slope[0] == pytest.approx(0.1)


def test_few_positives_move_only_the_intercept(logits):
    truth = np.zeros_like(logits)
    truth[:19] = 1
    line = fit_platt(("Hernia",), logits, truth, {})
    assert line.slope[0] == 1
    assert sigmoid(logits + line.intercept).mean() == pytest.approx(19 / 20_000, rel=1e-3)


def test_an_enriched_label_is_moved_to_its_prevalence_and_unknown_films_do_not_count(logits):
    truth = drawn(sigmoid(logits))
    truth[5000:] = np.nan
    line = fit_platt(("Pneumonia",), logits, truth, NIH_PREVALENCE)
    sample = truth[:5000].mean()
    odds = NIH_PREVALENCE["Pneumonia"] / (1 - NIH_PREVALENCE["Pneumonia"]) / (sample / (1 - sample))
    assert line.intercept[0] == pytest.approx(np.log(odds), abs=0.12)


def test_a_label_with_one_class_only_stays_as_it_is(logits):
    line = fit_platt(("Mass",), logits, np.zeros_like(logits), {})
    assert (line.slope[0], line.intercept[0]) == (1, 0)


def test_the_temperature_and_shifts_that_made_the_classes_are_found_again():
    rng = np.random.default_rng(2)
    logits, shifts = rng.normal(0, 2, (20_000, 3)), np.array([0.5, -0.5, 0.0])
    chances = softmax(0.4 * logits + shifts, axis=1)
    truth = (rng.random((20_000, 1)) < chances.cumsum(axis=1)).astype(float)
    truth[:, 1:] -= truth[:, :-1]
    line = fit_softmax(logits, truth)
    assert line.slope == pytest.approx([0.4] * 3, abs=0.02)
    assert line.intercept - line.intercept.mean() == pytest.approx(shifts - shifts.mean(), abs=0.06)


def test_a_class_that_no_film_has_keeps_its_shift():
    logits = np.random.default_rng(3).normal(0, 1, (50, 3))
    truth = np.zeros((50, 3))
    truth[:, 0], truth[::2, 0], truth[::2, 1] = 1, 0, 1
    assert fit_softmax(logits, truth).intercept[2] == 0


def chosen(scores, truth, patients=None):
    scores, truth = np.array(scores, float)[:, None], np.array(truth, float)[:, None]
    patients = np.arange(len(scores)) if patients is None else patients
    return choose_points(("Mass",), scores, truth, patients, "val")


def test_youdens_point_worked_by_hand():
    # 20 negatives at 0.1, 20 positives: 5 at 0.1, 15 at 0.6; five more negatives at 0.3 lie between.
    scores, truth = [0.1] * 20 + [0.3] * 5 + [0.1] * 5 + [0.6] * 15, [0] * 25 + [1] * 20
    points = chosen(scores, truth)
    assert (points.values, points.few_positives) == ((0.6,), ())
    assert points.rule.startswith("largest sensitivity + specificity (Youden) on val")


def test_with_few_patients_the_specificity_is_fixed_instead():
    rng = np.random.default_rng(4)
    scores, truth = rng.random(1000), np.zeros(1000)
    truth[:25] = 1
    points = chosen(scores, truth, np.r_[np.zeros(25), np.arange(1, 976)])  # 25 films of one patient
    assert points.few_positives == ("Mass",)
    negatives = scores[25:]
    assert (negatives >= points.values[0]).mean() == pytest.approx(1 - FIXED_SPECIFICITY, abs=2e-3)
    assert (negatives >= points.values[0]).mean() <= 1 - FIXED_SPECIFICITY


def test_without_negatives_there_is_no_point():
    assert chosen([0.5, 0.6], [1, 1]).values == (UNREACHABLE,)


def test_a_point_between_two_answers_calls_the_same_films_also_when_they_are_rounded():
    scores = np.random.default_rng(3).random((500, 3))
    at_answers = (float(np.sort(scores[:, 0])[450]), float(np.sort(scores[:, 1])[20]), UNREACHABLE)
    moved = between(Points(at_answers, (), "rule"), scores).values
    rounded = np.array([[float(f"{value:.6g}") for value in row] for row in scores])
    for k, (before, after) in enumerate(zip(at_answers, moved, strict=True)):
        assert ((scores[:, k] >= before) == (rounded[:, k] >= after)).all()
    assert moved[0] < at_answers[0]
    assert moved[2] == UNREACHABLE
    assert between(Points((0.5,), (), "rule"), np.full((4, 1), 0.7)).values == (0.5,), "nobody is passed"
