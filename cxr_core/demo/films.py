"""The demo's invented films: who, when, what was drawn, and how the file differs from a plain chest film."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle, repeat
from typing import Any

from cxr_core.domain import View
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.imaging.phantom_dicom import phantom_dicom

SIZE = 512
STUDIES = 100
"""Made at once, most of them of the week before and read; those of LATER arrive while the app runs."""

SENT_AFTER_MIN = 2
"""From exposure to receipt."""

Findings = tuple[tuple[str, float], ...]

_DRAWN: tuple[Findings, ...] = (
    (),
    (("Effusion", 0.9),),
    (("Pneumothorax", 0.9),),
    (),
    (("Cardiomegaly", 0.8), ("Edema", 0.6)),
    (("Nodule", 0.7),),
    (("Pneumonia", 0.8),),
    (),
    (("Atelectasis", 0.7),),
    (("Mass", 0.8),),
    (("Emphysema", 0.9),),
    (("Infiltration", 0.6),),
    (("Pneumothorax", 0.5), ("Effusion", 0.5)),
    (),
    (("Fibrosis", 0.8),),
    (("Consolidation", 0.9),),
    (("Hernia", 0.8),),
    (("Pleural_Thickening", 0.6),),
)
_GRAVE: Findings = (
    ("Pneumothorax", 1.0), ("Edema", 1.0), ("Fibrosis", 1.0), ("Emphysema", 1.0), ("Hernia", 1.0)
)  # fmt: skip
_AGES = (34, 71, 58, 46, 83, 62, 41, 29, 77, 51, 9, 90, 66)
_DAY = 24 * 60
_TODAY: tuple[int, ...] = (
    4,
    11,
    18,
    26,
    35,
    47,
    60,
    75,
    88,
    104,
    121,
    140,
    165,
    190,
    225,
    260,
    305,
    350,
    410,
    480,
)
_TODAY += (545, 620, 700, 790, 880, 975, 1070, 1165, 1260, 1350)
_WEEK = tuple(day * _DAY + each for each in (40, 235, 425, 610, 795, 980, 1165, 1350) for day in range(1, 7))
_MINUTES = (*_TODAY, *_WEEK)
"""Since exposure; a tier's longest wait is 15 minutes (critical) to three days (routine)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One film of the demo.

    Attributes:
        file: its name.
        seed: of the phantom, and the number of the study.
        findings: what is drawn; what the model says of it stands for itself.
        age_years: of the patient.
        minutes_ago: since exposure.
        view: what the tags say.
        drawn_as: projection of the phantom.
        kind: "DICOM", "PNG" (no tags), or "broken" (cut off on its way).
        body_part: BodyPartExamined.
        number: of the film in its study.
        patient: number of the invented patient, 0 where they have this one study.
    """

    file: str
    seed: int
    findings: Findings
    age_years: int
    minutes_ago: int
    view: View = View.PA
    drawn_as: View = View.PA
    kind: str = "DICOM"
    body_part: str = "CHEST"
    number: int = 1
    patient: int = 0

    @property
    def person(self) -> int:
        """Number of the invented patient."""
        return self.patient or self.seed

    @property
    def received_minutes_ago(self) -> int:
        """Since receipt."""
        return max(0, self.minutes_ago - SENT_AFTER_MIN)


def draw(case: Case, now: datetime) -> bytes:
    """Return the file, its times set back from `now`, which is aware."""
    phantom = make_phantom(case.seed, dict(case.findings), size=SIZE, view=case.drawn_as)
    if case.kind == "PNG":
        return phantom_png(phantom)
    raw = phantom_dicom(
        phantom,
        patient_id=f"SYNTHETIC-{case.person:04}",
        patient_name=f"Synthetic^Patient {case.person}",
        age_years=case.age_years,
        acquired=now - timedelta(minutes=case.minutes_ago),
        view=case.view,
        extra=_tags(case),
    )
    return raw[: len(raw) // 3] if case.kind == "broken" else raw


def _tags(case: Case) -> dict[str, Any]:
    """Return UIDs that follow from study and film, so that several films can be of one study."""
    return {
        "TimezoneOffsetFromUTC": "+0000",
        "BodyPartExamined": case.body_part,
        "StudyInstanceUID": _uid(f"study {case.seed}"),
        "SeriesInstanceUID": _uid(f"series {case.seed} {case.number}"),
        "SOPInstanceUID": _uid(f"film {case.seed} {case.number}"),
        "ReferringPhysicianName": "Synthetic^Referrer",
    }


def _uid(said: str) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(f'demo {said}'.encode()).digest()[:16], 'big')}"


def _plain(first: int, count: int, minutes: Iterator[int]) -> Iterator[Case]:
    """Yield frontal films, one a study; every fifth lies in bed (AP)."""
    for seed, findings, age in zip(range(first, first + count), cycle(_DRAWN), cycle(_AGES), strict=False):
        view = View.AP if seed % 5 == 0 else View.PA
        yield Case(f"chest-{seed:03}.dcm", seed, findings, age, next(minutes), view, view)


def _odd() -> tuple[Case, ...]:
    """Return the films that are more, or less, than one frontal film with sound tags."""
    lateral = View.LATERAL
    return (
        Case("chest-201-lateral.dcm", 201, (("Effusion", 0.8),), 68, 95, lateral, number=2),
        Case("chest-201-frontal.dcm", 201, (("Effusion", 0.8),), 68, 96),
        Case("chest-202-frontal.dcm", 202, (), 49, 31),
        Case("chest-202-lateral.dcm", 202, (), 49, 30, lateral, number=2),
        Case("chest-203-lateral-only.dcm", 203, (), 55, 150, lateral),
        Case("knee-204.dcm", 204, (), 37, 20, body_part="KNEE"),
        Case("chest-and-abdomen-273.dcm", 273, (), 52, 55, body_part="CHESTABDOMEN"),
        Case("cut-off-on-its-way-205.dcm", 205, (), 60, 44, kind="broken"),
        Case("without-tags-206.png", 206, (("Mass", 0.9),), 0, 0, kind="PNG"),
        Case("without-tags-207.png", 207, (), 0, 0, kind="PNG"),
    )


def _grave(*seeds_and_minutes: tuple[int, int]) -> tuple[Case, ...]:
    """Return large pneumothoraces beside much else: seeds that the bundled model 1.3.1 calls critical."""
    return tuple(
        Case(f"chest-{seed:03}.dcm", seed, _GRAVE, 57, minutes) for seed, minutes in seeds_and_minutes
    )


def _clear() -> Iterator[Case]:
    """Yield films without findings: seeds that the bundled model 1.3.1 passes; it flags nearly all others."""
    for place, (seed, age) in enumerate(zip(_CLEAR_SEEDS, cycle(_AGES), strict=False)):
        yield Case(f"chest-{seed:03}.dcm", seed, (), age, 70 + 970 * place)


def _before() -> tuple[Case, ...]:
    """Return earlier films of patient 1099, whose film is critical now, and two films of patient 208."""
    return (
        Case("chest-209.dcm", 209, (("Effusion", 0.3),), 57, 9 * _DAY, patient=1099),
        Case("chest-210.dcm", 210, (), 56, 190 * _DAY, patient=1099),
        Case("chest-208.dcm", 208, (("Mass", 0.4),), 64, 100 * _DAY),
        Case("chest-211.dcm", 211, (("Mass", 0.9),), 64, 62, patient=208),
    )


LEFT = frozenset({1099, 457, 203})
"""Left for whoever sees the demo: two critical studies, of which 1099 has priors, and an overdue one."""

_GRAVE_SEEDS = (456, 512, 609, 884, 1314, 1344, 1363)
_CLEAR_SEEDS = (438, 476, 539, 545, 648, 750, 839, 1032, 1066)
_SPECIAL = (
    *_odd(),
    *_before(),
    *_clear(),
    *_grave((1099, 4), (457, 7), *((seed, 500 + 1290 * place) for place, seed in enumerate(_GRAVE_SEEDS))),
)
CASES: tuple[Case, ...] = tuple(
    sorted(
        (*_plain(1, STUDIES - len({case.seed for case in _SPECIAL}), cycle(_MINUTES)), *_SPECIAL),
        key=lambda case: -case.minutes_ago,
    )
)
"""In the order in which they came in."""

LATER: tuple[Case, ...] = (*_plain(301, 2, repeat(2)), *_grave((868, 2)), *_plain(303, 9, cycle((2, 3, 1))))
