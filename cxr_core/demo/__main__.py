"""`make demo`: a worklist of invented films that lives, offline, in a folder of its own.

Every film is a phantom and says SYNTHETIC; every reader is invented. What the model says of them stands as it
is. Films come in, are answered and are acted upon the same way as any others, only by a clock that is set
back, so that a week is lived through in under a minute.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated

import typer

from cxr_core import settings
from cxr_core.access import Actor, Role
from cxr_core.cli_models import failures
from cxr_core.demo.films import CASES, LATER, LEFT, Case, draw
from cxr_core.demo.past import Clock, at_work
from cxr_core.demo.readers import Readers
from cxr_core.errors import Busy, StoreError
from cxr_core.settings import ROOT, Settings
from cxr_core.worklist import queue
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Source

HOME = ROOT / ".demo"
MARK = "everything-here-is-synthetic"
"""A file in the folder that says that it is a demo's and may be removed with all that is in it."""

MODALITY = Actor("demo modality", Role.CLINICIAN)
ARRIVAL_S = 15.0
"""Between two films that arrive while the app runs."""

ANSWERED_WITHIN_S = 300.0
WORKER_LOG = "demo-worker.log"


def main(
    home: Annotated[Path, typer.Option(help="Folder of the demo.")] = HOME,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the worklist that is there.")] = False,
    app: Annotated[bool, typer.Option("--app/--no-app", help="Start the app on it.")] = True,
) -> None:
    """Build a worklist of 100 invented studies anew and start the app on it."""
    home = home.resolve()
    os.environ |= {"CXR_HOME": str(home), "CXR_LOCAL_USER": "Demo lead (invented)", "CXR_LOCAL_ROLE": "lead"}
    os.environ.pop("CXR_DATABASE_URL", None)
    chosen = settings.load()
    if not (keep and (home / MARK).exists()):
        build(chosen)
    if app:
        with _ends_in_order():
            _run_app(chosen)


def build(chosen: Settings, cases: Sequence[Case] = CASES) -> None:
    """Make the demo's folder anew: films drawn, submitted, answered by a worker, and acted upon.

    Raises:
        StoreError: the folder is not a demo's, or no answer came.
    """
    _clear(chosen.home)
    start = monotonic()
    now = datetime.now(UTC)
    clock = Clock(now - timedelta(minutes=cases[0].minutes_ago))
    service = open_service(chosen, clock=clock)
    try:
        with at_work(chosen, clock, chosen.home / WORKER_LOG) as worker:
            _live_through(service, clock, worker, cases, now)
        _say(
            f"{len(cases)} synthetic films stored, answered and acted upon after {monotonic() - start:.0f} s"
        )
    finally:
        service.close()


def _clear(home: Path) -> None:
    """Make the folder empty, if it is a demo's or is not there."""
    if home.exists() and any(home.iterdir()) and not (home / MARK).is_file():
        raise StoreError(f"{home} is not a demo's folder; name another one with --home")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, mode=0o700)
    (home / MARK).touch()


def _live_through(
    service: Service, clock: Clock, worker: BaseProcess, cases: Sequence[Case], now: datetime
) -> None:
    """Let the films come in one by one, each answered, and looked at by the invented readers in its time."""
    readers = Readers(service, clock, now)
    taken_on: set[str] = set()
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for case, raw in zip(cases, pool.map(partial(draw, now=now), cases), strict=True):
            received = now - timedelta(minutes=case.received_minutes_ago)
            readers.until(received)
            clock.catch_up(received)
            study_id = service.submit(MODALITY, Incoming(case.file, raw), source=Source.DEMO).study_id
            _await_answer(service, worker)
            if study_id not in taken_on:
                readers.take_on(study_id, leave=case.seed in LEFT)
            taken_on.add(study_id)
    readers.until(datetime.now(UTC))
    clock.catch_up(datetime.now(UTC))


def _await_answer(service: Service, worker: BaseProcess) -> None:
    until = monotonic() + ANSWERED_WITHIN_S
    while queue.waiting(service):
        if not worker.is_alive() or monotonic() > until:
            raise StoreError(f"the worker does not answer; see {WORKER_LOG} in {service.settings.home}")
        sleep(0.02)


def _run_app(chosen: Settings) -> None:
    """Start the app and let films arrive until it ends."""
    app = subprocess.Popen(  # noqa: S603 -- our own program
        [sys.executable, "-m", "streamlit", "run", str(ROOT / "streamlit_app.py")], cwd=ROOT
    )
    try:
        for case in LATER:
            try:
                app.wait(ARRIVAL_S)
                return
            except subprocess.TimeoutExpired:
                _arrive(chosen, case)
        app.wait()
    except KeyboardInterrupt:
        pass
    finally:
        app.terminate()
        app.wait()


def _arrive(chosen: Settings, case: Case) -> None:
    """Submit one more film; a store that is busy gets it not, as in life it would come again."""
    raw = draw(case, datetime.now(UTC))
    service = open_service(chosen)
    try:
        service.submit(MODALITY, Incoming(case.file, raw), source=Source.DEMO)
    except Busy:
        _say("a film could not be stored: the worklist is busy")
    finally:
        service.close()


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """Let SIGTERM end the app too."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    with failures():
        typer.run(main)
