"""Tags to Study: who, when and how."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from types import MappingProxyType

from pydicom import Dataset

from cxr_core.domain import Notice, Sex, Study, View
from cxr_core.imaging.dicom_subject import body_part, is_hung_as_usual
from cxr_core.imaging.dicom_values import code_string, items, numbers, person, text
from cxr_core.imaging.dicom_view import is_supine, view
from cxr_core.imaging.refusals import note, reject

_UID = re.compile(r"[0-9.]{1,64}")
_AGE = re.compile(r"(\d{1,3})([DWMY]?)")
_YEARS = MappingProxyType({"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0, "": 1.0})
_OLDEST = 125
_FIRST_YEAR = 1980
"""Digital radiographs came in the 1980s; an earlier date is a placeholder of an anonymiser."""

_DATE = re.compile(r"(\d{4})[.-]?(\d\d)[.-]?(\d\d)")
_TIME = re.compile(r"(\d\d):?(\d\d)?:?(\d\d)?(?:\.\d*)?")
_MOMENT = re.compile(r"(\d{8})(\d{2,6})?(?:\.\d*)?([+-]\d{4})?")
_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_SPACING_MM = (0.01, 10.0)
_SQUARE = 1.1
"""Height to width of a pixel, or width to height, up to which a picture is shown as it is."""


@dataclass(slots=True)
class _Notes:
    """Notes without repeats, in order."""

    found: dict[str, Notice] = field(default_factory=dict)

    def add(self, code: str) -> None:
        self.found.setdefault(code, note(code))


def read_study(dataset: Dataset) -> tuple[Study, tuple[Notice, ...]]:
    """Return what the tags say and what had to be assumed; only UIDs can be refused.

    Raises:
        Rejected: bad_uid.
    """
    notes = _Notes()
    acquired = _acquired(dataset, notes)
    projection = view(dataset)
    if not is_hung_as_usual(dataset, projection):
        notes.add("orientation_unusual")
    study = Study(
        patient_id=text(dataset, "PatientID"),
        patient_name=person(dataset, "PatientName"),
        sex=_sex(dataset),
        age_years=_age_years(dataset, acquired, notes),
        view=projection,
        supine=projection is not View.LATERAL and is_supine(dataset),
        laterality=_laterality(dataset),
        acquired=acquired,
        modality=code_string(dataset, "Modality"),
        body_part=body_part(dataset),
        accession=text(dataset, "AccessionNumber"),
        referrer=person(dataset, "ReferringPhysicianName"),
        referrer_phone=text(dataset, "ReferringPhysicianTelephoneNumbers"),
        question=_question(dataset),
        StudyInstanceUID=_uid(dataset, "StudyInstanceUID"),
        SeriesInstanceUID=_uid(dataset, "SeriesInstanceUID"),
        SOPInstanceUID=_uid(dataset, "SOPInstanceUID"),
    )
    return study, tuple(notes.found.values())


def spacing_mm(dataset: Dataset) -> tuple[float, float] | None:
    """Return (row, column) spacing by PixelSpacing, else at the detector, None where absent or impossible.

    PixelSpacing comes first: on a projection film it is the calibrated one (PS3.3 10.7.1.3).
    """
    for keyword in _SPACINGS:
        found = numbers(dataset, keyword)
        if len(found) == 2 and all(_SPACING_MM[0] <= value <= _SPACING_MM[1] for value in found):
            return found[0], found[1]
    return None


def has_square_pixels(dataset: Dataset) -> bool:
    """Return whether pixels are about as high as wide, by their spacing, else by PixelAspectRatio."""
    ratio = spacing_mm(dataset) or numbers(dataset, "PixelAspectRatio")
    if len(ratio) != 2 or min(ratio) <= 0:
        return True
    return max(ratio) <= _SQUARE * min(ratio)


def _uid(dataset: Dataset, keyword: str) -> str:
    """Return a UID that may be used as a key and in a file name, "" when absent."""
    found = text(dataset, keyword)
    if found and not _UID.fullmatch(found):
        raise reject("bad_uid", found=keyword)
    return found


def _sex(dataset: Dataset) -> Sex:
    """Return PatientSex, unknown for anything but F, M and O."""
    found = code_string(dataset, "PatientSex")
    return Sex(found) if found in ("F", "M", "O") else Sex.UNKNOWN


def _laterality(dataset: Dataset) -> str:
    """Return ImageLaterality, else Laterality: R, L, U or B, "" when absent."""
    found = code_string(dataset, "ImageLaterality") or code_string(dataset, "Laterality")
    return found if found in ("R", "L", "U", "B") else ""


def _question(dataset: Dataset) -> str:
    """Return the clinical question of the request."""
    for source in (dataset, *items(dataset, "RequestAttributesSequence")):
        found = text(source, "ReasonForTheRequestedProcedure")
        if found:
            return found
    return text(dataset, "ReasonForStudy")


def _age_years(dataset: Dataset, acquired: datetime | None, notes: _Notes) -> float | None:
    """Return PatientAge in years, else the time from birth to acquisition, None if neither is possible."""
    said = code_string(dataset, "PatientAge")
    parts = _AGE.fullmatch(said)
    years: float | None = None
    if parts:
        years = int(parts[1]) * _YEARS[parts[2]]
        if not parts[2]:
            notes.add("age_unit_assumed")
    elif said:
        notes.add("age_ignored")
    born = _date(text(dataset, "PatientBirthDate"))
    if years is None and born and acquired:
        years = (acquired.date() - born).days / 365.25
    if years is not None and not 0 <= years <= _OLDEST:
        notes.add("age_ignored")
        return None
    return years


def _acquired(dataset: Dataset, notes: _Notes) -> datetime | None:
    """Return when the film was taken, aware where an offset from UTC is given.

    By AcquisitionDateTime, else AcquisitionDate and AcquisitionTime, else StudyDate and StudyTime;
    a pair without a time comes last and counts from midnight.
    """
    offset = _offset(text(dataset, "TimezoneOffsetFromUTC"))
    dated: list[datetime] = []
    moment = _MOMENT.fullmatch(text(dataset, "AcquisitionDateTime"))
    candidates = [(moment[1], moment[2] or "", _offset(moment[3] or "") or offset)] if moment else []
    for event in ("Acquisition", "Study"):
        candidates.append((text(dataset, f"{event}Date"), text(dataset, f"{event}Time"), offset))
    for said_date, said_time, zone in candidates:
        day, clock = _date(said_date), _time(said_time)
        if said_date and (day is None or day.year < _FIRST_YEAR):
            notes.add("date_ignored")
        elif day is not None and clock is not None:
            return datetime.combine(day, clock, tzinfo=zone)
        elif day is not None:
            dated.append(datetime.combine(day, time(), tzinfo=zone))
    return dated[0] if dated else None


def _date(said: str) -> date | None:
    """Return a DA value (also the retired YYYY.MM.DD) as date."""
    parts = _DATE.fullmatch(said)
    try:
        return date(int(parts[1]), int(parts[2]), int(parts[3])) if parts else None
    except ValueError:
        return None


def _time(said: str) -> time | None:
    """Return a TM value to the second; minutes and seconds may be missing."""
    parts = _TIME.fullmatch(said)
    try:
        return time(int(parts[1]), int(parts[2] or 0), min(int(parts[3] or 0), 59)) if parts else None
    except ValueError:
        return None


def _offset(said: str) -> timezone | None:
    """Return ±HHMM as time zone, between −12:00 and +14:00 (PS3.5 6.2)."""
    parts = _OFFSET.fullmatch(said)
    if not parts:
        return None
    minutes = (int(parts[2]) * 60 + int(parts[3])) * (-1 if parts[1] == "-" else 1)
    if not -720 <= minutes <= 840:
        return None
    return timezone(timedelta(minutes=minutes)) if minutes else UTC
