"""A film as it may leave the house: the same picture, and nothing that says whose it is.

DICOM by the Basic Application Level Confidentiality Profile (`profile`), PNG and JPEG as their grey alone.
Text burnt into the picture is looked for and never let through unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from io import BytesIO

from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRBigEndian, ImplicitVRLittleEndian

from cxr_core.domain import AS_SENT, Correction, Radiograph, View
from cxr_core.errors import Conflict, Rejected
from cxr_core.imaging import dicom, raster_bare, refusals
from cxr_core.imaging.annotations import TextBox, every_text, joined
from cxr_core.imaging.correct import corrected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.dicom_bare import full_range, set_pixels
from cxr_core.imaging.dicom_study import read_study
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.profile import new_uid, pseudonym, without_identity
from cxr_core.imaging.quiet import quiet

KEY_BYTES = 32

METHOD = "DICOM PS3.15 Basic Application Level Confidentiality Profile"
_PROFILE = ("113100", "Basic Application Confidentiality Profile")
_CLEAN_PIXELS = ("113101", "Clean Pixel Data Option")
_VIEWS = {View.PA: "PA", View.AP: "AP", View.LATERAL: "LL"}


class Text(StrEnum):
    """What to do with a film into which text is, or seems to be, burnt."""

    REFUSE = "refuse"
    BLANK = "blank"
    CHECKED = "checked"
    """A person has looked and says that it names nobody."""


@dataclass(frozen=True, slots=True)
class Anonymous:
    """A film without identity.

    Attributes:
        name: of the file; the same film has the same name under the same key.
        raw: the file.
        blanked: places of the picture that were blacked out.
    """

    name: str
    raw: bytes = field(repr=False)
    blanked: int


def deidentified(
    raw: bytes, key: bytes, limits: Limits, *, text: Text = Text.REFUSE, correction: Correction = AS_SENT
) -> Anonymous:
    """Return a film without identity.

    Args:
        raw: a PNG, JPEG or DICOM file.
        key: KEY_BYTES secret bytes; the same key gives the same UIDs and pseudonyms, another one others.
        limits: on what is decoded.
        text: what to do where the picture or its tags speak of text.
        correction: how a PNG or JPEG is to hang; DICOM, whose tags say how it hangs, stays as it was sent.

    Raises:
        Rejected: the film cannot be decoded, so nobody can tell what it shows.
        Conflict: there is, or may be, text, and nobody has said what to do; or none was found to be blanked.
    """
    film = decode(raw, limits)
    try:
        if film.source == "DICOM":
            return _dicom(raw, film, key, limits, text)
        return _picture(raw, film, key, text, correction)
    except (Conflict, MemoryError, Rejected):
        raise
    except Exception as exc:  # pydicom writes less than it reads, and its messages quote the tags
        raise refusals.reject("broken_dicom", found="a value that cannot be written") from exc


def _picture(raw: bytes, film: Radiograph, key: bytes, text: Text, correction: Correction) -> Anonymous:
    hung, found = corrected(film, correction), every_text(film.pixels)
    if correction:  # text stands upright in the one or in the other
        as_sent = (_turned(box, film.pixels.shape, correction.quarter_turns) for box in found)
        found = joined((*as_sent, *every_text(hung.pixels)))
    boxes = _to_blank(found, film, text)
    name = f"{pseudonym(key, 'film', film.sha256).hex()[:24]}.png"
    return Anonymous(name, raster_bare.bare(raw, hung, boxes), len(boxes))


def _turned(box: TextBox, shape: tuple[int, ...], quarter_turns: int) -> TextBox:
    """Return where a box of a picture of (rows, columns) lies once that is turned counter-clockwise."""
    rows, columns = shape
    for _ in range(quarter_turns):
        box = TextBox(columns - box.right, box.top, columns - box.left, box.bottom)
        rows, columns = columns, rows
    return box


def _dicom(raw: bytes, film: Radiograph, key: bytes, limits: Limits, text: Text) -> Anonymous:
    with quiet():
        dataset = dicom.read_tags(raw, limits)
        form = dicom.check_pixels(dataset, limits)
        stored = dicom.stored_pixels(dataset, form)
        # One window may hide text that another one shows.
        found = joined((*every_text(film.pixels), *every_text(full_range(stored, form))))
        boxes = _to_blank(found, film, text)
        made = without_identity(dataset, key)
        _restore(made, film, key)
        syntax = set_pixels(made, dataset, stored, form, film, boxes)
        _say_so(made, blanked=bool(boxes), checked=text is Text.CHECKED)
        return Anonymous(f"{made.SOPInstanceUID}.dcm", _written(made, dataset, syntax), len(boxes))


def _to_blank(boxes: Sequence[TextBox], film: Radiograph, text: Text) -> Sequence[TextBox]:
    """Return what is to be blacked out; raise Conflict where a person must first say or do something."""
    if text is Text.REFUSE and (boxes or film.burned_in):
        who = "the tags say that text is burnt" if film.burned_in else "text seems to be burnt"
        raise Conflict(
            f"{who} into the picture, which may name the patient: have it blacked out, or look at the film "
            "and say that it names nobody"
        )
    if text is Text.BLANK and film.burned_in and not boxes:
        raise Conflict(
            "the tags say that text is burnt into the picture, but none was found that could be blacked out: "
            "look at the film, and say if it names nobody"
        )
    return boxes if text is Text.BLANK else ()


def _restore(made: Dataset, film: Radiograph, key: bytes) -> None:
    """Set what a film must have, and as codes what only values said that the profile takes away."""
    made.SpecificCharacterSet = "ISO_IR 192"
    if not made.get("SOPClassUID"):
        made.SOPClassUID = ComputedRadiographyImageStorage
    if not made.get("SOPInstanceUID") or made["SOPInstanceUID"].VM > 1:
        made.SOPInstanceUID = new_uid(key, film.sha256)
    shown, _ = read_study(made)
    if film.study.body_part and not shown.body_part:
        made.BodyPartExamined = "CHEST"  # of nothing else a film is decoded
    if film.study.view is not shown.view and film.study.view in _VIEWS:
        made.ViewPosition = _VIEWS[film.study.view]
    if film.study.supine and not shown.supine:
        lying = _coded("102538003", "recumbent", "SCT")
        lying.PatientOrientationModifierCodeSequence = Items([_coded("40199007", "supine", "SCT")])
        made.PatientOrientationCodeSequence = Items([lying])


def _say_so(made: Dataset, *, blanked: bool, checked: bool) -> None:
    """Set what says that and how the identity was taken away (PS3.15 E.1.1, PS3.3 C.7.1.1)."""
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = METHOD
    options = [_PROFILE, _CLEAN_PIXELS] if blanked else [_PROFILE]
    made.DeidentificationMethodCodeSequence = Items([_coded(*option) for option in options])
    made.LongitudinalTemporalInformationModified = "REMOVED"
    if blanked or checked:
        made.BurnedInAnnotation = "NO"


def _coded(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _written(made: Dataset, dataset: FileDataset, syntax: str) -> bytes:
    """Return the file: a new preamble and new meta information, then the data set."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    out = BytesIO()
    made.save_as(
        out,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    return out.getvalue()
