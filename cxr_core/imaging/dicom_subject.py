"""What the tags say was filmed: refused unless it can be a plain radiograph of a human chest."""

from __future__ import annotations

import re

from pydicom import Dataset

from cxr_core.domain import Notice, View
from cxr_core.imaging.dicom_values import clean, code_string, meanings, text, values
from cxr_core.imaging.dicom_view import is_unclear, is_unusual, plain
from cxr_core.imaging.refusals import note, reject, warning

RADIOGRAPHY = frozenset({"CR", "DX", "DR", "RG", "XR"})
"""Modality (0008,0060): computed and digital radiography, film; DR and XR are common misnomers of DX."""

_OTHER_MODALITIES = frozenset(
    {"BI", "BMD", "CF", "CT", "DF", "DOC", "DS", "ECG", "EEG", "ES", "FA", "GM", "IO", "IVOCT", "IVUS", "KO"}
    | {"MG", "MR", "NM", "OCT", "OP", "OPT", "PLAN", "PR", "PT", "PX", "REG", "RF", "RTDOSE", "RTIMAGE"}
    | {"RTPLAN", "RTSTRUCT", "SEG", "SM", "SR", "ST", "US", "VF", "XA", "XC"}
)
"""Those that are surely no plain radiograph, and that a message may name. OT and SC can be a scanned film."""

_CHEST = re.compile(
    r"CHEST|THORAX|THORAK|TORAX|TORACE|POITRINE|BRUSTKORB|\bLUNGS?\b|\bCXR\b|PULMO|POUMON|POLMON"
)
_MORE = re.compile(r"ABD|SPINE|NECK|PELV|HEAD|\bRIB|STERN|CLAV|SHOULDER|BREAST|EXTREM|CERVI|LUMB")
"""What makes of a chest more than a chest: CHESTABDOMEN, NECKCHEST."""

_OTHER_PARTS = re.compile(
    r"SPINE|\b(?:L|R|LT|RT|LEFT|RIGHT|UP|UPPER|LOW|LOWER)?(?:"
    r"ABD|ADDOM|ANKLE|BLADDER|BRAIN|BREAST|CALCAN|CERVI|CLAV|COCCY|CRANI|ELBOW|EXTREM|FACIAL|FEMUR|FEMOR"
    r"|FIBULA|FINGER|FOREARM|GALLBLADDER|HEAD|HUMER|KIDNEY|KNEE|LIMB|LIVER|LUMB|MANDIB|MASTOID|MAXILLA|NECK"
    r"|ORBIT|PATELLA|PELVI|RIB|SACR|SCAPULA|SHOULDER|SINUS|SKULL|STERN|TEETH|THIGH|THUMB|TIBIA|TOOTH|WRIST"
    r"|ZYGOMA"
    r"|BACINO|BASSIN|BECKEN|CADERA|CAVIGLIA|CHEVILLE|COLUMNA|COUDE|CRANE|ELLENBOGEN|EPAULE|FUSS|GENOU|GINOCCHIO"
    r"|GOMITO|HANCHE|HANDGELENK|HOMBRO|HUE?FTE|KNIE|POIGNET|POLSO|RACHI|RODILLA|SCHAE?DEL|SCHULTER|SPALLA"
    r"|TOBILLO|WIRBELS|(?:HWS|BWS|LWS|MANO|PIE|PIED|PIEDE)\b"
    r"|(?:ARM|CALF|EAR|EYE|FACE|FEET|FOOT|HAND|HIP|JAW|LEG|NOSE|TMJ|TOE)S?(?:L|R|LT|RT|LEFT|RIGHT)?\b)"
)
"""Other parts by PS3.16 Annex L and in four more languages, whatever side or view stands with them.

Not the organs of the chest and its neighbours (HEART, MEDIASTINUM, BACK), nor WHOLEBODY, UNKNOWN or a typing
error: of these the picture tells.
"""

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


def check_subject(dataset: Dataset) -> tuple[tuple[Notice, ...], tuple[Notice, ...]]:
    """Return warnings on what the tags leave in doubt, and notes on what they leave open.

    Raises:
        Rejected: animal, wrong_modality, wrong_body_part, raw_detector_data or unsupported_view.
    """
    warnings: list[Notice] = []
    notes: list[Notice] = []
    if _is_animal(dataset):
        raise reject("animal")
    modality = code_string(dataset, "Modality")
    if modality in _OTHER_MODALITIES:
        raise reject("wrong_modality", found=modality)
    if not modality:
        notes.append(note("modality_unknown"))
    elif modality not in RADIOGRAPHY:
        warnings.append(warning("modality_unclear"))
    part = plain(body_part(dataset))
    if not _CHEST.search(part):
        if _OTHER_PARTS.search(part):
            raise reject("wrong_body_part")
        notes.append(note("body_part_unknown"))
    elif _MORE.search(part):
        warnings.append(warning("more_than_chest"))
    if code_string(dataset, "PresentationIntentType") == "FOR PROCESSING":
        raise reject("raw_detector_data")
    if is_unusual(dataset):
        raise reject("unsupported_view")
    if is_unclear(dataset):
        warnings.append(warning("view_unclear"))
    return tuple(warnings), tuple(notes)


def body_part(dataset: Dataset) -> str:
    """Return BodyPartExamined, else the meaning of AnatomicRegionSequence, in capitals."""
    return (
        code_string(dataset, "BodyPartExamined")
        or next(meanings(dataset, "AnatomicRegionSequence"), "").upper()
    )


def is_hung_as_usual(dataset: Dataset, projection: View) -> bool:
    """Return False if a frontal film is not L, F: rows towards the left, columns towards the feet."""
    return projection is View.LATERAL or orientation(dataset) in ("", "LF")


def orientation(dataset: Dataset) -> str:
    """Return where rows and columns run to by PatientOrientation: "LF" as usual, "" unknown.

    Of each direction the first letter: L, R, H, F, A or P (PS3.3 C.7.6.1.1.1).
    """
    found = [clean(str(value)).upper()[:1] for value in values(dataset, "PatientOrientation")]
    axes = {axis for axis in ("LR", "HF", "AP") for letter in found if letter and letter in axis}
    return "".join(found) if len(found) == len(axes) == 2 else ""


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
