"""Several workers on one machine: a small process that starts them, replaces dead ones, and stops them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from time import monotonic

from cxr_core.errors import StoreError
from cxr_core.logs import Log

POLL_S = 0.2
SHORT_LIFE_S = 10.0
LONGEST_PAUSE_S = 30.0
TRIES = 3
"""Times a worker that was to answer only what waits may end young before that is a failure."""
_PR_SET_PDEATHSIG = 1

_log = Log(__name__)


@dataclass(slots=True)
class Place:
    """Where one worker works: its process, how often it died young, when the next may start."""

    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    not_before: float = 0.0
    done: bool = False


def supervise(processes: int, *, once: bool, stop: threading.Event) -> None:
    """Keep `processes` workers going until `stop` is set, or with `once` until each found the queue empty.

    Raises:
        StoreError: with `once`, one ended young again and again.
    """
    places = [Place() for _ in range(processes)]
    try:
        while not stop.is_set() and not all(place.done for place in places):
            for place in places:
                _attend(place, once)
            stop.wait(POLL_S)
    finally:
        _stop([place.process for place in places if place.process is not None])
    if once and any(place.deaths >= TRIES for place in places):
        raise StoreError(f"a worker ended {TRIES} times without finishing; see the lines above")


def die_with(parent: int, number: int = signal.SIGTERM) -> None:
    """Have this process end its work, by this signal, when `parent`, whose child it is, is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _attend(place: Place, once: bool) -> None:
    """Start the worker of a place if there is none; later and later if it keeps dying young."""
    now = monotonic()
    if place.done or (place.process is not None and place.process.poll() is None):
        return
    if place.process is not None:
        status, place.process = place.process.returncode, None
        place.deaths = 0 if status == 0 or now - place.started > SHORT_LIFE_S else place.deaths + 1
        place.done = once and (status == 0 or place.deaths >= TRIES)
        place.not_before = now + min(LONGEST_PAUSE_S, 0.5 * 2 ** min(place.deaths, 8) - 0.5)
        _log.warning("worker_ended", status=status, deaths=place.deaths)
    if not place.done and now >= place.not_before:
        command = [sys.executable, "-m", "cxr_core.cli", "worker", "--child-of", str(os.getpid())]
        place.process = subprocess.Popen(command + (["--once"] if once else []))  # noqa: S603 -- ourselves
        place.started = now


def _stop(workers: list[subprocess.Popen[bytes]]) -> None:
    """Ask the workers to finish their batches and wait for it."""
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
    for worker in workers:
        worker.wait()
