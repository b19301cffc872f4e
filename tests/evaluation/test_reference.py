"""Others' models: the published table as reviewed, and a reference on the very same films."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr_core.domain import FINDINGS
from cxr_core.evaluation import reference
from cxr_core.evaluation.bootstrap import column_aps, column_aucs
from cxr_core.evaluation.scored import read_scored
from cxr_core.triage.budget import FEW_POSITIVES
from tests.evaluation import independent

FOLDER = Path(__file__).parents[2] / "models" / "cxr14-mobilenetv2"


def test_the_published_figures_are_the_reviewed_ones():
    table = reference.published()
    said = {each.id: (each.year, each.split, each.mean) for each in table.models}
    assert said == {
        "wang-2017": (2017, "unstated", 0.738),
        "chexnet-2017": (2017, "random", 0.841),
        "chexnet-2022": (2022, "random", 0.838),
        "seyyed-kalantari-2021": (2021, "random", 0.839),
        "seyyed-kalantari-2021-ensemble": (2021, "random", 0.850),
        "torchxrayvision-resnet50": (2022, "unstated", 0.811),
    }
    for each in table.models:
        assert tuple(each.auc) == FINDINGS
        # Each mean is stated by itself: a figure typed wrongly moves it, rounding to three digits does not.
        assert np.mean(list(each.auc.values())) == pytest.approx(each.mean, abs=0.0006)
    pinned = {(each.id, label): value for each in table.models for label, value in each.auc.items()}
    assert pinned["wang-2017", "Pneumothorax"] == 0.806
    assert pinned["chexnet-2017", "Nodule"] == 0.780
    assert pinned["chexnet-2022", "Effusion"] == 0.883
    assert pinned["seyyed-kalantari-2021", "Hernia"] == 0.969
    official = [(each.figure, each.value, each.low, each.high) for each in table.overall[:2]]
    assert official == [("mean", 0.818, 0.805, 0.830), ("mean", 0.810, None, None)]
    assert {each.split for each in table.overall[:2]} == {"official"}


def test_the_reference_answers_films_of_val_and_test_and_no_others():
    files = {
        split: pd.read_csv(FOLDER / "evaluation" / f"labels-{split}.csv")["file"] for split in ("val", "test")
    }
    known = {split: ~np.isnan(reference.reference(each)).any(axis=1) for split, each in files.items()}
    assert {split: int(each.sum()) for split, each in known.items()} == {"val": 206, "test": 271}
    listed = set(pd.read_csv(reference.ANSWERS)["file"])
    assert listed <= set(files["val"]) | set(files["test"])
    assert np.isnan(reference.reference(["another.png"])).all()


@pytest.mark.parametrize("split", ["val", "test"])
def test_our_areas_of_the_reference_are_those_of_an_independent_script(split):
    labels = FOLDER / "evaluation" / f"labels-{split}.csv"
    said, true = independent.joined(reference.ANSWERS, labels, list(FINDINGS))
    given, truth = (frame[list(FINDINGS)].to_numpy(dtype=float) for frame in (said, true))
    aucs, aps = column_aucs(given, truth), column_aps(given, truth)
    compared = 0
    for k, finding in enumerate(FINDINGS):
        if true[finding].dropna().nunique() == 2:
            auc, ap = independent.figures(said[finding], true[finding])
            assert aucs[k] == pytest.approx(auc, abs=1e-9)
            assert aps[k] == pytest.approx(ap, abs=1e-9)
            compared += 1
    assert compared >= 10


def test_a_comparison_is_paired_on_identical_films_as_the_independent_script_makes_it():
    scored = read_scored(FOLDER, "test")
    found = reference.compare(scored, resamples=200)
    assert found is not None
    assert (found.films, found.patients) == (271, 30)
    assert found.averaged == ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Pneumothorax")
    labels = FOLDER / "evaluation" / "labels-test.csv"
    theirs, true = independent.joined(reference.ANSWERS, labels, list(FINDINGS))
    ours = pd.read_csv(FOLDER / "evaluation" / "predictions-test.csv").set_index("file").loc[theirs.index]
    for finding, pair in found.pairs.items():
        assert min(pair.positives, pair.films - pair.positives) >= FEW_POSITIVES
        two = [ours[finding], theirs[finding]]
        mine, other = (independent.figures(each, true[finding])[0] for each in two)
        assert pair.ours.value == pytest.approx(mine, abs=1e-9)
        assert pair.theirs.value == pytest.approx(other, abs=1e-9)
        assert pair.difference.value == pytest.approx(mine - other, abs=1e-9)
    draws = independent.resampled(
        [ours["Effusion"], theirs["Effusion"]], true["Effusion"], true["patient"], 200
    )
    low, high = np.percentile(draws[:, 0] - draws[:, 1], (2.5, 97.5))
    gap = found.pairs["Effusion"].difference
    assert (gap.low, gap.high) == pytest.approx((low, high), abs=0.04)
    # Pairing narrows it: drawn each for itself the two would differ far more.
    assert gap.high - gap.low < 0.5 * (found.pairs["Effusion"].ours.high - found.pairs["Effusion"].ours.low)
    means = [np.mean([getattr(found.pairs[label], side).value for label in found.averaged])
             for side in ("ours", "theirs")]  # fmt: skip
    assert found.mean is not None
    assert found.mean.difference.value == pytest.approx(means[0] - means[1])


def test_findings_of_few_films_are_named_and_not_compared():
    scored = read_scored(FOLDER, "val")
    found = reference.compare(scored, resamples=20)
    assert found is not None
    assert set(found.pairs) == {"Atelectasis"}
    assert {"Hernia", "Edema", "Pneumonia"} <= set(found.few)
    unknown = scored.pick(scored.table["file"] == "nothing")
    assert reference.compare(unknown) is None
