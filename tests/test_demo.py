"""The demo: what it makes is invented, says so, and went the way of every film."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pydicom
import pytest
from sqlalchemy import select

from cxr_core import settings
from cxr_core.access import Actor, Role
from cxr_core.demo.__main__ import MARK, build
from cxr_core.demo.films import CASES, LATER, STUDIES, draw
from cxr_core.errors import StoreError
from cxr_core.pipeline import analyse, load_kit
from cxr_core.settings import Settings
from cxr_core.worklist import audit, queue
from cxr_core.worklist.schema import AuditRow, IdentityRow, ImageRow
from cxr_core.worklist.service import open_service
from cxr_core.worklist.values import Query, Status

LEAD = Actor("lead", Role.LEAD)
EVERY = Query(limit=500, statuses=frozenset(Status))
FEW = tuple(case for place, case in enumerate(CASES) if case.seed > 100 or place % 5 == 0)


@pytest.fixture
def chosen(tiny_model, tmp_path, monkeypatch):
    for name in ("CXR_DATABASE_URL", "CXR_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "demo"))
    monkeypatch.setenv("CXR_MODELS_DIR", str(tiny_model.parent))
    monkeypatch.setenv("CXR_MODEL", tiny_model.name)
    return settings.load()


def test_a_hundred_studies_are_made_at_once_and_more_arrive():
    assert len({case.seed for case in CASES}) == STUDIES == 100
    assert len({case.file for case in (*CASES, *LATER)}) == len(CASES) + len(LATER)
    assert not {case.seed for case in CASES} & {case.seed for case in LATER}
    assert len(LATER) >= 5


def test_some_patients_have_priors_to_compare_with():
    studies = Counter(person for person, _ in {(case.person, case.seed) for case in CASES})
    assert (studies[1099], studies[208]) == (3, 2)
    assert set(studies.values()) == {1, 2, 3}


def test_a_film_says_synthetic_in_its_tags_and_was_taken_when_the_case_says():
    now = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
    case = CASES[3]
    raw = draw(case, now)
    assert raw == draw(case, now)
    with pydicom.dcmread(pydicom.filebase.DicomBytesIO(raw)) as ds:
        assert ds.PatientID.startswith("SYNTHETIC")
        assert str(ds.PatientName).startswith("Synthetic")
        assert ds.SeriesDescription.startswith("SYNTHETIC")
        taken = datetime.strptime(ds.AcquisitionDate + ds.AcquisitionTime, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    assert (now - taken).total_seconds() == 60 * case.minutes_ago


@pytest.mark.slow
def test_the_demo_is_a_worklist_in_several_states_made_by_the_real_service(chosen):
    build(chosen, FEW)
    service = open_service(chosen)
    lines = service.page(LEAD, EVERY).lines
    assert {line.source for line in lines} == {"demo"}
    assert queue.waiting(service) == 0
    states = Counter(line.state for line in lines)
    assert states["refused"] == 3
    assert None not in states
    assert Counter(line.films for line in lines)[2] == 2
    assert {Status.READ, Status.NEW} <= {line.status for line in lines}
    assert any(line.overdue for line in lines)
    assert all("(invented)" in line.claimed_by for line in lines if line.claimed_by)
    with service.database.read() as session:
        people = list(session.scalars(select(IdentityRow)))
        assert all(row.patient_id.startswith("SYNTHETIC") for row in people if row.patient_id)
        events = Counter(session.scalars(select(AuditRow.event)))
        films = len(list(session.scalars(select(ImageRow.sha256))))
        assert audit.verify(session).broken_at is None
        times = [link.at for link in audit.links(session)]
    assert times == sorted(times), "the trail tells the week in order"
    assert events["submit"] == events["result"] == films == len(FEW)
    assert events["read"] == sum(line.status is Status.READ for line in lines)
    now = datetime.now(UTC)
    fared = service.turnaround(LEAD, now - timedelta(days=7), now + timedelta(minutes=1))
    assert len(fared.days) >= 5
    read, late = (sum(getattr(tier, each) for tier in fared.tiers) for each in ("due", "overdue"))
    assert 0 < late < read / 4, "a few came too late"
    service.close()
    build(chosen, FEW[:1])
    service = open_service(chosen)
    assert len(service.page(LEAD, EVERY).lines) == 1
    service.close()


@pytest.mark.slow
def test_the_bundled_model_says_of_some_what_a_stakeholder_wants_to_see():
    """If a new model says otherwise, pick other seeds; the model's word is never changed."""
    kit = load_kit(Settings())
    now = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
    shown = [case for case in (*CASES, *LATER) if case.seed in (203, 273, 456, 457, 476, 512, 868, 1099)]
    said = {case.seed: analyse(draw(case, now), kit, now=now).triage for case in shown}
    assert [said[seed].urgency for seed in (456, 457, 512, 868, 1099)] == ["critical"] * 5
    assert said[476].state == "no_disease_detected"
    assert said[273].state == "unable_to_classify"
    assert said[203].state == "refused"


def test_a_folder_that_is_not_a_demos_is_left_alone(chosen):
    chosen.home.mkdir()
    (chosen.home / "blobs").mkdir()
    with pytest.raises(StoreError, match="not a demo's folder"):
        build(chosen, FEW[:1])
    assert (chosen.home / "blobs").is_dir()
    assert not (chosen.home / MARK).exists()
