"""The worker: the answers of `analyse`, other models on demand, stopping in order, going on after faults."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from cxr_core.access import Actor, Role
from cxr_core.errors import Busy, ModelError
from cxr_core.inference.manifest import read_manifest
from cxr_core.local import local_actor
from cxr_core.pipeline import analyse, heatmaps
from cxr_core.worklist import codec, queue
from cxr_core.worklist.database import SQLITE_FILE
from cxr_core.worklist.kits import Kits
from cxr_core.worklist.lifeline import Lifeline
from cxr_core.worklist.schema import ImageRow, ResultRow, StudyRow, WorkerRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import INTERACTIVE, Incoming, Source
from cxr_core.worklist.worker import Worker, open_pool, run
from tests.films import blobs, png
from tests.imaging.dicom_files import as_bytes, dataset
from tests.inference.tiny import rewrite
from tests.worklist.processes import alive, children, end_workers, start_worker, wait_for

LEAD = Actor("a lead", Role.LEAD)


@pytest.fixture(autouse=True)
def _nothing_left_running():
    yield
    end_workers()


@pytest.fixture
def worklist(store_settings):
    """The service on each database, at the real time."""
    opened = open_service(replace(store_settings, worker_processes=2))
    yield opened
    opened.close()


def submit(service: Service, *raws: bytes, priority: int = 1) -> None:
    files = [Incoming(f"{number}.png", raw) for number, raw in enumerate(raws)]
    service.submit_many(LEAD, files, source=Source.CLI, priority=priority)


def images(service: Service) -> dict[str, ImageRow]:
    with service.database.read() as session:
        found = list(session.scalars(select(ImageRow)))
        session.expunge_all()
    return {row.sha256: row for row in found}


def results(service: Service) -> list[ResultRow]:
    with service.database.read() as session:
        found = list(session.scalars(select(ResultRow)))
        session.expunge_all()
    return found


@contextmanager
def at_work(service: Service):
    """Have a worker at work in a thread of this process."""
    stop = threading.Event()
    with open_pool(service) as pool:
        worker = Worker(service, pool, stop)
        thread = threading.Thread(target=worker.work, kwargs={"once": False})
        thread.start()
        try:
            yield worker
        finally:
            stop.set()
            thread.join()


def test_c1_the_worker_answers_what_analyse_answers_for_the_same_bytes(worklist, kit):
    raws = [
        *(png(seed) for seed in range(18)),
        as_bytes(dataset(blobs(3), PatientID="P-1", PatientAge="005Y", SOPInstanceUID="1.2.3")),
        as_bytes(dataset(blobs(4), ViewPosition="LL", SOPInstanceUID="1.2.4")),
        as_bytes(dataset(np.full((200, 200), 7, np.uint8), SOPInstanceUID="1.2.5")),
        png(1)[:-60],
        b"hello",
    ]
    submit(worklist, *raws)
    run(worklist.settings, once=True, stop=threading.Event())
    stored = {row.sha256: row for row in results(worklist)}
    assert len(stored) == len(raws)
    assert queue.waiting(worklist) == 0
    for raw in raws:
        expected = analyse(raw, kit, now=worklist.clock())
        row = stored[expected.sha256]
        answer = codec.decode(row.sha256, row.body)
        unnamed = replace(expected.study, **dict.fromkeys(codec.IDENTITY, ""))
        assert answer.study == unnamed
        assert (answer.gate, answer.refusal, answer.versions) == (
            expected.gate,
            expected.refusal,
            expected.versions,
        )
        assert answer.triage == expected.triage
        for one, other in zip(answer.predictions, expected.predictions, strict=True):
            assert (one.label, one.threshold) == (other.label, other.threshold)
            np.testing.assert_allclose(
                (one.logit, one.probability, *one.members),
                (other.logit, other.probability, *other.members),
                atol=1e-4,
            )
        maps = codec.decode_heatmaps(row.body, row.heatmaps)
        assert set(maps) == (set() if expected.refusal else set(kit.classifier.manifest.labels))
        for label, map_ in maps.items():
            np.testing.assert_allclose(map_, heatmaps(expected, kit)[label], rtol=1e-3, atol=1e-4)
    kinds = {row.status for row in images(worklist).values()}
    assert kinds == {"assessed", "refused"}
    pictures = [row.thumbnail for row in images(worklist).values()]
    assert sum(picture is None for picture in pictures) == 2, "only what cannot be decoded has no thumbnail"


def test_a_film_somebody_waits_for_is_answered_within_half_a_second(worklist):
    submit(worklist, png(0))
    with at_work(worklist):
        wait_for(lambda: queue.waiting(worklist) == 0, 60, "the first film, which starts everything")
        waits = []
        for seed in range(1, 6):
            time.sleep(0.05 * seed)
            start = time.monotonic()
            submit(worklist, png(seed), priority=INTERACTIVE)
            wait_for(lambda: queue.waiting(worklist) == 0, 20, "an answer")
            waits.append(time.monotonic() - start)
    assert min(waits) < 0.5


def second_model(settings, model_id: str = "second") -> Path:
    """A copy of the tiny model under another id, in a folder of models of its own."""
    models = settings.home / "models"
    for name in (settings.model, model_id):
        shutil.copytree(settings.models_dir / settings.model, models / name)
    own = read_manifest(models / settings.model)
    rewrite(models / model_id, replace(own, model=replace(own.model, id=model_id)))
    return models


@pytest.mark.parametrize("sound", [True, False])
def test_another_model_answers_on_demand_and_one_that_is_not_sound_stops_nothing(
    store_settings, caplog, sound
):
    models = second_model(store_settings)
    if not sound:
        (models / "second" / "weights.safetensors").write_bytes(b"altered")
    service = open_service(replace(store_settings, models_dir=models, attempts=2))
    submit(service, *(png(seed) for seed in range(4)))
    with service.database.write() as session:
        first = session.scalars(select(StudyRow).order_by(StudyRow.id)).first()
        first.wanted_model = "second"
        asked = first.id
    with caplog.at_level(logging.INFO):
        run(service.settings, once=True, stop=threading.Event())
    answers = [row.model.split()[0] for row in results(service)]
    assert sorted(answers) == (["second"] if sound else []) + ["tiny"] * 3
    (film,) = [row for row in images(service).values() if row.study_id == asked]
    assert (film.status, film.attempts) == ("assessed" if sound else "waiting", 0)
    assert ("event=model_unavailable" in caplog.text) is not sound
    with service.database.read() as session:
        assert session.get(StudyRow, asked).wanted_model == (None if sound else "second")
    assert service.health(local_actor(service.settings)).models_away == (() if sound else ("second",))
    service.close()


def test_a_study_whose_model_is_gone_waits_for_it_and_the_restored_folder_answers(store_settings):
    models = second_model(store_settings)
    kept = models / "second"
    away = kept.rename(models.parent / "away")
    service = open_service(replace(store_settings, models_dir=models))
    submit(service, png(1))
    with service.database.write() as session:
        session.scalars(select(StudyRow)).one().wanted_model = "second"
    for _ in range(2):
        run(service.settings, once=True, stop=threading.Event())
    assert [(row.status, row.attempts) for row in images(service).values()] == [("waiting", 0)]
    away.rename(kept)
    with service.database.write() as session:
        session.scalars(select(StudyRow)).one().not_before_utc = None
    run(service.settings, once=True, stop=threading.Event())
    assert [row.model for row in results(service)] == ["second 0.1.0"]
    service.close()


def test_a_model_asked_for_is_loaded_anew_when_another_lies_in_its_folder(store_settings):
    models = second_model(store_settings)
    settings = replace(store_settings, models_dir=models)
    service = open_service(settings)
    kits = Kits(settings, service.limits, service.policy, service.model_in_force, service.gate)
    first = kits.get("second")
    assert kits.get("second") is first
    own = read_manifest(models / "second")
    rewrite(models / "second", replace(own, model=replace(own.model, version="9.9.9")))
    assert kits.get("second").classifier.manifest.version == "9.9.9"
    shutil.rmtree(models / "second")
    with pytest.raises(ModelError):
        kits.get("second")
    service.close()


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_finishes_what_it_began_and_gives_back_the_rest(worklist, tmp_path):
    settings = replace(worklist.settings, worker_processes=1)
    log = tmp_path / "log"
    for number in (signal.SIGTERM, signal.SIGINT):
        submit(worklist, *(png(seed) for seed in range(100 * number, 100 * number + 80)))
        worker = start_worker(settings, log=log)
        wait_for(lambda: '"event":"group"' in log.read_text(), 120, "a first group")
        worker.send_signal(number)
        assert worker.wait(30) == 0
        log.unlink()
        with worklist.database.read() as session:
            assert session.scalar(select(func.count()).where(StudyRow.lease_owner.is_not(None))) == 0
            assert session.scalar(select(func.sum(StudyRow.lost_leases))) == 0
            stopped = session.scalars(select(WorkerRow)).all()
            assert all(row.stopped_utc is not None for row in stopped)
            answered = sum(row.answered for row in stopped)
            assert session.scalar(select(func.count()).select_from(ResultRow)) == answered
    assert queue.waiting(worklist) > 0, "it must have been stopped at work for this to show anything"


def test_a_lease_is_renewed_in_time_however_long_its_film_takes(service, clock):
    service.settings = replace(service.settings, lease_s=1)
    submit(service, png(1))
    (job,) = queue.claim(service, "w1", 16)
    began = clock.now
    lifeline = Lifeline(service, "w1")
    lifeline.hold([job.study_id])

    def until():
        with service.database.read() as session:
            return session.get(StudyRow, job.study_id).lease_until_utc

    clock.advance(0.5)
    with lifeline:
        wait_for(lambda: until() == clock.now + timedelta(seconds=1), 30, "renewed")
        clock.advance(0.5)
        wait_for(lambda: until() == clock.now + timedelta(seconds=1), 30, "and again")
    lifeline.drop([job.study_id])
    assert until() == began + timedelta(seconds=2)


def test_an_answer_that_comes_after_the_lease_was_lost_is_not_written(service, kit, clock):
    submit(service, png(1))
    late = queue.claim(service, "late", 16)
    clock.advance(service.settings.lease_s + 1)
    assert queue.claim(service, "next", 16) == []
    clock.advance(5)
    assert len(queue.claim(service, "next", 16)) == 1
    with open_pool(service) as pool:
        worker = Worker(service, pool, threading.Event())
        worker.id = "late"
        with worker._threads, worker._store:
            worker._finish([worker._begun(job) for job in late])
            worker._settled()
    assert results(service) == []


def test_studies_are_still_held_when_the_policy_cannot_be_looked_up_just_then(service, monkeypatch):
    """They were leased a moment before: forgotten, each would wait for its lease to run out."""
    submit(service, png(1))
    looked = []

    def refresh():
        looked.append(1)
        if len(looked) == 1:
            raise Busy("the database is away")

    with open_pool(service) as pool:
        worker = Worker(service, pool, threading.Event())
        monkeypatch.setattr(service, "refresh", refresh)
        with worker._threads, worker._store:
            (job,) = worker._leased()
    assert len(looked) == 2
    assert list(worker.lifeline._held) == [job.study_id]


def test_workers_for_what_waits_end_when_they_cannot_answer_it(worklist, tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text("version = 1", encoding="utf-8")
    log = tmp_path / "log"
    worker = start_worker(replace(worklist.settings, policy=path), "--once", "--processes", "2", log=log)
    assert worker.wait(120) not in (0, -signal.SIGTERM)
    assert "ended 3 times" in log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_two_supervised_workers_answer_everything_and_dead_ones_are_replaced(worklist, tmp_path):
    settings = replace(worklist.settings, worker_processes=1, lease_s=1)
    log = tmp_path / "log"
    parent = start_worker(settings, "--processes", "2", log=log)
    wait_for(lambda: worklist.workers(LEAD) == 2, 120, "two workers")
    first = children(parent.pid)
    os.kill(first[0], signal.SIGKILL)
    submit(worklist, *(png(seed) for seed in range(40)))
    wait_for(lambda: queue.waiting(worklist) == 0, 120, "all answered")
    wait_for(lambda: len(children(parent.pid)) == 2, 30, "a new one in its place")
    second = children(parent.pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(alive(pid) for pid in second), 30, "workers end with their parent")
    assert len(results(worklist)) == 40


def test_the_log_says_ids_and_codes_and_no_names(worklist, tmp_path):
    named = as_bytes(dataset(blobs(3), PatientID="ID-Quetzal", PatientName="Quetzal^Zebedee"))
    worklist.submit(LEAD, Incoming("Quetzal.dcm", named), source=Source.CLI)
    broken = as_bytes(dataset(blobs(4), SOPInstanceUID="1.2.9", PatientName="Quetzal^Zebedee"))[:-2000]
    worklist.submit(LEAD, Incoming("Quetzal2.dcm", broken), source=Source.CLI)
    log = tmp_path / "log"
    assert start_worker(worklist.settings, "--once", log=log).wait(60) == 0
    said = log.read_text()
    assert len(results(worklist)) == 2
    assert '"event":"group"' in said
    assert "quetzal" not in said.lower()
    assert "zebedee" not in said.lower()


def test_importing_the_worker_loads_no_network():
    from tests.test_architecture import loaded_after

    loaded = loaded_after("import cxr_core.worklist.worker, cxr_core.worklist.service")
    assert not loaded & {"onnxruntime", "torch", "streamlit"}
    assert not loaded_after("import cxr_core.worklist.decoder_child") & {"onnxruntime", "sqlalchemy"}


@pytest.mark.slow
def test_a_worker_waits_for_a_database_that_is_locked_when_it_starts(home, tmp_path):
    open_service(home).close()
    log = tmp_path / "log"
    with closing(sqlite3.connect(home.home / SQLITE_FILE, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        worker = start_worker(home, log=log)
        wait_for(lambda: '"event":"store_busy"' in log.read_text(), 60, "it says so")
        other.execute("ROLLBACK")
    wait_for(lambda: '"event":"started"' in log.read_text(), 60, "it goes on")
    worker.terminate()
    assert worker.wait(30) == 0
