"""A film hung anew as a person asked: turned by quarters, dark and bright exchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cxr_core.domain import AS_SENT, Analysis, Correction, Radiograph
from cxr_core.imaging.gate import CORRECTIONS
from cxr_core.imaging.refusals import note

_OPPOSITE = str.maketrans("LRHFAP", "RLFHPA")
_TURNS = ("", "turned a quarter anticlockwise", "turned half round", "turned a quarter clockwise")


def corrected(radiograph: Radiograph, correction: Correction) -> Radiograph:
    """Return the film as it is to hang, with a note that says so; the very same where nothing is to change.

    Source bytes and SHA-256 stay those of the film as it was sent.
    """
    if not correction:
        return radiograph
    pixels = np.rot90(radiograph.pixels, correction.quarter_turns)
    pixels = np.float32(1.0) - pixels if correction.inverted else pixels
    spacing = radiograph.spacing_mm
    return replace(
        radiograph,
        pixels=np.ascontiguousarray(pixels, dtype=np.float32),
        spacing_mm=(spacing[1], spacing[0]) if spacing and correction.quarter_turns % 2 else spacing,
        orientation=_turned(radiograph.orientation, correction.quarter_turns),
        notes=(*radiograph.notes, note("corrected", found=in_words(correction))),
    )


def _turned(orientation: str, quarter_turns: int) -> str:
    """Return where rows and columns run to once a film is turned counter-clockwise.

    >>> _turned("LF", 1), _turned("LH", 2)
    ('FR', 'RF')
    """
    for _ in range(quarter_turns):
        orientation = orientation[1:] + orientation[:1].translate(_OPPOSITE)
    return orientation


def missing(analysis: Analysis) -> Correction:
    """Return what would set the film right as it hangs in this answer; AS_SENT where nothing is offered."""
    return CORRECTIONS.get(analysis.refusal.code, AS_SENT) if analysis.refusal else AS_SENT


def offered(analysis: Analysis) -> Correction | None:
    """Return how the film would have to hang, all in all, to be assessed; None where nothing is offered."""
    more = missing(analysis)
    return analysis.correction.then(more) if more else None


def in_words(correction: Correction) -> str:
    """Return what was done to the film, empty for nothing.

    >>> in_words(Correction(quarter_turns=3, inverted=True))
    'turned a quarter clockwise, inverted'
    """
    said = (_TURNS[correction.quarter_turns], "inverted" if correction.inverted else "")
    return ", ".join(word for word in said if word)
