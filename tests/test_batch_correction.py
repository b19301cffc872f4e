"""Films that are refused because they hang wrong, corrected as `cxr triage --correct` does it."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from cxr_core import pipeline
from cxr_core.batch import analyse_files, corrected
from cxr_core.domain import AS_SENT, Correction, Radiograph
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.refusals import reject
from cxr_core.pipeline import analyse, prepare

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
UPRIGHT = np.round(255 * make_phantom(4, size=256).image).astype(np.uint8)
SENT = {
    AS_SENT: UPRIGHT,
    Correction(2): np.rot90(UPRIGHT, 2),
    Correction(inverted=True): 255 - UPRIGHT,
    Correction(2, inverted=True): 255 - np.rot90(UPRIGHT, 2),
}


def png(film: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(film)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("correction", SENT, ids=lambda each: each.key or "as sent")
def test_whatever_hangs_wrong_is_answered_as_the_upright_film(kit, tmp_path, correction):
    file = tmp_path / "film.png"
    file.write_bytes(png(SENT[correction]))
    ((_, first),) = analyse_files([file], kit, now=NOW)
    assert (first.refusal is None) == (not correction)
    answered = corrected(file, first, kit, now=NOW, prepare=prepare)
    assert answered.refusal is None
    assert answered.correction == correction
    upright = analyse(png(UPRIGHT), kit, now=NOW)
    for ours, theirs in zip(answered.predictions, upright.predictions, strict=True):
        assert ours.probability == pytest.approx(theirs.probability, abs=1e-4)


def test_a_gate_that_is_never_content_is_asked_three_times(kit, tmp_path, monkeypatch):
    def never(_: Radiograph) -> object:
        raise reject("turned_left")

    monkeypatch.setattr(pipeline.gate, "inspect", never)
    file = tmp_path / "film.png"
    file.write_bytes(png(UPRIGHT))
    ((_, first),) = analyse_files([file], kit, now=NOW)
    last = corrected(file, first, kit, now=NOW, prepare=prepare)
    assert last.refusal is not None
    assert last.correction == Correction(2)


def test_another_refusal_stays_what_it_is(kit, tmp_path):
    file = tmp_path / "film.png"
    file.write_bytes(b"hello")
    ((_, first),) = analyse_files([file], kit, now=NOW)
    assert corrected(file, first, kit, now=NOW, prepare=prepare) is first
