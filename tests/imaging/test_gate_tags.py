"""What the tags say of the picture, held against what the gate's network saw of it."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_core.domain import Correction, Hanging, Radiograph, Said
from cxr_core.imaging.correct import corrected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.gate_tags import disagreements
from cxr_core.imaging.limits import Limits
from tests.imaging.dicom_files import film_file, ramp


def film(*, source: str = "DICOM", **said: object) -> Radiograph:
    return Radiograph(np.zeros((8, 9), np.float32), "0", source, said=Said(**said))  # type: ignore[arg-type]


def sentence(radiograph: Radiograph, *, inverted=False, turned=False, mirrored=False) -> str:
    found = disagreements(radiograph, inverted=inverted, turned=turned, mirrored=mirrored)
    assert [one.code for one in found] in ([], ["tags_disagree"])
    return found[0].message if found else ""


@pytest.mark.parametrize(
    ("hanging", "seen", "said"),
    [
        ("unknown", {"turned": True, "mirrored": True}, ""),
        ("usual", {}, ""),
        ("usual", {"turned": True}, "stands upright"),
        ("usual", {"mirrored": True}, "hangs as usual"),
        ("mirrored", {"mirrored": True}, ""),
        ("mirrored", {}, "is mirrored"),
        ("mirrored", {"turned": True}, "stands upright"),
        ("turned", {"turned": True}, ""),
        ("turned", {}, "turned or upside down"),
        ("lateral", {}, "lateral"),
    ],
)
def test_patient_orientation_is_held_against_how_the_picture_hangs(hanging, seen, said):
    found = sentence(film(hanging=Hanging(hanging)), **seen)
    assert bool(found) is bool(said)
    assert said in found


def test_an_inverted_picture_contradicts_the_tags_of_a_dicom_file_only():
    assert "bone is bright" in sentence(film(), inverted=True)
    assert sentence(film(source="PNG"), inverted=True) == ""


def test_all_that_disagrees_is_one_warning():
    found = sentence(film(hanging=Hanging.TURNED, square_pixels=False), inverted=True)
    assert found.count(" that ") == 3
    assert "turned" in found
    assert "bright" in found
    assert "square" in found


@pytest.mark.parametrize(
    ("directions", "hanging"),
    [
        (["L", "F"], "usual"),
        (["LA", "FP"], "usual"),
        (["R", "F"], "mirrored"),
        (["L", "H"], "turned"),
        (["R", "H"], "turned"),
        (["F", "L"], "turned"),
        (["H", "R"], "turned"),
        (["A", "F"], "lateral"),
        (["F", "P"], "lateral"),
        (["L"], "unknown"),
        (["L", "R"], "unknown"),
        (["X", "Y"], "unknown"),
        (None, "unknown"),
    ],
)
def test_how_the_film_hangs_is_read_from_patient_orientation(directions, hanging):
    raw = film_file(ramp(), PatientOrientation=directions, ViewPosition="PA")
    assert decode(raw, Limits()).said.hanging is Hanging(hanging)


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
    assert decode(film_file(ramp(), **tags), Limits()).said.square_pixels is square


def test_once_a_person_has_turned_a_film_its_tags_no_longer_say_how_it_hangs():
    turned = film(hanging=Hanging.TURNED, square_pixels=False)
    assert corrected(turned, Correction(quarter_turns=1)).said == Said(square_pixels=False)
    assert corrected(turned, Correction(inverted=True)).said == turned.said
