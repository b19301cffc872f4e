"""Rates at a threshold: by hand, and never certain of a share of 0 or 1."""

import numpy as np
import pytest

from cxr_core.evaluation.measure import Rules, measure
from cxr_core.evaluation.operating import at_points, rates_at
from cxr_core.evaluation.report import evaluate
from cxr_core.evaluation.scored import read_scored
from cxr_core.settings import ROOT, Settings
from cxr_core.ui.perf_operating import point_of

FOLDER = ROOT / "models" / Settings().model
NAMES = ("sensitivity", "specificity", "ppv", "npv", "error", "f1")


def test_rates_by_hand_leave_unknown_films_out():
    # Called: 0, 1, 4 and the unknown 6. Present: 0, 1, 2. So 2 found, 1 missed, 1 wrongly called, 2 passed.
    truth = np.array([1, 1, 1, 0, 0, 0, np.nan])
    scores = np.array([0.9, 0.8, 0.1, 0.2, 0.7, 0.3, 0.9])
    found = rates_at(scores, truth, 0.5, np.arange(7))
    values = [getattr(found, name).value for name in NAMES]
    assert values == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 6, 4 / 6])
    assert all(getattr(found, name).low < getattr(found, name).value < getattr(found, name).high
               for name in NAMES)  # fmt: skip


def test_nothing_found_of_forty_five_films_may_be_something():
    truth = np.repeat([1.0, 0.0], 45)
    found = rates_at(np.zeros(90), truth, 0.5, np.arange(90))
    assert (found.sensitivity.value, found.sensitivity.low) == (0, 0)
    assert found.sensitivity.high == pytest.approx(0.083, abs=2e-3)  # Wilson, Student's t of 44 for 1.96
    assert found.specificity.low == pytest.approx(1 - found.sensitivity.high)
    assert np.isnan(found.ppv.value), "nothing was called"


def test_films_of_one_patient_say_less_than_those_of_many():
    truth = np.ones(60)
    scores = np.tile(np.repeat([0.0, 1.0], 5), 6)
    many, few = (
        rates_at(scores, truth, 0.5, each).sensitivity for each in (np.arange(60), np.arange(60) // 5)
    )
    assert many.value == few.value == 0.5
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_a_threshold_out_of_reach_has_no_rates():
    one, other = at_points(np.full((4, 2), 0.9), np.ones((4, 2)), (1.01, 0.5), np.arange(4))
    assert all(np.isnan(getattr(one, name).value) for name in NAMES)
    assert other.sensitivity.value == 1


def test_json_card_and_page_say_the_same():
    scored = read_scored(FOLDER, "test")
    patients = np.unique(scored.patients, return_inverse=True)[1]
    rates = dict(zip(scored.labels, at_points(scored.probabilities, scored.truth, scored.rules.thresholds,
                                              patients), strict=True))  # fmt: skip
    written = evaluate(scored, resamples=5).findings["Effusion"]
    page = point_of(scored, "Effusion", scored.rules.thresholds[scored.labels.index("Effusion")])
    for name in NAMES:
        assert getattr(written, name) == getattr(rates["Effusion"], name)
        if name != "error":
            assert getattr(page, name) == getattr(rates["Effusion"], name)
    card = measure(scored.table, scored.probabilities, scored.rules, resamples=5)
    assert card.each["Effusion"].error == rates["Effusion"].error
    assert isinstance(scored.rules, Rules)
