"""Shares and differences that know of patients: by hand, at the ends, and how often they hold."""

import numpy as np
import pytest

from cxr_core.evaluation.metrics import wilson
from cxr_core.evaluation.rates import LEVEL, difference, share


def flags(text):
    return np.array([letter == "1" for letter in text])


def every(count):
    return np.ones(count, dtype=bool)


def test_a_share_by_hand_counts_alike_films_of_a_patient_once():
    # Four patients of three films, each all or nothing: as much as four films say.
    patients = np.repeat(np.arange(4), 3)
    alike = share(flags("111000111000"), every(12), patients)
    assert (alike.count, alike.of, alike.patients, alike.value) == (6, 12, 4, 0.5)
    # influence (3 - 0.5 * 3) / 12 = 0.125 each, either way: variance 4 / 3 * 4 / 64 = 1 / 12,
    # and 0.25 * 12 = 3 films
    assert alike.effective == pytest.approx(3.0)
    spread = share(flags("100110100110"), every(12), patients)
    assert spread.effective == 12, "never more than there are films"


def test_with_one_film_a_patient_the_limits_are_wilsons_but_for_students_t():
    many = 4000
    hit = np.arange(many) < 1000
    ours, theirs = share(hit, every(many), np.arange(many)).interval, wilson(1000, many)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


def test_nothing_of_twenty_films_of_five_patients_is_not_certain():
    patients = np.repeat(np.arange(10), 4)
    among = patients < 5
    none = share(np.zeros(40, dtype=bool), among, patients)
    assert (none.count, none.of, none.effective) == (0, 20, 5.0)
    assert none.interval.low == 0
    assert none.interval.high > 0.4
    rest = share(patients == 9, ~among, patients)
    assert not difference(none, rest).marked


def test_a_share_of_one_patient_has_no_limits_and_one_of_nobody_no_value():
    patients = np.zeros(4, dtype=np.int64)
    assert share(flags("1100"), every(4), patients).limits() == (0.0, 1.0)
    nobody = share(flags("1100"), ~every(4), patients)
    assert np.isnan([nobody.value, nobody.interval.low]).all()
    assert not difference(nobody, nobody).marked


def test_a_difference_is_that_of_newcombe_and_its_level_is_where_it_touches_nothing():
    # Newcombe 1998, table II (a): 56 of 70 minus 48 of 80, method 10: 0.0524 to 0.3339;
    # Student's t is a little wider.
    number = np.arange(150)
    first = number < 70
    hit = np.where(first, number < 56, number < 118)
    found = difference(share(hit, first, number), share(hit, ~first, number))
    assert found.interval.value == pytest.approx(0.2)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0524, 0.3339), abs=4e-3)
    assert found.marked
    assert 0.005 < found.level < 0.02


def test_patients_with_films_on_both_sides_are_no_independent_witnesses():
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(60), 10)
    left = np.tile(np.arange(10) < 5, 60)
    hit = (rng.random(60) < 0.5)[patients]  # all films of a patient are alike
    paired = difference(share(hit, left, patients), share(hit, ~left, patients)).interval
    apart = np.where(left, patients, patients + 60)
    unpaired = difference(share(hit, left, apart), share(hit, ~left, apart)).interval
    assert paired.value == unpaired.value == 0
    assert paired.high - paired.low < 0.1 * (unpaired.high - unpaired.low)


def test_where_nothing_differs_one_in_twenty_is_marked():
    rng = np.random.default_rng(3)
    marked, covered = [], []
    for _ in range(60):
        films = rng.geometric(0.3, 160)
        patients = np.repeat(np.arange(160), films)
        hit = rng.random(len(patients)) < rng.beta(1.2, 2.8, 160)[patients]  # 30 %, alike within patients
        group = rng.integers(0, 5, 160)[patients]
        for number in range(5):
            one, rest = share(hit, group == number, patients), share(hit, group != number, patients)
            marked.append(difference(one, rest).marked)
            covered.append(one.interval.low <= 0.3 <= one.interval.high)
    assert 0.02 < np.mean(marked) < 0.08
    assert 0.92 < np.mean(covered) < 0.98
    assert LEVEL == 0.05
