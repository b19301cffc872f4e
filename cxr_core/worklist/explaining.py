"""How a worker makes explanations: one at a time, in a child that stands still while films are due."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from tempfile import TemporaryFile
from time import monotonic

import numpy as np

from cxr_core.errors import Busy, CxrError, DecoderDied, ModelError
from cxr_core.logs import Log
from cxr_core.pipeline import Film
from cxr_core.settings import PREFIX, ROOT
from cxr_core.worklist import explanations
from cxr_core.worklist.decoder import DecoderPool
from cxr_core.worklist.disk import refusals
from cxr_core.worklist.explainer_child import MEMORY_EXIT, MODEL_EXIT
from cxr_core.worklist.explanations import Wanted
from cxr_core.worklist.service import Service

LOOK_S = 0.5
"""Between two looks for something to explain."""

FAULT_S = 5.0
"""After a fault, before the next look."""

SLICE_S = 0.05
"""A film that comes in has the processors to itself after so long at most."""

LONGEST_S = 300.0
"""An explanation that was at work for longer is given up."""

MODEL, FILM, TIMEOUT, MEMORY, CRASHED = (
    "model_unavailable",
    "unreadable_film",
    "timeout",
    "out_of_memory",
    "crashed",
)

_log = Log(__name__)


class Explaining:
    """A thread beside the worker's loop; `with` starts it and ends it with its child."""

    def __init__(self, service: Service, worker: str, pool: DecoderPool) -> None:
        """Begin nothing yet."""
        self._service, self._worker, self._pool = service, worker, pool
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="explain", daemon=True)
        self._idle = threading.Event()

    def let(self, *, idle: bool) -> None:
        """Go on while the loop is idle; stand still while it has films in hand."""
        (self._idle.set if idle else self._idle.clear)()

    def __enter__(self) -> Explaining:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            if not self._idle.is_set():
                continue
            try:
                wanted = explanations.claim(self._service, self._worker)
                if wanted is not None:
                    self._explain(wanted)
            except Exception as exc:  # the lease runs out and it is tried again, or given up; films go on
                _log.warning("explaining_failed", worker=self._worker, error=type(exc).__name__)
                self._stop.wait(FAULT_S)

    def _explain(self, wanted: Wanted) -> None:
        """Make one explanation and record it, or why there is none."""
        begun = monotonic()
        try:
            packed, code = self._made(wanted)
        except BaseException:
            explanations.give_back(self._service, self._worker, wanted)
            raise
        if not packed and not code:
            explanations.give_back(self._service, self._worker, wanted)
            return
        try:
            if packed:
                explanations.done(self._service, self._worker, wanted, packed)
        except ModelError:
            code = CRASHED
        if code:
            explanations.failed(self._service, self._worker, wanted, code)
        took = round((monotonic() - begun) * 1e3)
        _log.info("explained", film=wanted.sha256, method=wanted.method.value, code=code or "done", ms=took)

    def _made(self, wanted: Wanted) -> tuple[bytes, str]:
        """Return the packed explanation or a code; neither where it was broken off."""
        settings = self._service.settings
        try:
            manifest = explanations.manifest_of(settings, wanted)
        except ModelError:
            return b"", MODEL
        try:
            raw = self._service.blobs.get(wanted.sha256)
            now, hung = self._service.clock(), wanted.correction
            film = self._pool.prepare(raw, now=now, recipe=manifest.recipe, correction=hung).film
        except Busy:
            return b"", ""
        except (DecoderDied, CxrError):
            return b"", FILM
        if not isinstance(film, Film):
            return b"", FILM
        folder = (settings.models_dir / manifest.id).resolve()
        words = (str(folder), str(settings.threads), wanted.label, wanted.method.value)
        # A file without name, where films lie anyway: a pipe would be full before the child reads.
        with refusals("the film to be explained"), TemporaryFile(dir=settings.home) as given:
            np.save(given, film.array, allow_pickle=False)
            given.seek(0)
            with subprocess.Popen(  # noqa: S603 -- our own interpreter and module
                [sys.executable, "-m", "cxr_core.worklist.explainer_child", str(os.getpid()), *words],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=ROOT,
                env=_environment(),
            ) as child:
                try:
                    return self._awaited(child, wanted)
                finally:
                    child.kill()

    def _awaited(self, child: subprocess.Popen[bytes], wanted: Wanted) -> tuple[bytes, str]:
        """Return what the child says; it stands still while any worker has films in hand or could have."""
        renewed, worked, at_work = monotonic(), 0.0, True
        looked, others = monotonic(), False
        while True:
            begun = monotonic()
            try:
                said, _ = child.communicate(timeout=SLICE_S)
            except subprocess.TimeoutExpired:
                pass
            else:
                return (said, "") if child.returncode == 0 else (b"", _why(child.returncode))
            now = monotonic()
            worked += now - begun if at_work else 0.0
            if self._stop.is_set():
                return b"", ""
            if worked > LONGEST_S:
                return b"", TIMEOUT
            if now - renewed > self._service.settings.lease_s / 4:
                if not explanations.renew(self._service, self._worker, wanted):
                    return b"", ""
                renewed = now
            if now - looked > LOOK_S:
                looked, others = now, explanations.must_wait(self._service)
            if at_work != (self._idle.is_set() and not others):
                at_work = not at_work
                child.send_signal(signal.SIGCONT if at_work else signal.SIGSTOP)


def _why(status: int) -> str:
    return {MODEL_EXIT: MODEL, MEMORY_EXIT: MEMORY}.get(status, CRASHED)


def _environment() -> dict[str, str]:
    """Return the child's environment: none of our settings, a database's password among them."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return plain | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
