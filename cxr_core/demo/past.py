"""The demo's past: a clock that is set back and catches up, and a worker that goes by it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from threading import Event

from cxr_core import logs
from cxr_core.settings import Settings
from cxr_core.worklist import worker
from cxr_core.worklist.service import open_service
from cxr_core.worklist.supervisor import die_with

_SPAWN = get_context("spawn")


class Clock:
    """Time as the demo has it, the same in this process and in its worker's."""

    def __init__(self, start: datetime) -> None:
        """Begin in the past."""
        behind = (datetime.now(UTC) - start).total_seconds()
        self._behind_s: Synchronized[float] = _SPAWN.Value("d", behind)

    def __call__(self) -> datetime:
        """Return the demo's time."""
        return datetime.now(UTC) - timedelta(seconds=self._behind_s.value)

    def catch_up(self, to: datetime) -> None:
        """Go on to this time, unless it is over, and not beyond the present."""
        behind = max(0.0, (datetime.now(UTC) - to).total_seconds())
        self._behind_s.value = min(self._behind_s.value, behind)


@contextmanager
def at_work(chosen: Settings, clock: Clock, log: Path) -> Iterator[BaseProcess]:
    """Run a worker of the usual kind, but for its clock."""
    process = _SPAWN.Process(target=_work, args=(chosen, clock, log, os.getpid()))
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        process.join()


def _work(chosen: Settings, clock: Clock, log: Path, parent: int) -> None:
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    die_with(parent)
    with log.open("wb") as sink:
        for stream in (1, 2):
            os.dup2(sink.fileno(), stream)
    logs.to_stderr()
    with closing(open_service(chosen, clock=clock)) as service, worker.open_pool(service) as pool:
        worker.Worker(service, pool, stop).work(once=False)
