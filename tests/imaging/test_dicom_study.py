"""Who, when and how, from the tags."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydicom import Dataset

from cxr_core.domain import Sex
from cxr_core.errors import Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from tests.imaging.dicom_files import film_file, ramp

PIXELS = ramp("uint8", 8)
EASTERN = timezone(timedelta(hours=-4))


def film(**tags):
    return decode(film_file(PIXELS, **tags), Limits())


def test_who_when_and_how():
    request = Dataset()
    request.ReasonForTheRequestedProcedure = "Pneumonia?"
    found = film(
        PatientID="P 1",
        PatientName="Doe^Jane^Mary^Dr",
        PatientSex="F",
        PatientAge="042Y",
        AccessionNumber="A1",
        ReferringPhysicianName="House^Gregory",
        ReferringPhysicianTelephoneNumbers="555 1",
        ImageLaterality="U",
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.4",
        RequestAttributesSequence=[request],
        AcquisitionDate="20260102",
        AcquisitionTime="030405",
    ).study
    assert (found.patient_id, found.patient_name, found.sex) == ("P 1", "Doe, Jane Mary", Sex.FEMALE)
    assert found.age_years == 42
    assert (found.accession, found.referrer, found.referrer_phone) == ("A1", "House, Gregory", "555 1")
    assert (found.laterality, found.question) == ("U", "Pneumonia?")
    assert (found.StudyInstanceUID, found.SeriesInstanceUID) == ("1.2.3", "1.2.3.4")
    assert found.acquired == datetime(2026, 1, 2, 3, 4, 5)


def test_nothing_is_invented():
    found = film().study
    assert (found.patient_id, found.patient_name, found.sex) == ("", "", Sex.UNKNOWN)
    assert (found.age_years, found.acquired, found.referrer) == (None, None, "")


@pytest.mark.parametrize(
    ("said", "years"),
    [("042Y", 42), ("006M", 0.5), ("052W", 364 / 365.25), ("010D", 10 / 365.25), ("000Y", 0), ("081", 81)],
)
def test_age_has_a_unit(said, years):
    assert film(PatientAge=said).study.age_years == pytest.approx(years)


@pytest.mark.parametrize("said", ["999Y", "old", "-05Y", "Y042"])
def test_an_impossible_age_is_left_out_with_a_note(said):
    found = film(PatientAge=said)
    assert found.study.age_years is None
    assert [note.code for note in found.notes] == ["age_ignored"]


def test_age_without_unit_is_noted():
    assert [note.code for note in film(PatientAge="81").notes] == ["age_unit_assumed"]


def test_age_from_birth_date():
    found = film(PatientBirthDate="20000301", StudyDate="20260301", StudyTime="120000")
    assert found.study.age_years == pytest.approx(26, abs=0.01)
    assert film(PatientBirthDate="20000301").study.age_years is None
    assert film(PatientBirthDate="20300301", StudyDate="20260301").study.age_years is None
    both = film(PatientBirthDate="20000301", StudyDate="20260301", PatientAge="030Y")
    assert both.study.age_years == 30


@pytest.mark.parametrize(
    ("tags", "moment"),
    [
        ({"AcquisitionDateTime": "20260102030405.5"}, datetime(2026, 1, 2, 3, 4, 5)),
        (
            {"AcquisitionDateTime": "20260102030405+0200"},
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
        ),
        (
            {"AcquisitionDateTime": "20260102030405", "AcquisitionDate": "20250101", "AcquisitionTime": "01"},
            datetime(2026, 1, 2, 3, 4, 5),
        ),
        (
            {
                "AcquisitionDate": "20260102",
                "AcquisitionTime": "0304",
                "StudyDate": "20250101",
                "StudyTime": "01",
            },
            datetime(2026, 1, 2, 3, 4),
        ),
        (
            {"StudyDate": "20260102", "StudyTime": "030405.123456", "TimezoneOffsetFromUTC": "-0400"},
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=EASTERN),
        ),
        (
            {"StudyDate": "20260102", "StudyTime": "030405", "TimezoneOffsetFromUTC": "+0000"},
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
        (
            {"StudyDate": "20260102", "StudyTime": "030405", "TimezoneOffsetFromUTC": "+9900"},
            datetime(2026, 1, 2, 3, 4, 5),
        ),
        (
            {"AcquisitionDate": "20260102", "StudyDate": "20260102", "StudyTime": "0304"},
            datetime(2026, 1, 2, 3, 4),
        ),
        ({"AcquisitionDate": "20260102"}, datetime(2026, 1, 2)),
        ({"StudyTime": "030405"}, None),
    ],
)
def test_the_time_of_the_film(tags, moment):
    found = film(**tags).study.acquired
    assert found == moment
    if found is not None:
        assert found.tzinfo == moment.tzinfo


@pytest.mark.parametrize("said", ["19010101", "00010101"])
def test_the_placeholder_date_of_an_anonymiser_is_no_date(said):
    found = film(StudyDate=said, StudyTime="000000")
    assert found.study.acquired is None
    assert [note.code for note in found.notes] == ["date_ignored"]


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2.3'; DROP", "1" * 65, "1.2 .3", "1.2\n3"])
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_what_is_no_uid_is_refused_and_not_quoted(keyword, uid):
    with pytest.raises(Rejected) as caught:
        film(**{keyword: uid})
    assert caught.value.code == "bad_uid"
    assert uid not in caught.value.message + caught.value.hint


def test_control_characters_do_not_get_through():
    found = film(
        SpecificCharacterSet="ISO_IR 192", PatientID="a\x1b[31mb\r\nc\u202ed", PatientName="Doe^\x00J\n"
    ).study
    assert found.patient_id == "a [31mb c d"
    assert found.patient_name == "Doe, J"


def test_names_in_other_scripts():
    tags = {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"}
    assert film(**tags).study.patient_name == "Yamada, Tarou"
    assert (
        film(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Zoë").study.patient_name == "Müller, Zoë"
    )


def test_an_unknown_sex_is_unknown():
    assert film(PatientSex="?").study.sex is Sex.UNKNOWN
