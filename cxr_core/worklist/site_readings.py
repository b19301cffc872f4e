"""Readings of a site's films that go on while nobody looks, each found again by the person who began it.

A page that locks, is reloaded or closed loses nothing of them; a program that ends does. What was read stays
in this process's memory alone, until its person drops it or begins another, or KEPT has passed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from cxr_core import logs
from cxr_core.errors import CxrError, DataError
from cxr_core.logs import Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from cxr_core.evaluation.site_cases import Cases
    from cxr_core.worklist.site_films import Reading

_log = Log(__name__)
KEPT = timedelta(hours=24)
"""After the last film."""

STOPPED = "Stopped before the last film."


class Background:
    """A reading that goes on in a thread of its own.

    Attributes:
        model: SHA-256 of the manifest of the model that answers.
        name: of that model, "id version".
        reading: what was read so far.
        films: announced, for a bar.
        remarks: what a person should know of the cases.
        cases: once it has ended, unless none of the films could be assessed.
        fault: why there are none; in plain words.
        ended: when, or None while it goes on.
    """

    def __init__(
        self, model: str, name: str, reading: Reading, films: int, remarks: tuple[str, ...] = ()
    ) -> None:
        """Hold the reading; `start` begins it."""
        self.model, self.name, self.reading, self.films, self.remarks = model, name, reading, films, remarks
        self.cases: Cases | None = None
        self.fault = ""
        self.ended: datetime | None = None
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="site-reading", daemon=True)
        self._clock: Callable[[], datetime]

    def start(self, clock: Callable[[], datetime]) -> None:
        """Begin to read."""
        self._clock = clock
        self._thread.start()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Have it end after the films at hand; what was read until then is kept."""
        self._stopped.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Return whether it has ended, after so long at most."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        logs.begin()
        remark = ""
        try:
            while not self._stopped.is_set() and self.reading.step():
                pass
            remark = STOPPED if self._stopped.is_set() else ""
        except CxrError as exc:
            remark = f"Stopped early: {exc}"
        except Exception as exc:
            _log.error("site_reading_failed", **logs.traced(exc))
            remark = (
                f"Stopped early by a fault of the program. If you ask about this, quote {logs.request()}."
            )
        try:
            self.reading.close()
            self.cases = self.reading.cases()
        except DataError as exc:
            self.fault = remark.removeprefix("Stopped early: ") or str(exc)
        self.remarks = (*self.remarks, *([remark] if remark else []))
        self.ended = self._clock()


class Readings:
    """The readings of one process, one for each person at most."""

    def __init__(self) -> None:
        """Hold none."""
        self._of: dict[str, Background] = {}
        self._lock = Lock()

    def begin(self, who: str, reading: Background, clock: Callable[[], datetime]) -> None:
        """Begin a person's reading; one that they began before ends and is forgotten."""
        with self._lock:
            before, self._of[who] = self._of.get(who), reading
        if before is not None:
            before.stop()
        reading.start(clock)

    def of(self, who: str, now: datetime) -> Background | None:
        """Return what a person began; None where that is nothing, or too long ago."""
        with self._lock:
            for name, each in list(self._of.items()):
                if each.ended is not None and now - each.ended > KEPT:
                    del self._of[name]
            return self._of.get(who)

    def drop(self, who: str) -> None:
        """End and forget what a person began."""
        with self._lock:
            found = self._of.pop(who, None)
        if found is not None:
            found.stop()

    def close(self) -> None:
        """End all, and return once no film is being read any more."""
        with self._lock:
            found, self._of = list(self._of.values()), {}
        for each in found:
            each.stop()
        for each in found:
            each.wait()
