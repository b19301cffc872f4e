"""Films of the data folder: splits share no patient, Pneumonia is unknown outside its source."""

import numpy as np
import pandas as pd
import pytest
import torch

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.training.augment import augmented
from cxr_core.training.films import FOLDS, fold_of, read_split
from cxr_core.training.measure import LABELS, known_truth, measure, paired_difference
from cxr_core.training.networks import mobilenet_v2_grey
from cxr_core.training.release import blind, source_direction


@pytest.mark.real_data
def test_patients_never_cross_splits_or_folds(data_dir):
    splits = {
        name: set(read_split(data_dir / "nih", name, small_films=True).table["patient"])
        for name in ("train", "val", "test")
    }
    assert not splits["train"] & splits["val"]
    assert not splits["train"] & splits["test"]
    assert not splits["val"] & splits["test"]
    train = read_split(data_dir / "nih", "train", small_films=True)
    per_patient = pd.Series(train.folds).groupby(train.table["patient"]).nunique()
    assert per_patient.max() == 1
    assert np.bincount(train.folds, minlength=FOLDS).min() > 0.2 * len(train.folds)


@pytest.mark.real_data
def test_labels_are_those_of_the_data_set(data_dir):
    val = read_split(data_dir / "nih", "val", small_films=False).table
    assert len(val) == 1091
    assert val["patient"].nunique() == 355
    assert int(val["Hernia"].sum()) == 3
    assert int(val[ABNORMAL].sum()) == 386


def test_pneumonia_is_known_within_its_source_only():
    table = pd.DataFrame({label: [1, 1] for label in LABELS} | {"source": ["block", "enriched"]})
    truth = known_truth(table)
    column = LABELS.index("Pneumonia")
    assert np.isnan(truth[0, column])
    assert truth[1, column] == 1
    assert not np.isnan(np.delete(truth, column, axis=1)).any()


def test_folds_do_not_depend_on_a_seed():
    assert [fold_of(patient) for patient in (1, 2, 3, 4, 5, 6)] == [3, 0, 2, 3, 3, 3]


def _table(count):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({label: rng.integers(0, 2, count) for label in FINDINGS})
    table[ABNORMAL] = table[list(FINDINGS)].max(axis=1) * rng.integers(0, 2, count)
    table["patient"] = np.arange(count) // 3
    table["view"] = rng.choice(["AP", "PA"], count)
    table["source"] = np.where(np.arange(count) % 2, "enriched", "block")
    return table


def test_the_source_leak_is_seen_when_the_pneumonia_output_is_the_source():
    table = _table(400)
    probabilities = np.random.default_rng(1).random((400, 15))
    assert abs(measure(table, probabilities, resamples=5).source_leak - 0.5) < 0.1
    probabilities[:, LABELS.index("Pneumonia")] = table["source"] == "enriched"
    assert measure(table, probabilities, resamples=5).source_leak == 1


def test_a_model_does_not_differ_from_itself_and_a_better_one_does():
    table = _table(300)
    noise = np.random.default_rng(1).random((300, 15))
    same = paired_difference(table, noise, noise, resamples=50)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    assert paired_difference(table, noise + table[list(LABELS)].to_numpy(), noise, resamples=50).low > 0.2


def test_augmentation_keeps_shape_range_and_up():
    torch.manual_seed(0)
    films = torch.full((64, 1, 160, 160), -1.0)
    films[:, :, :80] = 1.0
    changed = augmented(films, torch.full((64,), 128))
    assert changed.shape == films.shape
    assert float(changed.abs().max()) < 1.21
    assert bool(
        (changed[:, :, :30].mean(dim=(1, 2, 3)) > changed[:, :, -30:].mean(dim=(1, 2, 3)) + 0.5).all()
    )


def test_augmentation_mirrors_about_half_the_films():
    torch.manual_seed(0)
    films = torch.full((200, 1, 64, 64), -1.0)
    films[..., :32] = 1.0
    changed = augmented(films, torch.full((200,), 64))
    mirrored = (changed[..., -20:].mean(dim=(1, 2, 3)) > changed[..., :20].mean(dim=(1, 2, 3))).float().mean()
    assert 0.35 < float(mirrored) < 0.65


def test_a_blinded_head_no_longer_tells_the_sources_apart_and_other_heads_stay():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"view": rng.choice(["AP", "PA"], 600), "source": rng.choice(["enriched", "block"], 600)}
    )
    table = table.assign(side_px=128, **{ABNORMAL: 0})
    pooled = rng.normal(0, 1, (600, 1280)).astype(np.float32)
    pooled[table["source"] == "enriched", :40] += 2.0
    pooled[table["view"] == "AP", 50:60] += 5.0
    torch.manual_seed(0)
    member = mobilenet_v2_grey(15)
    member.classifier[1].weight.data[:, :40] = 0.1
    before = member.classifier[1].weight.detach().clone()
    column = LABELS.index("Pneumonia")

    def gap():
        answers = pooled @ member.classifier[1].weight.detach().numpy()[column]
        by = pd.Series(answers).groupby([table["view"], table["source"]]).mean()
        return abs(
            by.loc["AP", "enriched"]
            - by.loc["AP", "block"]
            + by.loc["PA", "enriched"]
            - by.loc["PA", "block"]
        )

    assert gap() > 5
    direction = source_direction(pooled, table)
    assert abs(direction[50:60]).max() < 0.5
    blind(member, direction)
    assert gap() < 1e-3
    others = [k for k in range(15) if k != column]
    assert torch.equal(member.classifier[1].weight[others], before[others])
