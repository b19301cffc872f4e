"""Text-mined labels beside adjudicated ones, worked by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from cxr_core.data.index import Index
from cxr_core.errors import DataError
from cxr_core.evaluation import noise
from cxr_core.evaluation.noise import label_noise, noise_of

FOLDER = Path(__file__).parents[2] / "models" / "cxr14-mobilenetv2"
HEAD = "Image Index,Finding Labels,Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id\n"


def index_of(rows):
    """Films with the labels named, all else 0."""
    labels = ("Pneumothorax", "Nodule", "Mass", *noise.OURS["Airspace opacity"])
    table = pd.DataFrame({label: [float(label in said) for _, said in rows] for label in labels})
    table.insert(0, "file", [file for file, _ in rows])
    table.insert(1, "patient", [file[0] for file, _ in rows])
    table.insert(2, "split", "test")
    return Index("films", "", "", "", labels, table)


def test_a_film_counts_as_mined_by_any_label_that_stands_for_the_finding(tmp_path):
    (tmp_path / noise.ADJUDICATED).write_text(
        f"{HEAD}a1,x,NO,YES,NO,NO,val\na2,x,YES,NO,YES,NO,val\nb1,x,NO,NO,NO,YES,val\nz9,x,NO,YES,NO,NO,val\n"
    )
    index = index_of([("a1", {"Mass"}), ("b1", {"Nodule"}), ("a2", {"Edema", "Infiltration"}), ("c1", set())])
    table = noise.gather(index, tmp_path).set_index("file")
    assert list(table.index) == ["a1", "b1", "a2"]  # neither films that are not here nor films nobody read
    assert table.loc["a1"].drop(["patient", "split"]).to_dict() == {
        "Pneumothorax adjudicated": 1, "Pneumothorax mined": 0,
        "Nodule or mass adjudicated": 0, "Nodule or mass mined": 1,
        "Airspace opacity adjudicated": 0, "Airspace opacity mined": 0,
    }  # fmt: skip
    assert table.loc["b1", "Nodule or mass mined"] == table.loc["b1", "Nodule or mass adjudicated"] == 1
    assert table.loc["a2", "Airspace opacity mined"] == table.loc["a2", "Airspace opacity adjudicated"] == 1


def test_a_word_that_is_neither_yes_nor_no_is_refused(tmp_path):
    (tmp_path / noise.ADJUDICATED).write_text(f"{HEAD}a1,x,NO,MAYBE,NO,NO,val\n")
    with pytest.raises(DataError, match="MAYBE"):
        noise.gather(index_of([("a1", set())]), tmp_path)
    with pytest.raises(DataError):
        noise.gather(index_of([("a1", set())]), tmp_path / "nowhere")


def table_of(true, mined, finding="Nodule or mass"):
    return pd.DataFrame(
        {
            "patient": [f"p{k}" for k in range(len(true))],
            f"{finding} adjudicated": true,
            f"{finding} mined": mined,
        }
    )


def test_agreement_sensitivity_and_specificity_worked_by_hand():
    # 40 films: of 24 with the finding the miner found 18, of 16 without it claimed 4.
    true, mined = np.repeat([1, 1, 0, 0], [18, 6, 4, 12]), np.repeat([1, 0, 1, 0], [18, 6, 4, 12])
    found = noise_of("Nodule or mass", table_of(true, mined), np.full(40, np.nan), resamples=50)
    assert (found.films, found.adjudicated, found.mined, found.both) == (40, 24, 22, 18)
    assert found.agreement.value == pytest.approx(30 / 40)
    assert found.sensitivity.value == pytest.approx(18 / 24)
    assert found.sensitivity.low < 0.75 < found.sensitivity.high
    assert np.isnan(found.specificity.value)  # of 16 films only: not enough data
    # Expected by chance: (24 · 22 + 16 · 18) / 1600 = 0.51; kappa (0.75 - 0.51) / 0.49.
    assert found.kappa == pytest.approx(0.24 / 0.49)
    assert found.scored == 0
    assert np.isnan(found.auc_adjudicated.value)
    assert "not enough data" in str(found)


def test_the_model_is_judged_by_both_kinds_of_label_on_the_same_unlearned_films():
    rng = np.random.default_rng(3)
    true = rng.integers(0, 2, 200)
    mined = np.where(rng.random(200) < 0.25, 1 - true, true)
    said = true + rng.normal(0, 0.7, 200)
    said[:40] = np.nan  # films it has learned from
    found = noise_of("Nodule or mass", table_of(true, mined), said, resamples=200)
    assert found.scored == 160
    assert found.auc_adjudicated.value == pytest.approx(roc_auc_score(true[40:], said[40:]))
    assert found.auc_mined.value == pytest.approx(roc_auc_score(mined[40:], said[40:]))
    assert found.gap.value == pytest.approx(found.auc_adjudicated.value - found.auc_mined.value)
    assert found.gap.low > 0  # noise in the labels looks like error of the model


def test_the_default_models_figures_are_those_of_scikit_learn_on_its_tables():
    found = label_noise(FOLDER, resamples=50)
    table = noise.read(FOLDER)
    assert table is not None
    assert list(found) == list(noise.OURS)
    opacity = found["Airspace opacity"]
    true, mined = table["Airspace opacity adjudicated"], table["Airspace opacity mined"]
    assert (opacity.films, opacity.patients) == (len(table), table["patient"].nunique()) == (251, 132)
    assert opacity.kappa == pytest.approx(cohen_kappa_score(true, mined))
    answered = pd.concat(
        pd.read_csv(FOLDER / "evaluation" / f"predictions-{split}.csv") for split in ("val", "test")
    ).set_index("file")
    fresh = table["split"] != "train"
    assert opacity.scored == fresh.sum()
    said = answered.loc[table["file"][fresh], list(noise.OURS["Airspace opacity"])].max(axis=1).to_numpy()
    assert opacity.auc_adjudicated.value == pytest.approx(roc_auc_score(true[fresh], said))
    assert opacity.auc_mined.value == pytest.approx(roc_auc_score(mined[fresh], said))
    assert np.isnan(found["Pneumothorax"].auc_adjudicated.value)


def test_the_kept_table_is_what_the_publishers_list_says(data_dir):
    from cxr_core.data import readers

    root = data_dir / "nih"
    gathered = noise.gather(readers.read(root, small_films=True), root)
    kept = noise.read(FOLDER)
    assert kept is not None
    pd.testing.assert_frame_equal(gathered, kept, check_dtype=False)
