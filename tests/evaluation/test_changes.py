"""What befalls a film: each change is what it says, leaves the size, and is the same for the same film."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cxr_core.evaluation.changes import AS_SENT, CHANGES
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.phantom import make_phantom, phantom_png

BY_ID = {each.id: each for each in CHANGES}


@pytest.fixture(scope="module")
def film():
    """Brighter towards the lower right, not square."""
    rows, columns = np.mgrid[0:160, 0:200].astype(np.float32)
    return (0.2 + 0.3 * rows / 160 + 0.3 * columns / 200).astype(np.float32)


def chest():
    return decode(phantom_png(make_phantom(seed=1, size=256)), Limits()).pixels


def changed(name, film, seed=0):
    return BY_ID[name].apply(film, np.random.default_rng(seed))


def test_ids_are_distinct_and_every_kind_asked_for_is_there():
    assert len(BY_ID) == len(CHANGES) >= 22
    assert {each.kind for each in CHANGES} == {
        "noise", "blur", "JPEG", "gamma", "contrast", "turned", "cut off each side", "moved", "grey values",
        "burnt in",
    }  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.id)
def test_a_changed_film_is_a_file_of_the_same_size_that_differs(change):
    film = chest()[:, :200]
    one, again = (change.encoded(film, np.random.default_rng(1)) for _ in range(2))
    assert one == again
    read = decode(one, Limits()).pixels
    assert read.shape == film.shape
    assert 0 <= read.min() < read.max() <= 1
    assert np.abs(read - film).max() > 1 / 255


def test_a_film_as_it_is_comes_back_to_a_grey_value(film):
    read = decode(AS_SENT.encoded(film, np.random.default_rng(0)), Limits()).pixels
    assert np.abs(read - film).max() <= 0.5 / 255 + 1e-6


def test_noise_has_its_deviation_and_blur_takes_it_away(film):
    for name, sd in (("noise_020", 0.02), ("noise_100", 0.1)):
        assert (changed(name, film) - film).std() == pytest.approx(sd, rel=0.02)
    rough = np.random.default_rng(0).random((160, 200), dtype=np.float32)
    spread = [changed(name, rough).std() for name in ("blur_005", "blur_010", "blur_020")]
    assert rough.std() > spread[0] > spread[1] > spread[2]


def test_exposure_contrast_and_grey_values_worked_by_hand():
    film = np.array([[0.25, 0.75]], dtype=np.float32)
    assert changed("gamma_14", film) == pytest.approx(np.array([[0.25, 0.75]]) ** 1.4)
    assert changed("contrast_06", film) == pytest.approx(np.array([[0.35, 0.65]]))
    assert changed("bits_4", film) == pytest.approx(np.array([[4 / 15, 11 / 15]]))


def test_turning_moving_and_cutting_go_the_way_they_say(film):
    dot = np.zeros((200, 200), dtype=np.float32)
    dot[98:102, 168:172] = 1  # right of the middle
    rows, columns = np.nonzero(changed("turn_left_10", dot) > 0.5)
    assert 85 < rows.mean() < 90, "counter-clockwise: up"
    assert 165 < columns.mean() < 169
    assert np.nonzero(changed("turn_right_10", dot) > 0.5)[0].mean() > 110
    moved = changed("moved_10", film)
    assert (moved[:16] == 0).all()
    assert (moved[:, :16] == 0).all()
    assert np.array_equal(moved[16:, 16:], film[:-16, :-16])
    cut = changed("cut_10", film)
    assert cut[0, 0] == pytest.approx(film[16, 20], abs=0.01)
    assert cut[-1, -1] == pytest.approx(film[-17, -21], abs=0.01)


def test_writing_is_bright_and_in_its_corner():
    film = chest()
    for name, place in (("marker", np.s_[:64, :64]), ("text", np.s_[180:, :])):
        ink = changed(name, film) - film
        assert (ink > 0.2).sum() > 30
        ink[place] = 0
        assert np.abs(ink).max() == 0


def test_jpeg_is_a_jpeg_file_of_its_quality(film):
    sizes = [
        len(BY_ID[f"jpeg_{quality}"].encoded(film, np.random.default_rng(0))) for quality in (50, 20, 10)
    ]
    assert sizes == sorted(sizes, reverse=True)
    with Image.open(BytesIO(BY_ID["jpeg_10"].encoded(film, np.random.default_rng(0)))) as image:
        assert image.format == "JPEG"
