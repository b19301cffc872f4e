"""De-identified films: nothing of a person is left, and the picture is what it was."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation
from pydicom.datadict import DicomDictionary
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cxr_core.domain import Correction, Study, View
from cxr_core.errors import Conflict, Rejected
from cxr_core.imaging import deidentify, profile
from cxr_core.imaging.annotations import TextBox, text_boxes
from cxr_core.imaging.correct import corrected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.deidentify import METHOD, Text, deidentified
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.phantom_dicom import TRANSFER_SYNTAXES, phantom_dicom
from tests.imaging.dicom_files import as_bytes, code, compressed_file, dataset, film_file, ramp
from tests.imaging.planted import Planted, every_standard_text, item, nested

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
LIMITS = Limits()
PHANTOM = make_phantom(3, size=320)

_NAMES = """
AccessionNumber AcquisitionDate AcquisitionDateTime AcquisitionTime AdditionalPatientHistory
AdmittingDate AdmittingDiagnosesDescription AdmittingTime BranchOfService CassetteID ContentDate ContentTime
CountryOfResidence CurrentPatientLocation DerivationDescription DetectorID DeviceSerialNumber EthnicGroup
FrameOfReferenceUID GantryID GeneratorID ImageComments InstanceCreationDate InstanceCreationTime
InstanceCreatorUID InstitutionAddress InstitutionName InstitutionalDepartmentName
InsurancePlanIdentification IssuerOfPatientID LastMenstrualDate MedicalAlerts MedicalRecordLocator
MilitaryRank NameOfPhysiciansReadingStudy Occupation OperatorsName OrderCallbackPhoneNumber OrderEnteredBy
OtherPatientIDs OtherPatientIDsSequence OtherPatientNames PatientAddress PatientAge PatientBirthDate
PatientBirthName PatientBirthTime PatientComments PatientID PatientInstitutionResidence
PatientMotherBirthName PatientName PatientReligiousPreference PatientSex PatientSize PatientTelephoneNumbers
PatientWeight PerformedProcedureStepDescription PerformedProcedureStepID PerformedProcedureStepStartDate
PerformingPhysicianName PersonAddress PersonName PersonTelephoneNumbers PhysiciansOfRecord PlateID
ProtocolName ReasonForStudy ReasonForTheImagingServiceRequest
ReasonForTheRequestedProcedure ReferencedPatientSequence ReferencedSOPInstanceUID ReferringPhysicianAddress
ReferringPhysicianName ReferringPhysicianTelephoneNumbers RegionOfResidence RequestAttributesSequence
RequestedProcedureComments RequestedProcedureDescription RequestedProcedureID RequestingPhysician
RequestingService ResponsibleOrganization ResponsiblePerson ResultsComments RetrieveAETitle
SOPInstanceUID ScheduledPerformingPhysicianName ScheduledProcedureStepDescription
ScheduledProcedureStepID ScheduledStationAETitle ScheduledStationName SeriesDate SeriesDescription
SeriesInstanceUID SeriesTime ServiceEpisodeDescription ServiceEpisodeID SmokingStatus
SpecialNeeds StationName StudyComments StudyDate StudyDescription StudyID StudyInstanceUID StudyTime
TextComments TimezoneOffsetFromUTC VerifyingObserverName VerifyingOrganization VisitComments
"""
IDENTIFYING = _NAMES.split()
"""What PS3.15 table E.1-1 calls identifying and a film may carry, written down by hand from the standard."""


def plain(**tags) -> bytes:
    """A film without text in it."""
    rows, columns = np.mgrid[:160, :144] / 160
    grey = (3000 * np.exp(-((rows - 0.4) ** 2 + (columns - 0.5) ** 2) / 0.1)).astype(np.uint16)
    return film_file(grey, BitsStored=12, WindowCenter=2048, WindowWidth=4096, **tags)


def made_of(raw: bytes, text: Text = Text.REFUSE) -> Dataset:
    return dcmread(BytesIO(deidentified(raw, KEY, LIMITS, text=text).raw))


def full_file(tags, *, also_in: tuple[str, ...] = ()) -> tuple[bytes, Planted]:
    """A film with a token in every element named, on top and in items of these sequences."""
    planted = Planted()
    made = dcmread(BytesIO(plain()))
    for element in ("PatientOrientation", "BurnedInAnnotation"):
        made.pop(element, None)
    planted.plant(made, tags)
    for keyword in also_in:
        planted.plant(nested(made, keyword), tags)
    with disable_value_validation():
        out = BytesIO()
        made.save_as(out, enforce_file_format=True)
    return out.getvalue(), planted


def table() -> list[int]:
    return [tag[0] << 16 | tag[1] for tag in profile._TABLE["ALL_TAGS"] if len(tag) == 2]


def test_nothing_that_the_profile_names_is_left():
    raw, planted = full_file(table(), also_in=("ViewCodeSequence", "AnatomicRegionSequence"))
    raw = raw.replace(b"\0" * 128 + b"DICM", b"Zquaggapreamble".ljust(128) + b"DICM", 1)
    assert len(planted.tokens) > 550
    assert len(planted.found_in(raw)) == len(planted.tokens)
    out = deidentified(raw, KEY, LIMITS).raw
    assert planted.found_in(out) == set()
    assert b"Zquaggapreamble" not in out


def test_no_other_text_of_the_standard_is_left_either():
    raw, planted = full_file(every_standard_text())
    assert len(planted.tokens) > 1500
    assert len(planted.found_in(raw)) == len(planted.tokens)
    known = {"Manufacturer", "ManufacturerModelName"}
    codes = {"CodeMeaning", "CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion"}
    left = planted.found_in(deidentified(raw, KEY, LIMITS).raw)
    assert left - known - codes <= profile._SEQUENCES  # whose tokens are code meanings too


def test_of_codes_only_those_of_the_standard_are_left():
    raw, planted = full_file(
        [tag for tag, entry in DicomDictionary.items() if entry[0] == "CS" and tag != 0x00080005]
    )
    assert len(planted.tokens) > 700
    assert planted.found_in(deidentified(raw, KEY, LIMITS).raw) == set()


@pytest.mark.parametrize(
    ("keyword", "said", "left"),
    [
        ("BodyPartExamined", "chest", "CHEST"),
        ("BodyPartExamined", "LUNG QUAGGA ZELDA", "CHEST"),
        ("ImageType", ["DERIVED", "PRIMARY", "QUAGGA"], ["DERIVED", "PRIMARY"]),
        ("PatientOrientation", ["L", "F"], ["L", "F"]),
        ("PatientOrientation", ["QUAGGA", "ZELDA"], None),
        ("FilterMaterial", "COPPER", "COPPER"),
        ("FilterMaterial", "Quagga 1950", None),
        ("RescaleType", "QUAGGA", None),
        ("RescaleType", "US", "US"),
        ("Laterality", "", ""),
        ("SoftwareVersions", "QUAGGA", None),
    ],
)
def test_a_code_is_one_of_those_that_it_may_be(keyword, said, left):
    raw = plain(**{keyword: said})
    out = deidentified(raw, KEY, LIMITS).raw
    assert dcmread(BytesIO(out)).get(keyword) == left
    assert b"QUAGGA" not in out.upper()


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "SOPClassUID"]
)
@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.19500417", "1.2.840.10008.1.1"])
def test_no_uid_stays_for_how_it_begins(keyword, uid):
    out = deidentified(plain(**{keyword: uid}), KEY, LIMITS)
    named = uid == "1.2.840.10008.1.1" and keyword == "SOPClassUID"  # the standard's own, where one belongs
    assert (dcmread(BytesIO(out.raw))[keyword].value == uid) == named
    assert b"19500417" not in out.raw + out.name.encode()


def test_text_in_place_of_a_uid_is_gone():
    view = code("postero-anterior")
    with disable_value_validation():
        view.ContextUID = view.CodingSchemeUID = "1.2.840.10008.QUAGGA"
        raw = plain(ViewCodeSequence=[view], InstanceCreatorUID="1.2.840.10008.QUAGGA ANN")
        raw_two = plain(SOPInstanceUID=["1.2.3", "1.2.840.10008.QUAGGA"])
    assert raw.count(b"QUAGGA") == 3
    assert b"QUAGGA" not in deidentified(raw, KEY, LIMITS).raw
    out = deidentified(raw_two, KEY, LIMITS)
    assert b"QUAGGA" not in out.raw
    assert out.name == f"{dcmread(BytesIO(out.raw)).SOPInstanceUID}.dcm"


@pytest.mark.parametrize("entries", [256, 255])
@pytest.mark.parametrize("width", [1, 2])
def test_a_lookup_table_ends_where_its_descriptor_says(entries, width):
    table = Dataset()
    table.LUTDescriptor = [entries, 0, 8 * width]
    data = np.linspace(0, 2 ** (8 * width) - 1, entries).astype(f"<u{width}").tobytes()
    behind = b"Quagga" * 50 if width == 2 else b"Quagga"
    table.add_new(0x00283006, "OW", data + behind + b"\0" * (len(data) % 2))
    pixels = ramp(bits=8)
    raw = film_file(pixels, BitsStored=12, VOILUTSequence=[table])
    out = deidentified(raw, KEY, LIMITS, text=Text.CHECKED).raw
    assert b"Quagga" not in out
    assert np.array_equal(decode(raw, LIMITS).pixels, decode(out, LIMITS).pixels)


def test_the_librarys_table_names_what_the_standard_calls_identifying():
    from pydicom.datadict import tag_for_keyword

    tags = set(table())
    missing = {each for each in IDENTIFYING if tag_for_keyword(each) not in tags}
    assert missing == set()


@pytest.mark.parametrize("keyword", IDENTIFYING)
def test_an_identifying_element_is_gone_empty_or_another(keyword):
    from pydicom.datadict import tag_for_keyword

    raw, planted = full_file([tag_for_keyword(keyword)])
    before, after = dcmread(BytesIO(raw)), made_of(raw)
    assert keyword in before
    assert keyword not in after or not after[keyword].value or after[keyword].value != before[keyword].value
    assert planted.found_in(deidentified(raw, KEY, LIMITS).raw) == set()


def test_private_elements_overlays_and_what_follows_the_pixels_are_gone():
    made = dcmread(BytesIO(plain()))
    block = made.private_block(0x0029, "Zquagga Creator", create=True)
    block.add_new(1, "LO", "Zquagga private")
    block.add_new(2, "SQ", [item("Zquagga nested")])
    view = code("postero-anterior")
    view.private_block(0x0009, "Zquagga inner", create=True).add_new(1, "UN", b"Zquagga inner value")
    made.ViewCodeSequence = [view]
    made.add_new(0x60000010, "US", 8)
    made.add_new(0x60004000, "LT", "Zquagga overlay comment")
    made.add_new(0x60003000, "OW", b"Zquagga overlay bits!")
    made.add_new(0x50003000, "OW", b"Zquagga curve data!")
    made.add_new(0xFFFCFFFC, "OB", b"Zquagga trailing")
    made.file_meta.SourceApplicationEntityTitle = "Zquagga AE"
    made.file_meta.PrivateInformationCreatorUID = "1.2.3"
    made.file_meta.PrivateInformation = b"Zquagga meta!"
    raw = as_bytes(made)
    out = deidentified(raw, KEY, LIMITS).raw
    assert raw.count(b"Zquagga") == 13
    assert b"Zquagga" not in out
    after = dcmread(BytesIO(out))
    assert [element.tag for element in after.iterall() if element.tag.is_private] == []
    assert after.ViewCodeSequence[0].CodeMeaning == "postero-anterior"


def test_identity_in_the_items_of_kept_sequences_is_gone():
    lying = code("recumbent")
    lying.PatientOrientationModifierCodeSequence = [item("Zquaggadeep")]
    lying.PatientOrientationModifierCodeSequence[0].CodeMeaning = "supine"
    out = deidentified(plain(PatientOrientationCodeSequence=[lying]), KEY, LIMITS).raw
    assert b"Zquaggadeep" not in out
    deep = dcmread(BytesIO(out)).PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence[0]
    assert deep.CodeMeaning == "supine"
    assert decode(out, LIMITS).study.supine


def hidden(high: int, position: int | None, syntax=ExplicitVRLittleEndian) -> bytes:
    """A film of 12 bits of 16 with a picture in a bit that the pixels leave free."""
    drawn = np.zeros((100, 100), dtype=np.uint16)
    drawn[10:30, 10:90] = 1
    words = (ramp() << (high - 11)) | (drawn << (15 if high == 11 else 0))
    made = dataset(words, BitsStored=12, HighBit=high)
    if position is not None:
        made.add_new(0x60000100, "US", 16)
        made.add_new(0x60000102, "US", position)
    if syntax != ExplicitVRLittleEndian:
        made.BitsStored, made.HighBit = 16, 15
        made.compress(syntax, generate_instance_uid=False)
        made.BitsStored, made.HighBit = 12, high
    return as_bytes(made)


@pytest.mark.parametrize("text", [Text.CHECKED, Text.BLANK])
@pytest.mark.parametrize(
    ("high", "position", "syntax"),
    [
        (11, 15, ExplicitVRLittleEndian),
        (15, 0, ExplicitVRLittleEndian),
        (11, None, ExplicitVRLittleEndian),
        (11, 15, RLELossless),
        (11, None, JPEG2000Lossless),
        (11, None, JPEGLSLossless),
    ],
)
def test_what_lies_in_free_bits_of_the_pixels_is_gone(high, position, syntax, text, monkeypatch):
    raw = hidden(high, position, syntax)
    if text is Text.BLANK:
        monkeypatch.setattr(deidentify, "every_text", lambda _: (TextBox(60, 10, 90, 40),))
    out = deidentified(raw, KEY, LIMITS, text=text).raw
    kept = decode(raw, LIMITS).pixels == decode(out, LIMITS).pixels
    stored = np.frombuffer(dcmread(BytesIO(out)).PixelData, "<u2").reshape(100, 100)
    assert not (stored & ~np.uint16(0xFFF << (high - 11))).any()
    assert kept[:60].all()
    assert kept.all() == (text is Text.CHECKED)


def test_a_negative_value_stays_one():
    pixels = ramp("int16", 12, low=-2048)
    for words in (pixels, pixels & 0xFFF):
        out = deidentified(film_file(words, BitsStored=12), KEY, LIMITS, text=Text.CHECKED).raw
        stored = np.frombuffer(dcmread(BytesIO(out)).PixelData, "<i2")
        assert np.array_equal(stored.reshape(pixels.shape), pixels)


def test_values_that_are_not_what_they_should_be_are_left_out():
    raw = plain()
    for keyword, vr, value in (
        (b"\x18\x00\x60\x00", b"DS", b"Quaggamire"),  # KVP
        (b"\x18\x00\x52\x11", b"IS", b"Quaggamire"),  # Exposure
        (b"\x18\x00\x60\x11", b"SH", b"Quaggamire"),  # FilterType
        (b"\x08\x00\x61\x00", b"CS", b"Quagga^mire"),  # ModalitiesInStudy
    ):
        start = raw.index(b"\x28\x00\x02\x00US")
        value += b" " * (len(value) % 2)
        raw = raw[:start] + keyword + vr + len(value).to_bytes(2, "little") + value + raw[start:]
    assert b"Quagga" not in deidentified(raw, KEY, LIMITS).raw


def test_it_says_that_and_how_it_was_done():
    after = made_of(plain())
    assert after.PatientIdentityRemoved == "YES"
    assert after.DeidentificationMethod == METHOD
    assert [each.CodeValue for each in after.DeidentificationMethodCodeSequence] == ["113100"]
    assert after.DeidentificationMethodCodeSequence[0].CodingSchemeDesignator == "DCM"
    assert after.LongitudinalTemporalInformationModified == "REMOVED"
    assert "BurnedInAnnotation" not in after
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID


def test_films_stay_together_under_one_key_and_cannot_be_joined_under_another():
    tags = {"StudyInstanceUID": "1.2.3", "PatientID": "P-77", "PatientName": "Doe^Jane"}
    one, two = made_of(plain(**tags, SOPInstanceUID="1.2.4")), made_of(plain(**tags, SOPInstanceUID="1.2.5"))
    other = dcmread(BytesIO(deidentified(plain(**tags), OTHER_KEY, LIMITS).raw))
    for keyword in tags:
        assert one[keyword].value == two[keyword].value != other[keyword].value
        assert one[keyword].value != tags[keyword]
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.StudyInstanceUID.is_valid
    assert deidentified(plain(**tags), KEY, LIMITS) == deidentified(plain(**tags), KEY, LIMITS)


def test_a_film_without_uids_gets_one_of_its_own():
    made = dcmread(BytesIO(plain()))
    del made.SOPInstanceUID, made.SOPClassUID
    raw = as_bytes(made, preamble=False)
    out = deidentified(raw, KEY, LIMITS)
    assert dcmread(BytesIO(out.raw)).SOPInstanceUID.startswith("2.25.")
    assert out.name.startswith("2.25.")


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_the_picture_is_stored_uncompressed_value_for_value(syntax):
    raw = phantom_dicom(PHANTOM, transfer_syntax=syntax)
    out = deidentified(raw, KEY, LIMITS, text=Text.CHECKED).raw
    before, after = dcmread(BytesIO(raw)), dcmread(BytesIO(out))
    if before["PixelData"].is_undefined_length:
        assert after.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    else:
        assert after.file_meta.TransferSyntaxUID == syntax
        assert before.PixelData == after.PixelData
    lossy = syntax in (JPEGBaseline8Bit, JPEGLSNearLossless, JPEG2000)
    assert after.get("LossyImageCompression") == ("01" if lossy else before.get("LossyImageCompression"))
    assert np.array_equal(decode(raw, LIMITS).pixels, decode(out, LIMITS).pixels)


ODD = {
    "big-endian": dataset(ramp(), syntax=ExplicitVRBigEndian, BitsStored=12),
    "implicit": dataset(ramp(), syntax=ImplicitVRLittleEndian, BitsStored=12),
    "signed": dataset(ramp("int16", 12, low=-2048), BitsStored=16),
    "high bits": dataset(ramp() << 4, BitsStored=12, HighBit=15),
    "bytes, odd": dataset(ramp("uint8", 8, side=97)),
    "bytes, big-endian": dataset(ramp("uint8", 8, side=97), syntax=ExplicitVRBigEndian),
    "inverse": dataset(ramp(), BitsStored=12, PhotometricInterpretation="MONOCHROME1"),
    "padded": dataset(ramp(), BitsStored=12, PixelPaddingValue=0),
    "rescaled": dataset(ramp(), BitsStored=12, RescaleSlope="2", RescaleIntercept="-7"),
    "window": dataset(ramp(), BitsStored=12, WindowCenter="1000", WindowWidth="800"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("text", [Text.CHECKED, Text.BLANK])
def test_odd_files_show_the_same_picture(kind, text):
    """Noise has no text; so blanking is done by force, on a corner."""
    raw = as_bytes(ODD[kind])
    out = deidentified(raw, KEY, LIMITS, text=text).raw
    assert np.array_equal(decode(raw, LIMITS).pixels, decode(out, LIMITS).pixels)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_text_is_blacked_out_and_nothing_else_changes(photometric, bits, syntax):
    raw = phantom_dicom(PHANTOM, photometric=photometric, bits=bits, transfer_syntax=syntax)
    _assert_only_text_is_gone(raw, np.array(PHANTOM.masks["marker"]))


@pytest.mark.parametrize("kind", ["none", "useless", "big-endian"])
def test_a_picture_without_window_keeps_its_range_though_text_was_its_brightest(kind):
    pixels = (PHANTOM.image * 3000).astype(np.uint16)
    windows = {"useless": {"WindowCenter": "60000", "WindowWidth": "2"}}.get(kind, {})
    syntax = ExplicitVRBigEndian if kind == "big-endian" else ExplicitVRLittleEndian
    raw = as_bytes(dataset(pixels, BitsStored=12, syntax=syntax, RescaleSlope="1.5", **windows))
    _assert_only_text_is_gone(raw, np.array(PHANTOM.masks["marker"]))


def _assert_only_text_is_gone(raw: bytes, ink: np.ndarray) -> None:
    made = deidentified(raw, KEY, LIMITS, text=Text.BLANK)
    before, after = decode(raw, LIMITS).pixels, decode(made.raw, LIMITS).pixels
    boxes = text_boxes(before)
    changed = ~np.isclose(before, after, atol=1e-6)
    assert made.blanked >= 1
    assert text_boxes(after) == ()
    ink[:, : ink.shape[1] // 2] = False  # the side marker on the left is no text
    assert (after[ink] < 0.05).all()
    inside = np.zeros(ink.shape, dtype=bool)
    for box in boxes:
        inside[box.top : box.bottom, box.left : box.right] = True
    assert not (changed & ~inside).any()
    tags = dcmread(BytesIO(made.raw))
    assert tags.BurnedInAnnotation == "NO"
    assert [each.CodeValue for each in tags.DeidentificationMethodCodeSequence] == ["113100", "113101"]


def test_text_is_never_let_through_unasked():
    with pytest.raises(Conflict, match="text seems to be burnt"):
        deidentified(phantom_dicom(PHANTOM, extra={"BurnedInAnnotation": "NO"}), KEY, LIMITS)
    with pytest.raises(Conflict, match="the tags say"):
        deidentified(plain(BurnedInAnnotation="YES"), KEY, LIMITS)
    with pytest.raises(Conflict, match="none was found"):
        deidentified(plain(BurnedInAnnotation="YES"), KEY, LIMITS, text=Text.BLANK)
    checked = made_of(plain(BurnedInAnnotation="YES"), Text.CHECKED)
    assert checked.BurnedInAnnotation == "NO"
    assert [each.CodeValue for each in checked.DeidentificationMethodCodeSequence] == ["113100"]


def test_text_that_the_window_hides_is_found():
    pixels = np.full((256, 256), 900, dtype=np.uint16)
    pixels[20:200, 20:200] = 100
    sheet = Image.new("L", (256, 256))
    ImageDraw.Draw(sheet).text((30, 40), "SMITH JOHN", fill=1, font=ImageFont.load_default(16))
    pixels[np.asarray(sheet) > 0] = 2000
    raw = film_file(pixels, BitsStored=12, WindowCenter=50, WindowWidth=40)
    with pytest.raises(Conflict):
        deidentified(raw, KEY, LIMITS)


def test_the_answer_is_the_same_but_for_whose_film_it_is():
    raw = phantom_dicom(PHANTOM, extra={"ViewPosition": None, "ViewCodeSequence": None})
    film = decode(raw, LIMITS)
    out = decode(deidentified(raw, KEY, LIMITS, text=Text.CHECKED).raw, LIMITS)
    who = ("patient_id", "patient_name", "sex", "age_years", "acquired", "accession", "referrer", "question")
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    same = {name: getattr(film.study, name) for name in (*who, *uids)}
    assert replace(out.study, **same) == film.study
    assert (out.notes, out.spacing_mm, out.source) == (film.notes, film.spacing_mm, film.source)
    assert {getattr(out.study, name) for name in ("accession", "referrer", "question")} == {""}
    assert (out.study.age_years, out.study.acquired, out.study.sex) == (None, None, Study().sex)


@pytest.mark.parametrize(
    ("said", "study"),
    [
        ({"ViewPosition": None, "SeriesDescription": "Thorax PA Smith"}, Study(view=View.PA)),
        ({"ViewPosition": "", "ProtocolName": "chest AP supine"}, Study(view=View.AP, supine=True)),
        ({"ViewPosition": None, "SeriesDescription": "chest lateral"}, Study(view=View.LATERAL)),
    ],
)
def test_what_only_a_text_said_of_the_view_stays_as_code(said, study):
    out = deidentified(plain(**said), KEY, LIMITS).raw
    after = decode(out, LIMITS).study
    assert (after.view, after.supine) == (study.view, study.supine)
    assert b"Smith" not in out


def test_comments_in_a_compressed_stream_are_gone():
    stream = BytesIO()
    grey = Image.fromarray((PHANTOM.image * 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x010E] = "Zquagga exif"
    grey.save(stream, "JPEG", comment=b"Zquagga comment", exif=exif, quality=90)
    frame = stream.getvalue() + b"Zquagga behind"
    raw = compressed_file(np.asarray(grey), frame, JPEGBaseline8Bit)
    out = deidentified(raw, KEY, LIMITS, text=Text.CHECKED).raw
    assert raw.count(b"Zquagga") == 3
    assert b"Zquagga" not in out
    assert np.array_equal(decode(raw, LIMITS).pixels, decode(out, LIMITS).pixels)


def _in_stream(frame: bytes, place: str) -> bytes:
    """A compressed frame with a text where decoders do not look."""
    said = b"Zquagga comment!"
    if place == "application data":
        return frame[:2] + b"\xff\xe8" + (len(said) + 2).to_bytes(2, "big") + said + frame[2:]
    if place == "rle header":
        return frame[:12] + said + frame[12 + len(said) :]
    comment = b"\xff\x64" + (len(said) + 4).to_bytes(2, "big") + b"\0\1" + said
    if place == "main header":
        start = 4 + int.from_bytes(frame[4:6], "big")  # behind SIZ
        return frame[:start] + comment + frame[start:]
    if place == "tile":
        start, end = frame.index(b"\xff\x90"), frame.index(b"\xff\x93")
        length = int.from_bytes(frame[start + 6 : start + 10], "big") + len(comment)
        head = frame[: start + 6] + length.to_bytes(4, "big") + frame[start + 10 : end]
        return head + comment + frame[end:]
    return frame + said


@pytest.mark.parametrize(
    ("syntax", "place"),
    [
        (JPEG2000Lossless, "main header"),
        (JPEG2000Lossless, "tile"),
        (JPEG2000Lossless, "behind"),
        (JPEGLSLossless, "application data"),
        (JPEGLSLossless, "behind"),
        (RLELossless, "rle header"),
        (RLELossless, "behind"),
    ],
)
def test_nothing_that_stands_in_a_stream_beside_the_picture_is_left(syntax, place):
    made = dcmread(BytesIO(phantom_dicom(PHANTOM, transfer_syntax=syntax)))
    made.PixelData = encapsulate([_in_stream(get_frame(made.PixelData, 0, number_of_frames=1), place)])
    made["PixelData"].is_undefined_length = True
    raw = as_bytes(made)
    out = deidentified(raw, KEY, LIMITS, text=Text.CHECKED).raw
    assert raw.count(b"Zquagga") == 1
    assert b"Zquagga" not in out
    assert np.array_equal(decode(raw, LIMITS).pixels, decode(out, LIMITS).pixels)


def test_what_cannot_be_decoded_is_refused():
    for raw in (b"", b"no film", plain()[:600], plain(Modality="SR")):
        with pytest.raises(Rejected):
            deidentified(raw, KEY, LIMITS, text=Text.CHECKED)


@pytest.mark.parametrize("seed", range(4))
def test_of_a_damaged_file_only_refusals_come(seed):
    rng = np.random.default_rng(seed)
    whole = phantom_dicom(make_phantom(1, size=64), patient_name="Quaggamire^Ann")
    left = 0
    for _ in range(60):
        raw = bytearray(whole)
        for place in rng.integers(132, len(raw) - 64 * 64 * 2, rng.integers(1, 4)):
            raw[place] = rng.integers(256)
        try:
            out = deidentified(bytes(raw), KEY, LIMITS, text=Text.CHECKED)
        except (Conflict, Rejected) as exc:
            said = str(exc)
        else:
            said, left = out.raw.decode("latin-1"), left + 1
            decode(out.raw, LIMITS)
        assert "quaggamire" not in said.lower()
    assert left > 10


def picture(mode: str) -> Image.Image:
    grey = ramp("uint8", 8, side=90)
    if mode == "I;16":
        return Image.fromarray(ramp("uint16", 12, side=90))
    if mode in ("RGB", "RGBA"):
        tinted = np.minimum(grey, 235)  # a strong colour is refused as a photograph
        planes = [tinted, tinted + 8, tinted + 16, grey][: len(mode)]
        return Image.fromarray(np.stack(planes, axis=-1))
    return Image.fromarray(grey).convert(mode)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGB", "RGBA", "I;16"])
def test_a_png_is_its_pixels_alone(mode):
    said = PngImagePlugin.PngInfo()
    said.add_text("Patient", "Zquagga name")
    said.add_itxt("Comment", "Zquagga utf-8")
    exif = Image.Exif()
    exif[0x010E] = "Zquagga exif"
    stream = BytesIO()
    picture(mode).save(stream, "PNG", pnginfo=said, exif=exif, icc_profile=b"Zquagga profile")
    raw = stream.getvalue() + b"Zquagga behind"
    out = deidentified(raw, KEY, LIMITS, text=Text.CHECKED)
    with Image.open(BytesIO(out.raw)) as image:
        image.load()
        assert not image.info
        assert image.mode == ("I;16" if mode == "I;16" else "L")
    assert b"Zquagga" not in out.raw
    rounded = 0.5 / 255 + 1e-6 if mode == "RGBA" else 0
    assert np.allclose(decode(raw, LIMITS).pixels, decode(out.raw, LIMITS).pixels, rtol=0, atol=rounded)
    assert out.name.endswith(".png")


def see_through(mode: str) -> tuple[bytes, np.ndarray]:
    """A PNG with a text whose pixels are transparent, and where they are."""
    sheet = Image.new("L", (160, 160))
    ImageDraw.Draw(sheet).text((10, 60), "QUAGGA 1950", fill=1, font=ImageFont.load_default(20))
    ink = np.asarray(sheet) > 0
    grey, stream = np.full(ink.shape, 90, dtype=np.uint8), BytesIO()
    shown = np.where(ink, 250, grey).astype(np.uint8)
    opacity = np.where(ink, 0, 255).astype(np.uint8)
    if mode == "P":
        Image.fromarray(shown).convert("P").save(stream, "PNG", transparency=250)
    elif mode == "16 bit LA":
        rows = np.dstack([shown, shown, opacity, opacity]).reshape(160, -1)
        stream.write(_png(160, 160, rows, depth=16, colour=4))
    else:
        planes = [shown] * (len(mode) - 1)
        Image.fromarray(np.dstack([*planes, opacity]), mode).save(stream, "PNG")
    return stream.getvalue(), ink


def _png(width: int, height: int, rows: np.ndarray, *, depth: int, colour: int) -> bytes:
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "16 bit LA"])
def test_what_transparency_hides_does_not_leave(mode):
    raw, ink = see_through(mode)
    out = deidentified(raw, KEY, LIMITS, text=Text.CHECKED).raw
    with Image.open(BytesIO(out)) as image:
        pixels = np.asarray(image)
        assert image.mode == "L"
        assert not image.info
    assert pixels[ink].max() == 0
    assert np.array_equal(decode(raw, LIMITS).pixels, decode(out, LIMITS).pixels)


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("correction", [Correction(1), Correction(2), Correction(3, inverted=True)])
def test_a_picture_leaves_as_a_person_hung_it(bits, correction):
    stored = ramp("uint8" if bits == 8 else "uint16", bits, side=90)[:, :70]
    stream = BytesIO()
    Image.fromarray(stored).save(stream, "PNG")
    raw = stream.getvalue()
    out = deidentified(raw, KEY, LIMITS, text=Text.CHECKED, correction=correction).raw
    hung = corrected(decode(raw, LIMITS), correction)
    assert np.allclose(hung.pixels, decode(out, LIMITS).pixels, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "correction", [Correction(1), Correction(2), Correction(3), Correction(inverted=True)]
)
def test_text_is_blacked_out_however_the_picture_hangs(correction):
    image = (PHANTOM.image * 255).astype(np.uint8)
    for film in (image, np.rot90(image, -correction.quarter_turns)):
        stream = BytesIO()
        Image.fromarray(film).save(stream, "PNG")
        raw = stream.getvalue()
        made = deidentified(raw, KEY, LIMITS, text=Text.BLANK, correction=correction)
        with pytest.raises(Conflict, match="seems"):
            deidentified(raw, KEY, LIMITS, correction=correction)
        as_sent = PHANTOM.masks["marker"].copy()
        as_sent[:, : as_sent.shape[1] // 2] = False  # the side marker on the left is no text
        turns = correction.quarter_turns if film is image else 0
        assert decode(made.raw, LIMITS).pixels[np.rot90(as_sent, turns)].max() < 0.05


def test_a_16_bit_picture_is_as_bright_once_it_is_inverted():
    stored = ramp("uint16", 12, side=90) // 8 + 3584  # nearly white
    stream = BytesIO()
    Image.fromarray(stored).save(stream, "PNG")
    correction = Correction(inverted=True)
    out = deidentified(stream.getvalue(), KEY, LIMITS, text=Text.CHECKED, correction=correction).raw
    hung = corrected(decode(stream.getvalue(), LIMITS), correction)
    differ = ~np.isclose(hung.pixels, decode(out, LIMITS).pixels, rtol=0, atol=1e-6)
    assert differ.sum() <= 9


def test_a_corrected_dicom_film_leaves_as_it_was_sent():
    as_sent = deidentified(plain(), KEY, LIMITS)
    assert deidentified(plain(), KEY, LIMITS, correction=Correction(2)) == as_sent


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_becomes_a_png_that_stands_upright(turn, mode):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = turn, "Zquagga maker"
    stream = BytesIO()
    image = Image.fromarray(ramp("uint8", 8, side=90)[:, :70]).convert(mode)
    image.save(stream, "JPEG", exif=exif, comment=b"Zquagga comment")
    out = deidentified(stream.getvalue(), KEY, LIMITS, text=Text.CHECKED).raw
    assert b"Zquagga" not in out
    assert out.startswith(b"\x89PNG")
    assert np.array_equal(decode(stream.getvalue(), LIMITS).pixels, decode(out, LIMITS).pixels)


@pytest.mark.parametrize("depth", [8, 12, 16])
def test_text_in_a_picture_is_blacked_out(depth):
    image = (PHANTOM.image * (2**depth - 1)).astype(np.uint8 if depth == 8 else np.uint16)
    stream = BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    with pytest.raises(Conflict, match="seems"):
        deidentified(stream.getvalue(), KEY, LIMITS)
    made = deidentified(stream.getvalue(), KEY, LIMITS, text=Text.BLANK)
    before, after = decode(stream.getvalue(), LIMITS).pixels, decode(made.raw, LIMITS).pixels
    assert made.blanked == 1
    assert text_boxes(after) == ()
    box = text_boxes(before)[0]
    changed = before != after
    changed[box.top : box.bottom, box.left : box.right] = False
    assert not changed.any()
    assert after[box.top + 1 : box.bottom, box.left + 1 : box.right].max() == 0


@pytest.mark.real_data
def test_real_files_show_the_same_picture(data_dir):
    shown = 0
    for path in sorted((data_dir / "dicom").glob("*.dcm")):
        raw = path.read_bytes()
        try:
            before = decode(raw, LIMITS)
        except Rejected:
            continue
        out = deidentified(raw, KEY, LIMITS, text=Text.CHECKED).raw
        after = decode(out, LIMITS)
        assert np.array_equal(before.pixels, after.pixels), path.name
        assert (after.study.view, after.study.modality) == (before.study.view, before.study.modality)
        shown += 1
    assert shown >= 5
