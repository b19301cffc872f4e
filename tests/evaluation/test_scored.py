"""What a page and a command read of a model: its tables and rules as they lie in the folder."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxr_core.errors import ModelError
from cxr_core.evaluation import tables
from cxr_core.evaluation.paired import compare, same_films
from cxr_core.evaluation.scored import read_scored, reports
from cxr_core.settings import ROOT, Settings
from cxr_core.triage.policy import load_policy

FOLDER = ROOT / "models" / Settings().model


@pytest.fixture(scope="module")
def test_split():
    return read_scored(FOLDER, "test")


def test_the_tables_are_read_film_by_film_with_unknowns_where_a_label_has_one_source(test_split):
    labels = pd.read_csv(FOLDER / "evaluation" / "labels-test.csv")
    answers = pd.read_csv(FOLDER / "evaluation" / "predictions-test.csv")
    assert test_split.split == "test"
    assert test_split.model == f"{test_split.manifest.id} {test_split.manifest.version}"
    assert test_split.probabilities.shape == test_split.truth.shape == (len(labels), 15)
    inside = (labels["source"] == "enriched").to_numpy()
    scores, truth = test_split.column("Pneumonia")
    assert np.array_equal(truth, labels["Pneumonia"][inside])
    assert np.array_equal(scores, answers["Pneumonia"][inside])
    assert len(test_split.column("Mass")[1]) == len(labels)


def test_the_naive_model_goes_by_val_on_every_split(test_split):
    val = pd.read_csv(FOLDER / "evaluation" / "labels-val.csv")
    usual = test_split.rules.usual[test_split.labels.index("Mass")]
    assert usual == pytest.approx(val["Mass"].mean())


def test_picked_films_keep_their_order_and_their_answers(test_split):
    mask = (test_split.table["view"] == "AP").to_numpy()
    women = test_split.pick(mask)
    assert list(women.table["file"]) == list(test_split.table["file"][mask])
    assert list(women.table.index) == list(range(mask.sum()))
    assert np.array_equal(women.members, test_split.members[mask])
    assert np.array_equal(women.truth, test_split.truth[mask], equal_nan=True)


def test_the_worklist_is_reported_for_every_film(test_split):
    few = test_split.pick(np.arange(len(test_split.table)) < 40)
    report = reports(few, load_policy(ROOT / "config" / "policy.toml"))
    assert report is not None
    assert sum(rate.count for rate in report.urgency.values()) == report.films == 40


def test_a_split_without_tables_is_refused_in_plain_words(tmp_path):
    with pytest.raises(ModelError, match="tables of elsewhere"):
        read_scored(FOLDER, "elsewhere")
    with pytest.raises(ModelError, match="no tables of val"):
        tables.read_labels(tmp_path, "val")


def test_a_film_of_which_nothing_is_known_is_neither_diseased_nor_healthy(test_split):
    truth = np.full_like(test_split.truth[:4], np.nan)
    abnormal, mass = test_split.labels.index("abnormal"), test_split.labels.index("Mass")
    truth[0, mass], truth[1, abnormal], truth[2, mass] = 1, 0, 0
    some = replace(test_split.pick(np.arange(len(test_split.table)) < 4), truth=truth)
    np.testing.assert_array_equal(some.diseased, [1, 0, np.nan, np.nan])


def test_only_films_of_one_patient_and_view_are_the_same_film(test_split):
    assert (same_films(test_split, test_split) == np.arange(len(test_split.table))).all()
    numbered, val = (
        replace(each, table=each.table.assign(file=[f"film-{k:06d}" for k in range(len(each.table))]))
        for each in (test_split, read_scored(FOLDER, "val"))
    )
    assert (same_films(numbered, val) == -1).all()
    with pytest.raises(ModelError, match="no film or no label"):
        compare(numbered, val, resamples=2)
