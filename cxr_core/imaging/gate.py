"""Whether the model may judge this film. So far by tags and blankness; the picture's own gate is to come."""

from __future__ import annotations

import numpy as np

from cxr_core.domain import Gate, GateOutcome, Notice, Radiograph, View
from cxr_core.imaging.refusals import note, reject, warning

ADULT_YEARS = 18
LOW_RESOLUTION_PX = 128
"""Side of the films that the bundled model learned from."""

_BLANK = 0.02
"""Range of grey values, without the darkest and brightest 0.5 %, below which nothing can be seen."""

_SAMPLES = 512


def inspect(radiograph: Radiograph) -> Gate:
    """Return warnings, which send the film to a person, and notes, those of decoding first.

    Raises:
        Rejected: blank_image or lateral_view.
    """
    study = radiograph.study
    if study.view is View.LATERAL:
        raise reject("lateral_view")
    if _is_blank(radiograph):
        raise reject("blank_image")
    warnings: list[Notice] = []
    if study.age_years is not None and study.age_years < ADULT_YEARS:
        warnings.append(warning("child", limit=ADULT_YEARS))
    short = min(radiograph.pixels.shape)
    if short < LOW_RESOLUTION_PX:
        warnings.append(warning("low_resolution", found=short))
    notes = list(radiograph.notes)
    if study.view is View.AP or study.supine:
        notes.append(note("ap_view", found=", patient supine" if study.supine else ""))
    if radiograph.burned_in:
        notes.append(note("burned_in"))
    outcome = GateOutcome.WARNED if warnings else GateOutcome.ACCEPTED
    return Gate(outcome=outcome, warnings=tuple(warnings), notes=tuple(notes))


def _is_blank(radiograph: Radiograph) -> bool:
    """Return whether a grid of pixels is all but uniform."""
    pixels = radiograph.pixels
    step_y, step_x = (max(1, side // _SAMPLES) for side in pixels.shape)
    low, high = np.percentile(pixels[::step_y, ::step_x], (0.5, 99.5))
    return bool(high - low < _BLANK)
