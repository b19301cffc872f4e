"""A gate that was exchanged: which films it is asked of again, and that every answer names its gate."""

from __future__ import annotations

import io
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from cxr_core.access import Actor, Role
from cxr_core.errors import ModelError
from cxr_core.inference import gate_manifest, gate_network
from cxr_core.pipeline import Kit
from cxr_core.reports.words import made_by
from cxr_core.settings import Settings
from cxr_core.triage.policy import read_policy
from cxr_core.worklist import queue, readiness
from cxr_core.worklist.kits import Kits
from cxr_core.worklist.schema import AuditRow, ImageRow, ResultRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Source
from cxr_core.worklist.worker import Worker, open_pool
from tests.films import blobs
from tests.worklist.processes import wait_for
from tests.worklist.work import answers, one, work

LEAD = Actor("Lea", Role.LEAD)
REAL = Settings().gate


def upside_down() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.rot90(blobs(1), 2)).save(buffer, "PNG")
    return buffer.getvalue()


def permissive(gate: Path) -> None:
    """Have the gate let pass what stands upside down; its version stays."""
    text = (REAL / "gate.toml").read_text()
    (gate / "gate.toml").write_text(re.sub(r"(?m)^upright = .*$", "upright = 0.0", text))


def strict(gate: Path) -> None:
    shutil.copy(REAL / "gate.toml", gate)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    folder: Path = shutil.copytree(REAL, tmp_path / "gate")
    permissive(folder)
    return folder


@pytest.fixture
def worklist(store_settings: Settings, gate: Path) -> Iterator[Service]:
    """On each database, behind a gate that lets too much pass."""
    opened = open_service(replace(store_settings, gate=gate))
    yield opened
    opened.close()


def submit(service: Service) -> str:
    return service.submit(LEAD, Incoming("a.png", upside_down()), source=Source.CLI).study_id


def behind(kit: Kit, gate: Path) -> Kit:
    return replace(kit, gate=gate_network.load(gate))


def results(service: Service) -> list[ResultRow]:
    with service.database.read() as session:
        return list(session.scalars(select(ResultRow).order_by(ResultRow.id)))


def status(service: Service) -> str:
    with service.database.read() as session:
        return session.scalars(select(ImageRow.status)).one()


def test_what_a_former_gate_let_pass_is_asked_of_the_new_one(worklist, gate, kit):
    study_id = submit(worklist)
    work(worklist, behind(kit, gate))
    assert status(worklist) == "assessed"
    former = worklist.gate
    (before,) = results(worklist)
    assert worklist.reanalyse(LEAD, None, None) == 0

    strict(gate)
    assert worklist.models(LEAD).otherwise == worklist.policies(LEAD).otherwise == 1
    assert worklist.try_policy(LEAD, read_policy(worklist.settings.policy)).other_model == 1
    assert worklist.reanalyse(LEAD, None, None) == 1
    work(worklist, behind(kit, gate))
    assert status(worklist) == "refused"
    (film,) = worklist.study(LEAD, study_id).films
    assert film.analysis.refusal.code == "upside_down"
    assert film.analysis.versions.gate == worklist.gate != former
    assert f"gate {worklist.gate} · " in made_by(film.analysis)
    kept, new = results(worklist)
    assert (kept.id, kept.gate, kept.state, kept.body) == (before.id, former, before.state, before.body)
    assert (new.gate, new.state) == (worklist.gate, "refused")
    assert worklist.models(LEAD).otherwise == worklist.reanalyse(LEAD, None, None) == 0
    with worklist.database.read() as session:
        told = session.scalars(select(AuditRow.detail).where(AuditRow.event == "result")).all()
    assert [former in told[0], worklist.gate in told[1]] == [True, True]


def test_the_former_gate_brought_back_the_former_answer_counts_again(worklist, gate, kit):
    submit(worklist)
    for change in (permissive, strict, permissive):
        change(gate)
        worklist.reanalyse(LEAD, None, None)
        work(worklist, behind(kit, gate))
    assert status(worklist) == "assessed"
    assert len(results(worklist)) == 2


def test_an_answer_under_way_by_a_former_gate_is_not_recorded(worklist, gate, kit, clock):
    worklist.clock = clock
    submit(worklist)
    job = one(queue.claim(worklist, "w1", 9))
    found = answers(worklist, behind(kit, gate), job.films)
    strict(gate)
    assert not queue.record(worklist, "w1", job, found)
    assert (results(worklist), status(worklist)) == ([], "waiting")
    clock.advance(queue.OUTDATED.total_seconds())
    assert work(worklist, behind(kit, gate)) == 1
    assert [row.gate for row in results(worklist)] == [gate_manifest.read(gate).name]


def test_a_preview_does_not_count_what_a_former_gate_let_pass_as_the_answer_to_come(worklist, gate, kit):
    submit(worklist)
    text = read_policy(worklist.settings.policy)
    work(worklist, behind(kit, gate))
    strict(gate)
    worklist.reanalyse(LEAD, None, None)
    work(worklist, behind(kit, gate))
    permissive(gate)
    (change,) = worklist.try_policy(LEAD, text).changed
    assert (change.before.state, change.after.state) == ("refused", results(worklist)[0].state)


def test_a_running_worker_takes_the_gate_that_lies_there_now(worklist, gate):
    stop = threading.Event()
    with open_pool(worklist) as pool:
        thread = threading.Thread(target=partial(Worker(worklist, pool, stop).work, once=False))
        thread.start()
        try:
            submit(worklist)
            wait_for(lambda: queue.waiting(worklist) == 0, 60, "the first answer")
            strict(gate)
            assert worklist.reanalyse(LEAD, None, None) == 1
            wait_for(lambda: queue.waiting(worklist) == 0, 60, "the second answer")
        finally:
            stop.set()
            thread.join(60)
    assert status(worklist) == "refused"
    assert len(results(worklist)) == 2


def test_a_folder_that_does_not_say_which_gate_it_holds_answers_nothing_new(worklist, gate):
    settings, name = worklist.settings, worklist.gate
    in_force = worklist.policy, worklist.model_in_force
    kits = Kits(settings, worklist.limits, *in_force, name)
    kept = kits.get(None)
    (gate / "gate.toml").write_text("[gate")
    with pytest.raises(ModelError, match=r"gate/gate\.toml"):
        worklist.reanalyse(LEAD, None, None)
    assert worklist.gate == name
    assert "gate.toml" in worklist.health(LEAD).model_fault
    assert readiness.parts(worklist)["model"] == "unsound"
    kits.use(*in_force, worklist.gate)
    assert kits.get(None) is kept, "a worker that has it in memory goes on"
    with pytest.raises(ModelError):
        Kits(settings, worklist.limits, *in_force, name).get(None)
    strict(gate)
    assert readiness.parts(worklist)["model"] == "ok"
    kits.use(*in_force, worklist.gate)
    assert kits.get(None).versions.gate == worklist.gate != name
