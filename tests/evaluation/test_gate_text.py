"""Rates at which made text is found."""

from __future__ import annotations

import numpy as np

from cxr_core.evaluation.gate_faults import Film
from cxr_core.evaluation.gate_text import CONTRASTS, HEIGHTS, text_figures, write
from cxr_core.imaging.phantom import make_phantom


def test_rates_of_made_text_are_counted_by_size_and_contrast():
    films = [Film("made", make_phantom(seed, size=512).image, str(seed)) for seed in range(3)]
    noted, *lines = made = text_figures(iter(films))
    assert (noted.count, noted.of) == (3, 3)  # SYNTHETIC
    assert len(lines) == 2 * len(HEIGHTS) * len(CONTRASTS)
    for found, covered in zip(lines[::2], lines[1::2], strict=True):
        assert (found.wanted, covered.wanted) == (("found",), ("covered",))
        assert covered.count <= found.count <= found.of == covered.of <= 3
        assert found.count == found.of or f"contrast {CONTRASTS[-1]:.2f}" not in found.what
    assert made == text_figures(films)


def test_nothing_is_said_of_no_films():
    assert text_figures([]) == []


def test_text_that_cannot_stand_out_is_not_written():
    rng = np.random.default_rng(0)
    assert write(np.full((300, 300), 0.9, dtype=np.float32), "NAME", 0.04, 0.6, rng) is None
    assert write(np.full((300, 64), 0.1, dtype=np.float32), "A LONG NAME", 0.04, 0.6, rng) is None


def test_text_stands_out_by_what_was_asked():
    film = np.full((300, 300), 0.25, dtype=np.float32)
    written = write(film, "NAME", 0.04, 0.35, np.random.default_rng(0))
    assert written is not None
    assert np.isclose(written[0].max(), 0.6, atol=0.01)
    assert (film == 0.25).all()
