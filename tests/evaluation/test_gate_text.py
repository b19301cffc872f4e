"""Rates at which made text is found."""

from __future__ import annotations

import numpy as np

from cxr_core.evaluation.gate_text import CONTRASTS, HEIGHTS, as_lines, text_rates, write
from cxr_core.imaging.phantom import make_phantom


def test_rates_of_made_text_are_counted_by_size_and_contrast():
    films = [make_phantom(seed, size=512).image for seed in range(3)]
    made = text_rates(iter(films))
    assert made.of == 3
    assert made.noted.value == 1  # SYNTHETIC
    assert [(each.height, each.contrast) for each in made.rates] == [
        (h, c) for h in HEIGHTS for c in CONTRASTS
    ]
    assert all(each.of <= 3 and each.covered.value <= each.found.value for each in made.rates)
    assert all(each.found.value == 1 for each in made.rates if each.contrast == CONTRASTS[-1])
    assert made == text_rates(films)


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


def test_rates_read_as_a_table():
    lines = as_lines(text_rates([make_phantom(1, size=256).image]))
    assert lines[0] == "noted before any was written: 100.0% (20.7%-100.0%) of 1 films"
    assert len(lines) == 3 + len(HEIGHTS) * len(CONTRASTS)
    assert lines[3].startswith("1.2%    0.20")
