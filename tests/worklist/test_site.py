"""A model fitted to this site through the service: by films of a list or readers' opinions; its folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event, insert, select

from cxr_core.access import Actor, Role
from cxr_core.domain import Notice
from cxr_core.errors import Conflict, DataError, Forbidden, ModelError, StoreError
from cxr_core.evaluation.site_cases import Choice, Origin
from cxr_core.evaluation.site_listing import read_listing
from cxr_core.inference import registry
from cxr_core.worklist import audit, codec, model_check, site_opinions
from cxr_core.worklist.schema import AuditRow, BatchRow, ImageRow, ReviewRow, StudyRow
from cxr_core.worklist.unpack import Turned
from cxr_core.worklist.values import Incoming, Source
from tests.evaluation.site_made import site_cases
from tests.inference.tiny import ALL
from tests.reports import analyses
from tests.worklist import rows
from tests.worklist.calls import World
from tests.worklist.work import work

LEAD, ANN, BEN = Actor("Lea", Role.LEAD), Actor("Ann", Role.CLINICIAN), Actor("Ben", Role.CLINICIAN)


@pytest.fixture
def quick(monkeypatch):
    """Models are checked in this process."""
    monkeypatch.setattr(model_check, "check", lambda folder: registry.load(folder, threads=1))


def test_opinions_become_truth_as_the_model_s_word_and_the_reader_s_say(service, kit, films):
    ids = {}
    for number in range(3):
        file = Incoming(f"{number}.dcm", films.dicom(number, patient_id="SAME" if number < 2 else "OTHER"))
        ids[number] = service.submit(ANN, file, source=Source.CLI).study_id
    work(service, kit)
    views = {number: service.study(ANN, study_id) for number, study_id in ids.items()}

    def opine(actor: Actor, number: int, finding: str, agrees: bool) -> None:
        version = service.version(actor, ids[number])
        service.opine(actor, ids[number], version, finding, agrees=agrees)

    opine(ANN, 0, "Mass", True)
    opine(ANN, 0, "Edema", False)
    opine(ANN, 1, "Mass", False)
    opine(ANN, 1, "Nodule", True)
    opine(BEN, 1, "Nodule", False)  # they do not agree: unknown
    found = service.site_opinions(LEAD)
    assert (found.studies, found.unanswered, found.torn) == (2, 0, 1)
    cases = found.cases
    assert (len(cases), cases.origin, cases.model) == (2, Origin.OPINIONS, service.model)
    assert cases.number_of_patients() == 1  # both studies are of one patient
    for row, number in enumerate(sorted((0, 1), key=lambda each: ids[each])):
        for said in views[number].films[0].analysis.predictions:
            k = cases.labels.index(said.label)
            assert cases.logits[row, k] == said.logit
            agrees = {(0, "Mass"): True, (0, "Edema"): False, (1, "Mass"): False}.get((number, said.label))
            if agrees is None:
                assert np.isnan(cases.truth[row, k])
            else:
                assert cases.truth[row, k] == float(said.positive == agrees)


def test_answers_of_a_former_model_are_no_cases_and_nobody_s_opinion_is_none(service):
    with pytest.raises(DataError, match="no reader"):
        service.site_opinions(LEAD)
    study_id = World(service).former()
    service.opine(ANN, study_id, 2, "Pneumothorax", agrees=True)
    with pytest.raises(DataError, match="no reader"):
        service.site_opinions(LEAD)


@pytest.fixture
def two_thousand(service):
    """Studies of one film each, answered by the model in force; somebody opined on each, oldest first."""
    made = replace(analyses.assessed({"Pneumothorax": 0.9}), abnormal=None)
    body = codec.encode(
        replace(
            made, predictions=tuple(replace(each, members=each.members[:3]) for each in made.predictions)
        ),
        ALL,
        None,
    )
    numbers = range(1, 2001)
    rows.put(
        service.database,
        [rows.study(number) for number in numbers],
        images=[rows.image(number, number, result_id=number) for number in numbers],
        results=[
            rows.result(number, number, service.model, service.policy.version, body=body)
            for number in numbers
        ],
    )
    said = {"finding": "Mass", "said": "negative", "model": service.model}
    with service.database.write() as session:
        session.execute(
            insert(ReviewRow),
            [
                {
                    "study_id": rows.id_of(number),
                    "at_utc": rows.THEN,
                    "actor": "Ann",
                    "kind": "agree",
                    "data": said,
                }
                for number in numbers
            ],
        )
    return numbers


def test_two_thousand_opinions_are_read_in_a_handful_of_queries(service, two_thousand):
    asked = []
    event.listen(service.database.engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    found = service.site_opinions(LEAD)
    assert (found.studies, found.older, len(found.cases)) == (2000, 0, 2000)
    selects = [each for each in asked if each.startswith("SELECT")]
    assert len(selects) <= 12, "eleven, of which four read 500 answers each"


def test_of_too_many_opinions_the_newest_are_taken(service, two_thousand, monkeypatch):
    monkeypatch.setattr(site_opinions, "MOST", 300)
    found = service.site_opinions(LEAD)
    assert (found.studies, found.older) == (300, 1700)
    assert sorted(found.cases.patients) == sorted(f"study:{rows.id_of(n)}" for n in range(1701, 2001))


def test_films_of_a_list_are_answered_as_ever_and_none_is_stored(service, films, quick, kit):
    from cxr_core.pipeline import analyse

    raws = {
        "a.png": films.png(1),
        "b.dcm": films.dicom(2),
        "broken.png": b"no film",
        "copy.png": films.png(1),
    }
    lines = "".join(f"{name},{patient},1,\n" for name, patient in zip(raws, "1123", strict=True))
    listing = read_listing(b"file,patient,Mass,Edema\n" + lines.encode() + b"gone.png,9,0,1\n", "l.csv", ALL)
    handed = [Incoming(f"zip/{name}", raw) for name, raw in raws.items()]
    handed += [Incoming("unlisted.png", films.png(7)), Turned("gone.png", Notice("zip_ratio", "too packed"))]
    reading = service.read_site(LEAD, "tiny", listing, iter(handed))
    assert reading.step(2)
    assert len(reading.cases()) == 2  # whatever was read is whole
    while reading.step(2):
        pass
    assert not reading.step()
    read = reading.read
    assert (read.films, read.unlisted, read.copies) == (6, 1, 1)
    assert sorted(each.notice.code for each in read.refused) == ["unknown_format", "zip_ratio"]
    cases = reading.cases()
    for row, name in enumerate(("a.png", "b.dcm")):
        answer = analyse(raws[name], kit, now=service.clock())
        expected = [each.logit for each in (*answer.predictions, answer.abnormal)]
        assert np.allclose(cases.logits[row], expected, atol=1e-5)
    assert cases.patients.tolist() == ["1", "1"]
    with service.database.read() as session:
        assert not any(session.scalars(select(table)).all() for table in (StudyRow, ImageRow, BatchRow))


def test_two_films_that_fit_one_line_are_both_left_out(service, films, quick):
    listing = read_listing(b"file,patient,Mass\n1.png,1,1\n2.png,2,0\n", "l.csv", ALL)
    handed = [Incoming(f"{each}/1.png", films.png(n)) for n, each in enumerate("ab")]
    reading = service.read_site(LEAD, "tiny", listing, iter([*handed, Incoming("2.png", films.png(5))]))
    while reading.step():
        pass
    assert reading.read.unclear == {0}
    assert reading.cases().patients.tolist() == ["2"]


def test_a_fitted_model_is_a_folder_that_a_lead_activates_and_reverts(service, quick):
    model_id = World(service).model()
    settings = service.settings
    manifest = registry.verify(settings.models_dir / model_id)
    fit = service.fit_site(LEAD, model_id, site_cases(manifest, 400), Choice())
    saved = service.save_site_model(LEAD, model_id, fit, "ward-3")
    assert (saved.id, saved.fault) == ("tiny-ward-3", "")
    with service.database.read() as session:
        row = session.scalars(select(AuditRow)).all()[-1]
        assert (row.actor, row.event, row.subject) == ("Lea", "model_fit", saved.name)
        assert json.loads(row.detail)["films"] == 400
    assert service.model_in_force.change == 0  # saved, not in force
    service.activate_model(LEAD, saved.id, "fitted to ward 3")
    assert service.model == saved.name
    service.activate_model(LEAD, model_id, "back")
    assert service.model_in_force.id == model_id


def fitted(service, model_id):
    manifest = registry.verify(service.settings.models_dir / model_id)
    return service.fit_site(LEAD, model_id, site_cases(manifest, 400), Choice())


def recorded(service):
    with service.database.read() as session:
        return session.scalars(select(AuditRow.subject).where(AuditRow.event == "model_fit")).all()


def test_the_audit_trail_has_a_saved_model_before_anybody_can_see_it(service, quick, monkeypatch):
    """Whoever is killed between the two leaves a row without a model, never a model without a row."""
    model_id = World(service).model()
    fit = fitted(service, model_id)
    known = []
    rename = Path.rename

    def seen(path, target):
        if path.name == "tiny-ward-3":
            known.extend(recorded(service))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", seen)
    saved = service.save_site_model(LEAD, model_id, fit, "ward-3")
    assert known == [saved.name]


def test_a_model_that_cannot_be_written_down_is_not_saved(service, quick, monkeypatch):
    model_id = World(service).model()
    fit = fitted(service, model_id)

    def lost(*_, **__):
        raise StoreError("gone")

    monkeypatch.setattr(audit, "append", lost)
    with pytest.raises(StoreError):
        service.save_site_model(LEAD, model_id, fit, "ward-3")
    assert not [path for path in service.settings.models_dir.iterdir() if "ward-3" in path.name]
    assert not list(service.settings.models_dir.glob(".site-*"))


def test_the_number_of_a_fit_never_comes_again_though_its_folder_was_deleted(service, quick):
    model_id = World(service).model()
    fit = fitted(service, model_id)
    first = service.save_site_model(LEAD, model_id, fit, "ward-3")
    shutil.rmtree(service.settings.models_dir / first.id)
    second = service.save_site_model(LEAD, model_id, fit, "ward-3")
    assert [first.name, second.name] == ["tiny-ward-3 9.1.0+site.1", "tiny-ward-3 9.1.0+site.2"]
    assert recorded(service) == [first.name, second.name]


def test_of_two_fits_saved_at_once_one_is_told_to_save_again(service, quick, monkeypatch):
    model_id = World(service).model()
    fit = fitted(service, model_id)

    def meanwhile(folder):
        monkeypatch.setattr(model_check, "check", lambda folder: registry.load(folder, threads=1))
        service.save_site_model(LEAD, model_id, fit, "b")

    monkeypatch.setattr(model_check, "check", meanwhile)
    with pytest.raises(Conflict, match="save this one again"):
        service.save_site_model(LEAD, model_id, fit, "a")
    assert recorded(service) == ["tiny-b 9.1.0+site.1"]
    assert service.save_site_model(LEAD, model_id, fit, "a").name == "tiny-a 9.1.0+site.2"


def test_who_may_not_fit_and_what_is_no_model(service):
    manifest = registry.verify(service.settings.models_dir / "tiny")
    cases = site_cases(manifest, 200)
    with pytest.raises(Forbidden):
        service.fit_site(ANN, "tiny", cases, Choice())
    for name in ("none", "../tiny", ""):
        with pytest.raises(ModelError):
            service.fit_site(LEAD, name, cases, Choice())
    with pytest.raises(DataError, match="another model"):
        service.fit_site(LEAD, "tiny", replace(cases, network="0" * 64), Choice())
