"""What a DICOM file may look like: transfer syntaxes, preamble, pixel formats, spacing."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from cxr_core.errors import Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.dicom import read_header
from cxr_core.imaging.limits import Limits
from tests.imaging.dicom_files import (
    as_bytes,
    codes,
    compressed_file,
    dataset,
    film_file,
    pixels_of,
    ramp,
    refusal,
)

LIMITS = Limits()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("preamble", [True, False])
def test_every_uncompressed_transfer_syntax_with_and_without_preamble(syntax, preamble):
    made = dataset(ramp(), syntax=syntax, BitsStored=12, WindowCenter=2048, WindowWidth=4096)
    raw = as_bytes(made, preamble=preamble)
    assert (raw[128:132] == b"DICM") is preamble
    assert_allclose(pixels_of(raw), ramp() / 4095, atol=1e-6)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_compression_changes_nothing(syntax, signed):
    pixels = ramp("int16", 12, low=-2048) if signed else ramp()
    made = dataset(pixels, BitsStored=12, WindowCenter=0 if signed else 2048, WindowWidth=4096)
    plain = pixels_of(as_bytes(made))
    made.compress(syntax, generate_instance_uid=False)
    assert_array_equal(pixels_of(as_bytes(made)), plain)


def test_jpeg_baseline():
    smooth = np.add.outer(np.arange(96), np.arange(120)).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(smooth).save(stream, "JPEG", quality=95)
    raw = compressed_file(smooth, stream.getvalue(), JPEGBaseline8Bit)
    assert_allclose(pixels_of(raw), smooth / 255, atol=0.03)


def test_polarity_tags_that_contradict_each_other_are_noted():
    assert codes(film_file(ramp("uint8", 8), PresentationLUTShape="INVERSE")) == ["polarity_unclear"]
    assert codes(film_file(ramp("uint8", 8), PresentationLUTShape="IDENTITY")) == []


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"PixelData": None}, "no_pixels"),
        ({"PhotometricInterpretation": "RGB"}, "unsupported_photometric"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "unsupported_photometric"),
        ({"SamplesPerPixel": 3}, "unsupported_photometric"),
        ({"BitsAllocated": 32}, "unsupported_bits"),
        ({"BitsStored": 17}, "unsupported_bits"),
        ({"BitsStored": 12, "HighBit": 5}, "unsupported_bits"),
        ({"PixelData": b"\0" * 100}, "broken_pixels"),
        ({"Rows": None}, "too_small"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "broken_dicom"),
    ],
)
def test_pixels_that_cannot_be_read_are_refused(tags, code):
    assert refusal(film_file(ramp(), **tags)) == code


def test_spacing_is_the_calibrated_one_and_never_impossible():
    def spacing(**tags):
        return decode(film_file(ramp("uint8", 8), **tags), LIMITS).spacing_mm

    assert spacing(PixelSpacing=[0.14, 0.15], ImagerPixelSpacing=[0.2, 0.2]) == (0.14, 0.15)
    assert spacing(ImagerPixelSpacing=[0.2, 0.2]) == (0.2, 0.2)
    assert spacing(PixelSpacing=[0, 0], ImagerPixelSpacing=[0.2, 0.2]) == (0.2, 0.2)
    assert spacing() is None


def test_the_burnt_in_flag_is_read():
    assert decode(film_file(ramp("uint8", 8), BurnedInAnnotation="YES"), LIMITS).burned_in
    assert not decode(film_file(ramp("uint8", 8), BurnedInAnnotation="NO"), LIMITS).burned_in


def test_the_header_says_what_the_whole_film_says_of_the_study():
    raw = film_file(ramp(), PatientID="P1", PatientAge="044Y", StudyInstanceUID="1.2.3", StudyDate="20260102")
    assert read_header(raw, LIMITS) == decode(raw, LIMITS).study
    assert read_header(raw, LIMITS).StudyInstanceUID == "1.2.3"


def test_the_header_of_a_film_cut_off_in_its_pixels_can_still_be_read():
    raw = film_file(ramp(), PatientID="P1", StudyInstanceUID="1.2.3")
    assert read_header(raw[:-5000], LIMITS).patient_id == "P1"


def test_a_deflated_header_is_refused_before_it_is_inflated():
    made = dataset(ramp())
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(Rejected, match="unsupported_transfer_syntax"):
        read_header(as_bytes(made), LIMITS)
