"""Connected parts of masks, compared with SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import find_objects, label, mean

from cxr_core.imaging.components import components


@pytest.mark.parametrize("seed", range(60))
def test_parts_are_those_that_scipy_finds(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(tuple(rng.integers(1, 40, 2))) < rng.random()
    found = components(np.flatnonzero(mask), mask.shape[1])
    labels, number = label(mask, np.ones((3, 3)))
    assert len(found) == number
    assert len(set(zip(labels[mask], found.of, strict=True))) == number
    boxes = {(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in find_objects(labels)}
    assert boxes == set(zip(found.top, found.left, found.bottom, found.right, strict=True))
    assert sorted(found.area) == sorted(np.bincount(labels[mask])[1:])
    picture = rng.integers(0, 256, mask.shape).astype(np.uint8)
    means = mean(picture, labels, range(1, number + 1))
    assert np.allclose(sorted(found.mean_of(picture[mask])), sorted(means))


@pytest.mark.parametrize("seed", range(60))
def test_parts_turned_are_those_of_the_turned_mask(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(tuple(rng.integers(1, 40, 2))) < rng.random()
    turned = components(np.flatnonzero(mask), mask.shape[1]).turned(*mask.shape)
    afresh = components(np.flatnonzero(mask.T), mask.shape[0])
    assert np.array_equal(turned.places, afresh.places)
    assert len(set(zip(turned.of, afresh.of, strict=True))) == len(afresh)
    one, other = (
        sorted(zip(each.top, each.left, each.bottom, each.right, each.area, each.runs, strict=True))
        for each in (turned, afresh)
    )
    assert one == other


def test_runs_are_counted_row_by_row():
    mask = np.array([[1, 0, 1, 1], [1, 0, 1, 0], [1, 1, 1, 0]], dtype=bool)
    found = components(np.flatnonzero(mask), 4)
    assert len(found) == 1
    assert found.runs[0] == 5


def test_an_empty_mask_has_no_parts():
    assert len(components(np.flatnonzero(np.zeros((3, 3), dtype=bool)), 3)) == 0
