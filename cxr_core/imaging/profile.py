"""DICOM PS3.15 Annex E, Basic Application Level Confidentiality Profile, on the tags of one film.

The table of the standard is dicom-anonymizer's. It names what identifies; a film needs little besides. So
what the table does not name is kept only where it is a number, a code of a closed list, a UID of the standard
or one of a few texts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from itertools import takewhile
from types import MappingProxyType

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from dicomanonymizer.simpledicomanonymizer import replace_element
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

EDITION = "2026c"
"""Of the standard, whose table is used."""

_TABLE_DATA = BaseTag(0x00283006)
"""LUTData."""

_NUMBERS = frozenset({"AT", "DS", "FD", "FL", "IS", "SL", "SS", "UL", "US"})
_DIRECTION = "[APRLHF]{0,3}"
_CODES = MappingProxyType(
    {
        keyword: re.compile(values)
        for keyword, values in {
            "BodyPartExamined": "CHEST|THORAX|LUNG",
            "BurnedInAnnotation": "YES|NO",
            "CalibrationImage": "YES|NO",
            "CollimatorShape": "RECTANGULAR|CIRCULAR|POLYGONAL",
            "ConversionType": "DF|DI|DRW|DV|SD|SI|SYN|WSD",
            "DetectorConfiguration": "AREA|SLOT",
            "DetectorType": "DIRECT|FILM|SCINTILLATOR|STORAGE",
            "ExposureControlMode": "AUTOMATIC|MANUAL",
            "ExposureStatus": "ABORTED|NORMAL",
            "FieldOfViewHorizontalFlip": "YES|NO",
            "FieldOfViewShape": "HEXAGONAL|RECTANGLE|ROUND",
            "FilterMaterial": "ALUMINUM|COPPER|EUROPIUM|LEAD|MOLYBDENUM|NIOBIUM|RHODIUM|SILVER",
            "Grid": "CROSSED|FIXED|FOCUSED|IN|NONE|PARALLEL|RECIPROCATING",
            "ImageLaterality": "R|L|U|B",
            "ImageType": "ORIGINAL|DERIVED|PRIMARY|SECONDARY",
            "Laterality": "R|L",
            "LossyImageCompression": "00|01",
            "LossyImageCompressionMethod": "ISO_10918_1|ISO_14495_1|ISO_15444_1",
            "Modality": "CR|DR|DX|OT|RG|SC|XR",
            "ModalityLUTType": "HU|OD|US",
            "PatientOrientation": _DIRECTION,
            "PatientPosition": "AP|PA|[HF]F(P|S|DR|DL)",
            "PhotometricInterpretation": "MONOCHROME[12]",
            "PixelIntensityRelationship": "DISP|LIN|LOG|OTHER",
            "PixelSpacingCalibrationType": "FIDUCIAL|GEOMETRY",
            "PresentationIntentType": "FOR PRESENTATION",
            "PresentationLUTShape": "IDENTITY|INVERSE",
            "QualityControlImage": "YES|NO|BOTH",
            "RecognizableVisualFeatures": "YES|NO",
            "RescaleType": "HU|OD|PCT|US",
            "ViewPosition": "AP|LL|PA|RL",
            "VOILUTFunction": "LINEAR|LINEAR_EXACT|SIGMOID",
        }.items()
    }
)
"""By keyword what may be said, of the standard's defined terms and enumerated values."""

_STANDARD_UIDS = frozenset(
    {"CodingSchemeUID", "ContextUID", "MappingResourceUID", "OriginalSpecializedSOPClassUID"}
    | {"ReferencedSOPClassUID", "RelatedGeneralSOPClassUID", "SOPClassUID"}
)
"""Elements that hold a UID of the standard's own."""

_TEXTS = frozenset(
    {"CodeMeaning", "CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion"}
    | {"Manufacturer", "ManufacturerModelName"}
)
_SEQUENCES = frozenset(
    {"AnatomicRegionModifierSequence", "AnatomicRegionSequence", "ModalityLUTSequence", "VOILUTSequence"}
    | {"PatientGantryRelationshipCodeSequence", "PatientOrientationCodeSequence"}
    | {"PatientOrientationModifierCodeSequence", "ViewCodeSequence", "ViewModifierCodeSequence"}
)

_PSEUDONYMS = frozenset({"PatientID", "PatientName"})


def pseudonym(key: bytes, purpose: str, value: str) -> bytes:
    """Return 32 bytes that nobody can tell from chance who has not the key; the same for the same value."""
    return hmac.digest(key, f"{purpose} {value}".encode("utf-8", "backslashreplace"), hashlib.sha256)


def new_uid(key: bytes, uid: str) -> str:
    """Return a UID under 2.25 in place of another."""
    return f"2.25.{int.from_bytes(pseudonym(key, 'uid', uid)[:16], 'big')}"


def without_identity(dataset: Dataset, key: bytes) -> Dataset:
    """Return a new data set of what may be told of a film; its pixels are not among it.

    Args:
        dataset: of a film; it is not changed.
        key: secret; films of one study, and studies of one patient, stay together under the same key.

    Source: DICOM PS3.15 E.1.1, table E.1-1.
    """
    kept = Dataset()
    for tag in dataset.keys():  # noqa: SIM118 -- iterating itself reads every value, broken ones too
        known = not tag.is_private and tag.element and tag.group >> 8 not in (0x50, 0x60)
        if not known or tag.group <= 4 or tag.group >= 0x7FE0 or not dictionary_has_tag(tag):
            continue
        try:
            said = _table(dataset) if tag == _TABLE_DATA else _said(dataset[tag], key)
        except Exception:  # noqa: S112 -- pydicom raises seven kinds of error for a broken value: left out
            continue
        if said is not None:
            kept.add(said)
    return kept


def _table(dataset: Dataset) -> DataElement | None:
    """Return LUTData with as many entries as its descriptor states."""
    data, count = dataset[_TABLE_DATA], int(dataset["LUTDescriptor"].value[0]) % 65536 or 65536
    if not isinstance(data.value, bytes):
        return DataElement(data.tag, data.VR, _values(data)[:count]) if _is_number(data) else None
    packed = len(data.value) < 2 * count
    entries = data.value[: count if packed else 2 * count]
    return DataElement(data.tag, data.VR, entries + b"\0" * (len(entries) % 2))


def _said(element: DataElement, key: bytes) -> DataElement | None:
    """Return what may be said of an element; None: nothing."""
    action = _ACTIONS.get(element.tag)
    if action is not None:
        return action(element, key)
    if element.VR == "SQ":
        if element.keyword not in _SEQUENCES:
            return None
        items = [without_identity(item, key) for item in element.value]
        return DataElement(element.tag, "SQ", Sequence(items))
    if element.VR == "UI":
        return _standard_uid(element) if element.keyword in _STANDARD_UIDS else _uids(element, key)
    if element.keyword in _CODES:
        return _codes(element)
    if element.keyword in _TEXTS or _is_number(element):
        return DataElement(element.tag, element.VR, element.value)
    return None


def _is_number(element: DataElement) -> bool:
    """Return whether it holds numbers, as it should; pydicom hands on what it cannot convert."""
    values = _values(element)
    return element.VR.split(" ")[0] in _NUMBERS and all(isinstance(value, int | float) for value in values)


def _values(element: DataElement) -> list[object]:
    """Return all values of an element, none of an empty one."""
    if element.VM > 1:
        return list(element.value)
    return [] if element.is_empty else [element.value]


def _codes(element: DataElement) -> DataElement | None:
    """Return the element up to its first value that is none of those it may have."""
    said = (str(value).strip().upper() for value in _values(element))
    kept = list(takewhile(_CODES[element.keyword].fullmatch, said))
    return DataElement(element.tag, element.VR, kept) if kept or element.is_empty else None


def _standard_uid(element: DataElement) -> DataElement | None:
    """Return the element if it holds a UID of the standard's own."""
    return DataElement(element.tag, "UI", element.value) if UID(str(element.value)).type else None


def _uids(element: DataElement, key: bytes) -> DataElement | None:
    """Return new UIDs."""
    if element.VR != "UI":
        return None
    return DataElement(element.tag, "UI", [UID(new_uid(key, str(value))) for value in _values(element)])


def _removed(element: DataElement, key: bytes) -> DataElement | None:
    return None


def _emptied(element: DataElement, key: bytes) -> DataElement | None:
    """Return the element without value; a patient's name or number with one that only says "the same"."""
    if element.keyword in _PSEUDONYMS and not element.is_empty:
        made = pseudonym(key, element.keyword, str(element.value)).hex()[:12].upper()
        return DataElement(element.tag, element.VR, made)
    return DataElement(element.tag, element.VR, Sequence() if element.VR == "SQ" else None)


def _replaced(element: DataElement, key: bytes) -> DataElement | None:
    """Return the element with a dummy; a sequence, or what has no dummy, is removed."""
    dummy = DataElement(element.tag, element.VR, element.value)
    if dummy.VR in ("SQ", "UI"):
        return _uids(element, key)
    try:
        replace_element(dummy)
    except NotImplementedError:
        return None
    return dummy


_BY_LIST: MappingProxyType[str, Callable[[DataElement, bytes], DataElement | None]] = MappingProxyType(
    {
        "D_TAGS": _replaced,
        "Z_TAGS": _emptied,
        "Z_D_TAGS": _emptied,
        "X_Z_TAGS": _emptied,
        "X_Z_D_TAGS": _emptied,
        "U_TAGS": _uids,
        "X_TAGS": _removed,
        "X_D_TAGS": _removed,
        "X_Z_U_STAR_TAGS": _removed,
    }
)
"""What is done by list of the table: of two choices the one that suits CR and DX, where nothing of X/D is
required and something of X/Z may be required though empty."""

_TABLE = dicom_anonymization_database_selector(f"dicomfields_{EDITION}")

_ACTIONS = {
    BaseTag(tag[0] << 16 | tag[1]): action
    for name, action in _BY_LIST.items()
    for tag in _TABLE[name]
    if len(tag) == 2
}
