"""Shares of films of which the picture checks speak, and faults made on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_core.evaluation.gate_faults import FAULTS, SAYS, Film, fault_figures, picture_figures
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.refusals import REFUSALS, WARNINGS


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    return make_phantom(3, size=160).image


def of(name, pixels, patient="p"):
    return Film(name, pixels, patient)


def test_films_are_counted_under_their_name_in_the_order_of_coming(film):
    grey = np.full((200, 200), 0.5, np.float32)
    films = [of("b", film), of("a", film * 0.3), of("b", grey, "q"), of("a", film), of("a", film * 0.3, "q")]
    b, a = picture_figures(films)
    assert (b.what, b.count, b.of, b.said) == (
        "b, picture checks: anything said",
        1,
        2,
        (("blank_image", 1),),
    )
    assert (a.what[0], a.count, a.of, a.said) == ("a", 2, 3, (("too_dark", 2),))
    assert b.low < b.value < b.high


def test_nothing_is_said_of_no_films():
    assert picture_figures([]) == fault_figures([]) == []


def test_a_fault_is_made_in_sound_films_only(film):
    flat = [next(one for one in FAULTS if one.code == "low_contrast")]
    (found,) = fault_figures([of("a", film), of("a", film * 0.1)], flat)
    assert found.of == 1


def test_the_checks_say_only_what_the_tables_hold():
    assert set(SAYS) <= {*REFUSALS, *WARNINGS}


def test_every_fault_has_a_code_of_its_table_and_keeps_a_film_a_film(film):
    for fault in FAULTS:
        assert fault.code in SAYS
        spoilt = fault.spoil(film)
        assert (spoilt.shape, spoilt.dtype) == (film.shape, np.float32)
        assert spoilt.min() >= 0
        assert spoilt.max() <= 1
        assert not np.array_equal(spoilt, film)


def test_the_worst_of_each_kind_is_found(film):
    worst = [
        next(one for one in reversed(FAULTS) if one.code == code) for code in {one.code for one in FAULTS}
    ]
    for fault, found in zip(worst, fault_figures([of("a", film)], worst), strict=True):
        if fault.name != "gamma 4":  # an invented film has more bright tissue than most
            assert found.value == 1, fault.name


def test_a_finer_film_is_blurred_as_much_in_the_models_eyes(film):
    """Sigma 2 of 128 is 2.5 pixels of 160."""
    from scipy.ndimage import gaussian_filter

    blur = next(one for one in FAULTS if one.name == "blurred, sigma 2 of 128")
    np.testing.assert_allclose(blur.spoil(film), gaussian_filter(film, 2.5), atol=1e-6)
