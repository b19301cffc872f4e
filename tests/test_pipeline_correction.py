"""A film that a person had hung anew is the film as it should have come."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from cxr_core.domain import AS_SENT, Analysis, Correction
from cxr_core.imaging.gate import CORRECTIONS
from cxr_core.imaging.phantom import make_phantom
from cxr_core.pipeline import Film, analyse, heatmaps, prepare

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPOILT = {
    "turned_left": lambda film: np.rot90(film, 1),
    "turned_right": lambda film: np.rot90(film, -1),
    "upside_down": lambda film: np.rot90(film, 2),
    "inverted": lambda film: 255 - film,
}


def grey() -> np.ndarray:
    return np.round(255 * make_phantom(4, size=256).image).astype(np.uint8)


def png(film: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(film)).save(buffer, "PNG")
    return buffer.getvalue()


def without_bytes(analysis: Analysis) -> Analysis:
    """What does not speak of the file itself, nor of the correction."""
    notes = tuple(note for note in analysis.gate.notes if note.code != "corrected")
    reasons = tuple(reason for reason in analysis.triage.reasons if "corrected before" not in reason)
    return replace(
        analysis,
        sha256="",
        gate=replace(analysis.gate, notes=notes),
        triage=replace(analysis.triage, reasons=reasons),
        correction=AS_SENT,
    )


@pytest.mark.parametrize("code", ["turned_left", "turned_right", "upside_down"])
def test_a_film_turned_back_is_answered_as_the_upright_one(kit, code):
    sent, upright = png(SPOILT[code](grey())), png(grey())
    again = prepare(sent, kit, now=NOW, correction=CORRECTIONS[code])
    first = prepare(upright, kit, now=NOW)
    assert isinstance(again, Film)
    assert isinstance(first, Film)
    assert hashlib.sha256(again.array).digest() == hashlib.sha256(first.array).digest()
    one = analyse(sent, kit, now=NOW, correction=CORRECTIONS[code])
    other = analyse(upright, kit, now=NOW)
    assert without_bytes(one) == without_bytes(other)
    assert one.sha256 == hashlib.sha256(sent).hexdigest()
    for label, heatmap in heatmaps(other, kit).items():
        np.testing.assert_array_equal(heatmaps(one, kit)[label], heatmap)


def test_an_inverted_film_is_answered_as_the_usual_one(kit):
    one = analyse(png(SPOILT["inverted"](grey())), kit, now=NOW, correction=CORRECTIONS["inverted"])
    other = analyse(png(grey()), kit, now=NOW)
    for ours, theirs in zip(one.predictions, other.predictions, strict=True):
        assert ours.probability == pytest.approx(theirs.probability, abs=1e-4)
    assert without_bytes(one).triage == other.triage


def test_the_answer_says_which_correction_it_was_made_with(kit):
    correction = Correction(2, inverted=True)
    analysis = analyse(png(grey()), kit, now=NOW, correction=correction)
    assert analysis.correction == correction
    notes = [note for note in analysis.gate.notes if note.code == "corrected"]
    assert ["turned half round, inverted" in note.message for note in notes] == [True]
    assert analyse(png(grey()), kit, now=NOW).correction == AS_SENT


@pytest.mark.parametrize("raw", [b"", b"hello", png(np.full((200, 200), 7, np.uint8))])
def test_a_refusal_says_so_too(kit, raw):
    analysis = analyse(raw, kit, now=NOW, correction=Correction(2))
    assert analysis.refusal is not None
    assert analysis.correction == Correction(2)
