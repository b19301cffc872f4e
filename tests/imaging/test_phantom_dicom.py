"""DICOM files of phantoms: pydicom reads back the very film, with the tags a chest film must have."""

from __future__ import annotations

import io
from datetime import datetime
from functools import cache

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_rescale, apply_windowing
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSNearLossless

from cxr_core.domain import Sex, View
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.phantom import Phantom, make_phantom
from cxr_core.imaging.phantom_dicom import TRANSFER_SYNTAXES, phantom_dicom

LOSSY = (JPEG2000, JPEGLSNearLossless)

DX_TYPE_1 = (
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality PresentationIntentType ImageType"
    " PixelIntensityRelationship PixelIntensityRelationshipSign RescaleIntercept RescaleSlope RescaleType"
    " PresentationLUTShape LossyImageCompression BurnedInAnnotation WindowCenter WindowWidth ImageLaterality"
    " ImagerPixelSpacing DetectorType PatientOrientation SamplesPerPixel PhotometricInterpretation"
    " Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelData"
)
"""Type 1 of DICOM PS3.3 A.26, C.8.11.1 to C.8.11.5, C.7.6.1, C.7.6.3 (two are 1C)."""

DX_TYPE_2 = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID"
    " AccessionNumber SeriesNumber Manufacturer InstanceNumber PositionerType AcquisitionContextSequence"
    " AnatomicRegionSequence"
)


@cache
def film(seed: int = 3, view: View = View.PA) -> Phantom:
    return make_phantom(seed, {"Effusion": 0.6}, size=128, view=view)


def read(raw: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(raw))


def displayed(ds: pydicom.Dataset) -> np.ndarray:
    """(H, W) in [0, 1] by pydicom's own rescale and window, bright = dense."""
    top = 2**ds.BitsStored - 1
    values = apply_windowing(apply_rescale(ds.pixel_array.astype(np.float64), ds), ds)
    values = (values - ds.RescaleIntercept) / (ds.RescaleSlope * top)
    return 1 - values if ds.PhotometricInterpretation == "MONOCHROME1" else values


@pytest.mark.parametrize(("bits", "modality"), [(8, "CR"), (10, "DX"), (12, "DX"), (16, "CR")])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda uid: uid.name)
def test_pydicom_and_our_decoder_read_back_the_film(syntax, photometric, bits, modality):
    raw = phantom_dicom(film(), transfer_syntax=syntax, photometric=photometric, bits=bits, modality=modality)
    ds = read(raw)
    assert ds.file_meta.TransferSyntaxUID == syntax
    assert (ds.PhotometricInterpretation, ds.BitsStored, ds.Modality) == (photometric, bits, modality)
    assert ds.BitsAllocated == (8 if bits == 8 else 16)
    for pixels in (displayed(ds), decode(raw, Limits()).pixels):
        error = np.abs(pixels - film().image)
        if syntax == JPEG2000:
            assert 0.0001 < error.mean() < 0.01, "one eighth of the bytes: lossy, though hardly to the eye"
        else:
            steps = 2.5 if syntax == JPEGLSNearLossless else 0.5
            assert error.max() <= steps / (2**bits - 1) + 1e-6, "JPEG-LS is told to stay within 2 steps"
    assert ds.LossyImageCompression == ("01" if syntax in LOSSY else "00")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_dx_file_has_what_the_standard_requires(photometric):
    ds = read(phantom_dicom(film(), photometric=photometric))
    missing = [keyword for keyword in DX_TYPE_1.split() if ds.get(keyword) in (None, "")]
    missing += [keyword for keyword in DX_TYPE_2.split() if keyword not in ds]
    assert missing == []
    inverse = photometric == "MONOCHROME1"
    assert ds.PresentationLUTShape == ("INVERSE" if inverse else "IDENTITY")
    assert ds.PixelIntensityRelationshipSign == (1 if inverse else -1)
    assert ds.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID


def test_a_cr_file_has_its_own_class_and_spacing():
    ds = read(phantom_dicom(film(), modality="CR"))
    assert ds.SOPClassUID.name == "Computed Radiography Image Storage"
    assert ds.BodyPartExamined == "CHEST"
    assert [float(value) for value in ds.PixelSpacing] == [3.125, 3.125], "400 mm over 128 pixels"


def test_patient_and_time_are_those_asked_for():
    raw = phantom_dicom(
        film(),
        patient_id="P-77",
        patient_name="Müller^Ärlend",
        age_years=31,
        acquired=datetime(2025, 3, 9, 4, 5, 6),
    )
    study = decode(raw, Limits()).study
    assert read(raw).PatientName == "Müller^Ärlend"
    assert (study.patient_id, study.age_years, study.acquired) == ("P-77", 31, datetime(2025, 3, 9, 4, 5, 6))
    assert study.sex is (Sex.FEMALE if film().female else Sex.MALE)
    assert decode(raw, Limits()).burned_in


@pytest.mark.parametrize(
    ("drawn", "claimed", "position", "code"),
    [
        (View.PA, None, "PA", "399348003"),
        (View.AP, None, "AP", "399033003"),
        (View.PA, View.LATERAL, "LL", "399067008"),
        (View.PA, View.UNKNOWN, "", None),
    ],
)
def test_the_view_is_tagged(drawn, claimed, position, code):
    ds = read(phantom_dicom(film(view=drawn), view=claimed))
    assert (ds.ViewPosition or "") == position
    assert [item.CodeValue for item in ds.get("ViewCodeSequence", [])] == ([code] if code else [])


def test_a_window_and_rescale_are_written_and_meet_in_the_film():
    ds = read(phantom_dicom(film(), rescale=(0.5, -100.0)))
    assert (float(ds.WindowCenter), float(ds.WindowWidth)) == (0.5 * 2048 - 100, 0.5 * 4096)
    narrow = read(phantom_dicom(film(), window=(1500, 600)))
    assert (float(narrow.WindowCenter), float(narrow.WindowWidth)) == (1500, 600)


def test_it_says_synthetic_in_its_tags_too():
    ds = read(phantom_dicom(film()))
    assert ds.BurnedInAnnotation == "YES"
    assert "SYNTHETIC" in ds.ImageComments
    assert "SYNTHETIC" in ds.StudyDescription
    assert "Synthetic" in str(ds.PatientName)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda uid: uid.name)
def test_equal_arguments_give_equal_files(syntax):
    assert phantom_dicom(film(), transfer_syntax=syntax) == phantom_dicom(film(), transfer_syntax=syntax)


def test_uids_follow_the_film_and_are_valid():
    first, second = read(phantom_dicom(film(3))), read(phantom_dicom(film(4)))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert first[keyword].value != second[keyword].value
        assert first[keyword].value.is_valid
    assert len({first.StudyInstanceUID, first.SeriesInstanceUID, first.SOPInstanceUID}) == 3


def test_extra_elements_win_and_none_removes():
    raw = phantom_dicom(
        film(), extra={"BodyPartExamined": "HAND", "WindowCenter": None, "SOPInstanceUID": "1.2.3"}
    )
    ds = read(raw)
    assert ds.BodyPartExamined == "HAND"
    assert "WindowCenter" not in ds
    assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID == "1.2.3"


@pytest.mark.parametrize(
    "arguments",
    [
        {"transfer_syntax": JPEGBaseline8Bit},
        {"photometric": "RGB"},
        {"bits": 7},
        {"bits": 17},
        {"modality": "CT"},
    ],
)
def test_what_it_cannot_write_is_refused_in_words(arguments):
    with pytest.raises(ValueError, match="expected a"):
        phantom_dicom(film(), **{"transfer_syntax": ExplicitVRLittleEndian, **arguments})
