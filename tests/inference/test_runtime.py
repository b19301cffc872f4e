"""Promise C1 for the network: the same answer alone or in a batch of 16, with 1 or 8 threads (1e-4)."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cxr_core.domain import FINDINGS
from cxr_core.errors import ModelError
from cxr_core.inference import registry
from cxr_core.inference.calibration import Calibration
from cxr_core.inference.manifest import read_manifest
from tests.inference.tiny import SIDE, make_tiny_model, random_films, rewrite


def spread_films(number, side):
    """Films of the bundled model's size, each another."""
    return np.stack(
        [np.kron(film, np.ones((1, 3, 3)))[:, :side, :side] for film in random_films(number)]
    ).astype(np.float32)


def answers_alike(folder, films):
    one, eight = (registry.load(folder, threads=threads) for threads in (1, 8))
    whole = one.run(films)
    for classifier in (one, eight):
        batch = classifier.run(films)
        assert_allclose(batch.logits, whole.logits, atol=1e-4)
        assert_allclose(batch.features, whole.features, atol=1e-4)
        for k, film in enumerate(films):
            alone = classifier.run(film[np.newaxis])
            assert_allclose(alone.logits[0], whole.logits[k], atol=1e-4)
            assert_allclose(alone.features[0], whole.features[k], atol=1e-4)


def test_c1_alone_or_in_a_batch_of_16_with_1_or_8_threads(tiny_model):
    answers_alike(tiny_model, random_films(16))


def test_c1_the_bundled_model_alone_or_in_a_batch_of_16_with_1_or_8_threads(bundled_folder, bundled):
    answers_alike(bundled_folder, spread_films(16, bundled.manifest.input.height))


def test_the_same_film_twice_is_the_same_to_the_bit(classifier):
    film = random_films(1)
    assert_array_equal(classifier.run(film).logits, classifier.run(film).logits)


def test_the_answer_follows_the_film_and_the_member(classifier):
    logits = classifier.run(random_films(16)).logits
    assert logits.shape == (16, 3, 15)
    assert (logits.std(axis=0) > 0.1).all()
    assert (logits.std(axis=1) > 0).all()


@pytest.mark.parametrize(
    "films",
    [
        np.zeros((1, SIDE, SIDE), np.float32),
        np.zeros((1, 3, SIDE, SIDE), np.float32),
        np.zeros((1, 1, SIDE, SIDE + 1), np.float32),
        np.zeros((1, 1, SIDE, SIDE), np.float64),
        np.zeros((0, 1, SIDE, SIDE), np.float32),
    ],
)
def test_films_of_another_shape_or_kind_are_refused(classifier, films):
    with pytest.raises(ModelError, match="expected float32 films"):
        classifier.run(films)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_film_with_a_broken_pixel_gets_no_answer(classifier, broken):
    films = random_films(2)
    films[1, 0, 3, 3] = broken
    with pytest.raises(ModelError, match="a number that is none"):
        classifier.run(films)


def test_predictions_worked_by_hand(tmp_path):
    loaded = registry.load(make_tiny_model(tmp_path, labels=("abnormal", "Effusion", "Mass")))
    classifier = replace(
        loaded, calibration=Calibration(np.array([1.0, 2.0, 1.0]), np.array([0.0, -1.0, 0.0]))
    )
    logits = np.array([[0.0, 0.5, -9.0], [0.0, 1.5, -9.0], [3.0, 1.0, -9.0]], np.float32)
    findings, abnormal = classifier.predictions(logits)
    assert [each.label for each in findings] == ["Effusion", "Mass"]
    effusion = findings[0]
    assert effusion.logit == pytest.approx(1.0)
    assert effusion.probability == pytest.approx(0.7310585786300049)  # sigmoid(2 * 1 - 1)
    # Each member's own: sigmoid of 0, 2 and 1; their mean is not the ensemble's probability.
    assert effusion.members == pytest.approx((0.5, 0.8807970779778823, 0.7310585786300049))
    assert (effusion.threshold, effusion.positive, effusion.votes) == (0.35, True, 3)
    assert not findings[1].positive
    assert abnormal is not None
    assert abnormal.logit == pytest.approx(1.0)


def test_predictions_come_in_manifest_order_and_abnormal_apart(classifier):
    findings, abnormal = classifier.predictions(classifier.run(random_films(1)).logits[0])
    assert tuple(each.label for each in findings) == FINDINGS
    assert abnormal is not None
    assert abnormal.label == "abnormal"


def test_a_model_without_abnormal_says_none(tmp_path):
    classifier = registry.load(make_tiny_model(tmp_path, labels=("Effusion",)))
    assert classifier.predictions(np.zeros((3, 1), np.float32))[1] is None


def test_multiclass_predictions_sum_to_one_and_each_keeps_its_own_threshold(tmp_path):
    folder = make_tiny_model(tmp_path, labels=("Effusion", "Mass", "Nodule"), task="multiclass")
    classifier = registry.load(folder)
    logits = np.log([[0.40, 0.36, 0.24]] * 3).astype(np.float32)
    findings, _ = classifier.predictions(logits)
    assert [each.probability for each in findings] == pytest.approx([0.40, 0.36, 0.24])
    # At 0.35 two are positive: the largest does not win over the other, and none need be positive.
    assert [each.positive for each in findings] == [True, True, False]
    even, _ = classifier.predictions(np.zeros((3, 3), np.float32))
    assert not any(each.positive for each in even)


def test_a_label_whose_threshold_cannot_be_reached_is_left_out(tmp_path):
    folder = make_tiny_model(tmp_path, labels=("Effusion", "Mass", "abnormal"))
    manifest = read_manifest(folder)
    rewrite(folder, replace(manifest, thresholds=replace(manifest.thresholds, values=(0.3, 1.01, 1.01))))
    findings, abnormal = registry.load(folder).predictions(np.zeros((3, 3), np.float32))
    assert [each.label for each in findings] == ["Effusion"]
    assert abnormal is None


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_no_number_is_an_error(classifier, broken):
    logits = np.zeros((3, 15), np.float32)
    logits[1, 4] = broken
    with pytest.raises(ModelError, match="a number that is none"):
        classifier.predictions(logits)


def test_logits_of_a_whole_batch_are_not_taken_for_one_film(classifier):
    with pytest.raises(ModelError, match="members × labels"):
        classifier.predictions(np.zeros((2, 3, 15), np.float32))


def test_serving_loads_neither_torch_nor_streamlit(tiny_model):
    code = f"""
import sys
from pathlib import Path
import numpy as np
import cxr_core.inference.registry as registry
from cxr_core.inference import explain
classifier = registry.load(Path({str(tiny_model)!r}))
output = classifier.run(np.zeros((2, 1, {SIDE}, {SIDE}), np.float32))
classifier.predictions(output.logits[0])
explain.normalised(explain.heatmaps(output.features[0], classifier.heads)[0])
slow = {{"torch", "torchvision", "pytorch_grad_cam", "streamlit", "onnx", "cv2", "pandas"}}
print(*(slow & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
