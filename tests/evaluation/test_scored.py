"""What a page and a command read of a model: its tables and rules as they lie in the folder."""

import numpy as np
import pandas as pd
import pytest

from cxr_core.errors import ModelError
from cxr_core.evaluation import tables
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
