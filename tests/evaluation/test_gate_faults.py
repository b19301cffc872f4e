"""Shares of films of which the picture checks speak, and faults made on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_core.evaluation.gate_faults import FAULTS, Rates, fault_rates, picture_rates
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.refusals import REFUSALS, WARNINGS


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    return make_phantom(3, size=160).image


def test_films_are_counted_under_their_name_in_the_order_of_coming(film):
    grey = np.full((200, 200), 0.5, np.float32)
    found = picture_rates([("b", film), ("a", film * 0.3), ("b", grey), ("a", film), ("a", film * 0.3)])
    assert found == (
        Rates("b", 2, (("blank_image", 1),), 1),
        Rates("a", 3, (("too_dark", 2),), 2),
    )
    assert found[0].share("blank_image") == 0.5
    assert found[0].share("too_dark") == 0


def test_nothing_is_said_of_no_films():
    assert picture_rates([]) == fault_rates([]) == ()


def test_a_fault_is_made_in_sound_films_only(film):
    (found,) = fault_rates([film, film * 0.1], [next(one for one in FAULTS if one.code == "low_contrast")])
    assert found.films == 1


def test_every_fault_has_a_code_of_its_table_and_keeps_a_film_a_film(film):
    for fault in FAULTS:
        assert fault.code in {**REFUSALS, **WARNINGS}
        spoilt = fault.spoil(film)
        assert (spoilt.shape, spoilt.dtype) == (film.shape, np.float32)
        assert spoilt.min() >= 0
        assert spoilt.max() <= 1
        assert not np.array_equal(spoilt, film)


def test_the_worst_of_each_kind_is_found(film):
    worst = [
        next(one for one in reversed(FAULTS) if one.code == code) for code in {one.code for one in FAULTS}
    ]
    for fault, found in zip(worst, fault_rates([film], worst), strict=True):
        if fault.name != "gamma 4":  # an invented film has more bright tissue than most
            assert found.share(fault.code) == 1, fault.name


def test_a_finer_film_is_blurred_as_much_in_the_models_eyes(film):
    """Sigma 2 of 128 is 2.5 pixels of 160."""
    from scipy.ndimage import gaussian_filter

    blur = next(one for one in FAULTS if one.name == "blurred, sigma 2 of 128")
    np.testing.assert_allclose(blur.spoil(film), gaussian_filter(film, 2.5), atol=1e-6)
