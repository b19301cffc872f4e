"""The worker that the app brings along when it keeps the worklist in its own file.

One for each CXR_HOME, however many servers run on it: whoever holds the lock has the worker. The lock is
handed down, so it is free only when that worker is gone too. The worker stops when its standard input
ends, which it does whichever way the server goes. (A death signal to the child would be tied to the
thread that started it; the threads of pages are short-lived.)
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from io import BufferedWriter
from pathlib import Path
from threading import Lock
from time import monotonic

import streamlit as st

from cxr_core.logs import Log
from cxr_core.settings import Settings

LOCK = "worker.lock"
LOG, OLD_LOG = "worker.log", "worker.log.1"
LOG_BYTES = 5_000_000
"""A longer log becomes the old one when the next worker starts; the one that was old goes."""

LEAST_S = 2.0
"""Between two starts: a worker that cannot run does not keep the server busy starting it."""

_log = Log(__name__)


class Watch:
    """The worker of one CXR_HOME, as far as this process is the one that runs it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._guard = Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._lock: BufferedWriter | None = None
        self._started = -LEAST_S

    @property
    def pid(self) -> int | None:
        """Process id of the worker that this process runs, or None."""
        worker = self._worker
        return worker.pid if worker is not None and worker.poll() is None else None

    def ensure(self) -> None:
        """Start the worker if none runs; returns at once."""
        with self._guard:
            if self.pid is not None or monotonic() - self._started < LEAST_S:
                return
            try:
                self._begin()
            except OSError as exc:  # disk full, no process left: the page goes on, and tries again
                self._started = monotonic()
                _log.warning("worker_not_started", error=type(exc).__name__)

    def stop(self, timeout_s: float = 20.0) -> None:
        """Let the worker finish what it has in hand, then end; free the lock."""
        with self._guard:
            self._close_input()
            if self._worker is not None:
                try:
                    self._worker.wait(timeout_s)
                except subprocess.TimeoutExpired:
                    self._worker.kill()
                    self._worker.wait()
            if self._lock is not None:
                self._lock.close()
            self._worker = self._lock = None

    def _begin(self) -> None:
        self._lock = self._lock or _lock(self._home / LOCK)
        if self._lock is None:
            return
        self._close_input()
        self._started = monotonic()
        self._worker = _start(self._home / LOG, self._lock.fileno())

    def _close_input(self) -> None:
        if self._worker is not None and self._worker.stdin is not None:
            self._worker.stdin.close()


def _lock(path: Path) -> BufferedWriter | None:
    """Return the lock, held as long as the file is open here or in the worker; None: another has it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _start(log: Path, lock: int) -> subprocess.Popen[bytes]:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(OLD_LOG))
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 -- our own program
            [sys.executable, "-m", "cxr_core.ui.embedded"],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=sink,
            pass_fds=(lock,),
            start_new_session=True,
        )
    finally:
        os.close(sink)


@st.cache_resource(max_entries=1, show_spinner=False, on_release=Watch.stop)
def _watch(home: Path) -> Watch:
    return Watch(home)


def ensure(settings: Settings) -> None:
    """Start the app's worker if it should have one and has none."""
    if not settings.database_url:
        _watch(settings.home).ensure()
