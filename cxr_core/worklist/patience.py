"""How a worker waits for what cannot be had just now: longer each time, never longer than it makes sense."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from cxr_core.errors import Busy
from cxr_core.logs import Log

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0

_log = Log(__name__)
Result = TypeVar("Result")


class Patience:
    """The pauses of one worker."""

    def __init__(self, worker: str, stop: threading.Event, lease_s: float) -> None:
        """Start with short pauses; `stop` ends each of them."""
        self._worker, self._stop, self._lease_s = worker, stop, lease_s
        self._failures = 0

    def tried(self, call: Callable[[], Result]) -> Result | None:
        """Return what the store says, asked again while it is busy, or None once the lease may be gone."""
        until = monotonic() + self._lease_s
        while True:
            try:
                result = call()
            except Busy as exc:
                self.pause("store_busy", exc)
                if monotonic() > until or self._stop.is_set():
                    return None
            else:
                self._failures = 0
                return result

    def pause(self, event: str, exc: Exception) -> None:
        """Say what is the matter and wait, longer each time."""
        seconds = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures, 10))
        self._failures += 1
        _log.warning(event, worker=self._worker, error=type(exc).__name__, pause_s=round(seconds, 1))
        self._stop.wait(seconds)
