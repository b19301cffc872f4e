"""DICOM files of phantoms, as a digital (DX) or a computed (CR) radiography system would write them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cxr_core.domain import View
from cxr_core.imaging.phantom import Phantom
from cxr_core.imaging.phantom_shapes import FIELD_CM

TRANSFER_SYNTAXES: tuple[str, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
    JPEG2000,
    JPEGLSLossless,
    JPEGLSNearLossless,
)
"""What `phantom_dicom` can write."""

_LOSSY: dict[str, str] = {JPEG2000: "ISO_15444_1", JPEGLSNearLossless: "ISO_14495_1"}
_SOP_CLASSES = {"DX": DigitalXRayImageStorageForPresentation, "CR": ComputedRadiographyImageStorage}
_VIEW_CODES = {
    View.PA: ("399348003", "postero-anterior"),
    View.AP: ("399033003", "antero-posterior"),
    View.LATERAL: ("399067008", "lateral projection"),
}
_VIEW_POSITIONS = {View.PA: "PA", View.AP: "AP", View.LATERAL: "LL", View.UNKNOWN: ""}


def phantom_dicom(
    phantom: Phantom,
    *,
    patient_id: str = "SYNTHETIC-1",
    patient_name: str = "Phantom^Synthetic",
    age_years: int = 54,
    acquired: datetime = datetime(2026, 1, 5, 9, 30),
    transfer_syntax: str = ExplicitVRLittleEndian,
    photometric: str = "MONOCHROME2",
    bits: int = 12,
    modality: str = "DX",
    view: View | None = None,
    window: tuple[float, float] | None = None,
    rescale: tuple[float, float] = (1.0, 0.0),
    extra: Mapping[str, Any] | None = None,
) -> bytes:
    """Return a DICOM Part 10 file of the phantom; equal arguments give equal bytes.

    Args:
        phantom: the film.
        patient_id: of the invented person.
        patient_name: DICOM form, family^given.
        age_years: at the exposure.
        acquired: local time of exposure, study and content.
        transfer_syntax: one of `TRANSFER_SYNTAXES`.
        photometric: MONOCHROME2, or MONOCHROME1 (stored values turned round).
        bits: BitsStored, 8 to 16; 8 is kept in bytes, more in words.
        modality: DX or CR.
        view: what the tags claim, by default the phantom's own; LATERAL only changes the tags.
        window: centre and width after rescale; by default the whole range.
        rescale: slope and intercept.
        extra: elements to set last by keyword (a value of None removes one), for tests of odd files.

    Raises:
        ValueError: a transfer syntax, photometric interpretation, depth or modality it cannot write.

    Source: DICOM PS3.3 A.26 (DX), A.2 (CR), C.8.11; window by C.11.2.1.2.1.
    """
    _check(transfer_syntax, photometric, bits, modality)
    claimed = phantom.view if view is None else view
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = _SOP_CLASSES[modality]
    _identify(ds, phantom)
    _describe_study(ds, phantom, patient_id, patient_name, age_years, acquired)
    _describe_image(ds, phantom, modality, claimed)
    slope, intercept = rescale
    levels = 2**bits
    centre, width = window or (slope * levels / 2 + intercept, abs(slope) * levels)
    ds.WindowCenter, ds.WindowWidth = _decimal(centre), _decimal(width)
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = _decimal(slope), _decimal(intercept), "US"
    if modality == "DX":
        ds.PixelIntensityRelationship = "LOG"
        ds.PixelIntensityRelationshipSign = -1 if photometric == "MONOCHROME2" else 1
        ds.PresentationLUTShape = "IDENTITY" if photometric == "MONOCHROME2" else "INVERSE"
    ds.set_pixel_data(_stored(phantom, photometric, bits), photometric, bits, generate_instance_uid=False)
    _encode(ds, transfer_syntax)
    for keyword, value in (extra or {}).items():
        if value is None:
            ds.pop(keyword, None)
        else:
            setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _check(transfer_syntax: str, photometric: str, bits: int, modality: str) -> None:
    choices: tuple[tuple[str, object, tuple[object, ...]], ...] = (
        ("transfer syntax", transfer_syntax, TRANSFER_SYNTAXES),
        ("photometric interpretation", photometric, ("MONOCHROME1", "MONOCHROME2")),
        ("depth in bits", bits, tuple(range(8, 17))),
        ("modality", modality, tuple(_SOP_CLASSES)),
    )
    for what, given, allowed in choices:
        if given not in allowed:
            raise ValueError(f"expected a {what} among {', '.join(map(str, allowed))}, got {given}")


def _stored(phantom: Phantom, photometric: str, bits: int) -> NDArray[Any]:
    top = 2**bits - 1
    values = np.round(phantom.image.astype(np.float64) * top)
    if photometric == "MONOCHROME1":
        values = top - values
    return np.asarray(values, dtype=np.uint8 if bits == 8 else np.uint16)


def _encode(ds: Dataset, transfer_syntax: str) -> None:
    """Bring the pixels into the transfer syntax and say so where it loses something."""
    if transfer_syntax == ImplicitVRLittleEndian:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ds.LossyImageCompression = "00"
    if transfer_syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        return
    raw_bytes = len(ds.PixelData)
    options: dict[str, Any] = {}
    if transfer_syntax == JPEG2000:
        options["j2k_cr"] = [8]
    if transfer_syntax == JPEGLSNearLossless:
        options["jls_error"] = 2
    ds.compress(transfer_syntax, generate_instance_uid=False, **options)
    if transfer_syntax in _LOSSY:
        ds.LossyImageCompression = "01"
        ds.LossyImageCompressionRatio = _decimal(round(raw_bytes / len(ds.PixelData), 2))
        ds.LossyImageCompressionMethod = _LOSSY[transfer_syntax]


def _identify(ds: Dataset, phantom: Phantom) -> None:
    """Set UIDs under 2.25 that follow from the phantom alone."""
    said = repr((phantom.seed, sorted(phantom.findings.items()), phantom.image.shape, str(phantom.view)))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        digest = hashlib.sha256(f"{keyword} {said}".encode()).digest()
        setattr(ds, keyword, f"2.25.{int.from_bytes(digest[:16], 'big')}")


def _describe_study(
    ds: Dataset, phantom: Phantom, patient_id: str, patient_name: str, age_years: int, acquired: datetime
) -> None:
    """Set the Patient, Study, Series and Equipment modules."""
    day, time = acquired.strftime("%Y%m%d"), acquired.strftime("%H%M%S")
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = patient_name, patient_id
    ds.PatientBirthDate = f"{acquired.year - age_years}0101"
    ds.PatientSex = "F" if phantom.female else "M"
    ds.PatientAge = f"{age_years:03d}Y"
    for kind in ("Study", "Series", "Acquisition", "Content"):
        setattr(ds, f"{kind}Date", day)
        setattr(ds, f"{kind}Time", time)
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = f"SYN{phantom.seed}", "1", ""
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = "1", "1", "1"
    ds.Manufacturer, ds.ManufacturerModelName = "NeuraRay", "Synthetic phantom"
    ds.StudyDescription, ds.SeriesDescription = "SYNTHETIC chest", "SYNTHETIC, not a patient"


def _describe_image(ds: Dataset, phantom: Phantom, modality: str, view: View) -> None:
    """Set the image, anatomy, positioning and detector modules."""
    ds.Modality, ds.BodyPartExamined = modality, "CHEST"
    ds.ImageType = ["DERIVED", "PRIMARY", ""] if modality == "DX" else ["DERIVED", "PRIMARY"]
    ds.ViewPosition = _VIEW_POSITIONS[view]
    ds.PatientOrientation = ["A", "F"] if view is View.LATERAL else ["L", "F"]
    ds.BurnedInAnnotation = "YES"
    ds.ImageComments = "SYNTHETIC: an invented film, no patient"
    spacing = [_decimal(10 * FIELD_CM / side) for side in phantom.image.shape]
    ds.ImagerPixelSpacing = spacing
    if modality == "CR":
        ds.PixelSpacing = spacing
        return
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageLaterality = "U"
    ds.AnatomicRegionSequence = Sequence([_code("51185008", "Chest")])
    ds.PositionerType, ds.DetectorType, ds.FieldOfViewShape = "NONE", "DIRECT", "RECTANGLE"
    ds.AcquisitionContextSequence = Sequence([])
    if view in _VIEW_CODES:
        ds.ViewCodeSequence = Sequence([_code(*_VIEW_CODES[view])])


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def _decimal(value: float) -> str:
    """Return a DICOM decimal string: at most 16 characters."""
    return f"{value:.10g}"
