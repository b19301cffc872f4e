"""What the tags say was filmed."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from cxr_core.domain import View
from cxr_core.errors import Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from tests.imaging.dicom_files import code, film_file, ramp

PIXELS = ramp("uint8", 8)


def refusal(**tags) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decode(film_file(PIXELS, **tags), Limits())
    return caught.value


def study(**tags):
    return decode(film_file(PIXELS, **tags), Limits()).study


def warnings(**tags):
    return decode(film_file(PIXELS, **tags), Limits()).warnings


def codes(**tags) -> list[str]:
    return [note.code for note in decode(film_file(PIXELS, **tags), Limits()).notes]


@pytest.mark.parametrize("modality", ["CT", "MR", "RF", "DF", "XA", "MG", "US", "NM", "PT", "SR", "PX", "IO"])
def test_another_modality_is_refused_and_named(modality):
    found = refusal(Modality=modality)
    assert found.code == "wrong_modality"
    assert modality in found.message


@pytest.mark.parametrize("modality", ["OT", "SC", "X-RAY", "DOE JOHN"])
def test_a_modality_that_may_be_a_radiograph_is_a_warning_that_does_not_quote_it(modality):
    (found,) = warnings(Modality=modality)
    assert found.code == "modality_unclear"
    assert modality not in found.message + found.hint


@pytest.mark.parametrize("modality", ["CR", "DX", "DR", "RG", "XR"])
def test_radiography_is_accepted(modality):
    assert study(Modality=modality).modality == modality
    assert warnings(Modality=modality) == ()


@pytest.mark.parametrize(
    "part",
    [
        "EXTREMITY",
        "ABDOMEN",
        "RIBCAGE",
        "RIBS",
        "SPINE",
        "HAND",
        "SKULL",
        "THORACIC SPINE",
        "BREAST",
        "PELVIS",
        "SHOULDER",
        "CLAVICLE",
        "STERNUM",
        "LSPINE",
        "C_SPINE",
        "LHAND",
        "HAND LEFT",
        "RIGHT KNEE",
        "UPPER_LEG",
        "ARM",
        "TOES",
        "FACIAL BONES",
        "Schädel",
        "RODILLA",
    ],
)
def test_another_body_part_is_refused(part):
    assert refusal(BodyPartExamined=part).code == "wrong_body_part"


@pytest.mark.parametrize(
    "part", ["CHEST", "THORAX", "chest", "LUNG", "LUNG_2V", "CHEST_PA", "TORAX", "TÓRAX", "POITRINE"]
)
def test_the_chest_under_its_names_is_accepted(part):
    assert study(SpecificCharacterSet="ISO_IR 192", BodyPartExamined=part).body_part == part.upper()
    assert codes(SpecificCharacterSet="ISO_IR 192", BodyPartExamined=part) == []
    assert warnings(SpecificCharacterSet="ISO_IR 192", BodyPartExamined=part) == ()


@pytest.mark.parametrize(
    "part",
    ["UNKNOWN", "OTHER", "PORTABLE", "HEART", "MEDIASTINUM", "BACK", "WHOLEBODY", "CEHST", "X", "PA UPRIGHT"],
)
def test_a_body_part_that_is_not_known_to_be_another_is_left_to_the_picture(part):
    assert codes(BodyPartExamined=part) == ["body_part_unknown"]
    assert warnings(BodyPartExamined=part) == ()


@pytest.mark.parametrize("part", ["CHESTABDOMEN", "NECKCHEST", "CHESTABDPELVIS", "CHEST RIBS"])
def test_a_chest_and_more_is_a_warning(part):
    assert [one.code for one in warnings(BodyPartExamined=part)] == ["more_than_chest"]


def test_the_body_part_may_stand_in_the_anatomic_region():
    assert refusal(BodyPartExamined=None, AnatomicRegionSequence=[code("Hand")]).code == "wrong_body_part"
    assert study(BodyPartExamined=None, AnatomicRegionSequence=[code("Chest")]).body_part == "CHEST"


def test_silent_tags_are_noted_not_refused():
    assert codes(Modality=None, BodyPartExamined=None) == ["modality_unknown", "body_part_unknown"]


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientSpeciesDescription": "Canine"},
        {"PatientSpeciesCodeSequence": [code("Felis catus")]},
        {"PatientBreedDescription": "Beagle"},
        {"InstitutionName": "Veterinary Clinic"},
        {"SeriesDescription": "THORAX FELINE VD"},
        {"AcquisitionDeviceProcessingDescription": "CANINE LATERAL THORAX"},
        {"PerformedProtocolCodeSequence": [code("Equine chest")]},
    ],
)
def test_animals_are_refused(tags):
    assert refusal(**tags).code == "animal"


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientSpeciesDescription": "Homo sapiens"},
        {"PatientSpeciesDescription": "HUMAN"},
        {"PatientSpeciesCodeSequence": [code("homo sapiens")]},
        {"InstitutionName": "Veterans Affairs Medical Center"},
        {"InstitutionName": "Cat and Dog Street Hospital"},
        {"PatientName": "Canine^Felix"},
    ],
)
def test_people_are_not_taken_for_animals(tags):
    assert study(**tags).modality == "CR"


def test_raw_detector_data_are_refused():
    assert refusal(PresentationIntentType="FOR PROCESSING").code == "raw_detector_data"
    assert study(PresentationIntentType="FOR PRESENTATION").view is View.PA


@pytest.mark.parametrize(
    ("tags", "view"),
    [
        ({"ViewPosition": "PA"}, View.PA),
        ({"ViewPosition": "AP"}, View.AP),
        ({"ViewPosition": "LL"}, View.LATERAL),
        ({"ViewPosition": "RL"}, View.LATERAL),
        ({"ViewPosition": "LATERAL"}, View.LATERAL),
        ({"ViewPosition": "XTABLE LAT"}, View.LATERAL),
        ({"ViewPosition": "L LAT"}, View.LATERAL),
        ({"ViewPosition": "ML"}, View.LATERAL),
        ({"ViewPosition": "AP SUPINE"}, View.AP),
        ({"ViewPosition": "AP_ERECT"}, View.AP),
        ({"ViewPosition": "PA ERECT"}, View.PA),
        ({"ViewPosition": "A-P"}, View.AP),
        ({"ViewPosition": "P.A."}, View.PA),
        ({"ViewPosition": "ANTERO_POSTERIOR"}, View.AP),
        ({"ViewPosition": "POSTEROANTERIOR"}, View.PA),
        ({"ViewPosition": "AP/PA"}, View.UNKNOWN),
        ({"ViewPosition": "PORTABLE", "SeriesDescription": "Chest AP"}, View.AP),
        ({"ViewPosition": None, "SeriesDescription": "Thorax seitlich"}, View.LATERAL),
        ({"ViewPosition": None, "ProtocolName": "Thorax profil"}, View.LATERAL),
        ({"ViewPosition": None, "SeriesDescription": "Tórax perfil"}, View.LATERAL),
        ({"ViewPosition": None, "SeriesDescription": "Torace latero-laterale"}, View.LATERAL),
        ({"ViewPosition": None, "SeriesDescription": "Thorax p.a."}, View.PA),
        ({"ViewPosition": None, "SeriesDescription": "Thorax p.a. und seitlich"}, View.UNKNOWN),
        ({"ViewPosition": None, "SeriesDescription": "Tórax anteroposterior"}, View.AP),
        ({"ViewPosition": None, "ViewCodeSequence": [code("lateral projection")]}, View.LATERAL),
        ({"ViewPosition": None, "PatientPosition": "LEFT LATERAL"}, View.UNKNOWN),
        ({"ViewPosition": None}, View.UNKNOWN),
        ({"ViewPosition": ""}, View.UNKNOWN),
        ({"ViewPosition": None, "ViewCodeSequence": [code("postero-anterior")]}, View.PA),
        ({"ViewPosition": None, "ViewCodeSequence": [code("antero-posterior")]}, View.AP),
        ({"ViewPosition": None, "ViewCodeSequence": [code("left lateral")]}, View.LATERAL),
        ({"ViewPosition": "AP", "ViewCodeSequence": [code("postero-anterior")]}, View.AP),
        ({"ViewPosition": None, "PatientPosition": "PA"}, View.PA),
        ({"ViewPosition": None, "SeriesDescription": "view: PA"}, View.PA),
        ({"ViewPosition": None, "SeriesDescription": "Chest AP portable"}, View.AP),
        ({"ViewPosition": None, "SeriesDescription": "CHEST LAT"}, View.LATERAL),
        ({"ViewPosition": None, "SeriesDescription": "CHEST PA AND LATERAL"}, View.UNKNOWN),
        ({"ViewPosition": None, "SeriesDescription": "PARTIAL CHEST APICAL"}, View.UNKNOWN),
        ({"ViewPosition": None, "PatientOrientation": ["A", "F"]}, View.LATERAL),
        ({"ViewPosition": None, "PatientOrientation": ["L", "F"]}, View.UNKNOWN),
        ({"ViewPosition": "PA", "PatientOrientation": ["L", "F"]}, View.PA),
    ],
)
def test_the_view_comes_from_the_best_tag_that_names_it(tags, view):
    assert study(**tags).view is view


@pytest.mark.parametrize(
    "tags",
    [
        {"ViewPosition": "RAO"},
        {"ViewPosition": "LLD"},
        {"ViewPosition": "AP AXIAL"},
        {"ViewPosition": "LORDOTIC"},
        {"ViewPosition": "LAT DECUB"},
        {"ViewPosition": "PA OBL"},
        {"ViewPosition": None, "SeriesDescription": "Chest left lateral decubitus"},
        {"ViewPosition": "", "ProtocolName": "CHEST OBLIQUE"},
        {"ViewCodeSequence": [code("right anterior oblique")]},
    ],
)
def test_oblique_lordotic_axial_and_decubitus_views_are_refused(tags):
    assert refusal(**tags).code == "unsupported_view"


@pytest.mark.parametrize(
    ("tags", "unclear"),
    [
        ({"ViewPosition": "STRYKER"}, True),
        ({"ViewPosition": "OTHER"}, True),
        ({"ViewPosition": "AP/LAT"}, True),
        ({"ViewPosition": "VD", "SeriesDescription": "Chest PA"}, True),
        ({"ViewPosition": "AP", "SeriesDescription": "CHEST LORDOTIC"}, True),
        ({"ViewPosition": None, "SeriesDescription": "CHEST AP LAT DECUB"}, True),
        ({"ViewPosition": "STRYKER", "ViewCodeSequence": [code("antero-posterior")]}, False),
        ({"ViewPosition": None}, False),
        ({"ViewPosition": "UNKNOWN"}, False),
        ({"ViewPosition": "PORTABLE UPRIGHT"}, False),
        ({"ViewPosition": "AP/PA"}, False),
        ({"ViewPosition": "AP 1"}, False),
        ({"ViewPosition": "PA", "SeriesDescription": "CHEST PA AND LATERAL"}, False),
        ({"ViewPosition": "AP", "SeriesDescription": "Thorax en décubitus dorsal"}, False),
    ],
)
def test_a_view_that_is_not_understood_is_a_warning(tags, unclear):
    found = warnings(SpecificCharacterSet="ISO_IR 192", **tags)
    assert [one.code for one in found] == ["view_unclear"] * unclear


def test_supine_is_read_and_means_ap():
    recumbent = Dataset()
    recumbent.PatientOrientationModifierCodeSequence = [code("supine")]
    for tags in (
        {"SeriesDescription": "Chest supine"},
        {"ProtocolName": "Thorax im Liegen"},
        {"SpecificCharacterSet": "ISO_IR 192", "SeriesDescription": "Thorax en décubitus dorsal"},
        {"PatientPosition": "HFS"},
        {"PatientOrientationCodeSequence": [recumbent]},
    ):
        found = study(ViewPosition=None, **tags)
        assert found.supine
        assert found.view is View.AP
    assert study(ViewPosition="AP SUPINE").supine
    assert not study().supine


def test_an_unusual_hanging_is_noted():
    assert codes(PatientOrientation=["L", "F"]) == []
    assert codes(PatientOrientation=["R", "F"]) == ["orientation_unusual"]
    assert codes(PatientOrientation=["L", "H"]) == ["orientation_unusual"]
    assert codes(PatientOrientation="") == []
