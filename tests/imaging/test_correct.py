from __future__ import annotations

import itertools

import numpy as np
import pytest

from cxr_core.domain import AS_SENT, Correction, Radiograph
from cxr_core.imaging.correct import corrected, in_words
from cxr_core.imaging.gate import CORRECTIONS

EVERY = [Correction(turns, inverted) for turns, inverted in itertools.product(range(4), (False, True))]


def film(**fields: object) -> Radiograph:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30)).astype(np.float32) / 255
    return Radiograph(pixels=pixels, sha256="ab" * 32, source="PNG", **fields)  # type: ignore[arg-type]


def test_as_it_was_sent_is_the_very_same_film():
    sent = film()
    assert corrected(sent, AS_SENT) is sent


@pytest.mark.parametrize(
    ("code", "spoilt"),
    [
        ("turned_left", lambda upright: np.rot90(upright, 1)),
        ("turned_right", lambda upright: np.rot90(upright, -1)),
        ("upside_down", lambda upright: np.rot90(upright, 2)),
        ("inverted", lambda upright: np.float32(1) - upright),
    ],
)
def test_the_correction_of_a_refusal_undoes_what_it_names(code, spoilt):
    """`turned_left`: the film's top points left, as after a quarter anticlockwise."""
    upright = film()
    sent = Radiograph(np.ascontiguousarray(spoilt(upright.pixels)), "ab" * 32, "PNG")
    again = corrected(sent, CORRECTIONS[code])
    np.testing.assert_allclose(again.pixels, upright.pixels, atol=1e-6)
    assert (again.pixels.dtype, again.pixels.flags.c_contiguous) == (np.float32, True)
    assert (again.sha256, again.source) == (sent.sha256, "PNG")


@pytest.mark.parametrize(("one", "other"), list(itertools.product(EVERY, EVERY)))
def test_one_correction_after_another_is_one(one, other):
    np.testing.assert_allclose(
        corrected(corrected(film(), one), other).pixels, corrected(film(), one.then(other)).pixels, atol=1e-6
    )


def test_spacing_turns_with_the_film():
    sent = film(spacing_mm=(0.1, 0.2))
    assert [corrected(sent, Correction(turns)).spacing_mm for turns in range(4)] == [
        (0.1, 0.2),
        (0.2, 0.1),
        (0.1, 0.2),
        (0.2, 0.1),
    ]


def test_the_note_says_in_plain_words_what_was_done():
    (note,) = corrected(film(), Correction(3, inverted=True)).notes
    assert note.code == "corrected"
    assert "turned a quarter clockwise, inverted" in note.message
    assert in_words(AS_SENT) == ""
    assert len({in_words(each) for each in EVERY}) == len({each.key for each in EVERY}) == 8


def test_the_key_is_empty_for_none():
    assert [AS_SENT.key, Correction(1, inverted=True).key] == ["", "turn=1,invert"]
