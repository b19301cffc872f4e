"""Films of the worklist leave without identity: by a lead alone, audited, made in a process of its own."""

from __future__ import annotations

import stat
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from sqlalchemy import select

from cxr_core.access import Actor, Role
from cxr_core.domain import Correction
from cxr_core.errors import Conflict, DecoderDied, Forbidden, Rejected, StoreError
from cxr_core.imaging.deidentify import Text
from cxr_core.worklist import deidentifying
from cxr_core.worklist.deidentifying import KEY, key_at
from cxr_core.worklist.schema import AuditRow, ImageRow
from cxr_core.worklist.values import Incoming, Source
from tests.worklist.tokens import leaks, tagged

LEAD = Actor("lead", Role.LEAD)


def handed_in(service, raw: bytes) -> str:
    return service.submit(LEAD, Incoming("film.dcm", raw), source=Source.PAGE).sha256


def rows(service) -> list[tuple[str, str]]:
    with service.database.read() as session:
        found = session.scalars(select(AuditRow).where(AuditRow.event == "deidentify"))
        return [(row.subject, row.detail) for row in found]


def test_a_film_leaves_without_identity_and_with_an_audit_row(service, films):
    sha256 = handed_in(service, tagged(films, 1))
    made = service.deidentify(LEAD, sha256, Text.BLANK)
    assert leaks(tagged(films, 1))
    assert not leaks(made.raw) | leaks(made.name)
    assert dcmread(BytesIO(made.raw)).PatientIdentityRemoved == "YES"
    ((subject, detail),) = rows(service)
    assert subject == sha256
    assert '"text":"blank"' in detail
    assert made == service.deidentify(LEAD, sha256, Text.BLANK)


def test_films_of_a_study_stay_together(service, films):
    both = [handed_in(service, tagged(films, number, StudyInstanceUID="1.2.3")) for number in (1, 2)]
    made = [dcmread(BytesIO(service.deidentify(LEAD, each, Text.CHECKED).raw)) for each in both]
    assert made[0].StudyInstanceUID == made[1].StudyInstanceUID != "1.2.3"
    assert made[0].PatientID == made[1].PatientID


def test_text_in_the_picture_does_not_leave_unasked(service, films):
    sha256 = handed_in(service, tagged(films, 1))
    with pytest.raises(Conflict, match="burnt"):
        service.deidentify(LEAD, sha256, Text.REFUSE)
    assert rows(service) == []


def test_what_cannot_be_decoded_does_not_leave(service, films):
    for raw in (tagged(films, 1)[:9000], b"no film"):
        with pytest.raises(Rejected):
            service.deidentify(LEAD, handed_in(service, raw), Text.CHECKED)
    with pytest.raises(StoreError, match="no such film"):
        service.deidentify(LEAD, "ab" * 32, Text.CHECKED)
    assert rows(service) == []


def test_a_corrected_picture_leaves_as_it_hangs(service):
    pixels = np.random.default_rng(3).integers(0, 256, (90, 70), dtype=np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    sha256 = handed_in(service, stream.getvalue())
    correction = Correction(1, inverted=True)
    with service.database.write() as session:
        session.get_one(ImageRow, sha256).correction = correction.key
    with Image.open(BytesIO(service.deidentify(LEAD, sha256, Text.CHECKED).raw)) as image:
        assert np.array_equal(np.asarray(image), 255 - np.rot90(pixels))


def test_a_clinician_may_not(service, films):
    sha256 = handed_in(service, tagged(films, 1))
    with pytest.raises(Forbidden):
        service.deidentify(Actor("ana", Role.CLINICIAN), sha256, Text.CHECKED)


def test_a_film_that_ends_its_process_ends_no_other(service, films, monkeypatch):
    sha256 = handed_in(service, tagged(films, 1))
    monkeypatch.setattr(deidentifying, "_LONGEST_S", 0.01)
    with pytest.raises(DecoderDied):
        service.deidentify(LEAD, sha256, Text.CHECKED)
    monkeypatch.undo()
    object.__setattr__(service.settings, "decode_memory_mb", 1)
    with pytest.raises(DecoderDied):
        service.deidentify(LEAD, sha256, Text.CHECKED)
    assert rows(service) == []


def test_the_secret_is_made_once_and_its_owners_alone(tmp_path):
    path = tmp_path / "home" / KEY
    made = key_at(path)
    assert len(made) == 32
    assert key_at(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [KEY]
    path.write_bytes(b"short")
    with pytest.raises(StoreError, match="secret"):
        key_at(path)
