"""The figures of a card: worked by hand, against scikit-learn, and never from too few films."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.evaluation.measure import (
    Rules,
    averaged,
    is_enough,
    known_truth,
    measure,
    paired_difference,
    with_hernia,
)
from cxr_core.training import card_tables

ALL = (*FINDINGS, ABNORMAL)


def rules(labels, thresholds=None, within=None, usual=None, *, exclusive=False):
    count = len(labels)
    return Rules(labels, thresholds or (0.5,) * count, within or {}, usual or (0.1,) * count, exclusive)


def table_of(count, labels=("Effusion", "Mass"), seed=0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({label: rng.integers(0, 2, count).astype(float) for label in labels})
    table["patient"] = np.arange(count) // 3
    table["sex"] = rng.choice(["F", "M"], count)
    table["age"] = rng.integers(20, 60, count).astype(float)
    table["view"] = rng.choice(["AP", "PA"], count)
    table["source"] = np.where(np.arange(count) % 2, "enriched", "block")
    return table


def test_areas_are_those_of_scikit_learn_within_their_intervals():
    table, scores = table_of(300), np.random.default_rng(1).random((300, 2))
    scores += 0.4 * table[["Effusion", "Mass"]].to_numpy()
    measured = measure(table, scores, rules(("Effusion", "Mass")), resamples=50)
    for k, (label, one) in enumerate(measured.each.items()):
        assert one.auc.value == pytest.approx(roc_auc_score(table[label], scores[:, k]))
        assert one.ap.value == pytest.approx(average_precision_score(table[label], scores[:, k]))
        assert one.auc.low < one.auc.value < one.auc.high
    assert measured.auc.value == pytest.approx(np.mean([one.auc.value for one in measured.each.values()]))


def test_errors_beside_the_naive_model_worked_by_hand():
    # Six films known, one unknown. Called: films 0, 1, 4. Right: 0, 1 called and 3, 5 not; wrong: 2 and 4.
    table = pd.DataFrame({"Mass": [1, 1, 1, 0, 0, 0, np.nan], "patient": range(7)})
    table = table.assign(sex="F", age=30.0, view="AP", source="")
    scores = np.array([[0.9, 0.8, 0.1, 0.2, 0.7, 0.3, 0.9]]).T
    rare = measure(table, scores, rules(("Mass",), usual=(0.2,)), resamples=5).each["Mass"]
    assert (rare.films, rare.positives) == (6, 3)
    assert rare.error.value == pytest.approx(2 / 6)
    assert rare.naive_error == pytest.approx(3 / 6)  # "no mass" of all: wrong on the three with one
    assert (rare.sensitivity.count, rare.specificity.count, rare.precision.count) == (2, 2, 2)
    assert (rare.sensitivity.of, rare.specificity.of, rare.precision.of) == (3, 3, 3)


def test_the_naive_model_says_what_most_films_of_val_are():
    table = pd.DataFrame({"Mass": [1.0] + [0.0] * 9, "patient": range(10)})
    table = table.assign(sex="F", age=30.0, view="AP", source="")
    scores = np.zeros((10, 1))
    seldom, often = (
        measure(table, scores, rules(("Mass",), usual=(share,)), resamples=3).each["Mass"].naive_error
        for share in (0.3, 0.7)
    )
    assert (seldom, often) == pytest.approx((0.1, 0.9))


def test_the_naive_model_stands_in_every_table_of_the_card():
    table, told = table_of(400).assign(age=50.0), rules(("Effusion", "Mass"))
    table["Mass"] = [1.0, 0.0, 0.0, 0.0] * 100
    measured = measure(table, np.random.default_rng(1).random((400, 2)), told, resamples=8)
    share = table["Effusion"].mean()
    assert measured.naive_ap == pytest.approx((share + 0.25) / 2)
    assert f"| {share:.3f} |" in card_tables.areas(measured)
    assert "naive error" in card_tables.at_thresholds(measured)
    assert f"The naive model has 0.500 and {(share + 0.25) / 2:.3f}." in card_tables.means(measured)
    sexes, ages = card_tables.groups(measured).split("\n\n")
    assert sexes.splitlines()[-1] == "| naive model | 0.500 | 0.500 |"
    assert ages.splitlines()[-1] == "| naive model | 0.500 |"
    alone = measure(table, np.zeros((400, 1)), rules(("Mass",)), resamples=3)
    (row,) = [line for line in card_tables.groups(alone).splitlines() if line.startswith("| 50")]
    assert row.split(" | ")[4] == "0.250"


def test_a_label_without_a_threshold_that_can_be_reached_has_no_error():
    measured = measure(table_of(60), np.random.default_rng(0).random((60, 2)),
                       rules(("Effusion", "Mass"), thresholds=(1.01, 0.5)), resamples=5)  # fmt: skip
    assert np.isnan(measured.each["Effusion"].error.value)
    assert not np.isnan(measured.each["Mass"].error.value)
    assert "no threshold: not assessed" in card_tables.at_thresholds(measured)


def test_of_a_multiclass_model_the_share_of_right_largest_probabilities():
    table = pd.DataFrame({"Effusion": [1.0, 1, 0, 0], "Mass": [0.0, 0, 1, 1], "patient": range(4)})
    table = table.assign(sex="F", age=30.0, view="AP", source="")
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    told = rules(("Effusion", "Mass"), usual=(0.7, 0.3), exclusive=True)
    measured = measure(table, scores, told, resamples=5)
    assert (measured.top.value, measured.top_naive) == (0.75, 0.5)
    unknown = table.assign(Effusion=[1.0, np.nan, 0, 0], Mass=[np.nan, np.nan, 1, 1])
    assert measure(unknown, scores, told, resamples=5).top.value == 1.0, "of the three with one known class"
    assert np.isnan(measure(table, scores, rules(("Effusion", "Mass")), resamples=5).top.value)


def test_pneumonia_is_known_within_its_source_only():
    table = pd.DataFrame({label: [1, 1] for label in ALL} | {"source": ["block", "enriched"]})
    truth = known_truth(table, ALL, {"Pneumonia": "enriched"})
    column = ALL.index("Pneumonia")
    assert np.isnan(truth[0, column])
    assert truth[1, column] == 1
    assert not np.isnan(np.delete(truth, column, axis=1)).any()


def test_means_are_over_the_twelve_findings_without_hernia_and_what_is_tied_to_a_source():
    truth = (np.random.default_rng(0).random((200, 15)) < 0.3).astype(float)
    names = averaged(rules(ALL, within={"Pneumonia": "enriched"}), truth)
    assert names == tuple(label for label in FINDINGS if label not in ("Hernia", "Pneumonia"))
    assert averaged(rules((ABNORMAL,)), truth[:, :1]) == (ABNORMAL,)


def test_the_source_leak_is_seen_when_the_output_is_the_source():
    table = table_of(400, labels=("Pneumonia",)).assign(abnormal=0)
    told = rules(("Pneumonia",), within={"Pneumonia": "enriched"})
    noise = np.random.default_rng(1).random((400, 1))
    assert abs(measure(table, noise, told, resamples=3).leaks["Pneumonia"] - 0.5) < 0.1
    source = (table[["source"]] == "enriched").to_numpy().astype(float)
    assert measure(table, source, told, resamples=3).leaks["Pneumonia"] == 1


def test_a_model_does_not_differ_from_itself_and_a_better_one_does():
    table, told = table_of(300), rules(("Effusion", "Mass"))
    noise = np.random.default_rng(1).random((300, 2))
    same = paired_difference(table, noise, noise, told, resamples=50)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    better = noise + table[["Effusion", "Mass"]].to_numpy()
    assert paired_difference(table, better, noise, told, resamples=50).low > 0.2


def test_groups_of_few_films_read_not_enough_data():
    table, scores = table_of(300), np.random.default_rng(1).random((300, 2))
    table["age"] = [75.0] * 10 + [35.0] * 290
    table["Mass"] = [1.0] * 12 + [0.0] * 288
    measured = measure(table, scores, rules(("Effusion", "Mass")), resamples=8)
    assert [group.name for group in measured.groups] == ["women", "men", "30–39 years", "70–79 years"]
    text = card_tables.groups(measured)
    assert "Not enough data for any finding: 70–79 years (10 films)." in text
    assert "Not enough data in any of these: Mass." in text
    assert sum(group.films for group in measured.groups if group.kind == "sex") == 300


def test_a_film_of_unknown_age_and_sex_is_in_no_group():
    table = table_of(60).assign(age=np.nan, sex="")
    assert measure(table, np.zeros((60, 2)), rules(("Effusion", "Mass")), resamples=3).groups == ()


def test_a_label_that_every_film_has_is_not_judged_by_its_errors():
    table = table_of(60).assign(Mass=1.0)
    measured = measure(table, np.zeros((60, 2)), rules(("Effusion", "Mass")), resamples=3)
    row = next(line for line in card_tables.at_thresholds(measured).splitlines() if line.startswith("| Mass"))
    assert row == "| Mass | 0.0% (0 of 60) | not enough data |  |  |  |"


def test_twenty_films_of_nine_patients_are_not_enough_data():
    truth, films = np.repeat([1.0, 0.0, np.nan], 40), np.arange(120)
    assert is_enough(truth, films)
    assert is_enough(truth, films // 4)
    assert not is_enough(truth, films // 5), "eight patients with it"
    assert not is_enough(np.where(films < 19, 1.0, 0.0), films)


def test_films_of_one_patient_give_no_interval_and_no_certainty():
    table, scores = table_of(300).assign(patient=1), np.random.default_rng(1).random((300, 2))
    told = rules(("Effusion", "Mass"))
    measured = measure(table, scores, told, resamples=20)
    assert np.isnan([measured.auc.value, measured.auc.low, measured.each["Mass"].auc.high]).all()
    assert measured.each["Mass"].few
    assert "not enough data" in card_tables.areas(measured)
    assert np.isnan(paired_difference(table, scores, scores**2, told, resamples=20).low)


def test_hernia_is_averaged_only_where_it_is_as_frequent_as_any_other():
    truth = (np.random.default_rng(0).random((200, 15)) < 0.3).astype(float)
    told = rules(ALL, within={"Pneumonia": "enriched"})
    assert set(with_hernia(told, truth)) - set(averaged(told, truth)) == {"Hernia"}
    truth[:, ALL.index("Hernia")] = np.arange(200) < 4
    assert with_hernia(told, truth) == averaged(told, truth)
