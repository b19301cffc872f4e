import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, softmax

from cxr_core.inference.calibration import Calibration, Method

LINE = Calibration(np.array([0.5, 2.0]), np.array([-1.0, 0.25]))


def test_each_label_has_its_own_line():
    # 0.5 * 2 - 1 = 0; 2 * 0.375 + 0.25 = 1; sigmoid(1) = 0.7310585786...
    assert LINE.probability(np.array([2.0, 0.375])) == pytest.approx([0.5, 0.7310585786300049])


@pytest.mark.parametrize("shape", [(2,), (3, 2), (5, 3, 2)])
def test_any_leading_axes_as_scipy_says(shape):
    logits = np.random.default_rng(0).normal(0, 5, shape).astype(np.float32)
    expected = expit(logits.astype(np.float64) * LINE.slope + LINE.intercept)
    assert_allclose(LINE.probability(logits), expected, atol=1e-12)
    assert LINE.probability(logits).dtype == np.float64


def test_no_overflow_at_the_ends():
    probabilities = LINE.probability(np.array([[-1e6, 1e6], [1e6, -1e6]], np.float32))
    assert_allclose(probabilities, [[0, 1], [1, 0]])


def test_the_order_of_films_is_kept():
    rising = np.linspace(-8, 8, 50)
    probabilities = LINE.probability(np.stack([rising, rising], axis=1))
    assert (np.diff(probabilities, axis=0) > 0).all()


@pytest.mark.parametrize("shape", [(2,), (5, 3, 2)])
def test_softmax_as_scipy_says(shape):
    logits = np.random.default_rng(0).normal(0, 300, shape).astype(np.float32)
    lines = Calibration(np.array([0.5, 0.5]), np.array([-1.0, 0.25]), Method.SOFTMAX)
    expected = softmax(logits.astype(np.float64) * 0.5 + lines.intercept, axis=-1)
    assert_allclose(lines.probability(logits), expected, atol=1e-12)
    assert_allclose(lines.probability(logits).sum(axis=-1), 1)
