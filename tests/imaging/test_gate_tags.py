"""What the tags say of the picture, held against what the gate's network saw of it."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_core.domain import Correction, Radiograph
from cxr_core.imaging.correct import corrected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.gate_tags import disagreement
from cxr_core.imaging.limits import Limits
from tests.imaging.dicom_files import film_file, ramp

ASYMMETRIC = np.arange(72, dtype=np.float32).reshape(8, 9) / 72


def sentence(orientation: str, *, mirrored: bool = False) -> str:
    found = disagreement(orientation, mirrored=mirrored)
    assert [one.code for one in found] in ([], ["tags_disagree"])
    return found[0].message if found else ""


@pytest.mark.parametrize(
    ("orientation", "mirrored", "said"),
    [
        ("", True, ""),
        ("LF", False, ""),
        ("LF", True, "as usual"),
        ("RF", True, ""),
        ("RF", False, "is mirrored"),
        ("LH", False, "does not point up"),
        ("FR", True, "does not point up"),
        ("AF", False, "lateral"),
        ("FP", False, "lateral"),
    ],
)
def test_patient_orientation_is_held_against_how_the_picture_hangs(orientation, mirrored, said):
    found = sentence(orientation, mirrored=mirrored)
    assert bool(found) is bool(said)
    assert said in found


@pytest.mark.parametrize(
    ("directions", "letters"),
    [
        (["L", "F"], "LF"),
        (["LA", "FP"], "LF"),
        (["R", "F"], "RF"),
        (["L", "H"], "LH"),
        (["R", "H"], "RH"),
        (["F", "L"], "FL"),
        (["H", "R"], "HR"),
        (["A", "F"], "AF"),
        (["F", "P"], "FP"),
        (["L"], ""),
        (["L", "R"], ""),
        (["X", "Y"], ""),
        (None, ""),
    ],
)
def test_how_the_film_hangs_is_read_from_patient_orientation(directions, letters):
    raw = film_file(ramp(), PatientOrientation=directions, ViewPosition="PA")
    assert decode(raw, Limits()).orientation == letters


@pytest.mark.parametrize(
    ("tags", "square"),
    [
        ({}, True),
        ({"PixelAspectRatio": [1, 1]}, True),
        ({"PixelAspectRatio": [4, 3]}, False),
        ({"PixelAspectRatio": [0, 3]}, True),
        ({"PixelSpacing": [0.2, 0.21]}, True),
        ({"PixelSpacing": [0.2, 0.4]}, False),
        ({"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [4, 3]}, True),
    ],
)
def test_pixels_that_are_not_square_are_told(tags, square):
    found = [one.code for one in decode(film_file(ramp(), **tags), Limits()).warnings]
    assert found == ([] if square else ["pixels_not_square"])


@pytest.mark.parametrize(
    ("sent", "turns", "letters"),
    [
        ("LF", 0, "LF"),
        ("FR", 3, "LF"),
        ("HL", 1, "LF"),
        ("RH", 2, "LF"),
        ("LH", 2, "RF"),
        ("FL", 3, "RF"),
        ("AF", 2, "PH"),
        ("", 1, ""),
    ],
)
def test_what_the_tags_say_turns_with_the_film(sent, turns, letters):
    film = Radiograph(ASYMMETRIC, "0", "DICOM", orientation=sent)
    assert corrected(film, Correction(quarter_turns=turns, inverted=True)).orientation == letters


def test_a_flipped_film_that_is_turned_half_round_is_told_to_be_mirrored():
    """Rows towards the left, columns towards the head: turned half round, left and right are exchanged."""
    usual = Radiograph(ASYMMETRIC, "0", "DICOM", orientation="LF")
    flipped = Radiograph(np.flipud(usual.pixels), "0", "DICOM", orientation="LH")
    turned = corrected(flipped, Correction(quarter_turns=2))
    np.testing.assert_array_equal(turned.pixels, np.fliplr(usual.pixels))
    assert "mirrored" in sentence(turned.orientation)
