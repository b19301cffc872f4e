"""Which view the tags name, by its words: hospitals write XTABLE LAT, AP ERECT or Thorax seitlich."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum

from pydicom import Dataset

from cxr_core.domain import View
from cxr_core.imaging.dicom_values import code_string, items, meanings, text, values


class Named(StrEnum):
    """What a word can name; OTHER is oblique, lordotic, decubitus, axial or tangential."""

    PA = "PA"
    AP = "AP"
    LATERAL = "LATERAL"
    OTHER = "other"


_VIEWS = {Named.PA: View.PA, Named.AP: View.AP, Named.LATERAL: View.LATERAL}
_FRONTAL = frozenset({Named.PA, Named.AP})

_WORDS = {
    Named.PA: re.compile(r"\bP\W{0,2}A\b|\bPOSTER(?:O|IO|IOR)\W*(?:TO\W*)?ANT\w*"),
    Named.AP: re.compile(r"\bA\W{0,2}P\b|\bANTER(?:O|IO|IOR)\W*(?:TO\W*)?POST\w*"),
    Named.LATERAL: re.compile(r"\b(?:[LR]?LAT|LATERALE?|LATERAAL|LL|RL|SEITL|SEITLICH\w*|PROFILO?|PERFIL)\b"),
    Named.OTHER: re.compile(
        r"\b(?:OBL|OBLI[QC]\w*|\w*AXIAL|AX|LORDO\w*|DECUB(?:ITUS)?(?! DORSAL| VENTRAL)|TANGENT\w*"
        r"|[LR]L[DO]|[LR][AP]O)\b"
    ),
}
"""German, French, Italian, Spanish and Dutch laterals too; décubitus dorsal is French for supine."""

_MEDIOLATERAL = frozenset({"ML", "LM"})
"""Of ViewPosition alone: in a description they are other things."""

_TELLS_NOTHING = frozenset(
    {"A", "BEDSIDE", "CHEST", "ERECT", "FRONTAL", "MOBILE", "N", "NA", "NONE", "PORTABLE", "SITTING"}
    | {"STANDING", "SUPINE", "THORAX", "UNKNOWN", "UNSPECIFIED", "UPRIGHT", "VIEW"}
)
"""Words of ViewPosition that leave the view open and are no reason for doubt."""

_TEXTS = ("SeriesDescription", "AcquisitionDeviceProcessingDescription", "ProtocolName")
_SUPINE = re.compile(r"\b(SUPIN[EOA]|RECUMBENT|LIEGEND?|DECUBITUS DORSAL)\b")


def view(dataset: Dataset) -> View:
    """Return the projection by the first tag that names exactly one: "Chest PA and lateral" names a study.

    In this order: ViewPosition, ViewCodeSequence (CID 4010), PatientPosition where a device writes
    PA or AP into it, descriptive texts, and PatientOrientation, whose rows run front to back only on
    a lateral film (PS3.3 C.7.6.1.1.1).
    """
    position = named(code_string(dataset, "PatientPosition")) & _FRONTAL
    said = [*_coded(dataset), position, *_described(dataset)]
    for each in said:
        if len(each) == 1 and (found := _VIEWS.get(next(iter(each)))) is not None:
            return found
    rows = next((str(value).upper() for value in values(dataset, "PatientOrientation")), "")
    if rows[:1] in ("A", "P"):
        return View.LATERAL
    return View.AP if is_supine(dataset) else View.UNKNOWN


def is_unusual(dataset: Dataset) -> bool:
    """Return whether the tags name another view than frontal and lateral.

    Codes decide; a description does where they are silent and it names no frontal view as well.
    """
    said = [*_coded(dataset), *(named(one) for one in _modifiers(dataset))]
    if any(Named.OTHER in each for each in said):
        return True
    described = frozenset[Named]().union(*_described(dataset))
    return not any(said) and Named.OTHER in described and not described & _FRONTAL


def is_unclear(dataset: Dataset) -> bool:
    """Return whether words of ViewPosition are not understood, or a description names an unusual view.

    To be asked where `is_unusual` said no.
    """
    if any(Named.OTHER in each for each in _described(dataset)):
        return True
    if any(each <= _FRONTAL or len(each) == 1 for each in _coded(dataset) if each):
        return False
    words = re.findall("[A-Z]+", plain(code_string(dataset, "ViewPosition")))
    return not _TELLS_NOTHING.issuperset(words)


def is_supine(dataset: Dataset) -> bool:
    """Return whether a tag says that the patient lay on the back."""
    if code_string(dataset, "PatientPosition") in ("HFS", "FFS"):
        return True
    said = [text(dataset, keyword) for keyword in ("ViewPosition", *_TEXTS)]
    return any(_SUPINE.search(plain(one)) for one in (*said, *_modifiers(dataset)))


def named(said: str) -> frozenset[Named]:
    """Return the views that the words of a text name.

    >>> sorted(named("Thorax p.a. und seitlich"))
    [<Named.LATERAL: 'LATERAL'>, <Named.PA: 'PA'>]
    """
    words = plain(said)
    return frozenset(view for view, pattern in _WORDS.items() if pattern.search(words))


def plain(said: str) -> str:
    """Return a text in capitals without accents, underscores as blanks."""
    letters = unicodedata.normalize("NFKD", said.upper().replace("_", " "))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _coded(dataset: Dataset) -> Iterator[frozenset[Named]]:
    """Yield what ViewPosition and each item of ViewCodeSequence name."""
    position = code_string(dataset, "ViewPosition")
    yield frozenset({Named.LATERAL}) if position in _MEDIOLATERAL else named(position)
    for meaning in meanings(dataset, "ViewCodeSequence"):
        yield named(meaning)


def _described(dataset: Dataset) -> Iterator[frozenset[Named]]:
    """Yield what each descriptive text names."""
    for keyword in _TEXTS:
        yield named(text(dataset, keyword))


def _modifiers(dataset: Dataset) -> Iterator[str]:
    """Yield how the patient was placed and the view modified, as coded."""
    yield from meanings(dataset, "PatientOrientationModifierCodeSequence")
    for sequence in ("PatientOrientationCodeSequence", "ViewCodeSequence"):
        for item in items(dataset, sequence):
            yield from meanings(item, "PatientOrientationModifierCodeSequence")
            yield from meanings(item, "ViewModifierCodeSequence")
