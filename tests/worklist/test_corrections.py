"""Films that hang wrong: what a person may have set right, once, by whom, and which answer counts then."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from cxr_core.access import Actor, Role
from cxr_core.domain import AS_SENT, Correction
from cxr_core.errors import Changed, Conflict, Forbidden, Unknown
from cxr_core.imaging.correct import offered
from cxr_core.imaging.gate import CORRECTIONS
from cxr_core.imaging.limits import Limits
from cxr_core.inference.explanation import Method
from cxr_core.pipeline import Film, analyse, film_from, heatmaps
from cxr_core.worklist import codec, explanations, queue
from cxr_core.worklist.corrections import CORRECT
from cxr_core.worklist.decoder import DecoderPool
from cxr_core.worklist.judge import judge
from cxr_core.worklist.schema import AuditRow, ExplanationRow, ImageRow, ResultRow, StudyRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import INTERACTIVE, Answer, FilmView, ImageStatus, Incoming, Job, Source
from cxr_core.worklist.worker import run
from tests.films import blobs
from tests.imaging.dicom_files import as_bytes, dataset
from tests.reports import analyses
from tests.worklist.calls import World, refused
from tests.worklist.work import one

ANN = Actor("Ann", Role.CLINICIAN)
LEAD = Actor("Lea", Role.LEAD)
TURN = CORRECTIONS["upside_down"]
BOTH = Correction(2, inverted=True)


@pytest.fixture
def sha256(service: Service) -> str:
    """A film that was refused because it is upside down; its study is at version 2."""
    return World(service).hanging()[0]


def view(service: Service, sha256: str) -> FilmView:
    with service.database.read() as session:
        study_id = session.get_one(ImageRow, sha256).study_id
    return service.study(ANN, study_id, audited=False).films[0]


def study(service: Service) -> StudyRow:
    with service.database.read() as session:
        return session.scalars(select(StudyRow)).one()


def results(service: Service) -> list[ResultRow]:
    with service.database.read() as session:
        return list(session.scalars(select(ResultRow).order_by(ResultRow.id)))


def audited(service: Service, event: str) -> list[AuditRow]:
    with service.database.read() as session:
        return list(session.scalars(select(AuditRow).where(AuditRow.event == event).order_by(AuditRow.seq)))


def assessed(service: Service, sha256: str, correction: Correction) -> Answer:
    made = analyses.assessed({"Effusion": 0.9})
    versions = replace(made.versions, policy=service.policy.version, model=service.model)
    return Answer(replace(made, sha256=sha256, versions=versions, correction=correction), None, (), None)


def answer(service: Service, sha256: str, worker: str = "w2") -> Job:
    """Have the film answered as it is to hang: refused as it was sent, else assessed."""
    job = one(queue.claim(service, worker, 9))
    correction = job.correction(sha256)
    made = assessed(service, sha256, correction)
    if not correction:
        made = Answer(refused(service, sha256, "upside_down"), None, (), None)
    assert queue.record(service, worker, job, [made])
    return job


@pytest.mark.parametrize("code", CORRECTIONS)
@pytest.mark.parametrize("before", [AS_SENT, Correction(1), BOTH])
def test_what_is_offered_adds_up_to_what_was_done_before(service, code, before):
    offer = offered(refused(service, "ab" * 32, code, before))
    assert offer == before.then(CORRECTIONS[code])


def test_nothing_is_offered_for_another_refusal_or_an_answer(service):
    assert offered(refused(service, "ab" * 32, "cross_section")) is None
    assert offered(analyses.flagged()) is None


def test_a_corrected_film_is_answered_before_all_others_and_then_counts(service, sha256):
    assert (view(service, sha256).offer, view(service, sha256).correction) == (TURN, AS_SENT)
    service.correct(ANN, sha256, TURN, 2)
    film, row = view(service, sha256), study(service)
    assert (film.status, film.correction, film.offer, film.corrects) == (
        ImageStatus.WAITING,
        TURN,
        None,
        True,
    )
    assert film.analysis is not None
    assert film.analysis.correction == AS_SENT, "the old answer counts until the new one is there"
    assert (row.priority, row.version, row.state) == (INTERACTIVE, 3, "refused")
    job = answer(service, sha256)
    assert job.corrections == {sha256: TURN}
    film, row = view(service, sha256), study(service)
    assert (film.status, film.corrects, film.previous) == (ImageStatus.ASSESSED, False, 1)
    assert film.analysis is not None
    assert (film.analysis.correction, film.analysis.triage.findings) == (TURN, ("Effusion",))
    assert row.state == "flagged"
    assert [each.correction for each in results(service)] == ["", "turn=2"]
    assert "turn=2" in audited(service, "result")[-1].detail


def test_who_corrected_what_stands_in_the_history_and_in_the_trail(service, sha256):
    service.correct(ANN, sha256, TURN, 2)
    review = service.study(ANN, study(service).id, audited=False).reviews[-1]
    assert (review.actor, review.kind) == ("Ann", CORRECT)
    assert review.data == {"film": sha256, "correction": "turn=2", "before": ""}
    (event,) = audited(service, CORRECT)
    assert (event.actor, event.subject) == ("Ann", study(service).id)
    assert sha256 in event.detail


def test_r3_to_ask_twice_is_to_ask_once(service, sha256):
    for version in (2, 2, 3):
        service.correct(ANN, sha256, TURN, version)
    answer(service, sha256)
    service.correct(ANN, sha256, TURN, 2)
    assert queue.claim(service, "w2", 9) == []
    assert len(audited(service, CORRECT)) == 1
    assert len(results(service)) == 2


def test_r3_two_people_who_ask_at_once_make_one_answer(service, sha256):
    done: list[str] = []

    def ask(name: str) -> None:
        try:
            service.correct(Actor(name, Role.CLINICIAN), sha256, TURN, 2)
        except Changed:
            done.append("changed")
        else:
            done.append("done")

    threads = [threading.Thread(target=ask, args=(f"p{number}",)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(done) == 6
    assert len(audited(service, CORRECT)) == 1
    answer(service, sha256)
    assert len(results(service)) == 2


def test_taken_back_the_answer_to_the_film_as_it_was_sent_counts_again(service, sha256):
    service.correct(ANN, sha256, TURN, 2)
    answer(service, sha256)
    service.correct(ANN, sha256, AS_SENT, study(service).version)
    assert answer(service, sha256).corrections == {}
    film = view(service, sha256)
    assert (film.status, film.correction, film.offer) == (ImageStatus.REFUSED, AS_SENT, TURN)
    assert len(results(service)) == 2, "it was there already"
    assert [event.detail for event in audited(service, CORRECT)][-1].count("turn=2") == 1


def test_the_status_of_a_film_is_that_of_the_answer_that_counts(service, sha256):
    """A worker of another version would say something else now: what was shown stays."""
    service.correct(ANN, sha256, TURN, 2)
    answer(service, sha256)
    service.correct(ANN, sha256, AS_SENT, study(service).version)
    job = one(queue.claim(service, "w2", 9))
    assert queue.record(service, "w2", job, [assessed(service, sha256, AS_SENT)])
    film = view(service, sha256)
    assert (film.status, film.offer) == (ImageStatus.REFUSED, TURN)
    assert film.analysis is not None
    assert film.analysis.refusal is not None


def test_a_second_correction_comes_on_top_of_the_first(service, sha256):
    service.correct(ANN, sha256, TURN, 2)
    job = one(queue.claim(service, "w2", 9))
    inverted = refused(service, sha256, "inverted", TURN)
    assert queue.record(service, "w2", job, [Answer(inverted, None, (), None)])
    assert view(service, sha256).offer == BOTH
    with pytest.raises(Conflict, match="look again"):
        service.correct(ANN, sha256, CORRECTIONS["inverted"], study(service).version)
    service.correct(ANN, sha256, BOTH, study(service).version)
    answer(service, sha256)
    assert [each.correction for each in results(service)] == ["", "turn=2", "turn=2,invert"]


@pytest.mark.parametrize("correction", [Correction(1), Correction(2, inverted=True)])
def test_what_its_refusal_does_not_offer_is_refused(service, sha256, correction):
    with pytest.raises(Conflict, match="was not refused for what that would correct"):
        service.correct(ANN, sha256, correction, 2)
    assert study(service).version == 2
    assert audited(service, CORRECT) == []


def test_an_assessed_film_is_not_turned(service):
    sha256 = World(service).film()
    with pytest.raises(Conflict, match="was not refused"):
        service.correct(ANN, sha256, TURN, 2)


@pytest.mark.parametrize("status", [ImageStatus.WAITING, ImageStatus.DEAD, ImageStatus.CONFLICT])
def test_a_film_without_an_answer_of_its_own_is_not_corrected(service, sha256, status):
    with service.database.write() as session:
        session.get_one(ImageRow, sha256).status = status
    with pytest.raises(Conflict, match="no answer just now"):
        service.correct(ANN, sha256, TURN, 2)


def test_a_film_given_up_as_it_was_corrected_is_answered_as_it_was_sent_again(service, sha256):
    service.correct(ANN, sha256, TURN, 2)
    with service.database.write() as session:
        image, row = session.get_one(ImageRow, sha256), session.scalars(select(StudyRow)).one()
        image.status, image.attempts, row.queued_utc = ImageStatus.DEAD, 3, None
        session.flush()
        judge(session, service.policy, [row])
    assert study(service).reasons[-1].startswith("The film was given up")
    service.correct(ANN, sha256, AS_SENT, study(service).version)
    row = study(service)
    assert (row.reasons, row.queued_utc is None) == (["The film stands upside down."], False)
    assert answer(service, sha256).corrections == {}
    assert view(service, sha256).status is ImageStatus.REFUSED


def test_what_is_not_there_changed_or_not_allowed_is_said(service, sha256):
    with pytest.raises(Unknown):
        service.correct(ANN, "0" * 64, TURN, 2)
    with pytest.raises(Changed):
        service.correct(ANN, sha256, TURN, 1)
    with pytest.raises(Forbidden):
        service.correct(Actor("Val", Role.VIEWER), sha256, TURN, 2)


def test_an_answer_to_the_film_as_it_hung_before_comes_too_late(service, sha256, clock):
    """The same worker lost its lease and got the study again: only its newer job counts."""
    with service.database.write() as session:
        session.get_one(ImageRow, sha256).status = "waiting"
        queue.put(session.scalars(select(StudyRow)).one(), clock())
    old = one(queue.claim(service, "w1", 9))
    clock.advance(10_000)
    assert queue.claim(service, "w2", 9) == []  # taken back, and put off for a moment
    clock.advance(100)
    answer(service, sha256)
    service.correct(ANN, sha256, TURN, study(service).version)
    new = one(queue.claim(service, "w1", 9))
    late = Answer(refused(service, sha256, "upside_down"), None, (), None)
    assert not queue.record(service, "w1", old, [late])
    assert view(service, sha256).status is ImageStatus.WAITING
    assert queue.record(service, "w1", new, [assessed(service, sha256, TURN)])
    assert view(service, sha256).status is ImageStatus.ASSESSED


def test_an_explanation_is_of_the_film_as_it_hangs(service, sha256):
    service.correct(ANN, sha256, TURN, 2)
    answer(service, sha256)
    with service.database.write() as session:
        row = session.scalars(select(StudyRow)).one()
        asked = {"asked_by": "Ann", "asked_utc": service.clock(), "study_id": row.id}
        of = {"sha256": sha256, "label": "Mass", "method": "lime", "model": service.model}
        session.add(ExplanationRow(**of, **asked, status="failed"))  # of the film as it was sent
    assert service.explanations(ANN, sha256) == ()
    service.explain(ANN, sha256, "Mass", Method.LIME)
    wanted = explanations.claim(service, "w1")
    assert wanted is not None
    assert wanted.correction == TURN
    assert len(service.explanations(ANN, sha256)) == 1


def test_an_answer_without_a_correction_is_of_the_film_as_it_was_sent(service, sha256):
    (row,) = results(service)
    body = dict(row.body)
    assert body.pop("correction") == ""
    assert codec.decode(sha256, body).correction == AS_SENT
    turned = codec.encode(refused(service, sha256, "inverted", BOTH), (), None)
    assert codec.decode(sha256, turned).correction == BOTH


# ---- the film itself


def upside_down() -> tuple[bytes, bytes]:
    """The bytes of a film that stands upside down, and of the same film upright."""
    upright = np.asarray(blobs(7))[:, 20:]
    return tuple(_png(each) for each in (np.rot90(upright, 2), upright))  # type: ignore[return-value]


def _png(film: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(film)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pool(kit):
    recipe = kit.classifier.manifest.recipe
    with DecoderPool(Limits(), recipe, processes=1, timeout_s=60, memory_mb=2048) as opened:
        yield opened


def test_a_decoding_child_hangs_the_film_as_it_is_told(pool, kit, clock):
    sent, upright = upside_down()
    decoded, as_it_should = (
        pool.prepare(sent, now=clock(), correction=TURN),
        pool.prepare(upright, now=clock()),
    )
    here = film_from(sent, Limits(), kit.classifier.manifest.recipe, now=clock(), correction=TURN)
    for film in (decoded.film, as_it_should.film, here):
        assert isinstance(film, Film)
    np.testing.assert_array_equal(decoded.film.array, as_it_should.film.array)
    np.testing.assert_array_equal(decoded.film.array, here.array)
    assert (decoded.film.correction, decoded.film.gate) == (TURN, here.gate)
    assert decoded.thumbnail == as_it_should.thumbnail
    np.testing.assert_array_equal(pool.view(sent, TURN).pixels, pool.view(upright).pixels)


def test_spacing_turns_with_the_film_that_is_shown(pool):
    raw = as_bytes(dataset(blobs(3), PixelSpacing=[0.14, 0.15]))
    assert pool.view(raw).spacing_mm == (0.14, 0.15)
    assert pool.view(raw, Correction(1)).spacing_mm == (0.15, 0.14)


def test_c2_the_worker_answers_what_analyse_answers_for_the_film_so_hung(store_settings, kit):
    service = open_service(replace(store_settings, worker_processes=1))
    sent, upright = upside_down()
    service.submit_many(
        LEAD, [Incoming("sent.png", sent), Incoming("upright.png", upright)], source=Source.CLI
    )
    sha256 = hashlib.sha256(sent).hexdigest()
    with service.database.write() as session:
        session.get_one(ImageRow, sha256).correction = TURN.key
    run(service.settings, once=True, stop=threading.Event())
    with service.database.read() as session:
        rows = {row.sha256: row for row in session.scalars(select(ResultRow))}
        thumbnails = {row.sha256: row.thumbnail for row in session.scalars(select(ImageRow))}
    service.close()
    assert thumbnails[sha256] == thumbnails[hashlib.sha256(upright).hexdigest()]
    row, expected = rows[sha256], analyse(sent, kit, now=service.clock(), correction=TURN)
    stored = codec.decode(sha256, row.body)
    assert (row.correction, stored.correction) == ("turn=2", TURN)
    assert (stored.gate, stored.triage) == (expected.gate, expected.triage)
    maps = codec.decode_heatmaps(row.body, row.heatmaps)
    for label, heatmap in heatmaps(analyse(upright, kit, now=service.clock()), kit).items():
        np.testing.assert_allclose(maps[label], heatmap, rtol=1e-3, atol=1e-4)
