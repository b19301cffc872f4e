"""Whether the model may judge this film: by its tags, by its picture, by what the gate's network sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import Correction, Gate, GateOutcome, Notice, Radiograph, Study, View
from cxr_core.imaging import gate_picture
from cxr_core.imaging.annotations import text_boxes
from cxr_core.imaging.gate_tags import disagreement
from cxr_core.imaging.preprocess import Recipe, coarser, network_input
from cxr_core.imaging.refusals import note, reject, warning

ADULT_YEARS = 18
COARSE_PX = 512
"""The gate looks at films of about this many pixels; the finest film costs it no more."""

LONGEST_SHAPE = 2.0
"""Long by short side beyond which a film is warned of; of 1,086 out of publications the longest has 1.78."""

LOW_RESOLUTION_PX = 128
"""Side of the films that the bundled model learned from."""

INPUT = Recipe(film_px=64, network_px=64, low_percentile=0.5, high_percentile=99.5)
"""How the gate's network sees a film: hand, CT and MRI pictures to learn from have no more pixels."""


class Kind(StrEnum):
    """What a picture shows, in the order of the network's answer."""

    CHEST = "chest"
    PHOTO = "photo"
    SECTION = "cross_section"
    OTHER = "other_radiograph"


ANSWERS = len(Kind) + 4 + 3
"""Logits of the gate's network: the kinds, the quarter turns counter-clockwise that the film has undergone
(0 to 3), then inverted, mirrored, cropped."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the gate's network sees: probabilities.

    Attributes:
        kinds: in the order of `Kind`; they sum to 1.
        turns: of 0 to 3 quarter turns counter-clockwise; they sum to 1.
        inverted, mirrored, cropped: each by itself.
    """

    kinds: tuple[float, ...]
    turns: tuple[float, ...]
    inverted: float
    mirrored: float
    cropped: float


@dataclass(frozen=True, slots=True)
class LookLimits:
    """From which probabilities something follows; a table of the gate's manifest.

    Attributes:
        chest, upright: least probability of a chest film, and of one that stands upright.
        inverted, mirrored, cropped: greatest probability at which nothing follows.
    """

    chest: float
    upright: float
    inverted: float
    mirrored: float
    cropped: float


_REFUSED_AS = {
    Kind.PHOTO: "not_radiograph",
    Kind.SECTION: "cross_section",
    Kind.OTHER: "other_radiograph",
}
_TURNED_AS = ("turned_left", "upside_down", "turned_right")

CORRECTIONS = {
    "turned_left": Correction(quarter_turns=3),
    "turned_right": Correction(quarter_turns=1),
    "upside_down": Correction(quarter_turns=2),
    "inverted": Correction(inverted=True),
}
"""By code of a refusal what would set the film right, if a person agrees."""


def inspect(radiograph: Radiograph) -> tuple[Gate, NDArray[np.float32]]:
    """Return warnings, which send the film to a person, and notes, those of decoding first.

    Returns:
        These, and the (1, 64, 64) float32 input of the gate's network.

    Raises:
        Rejected: lateral_view, blank_image or saturated.
    """
    said = by_tags(radiograph.study)
    coarse = coarser(radiograph.pixels, COARSE_PX)
    seen = gate_picture.checked(radiograph.pixels, coarse)
    warnings, notes = [*radiograph.warnings, *said.warnings], [*radiograph.notes, *said.notes]
    short, long = sorted(radiograph.pixels.shape)
    if long > LONGEST_SHAPE * short:
        warnings.append(warning("unusual_shape", found=f"{long / short:.1f}"))
    if short < LOW_RESOLUTION_PX:
        warnings.append(warning("low_resolution", found=short))
    warnings.extend(seen)
    if radiograph.burned_in:
        notes.append(note("burned_in"))
    if text_boxes(coarse):
        notes.append(note("burned_in_text"))
    return _gate(warnings, notes), network_input(coarse, INPUT)


def judged(radiograph: Radiograph, said: Gate, look: Look, limits: LookLimits) -> Gate:
    """Return the gate's word with what its network sees, the warnings of `inspect` first.

    Args:
        radiograph: as decoded; only its tags are looked at.
        said: of `inspect`.
        look: of the same film.
        limits: of the gate's manifest.

    Raises:
        Rejected: no chest film, turned, or inverted; the likeliest reason of those that speak against it.
    """
    if look.kinds[0] < limits.chest:
        others = list(zip(Kind, look.kinds, strict=True))[1:]
        raise reject(_REFUSED_AS[max(others, key=lambda each: each[1])[0]])
    if look.turns[0] < limits.upright:
        raise reject(_TURNED_AS[int(np.argmax(look.turns[1:]))])
    if look.inverted > limits.inverted:
        raise reject("inverted")
    mirrored = look.mirrored > limits.mirrored
    seen = [warning("mirrored")] if mirrored else []
    seen += [warning("cropped")] if look.cropped > limits.cropped else []
    apart = disagreement(radiograph.orientation, mirrored=mirrored)
    return _gate([*said.warnings, *seen, *apart], said.notes)


def by_tags(study: Study) -> Gate:
    """Return what age and view alone say, whether the film's tags or a person gave them.

    Raises:
        Rejected: lateral_view.
    """
    if study.view is View.LATERAL:
        raise reject("lateral_view")
    child = study.age_years is not None and study.age_years < ADULT_YEARS
    warnings = [warning("child", limit=ADULT_YEARS)] if child else []
    from_front = study.view is View.AP or study.supine
    notes = [note("ap_view", found=", patient supine" if study.supine else "")] if from_front else []
    return _gate(warnings, notes)


def _gate(warnings: Sequence[Notice], notes: Sequence[Notice]) -> Gate:
    outcome = GateOutcome.WARNED if warnings else GateOutcome.ACCEPTED
    return Gate(outcome=outcome, warnings=tuple(warnings), notes=tuple(notes))
