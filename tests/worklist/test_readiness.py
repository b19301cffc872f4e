from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from threading import Event

import pytest
from sqlalchemy import text, update

from cxr_core.worklist import database as database_module
from cxr_core.worklist import readiness, worker
from cxr_core.worklist.schema import WorkerRow
from cxr_core.worklist.service import HEARD_OF, open_service


def test_nobody_answers_films_until_a_worker_was_heard_of_and_again_once_it_is_silent(service, clock) -> None:
    assert readiness.parts(service) == {"database": "ok", "worker": "silent", "model": "ok"}
    with service.database.write() as session:
        session.add(WorkerRow(id="w", started_utc=clock.now, seen_utc=clock.now))
    assert set(readiness.parts(service).values()) == {"ok"}
    clock.advance(HEARD_OF.total_seconds() + 1)
    assert readiness.parts(service)["worker"] == "silent"
    with service.database.write() as session:
        session.execute(update(WorkerRow).values(seen_utc=clock.now, stopped_utc=clock.now))
    assert readiness.parts(service)["worker"] == "silent"


def test_a_worker_that_runs_is_heard_of(store_settings) -> None:
    stop = Event()
    stop.set()
    worker.run(store_settings, once=True, stop=stop)
    with closing(open_service(store_settings)) as service:
        assert readiness.parts(service)["database"] == "ok"


def test_a_database_that_another_program_holds_is_busy(home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "LOCK_WAIT_S", 0.2)
    with closing(open_service(home)) as service, closing(open_service(home)) as other:
        with other.database.write() as session:
            session.execute(text("SELECT 1"))
            assert readiness.parts(service)["database"] == "busy"
        assert readiness.parts(service)["database"] == "ok"


def test_a_database_that_is_gone_says_nothing_of_workers(home) -> None:
    with closing(open_service(home)) as service:
        shutil.rmtree(home.home)
        parts = readiness.parts(service)
    assert parts["database"] in ("busy", "unusable")
    assert parts["worker"] == "unknown"


def test_a_model_folder_that_is_not_what_it_says_is_unsound(service, tmp_path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(service.settings.models_dir, folder)
    (folder / service.settings.model / "manifest.toml").write_text("id = 3")
    service.settings = replace(service.settings, models_dir=folder)
    assert readiness.parts(service)["model"] == "unsound"
