"""The nouns of the product: what a study, a film, a prediction and an analysis are.

Standard library and numpy only. Everything here is frozen: a value, never a service.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from statistics import pstdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

FINDINGS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""The 14 labels of NIH ChestX-ray14, in the order of its paper and of every manifest here."""

ABNORMAL = "abnormal"
"""The fifteenth output: any of the 14 is present. Never a finding, always a reason to look."""


class Urgency(StrEnum):
    """How soon a person must look, most urgent first."""

    CRITICAL = "critical"
    URGENT = "urgent"
    REVIEW = "review"
    SIGNIFICANT = "significant"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """0 for critical, rising with less haste; for sorting and `min`."""
        return list(Urgency).index(self)


class State(StrEnum):
    """What the card says."""

    FLAGGED = "flagged"
    NO_DISEASE_DETECTED = "no_disease_detected"
    UNABLE_TO_CLASSIFY = "unable_to_classify"
    REFUSED = "refused"


class GateOutcome(StrEnum):
    """Whether the model may judge the film."""

    ACCEPTED = "accepted"
    WARNED = "warned"
    REFUSED = "refused"


class View(StrEnum):
    """Projection of the film; `supine` films are AP too."""

    PA = "PA"
    AP = "AP"
    LATERAL = "LATERAL"
    UNKNOWN = "unknown"


class Sex(StrEnum):
    """PatientSex (0010,0040)."""

    FEMALE = "F"
    MALE = "M"
    OTHER = "O"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Notice:
    """One coded sentence and what to do about it; a warning, a note or a refusal."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """Who, when and how, as far as the film or the form says; empty text means unknown."""

    patient_id: str = ""
    patient_name: str = ""
    sex: Sex = Sex.UNKNOWN
    age_years: float | None = None
    view: View = View.UNKNOWN
    supine: bool = False
    laterality: str = ""
    acquired: datetime | None = None
    """Naive where the film gives no TimezoneOffsetFromUTC: local time of the modality."""
    modality: str = ""
    body_part: str = ""
    accession: str = ""
    referrer: str = ""
    referrer_phone: str = ""
    question: str = ""
    StudyInstanceUID: str = ""
    SeriesInstanceUID: str = ""
    SOPInstanceUID: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """A decoded film.

    Attributes:
        pixels: (H, W) float32 in [0, 1], bright = dense.
        sha256: of the source bytes, hexadecimal.
        source: "PNG", "JPEG" or "DICOM".
        study: what the file's own tags say.
        spacing_mm: (row, column) distance of pixel centres, or None.
        burned_in: BurnedInAnnotation says YES.
        notes: what decoding had to assume, for the card.
        warnings: what its tags leave in doubt.
        orientation: where rows and columns run to, by the tags: "LF" as usual, "" unknown.
    """

    pixels: NDArray[np.float32] = field(repr=False)
    sha256: str
    source: str
    study: Study = field(default_factory=Study)
    spacing_mm: tuple[float, float] | None = None
    burned_in: bool = False
    notes: tuple[Notice, ...] = ()
    warnings: tuple[Notice, ...] = ()
    orientation: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate said: warnings send the film to a person, notes only inform."""

    outcome: GateOutcome
    warnings: tuple[Notice, ...] = ()
    notes: tuple[Notice, ...] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of warnings and refusals, in order."""
        return tuple(notice.code for notice in self.warnings)


@dataclass(frozen=True, slots=True)
class Correction:
    """How a person had the film hung anew before it was assessed.

    Attributes:
        quarter_turns: 0 to 3, counter-clockwise.
        inverted: dark and bright changed places, after turning.
    """

    quarter_turns: int = 0
    inverted: bool = False

    def then(self, other: Correction) -> Correction:
        """Return the correction that does first this one, then the other."""
        return Correction((self.quarter_turns + other.quarter_turns) % 4, self.inverted != other.inverted)

    def __bool__(self) -> bool:
        """Return whether it changes anything."""
        return self.inverted or bool(self.quarter_turns)

    @property
    def key(self) -> str:
        """Short text, another for every correction, empty for none: "turn=1,invert"."""
        parts = (
            f"turn={self.quarter_turns}" if self.quarter_turns else "",
            "invert" if self.inverted else "",
        )
        return ",".join(part for part in parts if part)

    @classmethod
    def of(cls, key: str) -> Correction:
        """Return the correction of a key.

        Raises:
            ValueError: it is no correction's.
        """
        for turns in range(4):
            for each in (cls(turns), cls(turns, inverted=True)):
                if each.key == key:
                    return each
        raise ValueError("not the key of a correction")


AS_SENT = Correction()
"""Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One label on one film.

    Attributes:
        label: a name of FINDINGS, or ABNORMAL.
        logit: mean over the ensemble, before calibration.
        probability: calibrated, in [0, 1].
        threshold: operating point on `probability`.
        members: calibrated probability of each ensemble member, in member order.
    """

    label: str
    logit: float
    probability: float
    threshold: float
    members: tuple[float, ...]

    @property
    def positive(self) -> bool:
        """At or above the threshold; the only way a finding comes to be."""
        return self.probability >= self.threshold

    @property
    def spread(self) -> float:
        """Standard deviation of the members' probabilities."""
        return pstdev(self.members) if self.members else 0.0

    @property
    def votes(self) -> int:
        """How many members alone would have been positive."""
        return sum(member >= self.threshold for member in self.members)


@dataclass(frozen=True, slots=True)
class Triage:
    """The decision: state, urgency, positive findings in clinical order, what to do, why."""

    state: State
    urgency: Urgency
    findings: tuple[str, ...]
    action: str
    reasons: tuple[str, ...]
    not_assessed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Versions:
    """What made the result; `gate` is empty where that was before 0.6.0."""

    model: str
    policy: str
    gate: str
    code: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """The one result of `pipeline.analyse`; equal for equal bytes, versions and correction.

    Attributes:
        sha256: of the source bytes.
        study: from the film's tags.
        gate: accepted, warned or refused.
        predictions: the model's findings in manifest order; empty when refused.
        abnormal: the fifteenth output, or None when refused or not assessed.
        refusal: why, when refused.
        radiograph: the decoded film, or None when decoding failed.
        features: (members, channels, h, w) float32 of the last convolution, for heatmaps.
        timings_ms: wall time of each step.
        correction: how a person had the film hung anew; everything here but `sha256` speaks of that film.
    """

    sha256: str
    study: Study
    gate: Gate
    predictions: tuple[Prediction, ...]
    abnormal: Prediction | None
    triage: Triage
    versions: Versions
    refusal: Notice | None = None
    radiograph: Radiograph | None = field(default=None, repr=False, compare=False)
    features: NDArray[Any] | None = field(default=None, repr=False, compare=False)
    timings_ms: dict[str, float] = field(default_factory=dict, repr=False, compare=False)
    correction: Correction = AS_SENT

    @property
    def elapsed_ms(self) -> float:
        """Sum of the steps' wall times."""
        return sum(self.timings_ms.values())
