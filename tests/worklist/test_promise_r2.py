"""Promise R2: acknowledged means durable."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import event, select, text

from cxr_core.worklist import audit, disk
from cxr_core.worklist.schema import ImageRow, StudyRow
from cxr_core.worklist.service import open_service
from cxr_core.worklist.values import Incoming, Source
from tests.worklist.work import NURSE
from tests.worklist.writer import write

KILLS = 20


def test_r2_the_receipt_comes_after_the_films_fsyncs_and_the_commit_in_this_order(
    service, films, monkeypatch
):
    steps: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(handle):
        kind = "folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "film"  # noqa: PTH112
        real_fsync(handle)
        steps.append(f"fsync {kind}")

    def rename(path, target):
        steps.append("rename")
        return real_rename(path, target)

    service.blobs.put(b"makes the folders", "ab" * 32)
    monkeypatch.setattr(disk.os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    event.listen(service.database.engine, "commit", lambda connection: steps.append("commit"))

    @event.listens_for(service.database.engine, "before_cursor_execute")
    def insert(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("INSERT INTO image"):
            steps.append("insert")

    service.submit(NURSE, Incoming("film", films.png(1)), source=Source.PAGE)
    steps.append("receipt")
    core = [step for step in steps if step != "fsync folder"]
    assert core[-5:] == ["fsync film", "rename", "insert", "commit", "receipt"]
    renamed = steps.index("rename")
    assert "fsync folder" in steps[renamed : steps.index("insert")]


def test_r2_the_database_is_set_to_keep_what_it_commits(service):
    with service.database.write() as session:
        if service.database.name == "sqlite":
            assert session.execute(text("PRAGMA synchronous")).scalar_one() == 2
        else:
            assert session.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


@pytest.mark.slow
def test_r2_twenty_kills_of_the_writer_lose_no_acknowledged_film(store_settings):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.worklist.writer"])
    rng = random.Random(2)  # noqa: S311
    acknowledged: set[str] = set()
    for kill in range(KILLS):
        acknowledged |= killed_after(context, store_settings, 10_000 * kill, rng.uniform(0.0, 0.3))
    service = open_service(store_settings)
    with service.database.read() as session:
        images = {image.sha256: image for image in session.scalars(select(ImageRow))}
        studies = set(session.scalars(select(StudyRow.id)))
        verdict = audit.verify(session)
        if service.database.name == "sqlite":
            assert session.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    assert len(acknowledged) >= KILLS
    assert acknowledged <= images.keys()
    assert len(images) <= len(acknowledged) + KILLS, "each kill may hide at most one receipt"
    for sha256, image in images.items():
        assert service.blobs.get(sha256)
        assert image.study_id in studies
    assert (verdict.events, verdict.broken_at) == (len(images), None)
    service.close()


def killed_after(context, settings, first: int, seconds: float) -> set[str]:
    """Start a writer, kill it some time after its first receipt, return what it had said by then."""
    read, wrote = context.Pipe(duplex=False)
    process = context.Process(target=write, args=(settings, first, wrote), daemon=True)
    process.start()
    wrote.close()
    assert read.poll(60), "the writer said nothing within a minute"
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    said = set()
    with suppress(EOFError, OSError):  # the last one may have been cut off
        while True:
            said.add(read.recv())
    read.close()
    return said
