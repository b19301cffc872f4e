"""`make demo`: a worklist of invented films that lives, offline, in a folder of its own.

Every film is a phantom and says SYNTHETIC; every reader is invented. What the model says of them stands as it
is. Films come in, are answered and are acted upon the same way as any others.
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
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated

import typer

from cxr_core import settings
from cxr_core.access import Actor, Role
from cxr_core.cli_models import failures
from cxr_core.demo.films import CASES, LATER, Case, draw
from cxr_core.domain import Urgency
from cxr_core.errors import Busy, StoreError
from cxr_core.settings import ROOT, Settings
from cxr_core.worklist import queue
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Line, Query, Source

HOME = ROOT / ".demo"
MARK = "everything-here-is-synthetic"
"""A file in the folder that says that it is a demo's and may be removed with all that is in it."""

MODALITY = Actor("demo modality", Role.CLINICIAN)
READERS = tuple(Actor(f"Dr {name} (invented)", Role.CLINICIAN) for name in ("Okafor", "Lind", "Marsh"))
ARRIVAL_S = 15.0
"""Between two films that arrive while the app runs."""

ANSWERED_WITHIN_S = 300.0
LONG_AGO_S = 7 * 86_400.0
"""Studies taken before that are priors and were read."""

WORKER_LOG = "demo-worker.log"


def main(
    home: Annotated[Path, typer.Option(help="Folder of the demo.")] = HOME,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the worklist that is there.")] = False,
    app: Annotated[bool, typer.Option("--app/--no-app", help="Start the app on it.")] = True,
) -> None:
    """Build a worklist of 60 invented studies anew and start the app on it."""
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
    service = open_service(chosen)
    try:
        with _worker(chosen.home / WORKER_LOG) as worker:
            _submit(service, cases)
            _say(f"{len(cases)} synthetic films stored after {monotonic() - start:.0f} s")
            _await_answers(service, worker)
        _say(f"answered after {monotonic() - start:.0f} s")
        act(service)
    finally:
        service.close()


def act(service: Service) -> None:
    """Let invented readers do what people do: claim, acknowledge, read; the rest is left to do."""
    lines = service.page(READERS[0], Query(limit=500)).lines
    for old in (line for line in lines if line.waiting_s > LONG_AGO_S):
        _do(service, READERS[1], old, read=True)
    lines = tuple(line for line in lines if line.waiting_s <= LONG_AGO_S)
    for number, line in enumerate(line for line in lines if line.urgency == "critical"):
        if number % 2 == 0:
            _do(service, READERS[number % len(READERS)], line, read=number % 4 == 0)
    for number, line in enumerate(line for line in lines if line.urgency != "critical"):
        if number % 4 == 0 or number % 7 == 3:
            _do(service, READERS[number % len(READERS)], line, read=number % 4 == 0)
        elif number % 7 == 1:
            _discuss(service, line)


def _discuss(service: Service, line: Line) -> None:
    """Let two readers differ about a study, and one of them say how urgent it is."""
    ann, ben = READERS[:2]
    study_id = line.study_id
    for finding in line.findings[:1]:
        service.opine(ann, study_id, _version(service, ann, line), finding, agrees=True)
        service.opine(ben, study_id, _version(service, ben, line), finding, agrees=False)
    text = "Compared with the film from elsewhere: unchanged (invented)"
    service.note(ann, study_id, _version(service, ann, line), text)
    if line.urgency == "routine":
        reason = "The ward asks for it before theatre (invented)"
        service.override(ben, study_id, _version(service, ben, line), Urgency.URGENT, reason)


def _do(service: Service, reader: Actor, line: Line, *, read: bool) -> None:
    """Claim a study, acknowledge it where it is critical, and read it if told so."""
    service.claim(reader, line.study_id, line.version)
    if line.urgency == "critical":
        version = _version(service, reader, line)
        told = "ward physician (invented)"
        service.acknowledge(reader, line.study_id, version, told=told, how="by telephone", read_back=True)
    if read:
        service.mark_read(reader, line.study_id, _version(service, reader, line))


def _version(service: Service, reader: Actor, line: Line) -> int:
    return service.study(reader, line.study_id).line.version


def _clear(home: Path) -> None:
    """Make the folder empty, if it is a demo's or is not there."""
    if home.exists() and any(home.iterdir()) and not (home / MARK).is_file():
        raise StoreError(f"{home} is not a demo's folder; name another one with --home")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, mode=0o700)
    (home / MARK).touch()


def _submit(service: Service, cases: Sequence[Case]) -> None:
    """Draw the films on all processors and submit each as soon as it is there."""
    now = datetime.now(UTC)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for case, raw in zip(cases, pool.map(partial(draw, now=now), cases), strict=True):
            service.submit(MODALITY, Incoming(case.file, raw), source=Source.DEMO)


def _await_answers(service: Service, worker: subprocess.Popen[bytes]) -> None:
    until = monotonic() + ANSWERED_WITHIN_S
    while queue.waiting(service):
        if worker.poll() is not None or monotonic() > until:
            raise StoreError(f"the worker does not answer; see {WORKER_LOG} in {service.settings.home}")
        sleep(0.2)


@contextmanager
def _worker(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker of the usual kind, beside which the films are drawn."""
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 -- our own program
            [sys.executable, "-m", "cxr_core.cli", "worker", "--child-of", str(os.getpid())],
            stdout=sink,
            stderr=sink,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


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
