"""What a worker says while it works: that it lives, and that the studies it has leased are still its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic

from cxr_core.errors import StoreError
from cxr_core.logs import Log
from cxr_core.worklist import queue
from cxr_core.worklist.service import Service

BEAT_S = 3.0
AGAIN_S = 0.2
_log = Log(__name__)


class Lifeline:
    """A thread that renews leases in time, however long a film takes, and beats every few seconds.

    Attributes:
        answered: films answered so far, for whoever watches.
    """

    def __init__(self, service: Service, worker: str) -> None:
        """Say nothing yet; `with` starts the thread."""
        self._service, self._worker = service, worker
        self._held: dict[str, float] = {}
        """Studies, and by `monotonic` when each lease began or was last renewed."""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lifeline", daemon=True)
        self.answered = 0

    def hold(self, study_ids: Iterable[str]) -> None:
        """Renew these from now on; they were claimed just now."""
        with self._lock:
            self._held |= dict.fromkeys(study_ids, monotonic())

    def drop(self, study_ids: Iterable[str]) -> None:
        """Renew these no more."""
        with self._lock:
            for study_id in study_ids:
                self._held.pop(study_id, None)

    def __enter__(self) -> Lifeline:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(StoreError):
            queue.beat(self._service, self._worker, self.answered)
            queue.stopped(self._service, self._worker)

    def _run(self) -> None:
        pause = min(BEAT_S, self._service.settings.lease_s / 4)
        beaten = -BEAT_S
        while True:
            soon = pause
            try:
                self._renew()
                if monotonic() - beaten >= BEAT_S:
                    queue.beat(self._service, self._worker, self.answered)
                    beaten = monotonic()
            except StoreError as exc:  # it may have waited for a lock for long already
                soon = AGAIN_S
                _log.warning("lifeline_failed", worker=self._worker, error=type(exc).__name__)
            if self._stop.wait(soon):
                return

    def _renew(self) -> None:
        """Renew the leases of which an eighth has passed; most studies are answered sooner."""
        now = monotonic()
        with self._lock:
            due = sorted(
                each
                for each, since in self._held.items()
                if now - since >= self._service.settings.lease_s / 8
            )
        queue.renew(self._service, self._worker, due)
        with self._lock:
            self._held |= {each: now for each in due if each in self._held}
