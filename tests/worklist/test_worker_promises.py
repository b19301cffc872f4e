"""Promises R1, R6 and R7, with workers as real processes."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import func, select

from cxr_core.access import Actor, Role
from cxr_core.errors import Busy
from cxr_core.settings import Settings
from cxr_core.worklist import audit, queue
from cxr_core.worklist.schema import AuditRow, ImageRow, ResultRow, StudyRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Receipt, Source
from cxr_core.worklist.worker import Worker, open_pool
from tests.films import png
from tests.worklist.hooks import ABORT, KILL, STALL
from tests.worklist.hostile import large_png, slow_png
from tests.worklist.processes import children, end_workers, rss_mb, start_worker, wait_for

SENDER = Actor("a sender", Role.LEAD)
AT_ONCE = 20
"""Films handed in together: more come whenever fewer wait, so that every kill can hit work."""


@pytest.fixture(autouse=True)
def _nothing_left_running():
    yield
    end_workers()


@contextmanager
def opened(settings: Settings) -> Iterator[Service]:
    service = open_service(settings)
    try:
        yield service
    finally:
        service.close()


def numbers(service: Service) -> tuple[int, int, int]:
    """Return how many results there are, how many films they are of, how many the audit trail knows."""
    with service.database.read() as session:
        films = select(func.count(), func.count(ResultRow.sha256.distinct()))
        of_audit = select(func.count()).where(AuditRow.event == "result")
        return (*session.execute(films).one(), session.scalar(of_audit))


class Killer:
    """Two workers, one of which, or something below it, is killed now and then and started again."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.rng = random.Random(20261121)  # noqa: S311 -- nothing secret
        self.kills = {"worker": 0, "nursery": 0, "decoder": 0}
        self._start = lambda: start_worker(settings, log=log)
        self.workers = [self._start(), self._start()]

    def strike(self) -> None:
        """Kill one process of a worker that is at work, if there is any."""
        below = {}
        for place, worker in enumerate(self.workers):
            nurseries = children(worker.pid)
            decoders = [child for nursery in nurseries for child in children(nursery)]
            if decoders:
                below[place] = {"worker": [worker.pid], "nursery": nurseries, "decoder": decoders}
        if not below:
            return
        place = self.rng.choice(list(below))
        kind = self.rng.choices(("worker", "nursery", "decoder"), (3, 2, 4))[0]
        with suppress(ProcessLookupError):
            os.kill(self.rng.choice(below[place][kind]), signal.SIGKILL)
            self.kills[kind] += 1
        if kind == "worker":
            self.workers[place].wait()
            self.workers[place] = self._start()

    def stop(self) -> list[int]:
        """Stop the workers in order; return their exit statuses."""
        for worker in self.workers:
            worker.terminate()
        return [worker.wait(60) for worker in self.workers]


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_r1_kill_9_loses_nothing_and_doubles_nothing(store_settings, films, tmp_path):
    total, kills = (300, 15) if store_settings.database_url else (1000, 50)
    settings = replace(store_settings, lease_s=1, worker_processes=1)
    with opened(settings) as service:
        killer = Killer(settings, tmp_path / "log")
        number = count()
        until, taken = time.monotonic() + 840, 0
        while (more := sum(killer.kills.values()) < kills or taken < total) or queue.waiting(service):
            assert time.monotonic() < until, f"{killer.kills}, {queue.waiting(service)} films still wait"
            if more and queue.waiting(service) < AT_ONCE:
                files = [Incoming("x.png", films.png(next(number))) for _ in range(AT_ONCE)]
                taken += len(service.submit_many(SENDER, files, source=Source.CLI))
            time.sleep(killer.rng.uniform(0.0, 0.4))
            if sum(killer.kills.values()) < kills and queue.waiting(service):
                killer.strike()
        ends = set(killer.stop())
        assert ends <= {0, -signal.SIGTERM}, (tmp_path / "log").read_text()[-3000:]
        assert sum(killer.kills.values()) >= kills
        assert all(killer.kills.values()), killer.kills
        assert taken >= total
        assert numbers(service) == (taken, taken, taken)
        with service.database.read() as session:
            assert audit.verify(session).broken_at is None
            assert session.scalar(select(func.count()).where(ImageRow.status == "assessed")) == taken
            assert session.scalar(select(func.count()).where(StudyRow.state.is_(None))) == 0
            assert session.scalar(select(func.count()).where(StudyRow.lease_owner.is_not(None))) == 0


@pytest.mark.slow
def test_r6_one_poison_film_stops_nothing(store_settings):
    """One crashes its decoder, one keeps it for ever, one gets it killed, one needs too much memory."""
    settings = replace(store_settings, decode_timeout_s=3, decode_memory_mb=256, worker_processes=2)
    poison = {"decoder_crashed": png(90) + ABORT, "decoder_timeout": png(91) + STALL,
              "decoder_killed": png(92) + KILL, "decoder_memory": large_png()}  # fmt: skip
    with opened(settings) as service, open_pool(service, hook="tests.worklist.hooks:fail") as pool:
        raws = [*poison.values(), *(png(seed) for seed in range(20))]
        receipts = service.submit_many(SENDER, [Incoming("x", raw) for raw in raws], source=Source.CLI)
        assert all(isinstance(receipt, Receipt) for receipt in receipts)
        stop = threading.Event()
        thread = threading.Thread(target=Worker(service, pool, stop).work, kwargs={"once": True})
        thread.start()
        try:
            wait_for(lambda: numbers(service)[0] == 20, 60, "the other films answered")
            assert queue.waiting(service) == len(poison), "while the poison is still being tried"
            thread.join(200)
            assert not thread.is_alive()
        finally:
            stop.set()
            thread.join()
        assert queue.waiting(service) == 0
        with service.database.read() as session:
            dead = session.scalars(select(ImageRow).where(ImageRow.status == "dead")).all()
            assert {film.sha256 for film in dead} == {receipt.sha256 for receipt in receipts[: len(poison)]}
            assert [film.attempts for film in dead] == [settings.attempts] * len(poison)
            letters = session.execute(select(AuditRow.subject, AuditRow.detail).where(
                AuditRow.event == "dead_letter"
            )).all()  # fmt: skip
            assert len(letters) == len(poison)
            for receipt, code in zip(receipts, poison, strict=False):
                assert any(f == receipt.sha256 and code in detail for f, detail in letters)
            urgencies = session.scalars(
                select(StudyRow.urgency).where(StudyRow.id.in_([film.study_id for film in dead]))
            ).all()
        assert urgencies == ["review"] * len(poison), "a person sees them"
        assert {(each.sha256, each.code) for each in service.given_up(SENDER)} == {
            (receipt.sha256, code) for receipt, code in zip(receipts, poison, strict=False)
        }


def test_r6_a_lost_lease_is_not_a_failed_attempt(store_settings, tmp_path):
    """The worker is killed while it decodes a film that takes seconds."""
    settings = replace(store_settings, lease_s=1, worker_processes=1)
    with opened(settings) as service:
        service.submit(SENDER, Incoming("x.png", slow_png()), source=Source.CLI)
        worker = start_worker(settings, log=tmp_path / "log")
        wait_for(lambda: any(children(pid) for pid in children(worker.pid)), 120, "a decoder at work")
        worker.kill()
        worker.wait()

        def taken_back() -> bool:
            queue.claim(service, "another", 1)
            with service.database.read() as session:
                return session.scalar(select(StudyRow.lost_leases)) == 1

        wait_for(taken_back, 20, "the lease ran out")
        with service.database.read() as session:
            assert session.execute(select(ImageRow.attempts, ImageRow.status)).one() == (0, "waiting")


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_r7_a_full_queue_refuses_clearly_drops_nothing_and_memory_stays_flat(home, films, tmp_path):
    total, limit = 2000, 60
    settings = replace(home, queue_limit=limit, worker_processes=2)
    with opened(settings) as service:
        worker = start_worker(settings, log=tmp_path / "log")
        accepted: list[str] = []
        refusals: list[str] = []
        sizes: list[float] = []
        until = time.monotonic() + 840
        while len(accepted) < total:
            assert time.monotonic() < until, f"{len(accepted)} films accepted so far"
            files = [Incoming("x.png", films.png(len(accepted) + k)) for k in range(20)]
            try:
                receipts = service.submit_many(SENDER, files, source=Source.CLI)
            except Busy as busy:
                refusals.append(str(busy))
                time.sleep(0.05)
                continue
            accepted += [receipt.sha256 for receipt in receipts if isinstance(receipt, Receipt)]
            assert queue.waiting(service) <= limit
            if len(accepted) % 100 == 0 and len(accepted) >= total // 4:
                sizes.append(rss_mb(worker.pid))
        wait_for(lambda: queue.waiting(service) == 0, 60, "all answered")
        worker.terminate()
        assert worker.wait(60) == 0
        assert refusals
        assert all("nothing was taken in" in refusal for refusal in refusals), refusals[0]
        assert numbers(service) == (total, total, total)
        with service.database.read() as session:
            assert set(session.scalars(select(ResultRow.sha256))) == set(accepted)
        early, late = max(sizes[:4]), max(sizes[-4:])
        assert late < early * 1.1, f"resident memory grew: {sizes}"
