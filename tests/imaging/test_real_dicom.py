"""The expected outcome of every file in the DICOM folder of the data, found by looking at each picture."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pydicom import dcmread
from pydicom.pixels import apply_voi_lut

from cxr_core.domain import Radiograph, Sex, View
from cxr_core.errors import Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.gate import inspect, judged
from cxr_core.imaging.limits import Limits
from cxr_core.inference import gate_network
from cxr_core.settings import Settings
from tests.imaging.dicom_files import as_bytes

pytestmark = pytest.mark.real_data

FROM_NIH = "AIHCND_C2_Starter__test1.dcm"
LOSSY_LS, LOSSY_2000 = "dicom-test-files__RG1_JLSN.dcm", "pydicom__RG1_J2KI.dcm"
MONOCHROME1 = "orthanc-tests__Monochrome1-Jpeg.dcm"
CLIPS = "torchxrayvision__1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm"
UNREADABLE = "dicom-test-files__RG3_JPLY.dcm"

REFUSED = {
    "AIHCND_C2_Starter__test4.dcm": "wrong_body_part",  # the film of test1, tagged RIBCAGE
    "AIHCND_C2_Starter__test5.dcm": "wrong_modality",  # the film of test1, tagged CT
    "dicom-test-files__CT1_J2KR.dcm": "wrong_modality",  # CT slice of a chest
    "dicom-test-files__RG3_JPLL.dcm": "wrong_body_part",  # lower leg
    UNREADABLE: "wrong_body_part",  # lower leg, and a JPEG that no decoder reads
    "dicom-test-files__RG3_RLE.dcm": "wrong_body_part",  # lower leg
    "pydicom__RG3_J2KR.dcm": "wrong_body_part",  # lower leg
    "dicom-test-files__XA1_JLSL.dcm": "wrong_modality",  # angiogram of a head
    "highdicom__dx_image.dcm": "animal",  # a dog lying on its side
    "orthanc-tests__KarstenHilbertRF.dcm": "wrong_modality",  # fluoroscopy of a shoulder
}

PATTERNS = ("pydicom__mlut_18.dcm", "pydicom__vlut_04.dcm")
"""Test patterns of modality OT, which a scanned film can have as well; the gate's network refuses them."""

ACCEPTED: dict[str, tuple[tuple[int, int], View, tuple[str, ...]]] = {
    FROM_NIH: ((1024, 1024), View.PA, ("age_unit_assumed",)),
    LOSSY_LS: ((1955, 1841), View.PA, ()),
    LOSSY_2000: ((1955, 1841), View.PA, ()),
    MONOCHROME1: ((2446, 2010), View.UNKNOWN, ("body_part_unknown",)),
    CLIPS: ((1024, 1024), View.PA, ("date_ignored", "age_unit_assumed")),
}
"""Shape, view and notes of the frontal chest films."""


def film(data_dir: Path, name: str) -> Radiograph:
    return decode((data_dir / "dicom" / name).read_bytes(), Limits())


def refusal(raw: bytes) -> str:
    with pytest.raises(Rejected) as caught:
        decode(raw, Limits())
    return caught.value.code


def test_every_file_of_the_folder_is_expected_here(data_dir):
    assert {path.name for path in (data_dir / "dicom").glob("*.dcm")} == {*REFUSED, *PATTERNS, *ACCEPTED}


@pytest.mark.parametrize(("name", "code"), REFUSED.items())
def test_what_is_no_chest_film_is_refused(data_dir, name, code):
    assert refusal((data_dir / "dicom" / name).read_bytes()) == code


@pytest.mark.parametrize("name", PATTERNS)
def test_a_test_pattern_is_refused_by_the_network(data_dir, name):
    gate = gate_network.load(Settings().gate)
    pattern = film(data_dir, name)
    assert [each.code for each in pattern.warnings] == ["modality_unclear"]
    said, seen = inspect(pattern)
    with pytest.raises(Rejected, match="not_radiograph"):
        judged(pattern, said, gate.look(seen[None])[0], gate.manifest.limits)


@pytest.mark.parametrize(("name", "expected"), ACCEPTED.items())
def test_chest_films_are_read_upright_and_bright_where_dense(data_dir, name, expected):
    shape, view, notes = expected
    found = film(data_dir, name)
    assert found.pixels.shape == shape
    assert found.study.view is view
    assert tuple(note.code for note in found.notes) == notes
    assert inspect(found)[0].codes == ()
    height, width = shape
    spine = found.pixels[height * 4 // 10 : height * 6 // 10, width * 45 // 100 : width * 55 // 100].mean()
    lungs = [
        found.pixels[
            height * 3 // 10 : height * 5 // 10, width * start // 100 : width * (start + 8) // 100
        ].mean()
        for start in (22, 70)
    ]
    assert spine > max(lungs) + 0.05


def test_one_film_in_two_compressions_is_one_film(data_dir):
    first, second = film(data_dir, LOSSY_LS), film(data_dir, LOSSY_2000)
    assert_allclose(first.pixels, second.pixels, atol=0.03)
    assert float(np.abs(first.pixels - second.pixels).mean()) < 0.003


@pytest.mark.parametrize("name", [LOSSY_LS, LOSSY_2000, MONOCHROME1])
def test_the_grey_scale_is_what_pydicom_shows_turned_over(data_dir, name):
    read = dcmread(data_dir / "dicom" / name)
    shown = apply_voi_lut(read.pixel_array, read) / (2**read.BitsStored - 1)
    assert_allclose(film(data_dir, name).pixels, 1 - shown, atol=1e-4)


def test_the_dicom_of_an_eight_bit_film_is_its_values_over_255(data_dir):
    values = dcmread(data_dir / "dicom" / FROM_NIH).pixel_array
    assert_allclose(film(data_dir, FROM_NIH).pixels, values / 255, atol=1e-6)


def test_who_and_when(data_dir):
    study = film(data_dir, LOSSY_LS).study
    assert (study.patient_id, study.patient_name, study.sex) == ("9RG1", "CompressedSamples, RG1", Sex.FEMALE)
    assert study.acquired == datetime(2004, 8, 26, 18, 50, 59, tzinfo=timezone(timedelta(hours=-4)))
    assert study.age_years == pytest.approx(64.48, abs=0.01)
    assert film(data_dir, MONOCHROME1).study.acquired == datetime(2017, 3, 27, 4, 46, 59)
    assert film(data_dir, CLIPS).study.age_years == 62


def test_spacing(data_dir):
    assert film(data_dir, MONOCHROME1).spacing_mm == (0.175, 0.175)
    assert film(data_dir, CLIPS).spacing_mm == (0.168, 0.168)
    assert film(data_dir, LOSSY_LS).spacing_mm is None  # the tag says 0.000


@pytest.mark.parametrize("part", ["EXTREMITY", "CHEST"])
def test_a_frame_that_no_decoder_reads_is_refused_even_if_the_tags_say_chest(data_dir, part):
    read = dcmread(data_dir / "dicom" / UNREADABLE)
    read.BodyPartExamined = part
    assert refusal(as_bytes(read)) == ("broken_pixels" if part == "CHEST" else "wrong_body_part")


@pytest.mark.parametrize(
    "name", ["dicom-test-files__RG3_JPLL.dcm", "dicom-test-files__RG3_RLE.dcm", "pydicom__RG3_J2KR.dcm"]
)
def test_the_refused_legs_would_decode_if_their_tags_said_chest(data_dir, name):
    read = dcmread(data_dir / "dicom" / name)
    read.BodyPartExamined = "CHEST"
    pixels = decode(as_bytes(read), Limits()).pixels
    assert pixels.shape == (1760, 1760)
    air, bone = pixels[900, 600], pixels[1400:1500, 850:950].mean()
    assert air < 0.2
    assert bone > air + 0.2
