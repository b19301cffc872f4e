"""Promise R3: the same image twice is one study."""

from __future__ import annotations

import multiprocessing

import pytest
from sqlalchemy import func, select

from cxr_core.worklist import audit, queue
from cxr_core.worklist.schema import AuditRow, IdentityRow, ImageRow, ResultRow, StudyRow
from cxr_core.worklist.service import open_service
from tests.worklist.work import work
from tests.worklist.writer import hand_in

PROCESSES, FILES = 8, 50


@pytest.mark.slow
def test_r3_eight_processes_with_the_same_fifty_files_make_fifty_images_and_fifty_results(
    store_settings, films, kit
):
    raws = [films.png(number) for number in range(20)]
    raws += [films.dicom(number, study=number // 2) for number in range(30)]
    assert len(raws) == len(set(raws)) == FILES
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.worklist.writer"])
    start, out = context.Barrier(PROCESSES), context.SimpleQueue()
    processes = [
        context.Process(target=hand_in, args=(store_settings, raws, seed, start, out), daemon=True)
        for seed in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    assert sum(out.get() for _ in processes) == FILES

    service = open_service(store_settings)
    assert work(service, kit) == 20 + 15
    assert queue.waiting(service) == 0
    with service.database.read() as session:
        counts = [
            session.scalar(select(func.count()).select_from(table))
            for table in (ImageRow, ResultRow, StudyRow, IdentityRow)
        ]
        said = {
            event: number
            for event, number in session.execute(
                select(AuditRow.event, func.count()).group_by(AuditRow.event)
            )
        }
        verdict = audit.verify(session)
    assert counts == [FILES, FILES, 35, 35]
    assert said == {"submit": PROCESSES * FILES, "result": FILES}
    assert (verdict.events, verdict.broken_at) == (PROCESSES * FILES + FILES, None)
    service.close()
