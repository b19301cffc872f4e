"""What the tags say was filmed: refused unless it can be a plain radiograph of a human chest."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydicom import Dataset

from cxr_core.domain import Hanging, Notice, View
from cxr_core.imaging.dicom_values import clean, code_string, items, meanings, text, values
from cxr_core.imaging.refusals import note, reject

RADIOGRAPHY = frozenset({"CR", "DX", "DR", "RG"})
"""Modality (0008,0060): computed and digital radiography, film; DR is a common misnomer of DX."""

_OTHER_MODALITIES = frozenset(
    {"CT", "DOC", "ECG", "IO", "IVUS", "KO", "MG", "MR", "NM", "OP", "OT", "PR", "PT", "PX", "RF", "RTIMAGE"}
    | {"SC", "SEG", "SM", "SR", "US", "XA", "XC"}
)
"""Those that a message may name; any other text stays out of it."""

_CHEST = re.compile(r"CHEST|THORAX|TORAX|TORACE|BRUSTKORB|\bLUNGS?\b|\bCXR\b|PULMO")
_NOT_ONLY_CHEST = re.compile(r"ABD|SPINE|NECK|PELV|HEAD|\bRIB|STERN|CLAV|SHOULDER|BREAST|EXTREM|CERVI|LUMB")

_ANIMAL = re.compile(
    r"veterin|\b(canine|feline|equine|bovine|porcine|ovine|avian|leporine|murine|rodent|reptile)\b"
)
_HUMAN = re.compile(r"human|homo sapiens|\bman\b")
_ANIMAL_TEXTS = (
    "AcquisitionDeviceProcessingDescription",
    "BodyPartExamined",
    "InstitutionName",
    "ProtocolName",
    "SeriesDescription",
    "StudyDescription",
)

_FRONTAL_VIEWS = {"PA": View.PA, "AP": View.AP}
_LATERAL_VIEWS = frozenset({"LL", "RL", "LAT", "LATERAL", "LEFT LATERAL", "RIGHT LATERAL", "ML", "LM"})
_OTHER_VIEWS = frozenset(
    {"RLD", "LLD", "RLO", "LLO", "RAO", "LAO", "RPO", "LPO", "AX", "AXIAL", "OBL", "OBLIQUE"}
)
_VIEW_TEXTS = ("SeriesDescription", "AcquisitionDeviceProcessingDescription", "ProtocolName")
_SUPINE = re.compile(r"\b(supine|recumbent|liegend)\b")


def check_subject(dataset: Dataset) -> tuple[Notice, ...]:
    """Return notes on what the tags leave open.

    Raises:
        Rejected: animal, wrong_modality, wrong_body_part, raw_detector_data or unsupported_view.
    """
    notes: list[Notice] = []
    if _is_animal(dataset):
        raise reject("animal")
    modality = code_string(dataset, "Modality")
    if not modality:
        notes.append(note("modality_unknown"))
    elif modality not in RADIOGRAPHY:
        raise reject(
            "wrong_modality", found=modality if modality in _OTHER_MODALITIES else "another kind of object"
        )
    part = body_part(dataset)
    if not part:
        notes.append(note("body_part_unknown"))
    elif not _CHEST.search(part) or _NOT_ONLY_CHEST.search(part):
        raise reject("wrong_body_part")
    if code_string(dataset, "PresentationIntentType") == "FOR PROCESSING":
        raise reject("raw_detector_data")
    if _is_unusual_view(dataset):
        raise reject("unsupported_view")
    return tuple(notes)


def body_part(dataset: Dataset) -> str:
    """Return BodyPartExamined, else the meaning of AnatomicRegionSequence, in capitals."""
    return (
        code_string(dataset, "BodyPartExamined")
        or next(meanings(dataset, "AnatomicRegionSequence"), "").upper()
    )


def view(dataset: Dataset) -> View:
    """Return the projection by the first tag that names one.

    In this order: ViewPosition, ViewCodeSequence (CID 4010), PatientPosition where a device writes
    PA or AP into it, descriptive texts that name exactly one view, and PatientOrientation, whose
    rows run front to back only on a lateral film (PS3.3 C.7.6.1.1.1).
    """
    for found in _named_views(dataset):
        if found is not View.UNKNOWN:
            return found
    rows = next((str(value).upper() for value in values(dataset, "PatientOrientation")), "")
    if rows[:1] in ("A", "P"):
        return View.LATERAL
    return View.AP if is_supine(dataset) else View.UNKNOWN


def _named_views(dataset: Dataset) -> Iterator[View]:
    """Yield what each tag says, best tag first."""
    position = code_string(dataset, "ViewPosition")
    yield View.LATERAL if position in _LATERAL_VIEWS else _FRONTAL_VIEWS.get(position, View.UNKNOWN)
    for meaning in meanings(dataset, "ViewCodeSequence"):
        yield _view_of_meaning(meaning)
    yield _FRONTAL_VIEWS.get(code_string(dataset, "PatientPosition"), View.UNKNOWN)
    for keyword in _VIEW_TEXTS:
        yield _view_of_text(text(dataset, keyword))


def _view_of_meaning(meaning: str) -> View:
    """Return the view of a code meaning of CID 4010, such as "postero-anterior" or "left lateral"."""
    letters = re.sub("[^a-z]", "", meaning)
    named = {"posteroanterior": View.PA, "anteroposterior": View.AP}
    return named.get(letters, View.LATERAL if letters.endswith("lateral") else View.UNKNOWN)


def _view_of_text(description: str) -> View:
    """Return the view if `description` names exactly one: "Chest PA and lateral" names a study."""
    words = set(re.findall("[A-Z]+", description.upper()))
    named = {view for word, view in _FRONTAL_VIEWS.items() if word in words}
    if words & {"LAT", "LATERAL", "LL", "RL"}:
        named.add(View.LATERAL)
    return named.pop() if len(named) == 1 else View.UNKNOWN


def is_supine(dataset: Dataset) -> bool:
    """Return whether a tag says that the patient lay on the back."""
    if code_string(dataset, "PatientPosition") in ("HFS", "FFS"):
        return True
    said = [text(dataset, keyword).lower() for keyword in _VIEW_TEXTS]
    for region in items(dataset, "PatientOrientationCodeSequence"):
        said.extend(meanings(region, "PatientOrientationModifierCodeSequence"))
    said.extend(meanings(dataset, "PatientOrientationModifierCodeSequence"))
    return any(_SUPINE.search(one) for one in said)


def is_hung_as_usual(dataset: Dataset, projection: View) -> bool:
    """Return False if a frontal film is not L, F: rows towards the left, columns towards the feet."""
    found = _orientation(dataset)
    return projection is View.LATERAL or len(found) != 2 or "" in found or found == ("L", "F")


def hanging(dataset: Dataset) -> Hanging:
    """Return how the film hangs by PatientOrientation (PS3.3 C.7.6.1.1.1)."""
    directions = _orientation(dataset)
    if len(directions) == 2 and set(directions) & {"A", "P"}:
        return Hanging.LATERAL
    match directions:
        case ("L", "F"):
            return Hanging.USUAL
        case ("R", "F"):
            return Hanging.MIRRORED
        case ("L" | "R", "H") | ("H" | "F", "L" | "R"):
            return Hanging.TURNED
        case _:
            return Hanging.UNKNOWN


def _orientation(dataset: Dataset) -> tuple[str, ...]:
    """Return the first letter of each value of PatientOrientation: where rows and columns run to."""
    return tuple(clean(str(value)).upper()[:1] for value in values(dataset, "PatientOrientation"))


def _is_unusual_view(dataset: Dataset) -> bool:
    """Return whether the tags name an oblique, decubitus or axial view."""
    if code_string(dataset, "ViewPosition") in _OTHER_VIEWS:
        return True
    unusual = re.compile("oblique|axial|decubitus|tangential")
    said = [*meanings(dataset, "ViewCodeSequence")]
    for sequence in ("PatientOrientationCodeSequence", "ViewCodeSequence"):
        for item in items(dataset, sequence):
            said.extend(meanings(item, "PatientOrientationModifierCodeSequence"))
            said.extend(meanings(item, "ViewModifierCodeSequence"))
    return any(unusual.search(one) for one in said)


def _is_animal(dataset: Dataset) -> bool:
    """Return whether species, breed or a description speaks of an animal."""
    species = [
        text(dataset, "PatientSpeciesDescription").lower(),
        *meanings(dataset, "PatientSpeciesCodeSequence"),
    ]
    if any(one and not _HUMAN.search(one) for one in species):
        return True
    if text(dataset, "PatientBreedDescription"):
        return True
    said = [text(dataset, keyword).lower() for keyword in _ANIMAL_TEXTS]
    said.extend(meanings(dataset, "PerformedProtocolCodeSequence"))
    return any(_ANIMAL.search(one) for one in said)
