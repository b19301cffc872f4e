"""Explanations that people ask for: kept once, made while no film waits, taken over from a killed worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from cxr_core.access import Actor, Role
from cxr_core.errors import Invalid, ModelError, Unknown
from cxr_core.inference.explainers import explained
from cxr_core.inference.explanation import Explanation, Method, pack
from cxr_core.pipeline import prepare
from cxr_core.settings import ROOT, Settings
from cxr_core.worklist import explanations, queue
from cxr_core.worklist.explaining import Explaining
from cxr_core.worklist.explanations import Progress
from cxr_core.worklist.schema import AuditRow, ExplanationRow, ImageRow, ModelChangeRow, ResultRow, StudyRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import INTERACTIVE, Incoming, Source
from cxr_core.worklist.worker import open_pool, run
from tests.films import png
from tests.worklist.calls import World
from tests.worklist.processes import alive, children, end_workers, start_worker, wait_for

ANN = Actor("Dr Ann", Role.CLINICIAN)
BEN = Actor("Dr Ben", Role.CLINICIAN)
FINDING = "Mass"
STARTS_S = 120
"""A process that loads torch may take so long on a busy machine."""


@pytest.fixture(autouse=True)
def _nothing_left_running():
    yield
    end_workers()


@pytest.fixture
def film(service: Service) -> str:
    """A film that was answered, in the tables alone."""
    return World(service).film()


def only(service: Service, sha256: str) -> explanations.ExplanationView:
    (view,) = service.explanations(ANN, sha256)
    return view


def audited(service: Service) -> list[AuditRow]:
    with service.database.read() as session:
        return list(session.scalars(select(AuditRow).where(AuditRow.event == "explain")))


def packed(label: str = FINDING, method: Method = Method.LIME) -> bytes:
    return pack(Explanation(label, method, np.eye(4, dtype=np.float32), 1234.4, 400))


# ---- the rows


def test_what_is_asked_for_is_queued_once_and_audited(service, film):
    service.explain(ANN, film, FINDING, Method.LIME)
    service.explain(BEN, film, FINDING, Method.LIME)
    view = only(service, film)
    assert (view.label, view.method, view.progress) == (FINDING, Method.LIME, Progress.QUEUED)
    assert (view.asked_by, view.asked) == ("Dr Ann", service.clock())
    (row,) = audited(service)
    assert row.actor == "Dr Ann"
    assert f'"film":"{film}","finding":"Mass","method":"lime","model":' in row.detail
    assert explanations.waiting(service) == 1


def test_only_what_the_model_said_can_be_explained(service, film):
    for sha256, label, error in ((film, "Gout", Invalid), ("0" * 64, FINDING, Unknown)):
        with pytest.raises(error):
            service.explain(ANN, sha256, label, Method.LIME)
    with pytest.raises(Unknown):
        service.explanations(ANN, "0" * 64)
    with service.database.write() as session:
        session.execute(update(ImageRow).where(ImageRow.sha256 == film).values(result_id=None))
    with pytest.raises(Invalid, match="has not answered"):
        service.explain(ANN, film, FINDING, Method.LIME)
    assert audited(service) == []


def test_a_worker_claims_what_was_asked_for_first_and_its_answer_is_shown(service, film, clock):
    service.explain(ANN, film, FINDING, Method.LIME)
    clock.advance(1)
    service.explain(ANN, film, "Nodule", Method.OCCLUSION)
    wanted = explanations.claim(service, "w1")
    assert wanted is not None
    assert (wanted.sha256, wanted.label, wanted.method) == (film, FINDING, Method.LIME)
    other = explanations.claim(service, "w2")
    assert other is not None
    assert other.label == "Nodule"
    assert explanations.claim(service, "w3") is None
    assert [each.progress for each in service.explanations(ANN, film)] == [Progress.RUNNING] * 2
    assert explanations.done(service, "w1", wanted, packed())
    done, _ = service.explanations(ANN, film)
    assert (done.progress, done.ms, done.films) == (Progress.DONE, 1234.4, 400)
    np.testing.assert_allclose(done.heatmap, np.eye(4))
    assert explanations.waiting(service) == 1


def test_no_explanation_is_begun_while_a_film_waits(service, film):
    service.explain(ANN, film, FINDING, Method.LIME)
    service.submit(ANN, Incoming("a.png", png(1)), source=Source.CLI)
    assert explanations.claim(service, "w1") is None
    with service.database.write() as session:
        session.execute(update(ImageRow).values(status="assessed"))
    assert explanations.claim(service, "w1") is not None


def test_the_lease_of_a_killed_worker_runs_out_and_its_late_answer_is_not_kept(service, film, clock):
    service.explain(ANN, film, FINDING, Method.LIME)
    first = explanations.claim(service, "w1")
    clock.advance(service.settings.lease_s - 1)
    assert explanations.renew(service, "w1", first)
    clock.advance(service.settings.lease_s - 1)
    assert explanations.claim(service, "w2") is None
    clock.advance(2)
    second = explanations.claim(service, "w2")
    assert second == first
    assert not explanations.renew(service, "w1", first)
    assert not explanations.done(service, "w1", first, packed())
    explanations.failed(service, "w1", first, "crashed")
    explanations.give_back(service, "w1", first)
    assert only(service, film).progress is Progress.RUNNING
    assert explanations.done(service, "w2", second, packed())
    assert only(service, film).progress is Progress.DONE


def test_what_kills_every_worker_is_given_up_and_may_be_asked_for_again(service, film, clock):
    service.explain(ANN, film, FINDING, Method.LIME)
    assert explanations.claim(service, "w1") is not None
    clock.advance(explanations.GIVEN_UP.total_seconds() + 1)
    assert explanations.claim(service, "w2") is None
    assert (only(service, film).progress, only(service, film).error) == (Progress.FAILED, "lost_leases")
    service.explain(BEN, film, FINDING, Method.LIME)
    view = only(service, film)
    assert (view.progress, view.error, view.asked_by) == (Progress.QUEUED, "", "Dr Ben")
    assert [row.actor for row in audited(service)] == ["Dr Ann", "Dr Ben"]
    assert explanations.claim(service, "w2") is not None


@pytest.mark.parametrize("given", [b"", b"rubbish", packed("Nodule"), packed(method=Method.OCCLUSION)])
def test_an_answer_to_another_question_is_not_kept(service, film, given):
    service.explain(ANN, film, FINDING, Method.LIME)
    wanted = explanations.claim(service, "w1")
    with pytest.raises(ModelError):
        explanations.done(service, "w1", wanted, given)
    assert only(service, film).progress is Progress.RUNNING


def test_a_row_that_cannot_be_read_any_more_says_so(service, film):
    service.explain(ANN, film, FINDING, Method.LIME)
    explanations.done(service, "w1", explanations.claim(service, "w1"), packed())
    with service.database.write() as session:
        session.execute(update(ExplanationRow).values(body=b"rubbish"))
    view = only(service, film)
    assert (view.progress, view.error, view.heatmap) == (Progress.FAILED, "unreadable_explanation", None)


def test_what_explains_another_models_answer_is_not_shown(service, film):
    service.explain(ANN, film, FINDING, Method.LIME)
    with service.database.write() as session:
        session.execute(update(ResultRow).values(model="other 2.0.0"))
    assert service.explanations(ANN, film) == ()
    service.explain(ANN, film, FINDING, Method.LIME)
    assert only(service, film).progress is Progress.QUEUED


# ---- the worker


@pytest.fixture
def worklist(store_settings):
    """The service on each database, at the real time; leases are short."""
    opened = open_service(replace(store_settings, worker_processes=1, lease_s=4, threads=1))
    yield opened
    opened.close()


def answered(service: Service, seed: int = 3) -> str:
    """Return the film, answered by a worker in this process."""
    service.submit(ANN, Incoming("a.png", png(seed)), source=Source.CLI, priority=INTERACTIVE)
    run(service.settings, once=True, stop=threading.Event())
    with service.database.read() as session:
        return str(session.scalar(select(ImageRow.sha256)))


@contextmanager
def explaining(service: Service):
    """What a worker does beside its loop, without the loop."""
    with open_pool(service) as pool, Explaining(service, "w1", pool) as beside:
        beside.let(idle=True)
        yield beside


def explainers(pid: int) -> list[int]:
    """Return the explaining processes among the children of a process."""
    return [
        each for each in children(pid) if b"explainer_child" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_worker_that_answers_what_waits_also_explains_and_the_map_is_the_methods_own(worklist, kit):
    sha256 = answered(worklist)
    worklist.explain(ANN, sha256, FINDING, Method.OCCLUSION)
    run(worklist.settings, once=True, stop=threading.Event())
    view = only(worklist, sha256)
    assert (view.progress, view.error) == (Progress.DONE, "")
    film = prepare(png(3), kit, now=worklist.clock())
    expected = explained(kit.classifier, film.array, FINDING, Method.OCCLUSION)
    np.testing.assert_allclose(view.heatmap, expected.heatmap, atol=expected.heatmap.max() * 2e-3)
    assert view.films == expected.films
    assert view.ms > 0


def test_the_bundled_model_explains_too(tmp_path):
    """Its films are larger than a pipe holds."""
    settings = Settings(home=tmp_path / "home", worker_processes=1, threads=1)
    if not (settings.models_dir / settings.model / "manifest.toml").is_file():
        pytest.skip("the bundled model has not been made yet")
    with closing(open_service(settings)) as bundled:
        sha256 = answered(bundled)
        bundled.explain(ANN, sha256, "Effusion", Method.GRAD_CAM_PLUS_PLUS)
        with explaining(bundled):
            wait_for(lambda: not only(bundled, sha256).progress.waits, STARTS_S, "it is made")
        assert (only(bundled, sha256).progress, only(bundled, sha256).error) == (Progress.DONE, "")


@pytest.fixture
def small(home):
    """A worklist on the embedded database alone, for what is about processes."""
    opened = open_service(replace(home, worker_processes=1, lease_s=4, threads=1))
    yield opened
    opened.close()


def test_r3_a_worker_killed_in_the_midst_costs_its_lease_and_takes_its_child_along(small, tmp_path):
    sha256 = answered(small)
    small.explain(ANN, sha256, FINDING, Method.LIME)
    first = start_worker(small.settings, log=tmp_path / "log")
    wait_for(lambda: bool(explainers(first.pid)), STARTS_S, "an explanation is begun")
    (child,) = explainers(first.pid)
    wait_for(lambda: niceness(child) > niceness(first.pid), STARTS_S, "the child is up")
    os.kill(child, signal.SIGSTOP)  # it must not finish before its worker is gone
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_for(lambda: not alive(child), 10, "the child ends with its worker")
    assert only(small, sha256).progress is Progress.RUNNING
    second = start_worker(small.settings, log=tmp_path / "log")
    wait_for(lambda: only(small, sha256).progress is Progress.DONE, STARTS_S, "another worker makes it")
    assert only(small, sha256).heatmap.max() > 0
    with small.database.read() as session:
        assert len(list(session.scalars(select(ExplanationRow)))) == 1
    maps = Path(f"/proc/{second.pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert "libtorch" not in maps, "the worker itself never loads torch"


def test_a_film_never_waits_for_an_explanation(small):
    sha256 = answered(small)
    small.explain(ANN, sha256, FINDING, Method.LIME)
    with explaining(small) as beside:
        wait_for(lambda: bool(explainers(os.getpid())), STARTS_S, "an explanation is begun")
        (child,) = explainers(os.getpid())
        wait_for(lambda: niceness(child) > niceness(os.getpid()), STARTS_S, "it lets pages go first")
        beside.let(idle=False)
        wait_for(lambda: state(child) == "T", 5, "it stands still while films are in hand")
        time.sleep(small.settings.lease_s / 2)
        assert state(child) == "T"
        beside.let(idle=True)
        wait_for(lambda: only(small, sha256).progress is Progress.DONE, STARTS_S, "it goes on")


def test_nor_does_one_that_another_worker_has_in_hand_but_one_whose_model_is_away_holds_up_nothing(
    service, film, clock
):
    service.explain(ANN, film, FINDING, Method.LIME)
    with service.database.write() as session:
        study = session.scalars(select(StudyRow)).one()
        study.lease_owner = "w2"
        session.execute(update(ImageRow).values(status="waiting"))
    assert explanations.must_wait(service)
    assert explanations.claim(service, "w1") is None
    with service.database.write() as session:
        study = session.scalars(select(StudyRow)).one()
        study.lease_owner, study.not_before_utc = None, clock.now + queue.MODEL_AWAY
    assert not explanations.must_wait(service)
    assert explanations.claim(service, "w1") is not None


def test_it_stands_still_while_any_worker_has_films(small):
    sha256 = answered(small)
    small.explain(ANN, sha256, FINDING, Method.LIME)
    with explaining(small):
        wait_for(lambda: bool(explainers(os.getpid())), STARTS_S, "an explanation is begun")
        (child,) = explainers(os.getpid())
        _queued(small, "waiting", "another worker")
        wait_for(lambda: state(child) == "T", 10, "it stands still while another worker has films")
        _queued(small, "assessed", None)
        wait_for(lambda: state(child) != "T", 10, "it goes on")


def _queued(service, status, owner):
    with service.database.write() as session:
        session.scalars(select(StudyRow)).one().lease_owner = owner
        session.execute(update(ImageRow).values(status=status))


def test_a_worker_that_is_told_to_stop_gives_back_what_it_was_at(small):
    sha256 = answered(small)
    small.explain(ANN, sha256, FINDING, Method.LIME)
    with explaining(small):
        wait_for(lambda: bool(explainers(os.getpid())), STARTS_S, "an explanation is begun")
    assert only(small, sha256).progress is Progress.QUEUED
    assert explainers(os.getpid()) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [("model", "model_unavailable"), ("manifest", "model_unavailable"), ("film", "unreadable_film")],
)
def test_what_is_gone_cannot_be_explained_and_that_is_said(small, change, code):
    sha256 = answered(small)
    small.explain(ANN, sha256, FINDING, Method.OCCLUSION)
    if change == "model":
        with small.database.write() as session:
            session.execute(update(ResultRow).values(model="tiny 9.9.9"))
            session.execute(update(ExplanationRow).values(model="tiny 9.9.9"))
    elif change == "manifest":
        with small.database.write() as session:
            name = session.scalars(select(ResultRow.model)).one()
            there = {"at_utc": small.clock(), "actor": "Lea", "note": "", "model": name}
            session.add(ModelChangeRow(sha256="0" * 64, **there))
    else:
        (path,) = [each for each in (small.settings.home / "blobs").rglob("*") if each.is_file()]
        path.unlink()
    with explaining(small):
        wait_for(lambda: not only(small, sha256).progress.waits, 30, "it is given up")
    assert (only(small, sha256).progress, only(small, sha256).error) == (Progress.FAILED, code)


def test_a_child_that_dies_is_said(small):
    sha256 = answered(small)
    small.explain(ANN, sha256, FINDING, Method.LIME)
    with explaining(small):
        wait_for(lambda: bool(explainers(os.getpid())), STARTS_S, "an explanation is begun")
        os.kill(explainers(os.getpid())[0], signal.SIGKILL)
        wait_for(lambda: not only(small, sha256).progress.waits, 30, "it is given up")
    assert (only(small, sha256).progress, only(small, sha256).error) == (Progress.FAILED, "crashed")


def test_the_worker_and_the_service_load_neither_torch_nor_captum():
    code = "import sys, cxr_core.worklist.worker, cxr_core.worklist.service; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "cxr_core.worklist.explaining" in loaded
    assert not loaded & {"torch", "captum", "sklearn", "onnx"}


def test_queue_counts_films_alone(service, film):
    service.explain(ANN, film, FINDING, Method.LIME)
    assert queue.waiting(service) == 0
