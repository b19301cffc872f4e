"""Films decoded in children of bounded memory and time: a film can end its decoder, never its asker."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic

from cxr_core.domain import AS_SENT, Correction, Radiograph
from cxr_core.errors import Busy, DecoderDied, Rejected, StoreError
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.preprocess import Recipe
from cxr_core.pipeline import Unfit
from cxr_core.settings import PREFIX, ROOT
from cxr_core.worklist import wire
from cxr_core.worklist.decoder_child import END, FORK, NUMBER, OUT_OF_MEMORY
from cxr_core.worklist.wire import Decoded, Request

VIEW_PX = 2048
"""No display shows more; the pixels of a film that is only shown are no finer."""

CRASHED, TIMEOUT, MEMORY, KILLED = (
    "decoder_crashed",
    "decoder_timeout",
    "decoder_memory",
    "decoder_killed",
)
_TRIES = 2
"""A child that another program killed says nothing about the film: it is tried once more."""

_START_S = 60.0

_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
"""glibc gives large blocks back as soon as they are free, and the kernel clears them anew for every film:
a fifth of the time for one of 1024 px a side, two fifths at 2000 px. So a child keeps up to 128 MB."""


class DecoderPool:
    """Up to `processes` children at work; safe to call from several threads, which then wait for a free one.

    Args:
        limits: on the files.
        recipe: how the network wants its films; None where films are only shown.
        processes: children at work at the same time.
        timeout_s: wall time of one film.
        memory_mb: address space of one child.
        hook: for tests alone: `module:function`, called with each film's bytes in the child.
    """

    def __init__(
        self,
        limits: Limits,
        recipe: Recipe | None,
        *,
        processes: int,
        timeout_s: float,
        memory_mb: int,
        hook: str = "",
    ) -> None:
        self._limits, self._recipe = limits, recipe
        self._timeout_s = timeout_s
        self._free = threading.BoundedSemaphore(processes)
        self._nursery = Nursery(memory_mb, hook)
        self._idle: list[Child] = []

    def prepare(
        self,
        raw: bytes,
        *,
        now: datetime,
        recipe: Recipe | None = None,
        max_side: int | None = None,
        correction: Correction = AS_SENT,
    ) -> Decoded:
        """Return the film ready for the network, or why not; with a thumbnail.

        Args:
            raw: a PNG, JPEG or DICOM file.
            now: see `pipeline.analyse`.
            recipe: of another model than the pool's own.
            max_side: None leaves the pixels out, else they are no finer than this.
            correction: how the film is to hang.

        Raises:
            DecoderDied: the child crashed, ran out of time or memory, or was killed repeatedly.
            Busy: no child can be started.
        """
        recipe = recipe or self._recipe
        if recipe is None:
            raise ValueError("this pool was made to show films, not to prepare them")
        request = Request(self._limits, now.isoformat(), recipe, max_side, correction)
        decoded = self._ask(request, raw, recipe.network_px)
        return replace(decoded, film=replace(decoded.film, correction=correction))

    def view(self, raw: bytes, correction: Correction = AS_SENT) -> Radiograph:
        """Return the film as it is to hang, with pixels no finer than VIEW_PX a side.

        Raises:
            Rejected: the file cannot be decoded.
            DecoderDied, Busy: see `prepare`.
        """
        now = datetime.now(UTC).isoformat()
        request = Request(self._limits, now, max_side=VIEW_PX, correction=correction)
        film = self._ask(request, raw, 0).film
        if film.radiograph is None and isinstance(film, Unfit):
            raise Rejected(film.notice.code, film.notice.message, film.notice.hint)
        if film.radiograph is None:
            raise DecoderDied(CRASHED)
        return film.radiograph

    def close(self) -> None:
        """End all children, those at work too; the pool can still be used and then starts new ones."""
        for child in self._idle:
            child.channel.close()
        self._idle.clear()
        self._nursery.close()

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: Request, raw: bytes, side: int) -> Decoded:
        with self._free:
            for _ in range(_TRIES):
                child = self._child()
                try:
                    decoded = child.ask(request, raw, side, self._timeout_s)
                except (OSError, EOFError, ValueError, StoreError) as exc:
                    code = self._nursery.end(child)
                    if isinstance(exc, TimeoutError):
                        raise DecoderDied(TIMEOUT) from exc
                    if code != KILLED:
                        raise DecoderDied(code) from exc
                except BaseException:
                    self._nursery.end(child)
                    raise
                else:
                    self._idle.append(child)
                    return decoded
        raise DecoderDied(KILLED)

    def _child(self) -> Child:
        """Return a child whose nursery is still there, or a new one."""
        while self._idle:
            try:
                child = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if self._nursery.owns(child):
                return child
            child.channel.close()
        return self._nursery.fork()


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """A decoding process: its id, the socket to it, the process that forked it."""

    pid: int
    channel: socket.socket
    nursery_pid: int

    def ask(self, request: Request, raw: bytes, side: int, timeout_s: float) -> Decoded:
        """Return the answer, or raise OSError, EOFError, ValueError or StoreError."""
        until = monotonic() + timeout_s
        self.channel.settimeout(timeout_s)
        wire.send(self.channel, *wire.request_parts(request, raw))
        return wire.read_answer(*wire.receive(self.channel, until), side)


class Nursery:
    """The process that forks children, started when first needed and again when it was killed."""

    def __init__(self, memory_mb: int, hook: str) -> None:
        self._arguments = (str(memory_mb), hook)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._start()

    def owns(self, child: Child) -> bool:
        """Return whether the process that forked it is still there; without it the child is dead."""
        process = self._process
        return process is not None and process.pid == child.nursery_pid and process.poll() is None

    def fork(self) -> Child:
        """Return a new child.

        Raises:
            Busy: none can be started.
        """
        with self._lock:
            for _ in range(_TRIES):
                process = self._process
                if process is None or process.poll() is not None:
                    process = self._start()
                ours, theirs = socket.socketpair()
                try:
                    with theirs:
                        pid = self._told(FORK, [theirs.fileno()])
                except (OSError, EOFError):
                    ours.close()
                    self._stop()
                else:
                    return Child(pid, ours, process.pid)
        raise Busy("no process to decode films in can be started")

    def end(self, child: Child) -> str:
        """Return why the child died, having killed it if it had not."""
        child.channel.close()
        with self._lock:
            if not self.owns(child):
                return KILLED
            try:
                status = self._told(END + NUMBER.pack(child.pid), [])
            except (OSError, EOFError):
                self._stop()
                return KILLED
        if os.WIFSIGNALED(status):
            return KILLED if os.WTERMSIG(status) == 9 else CRASHED
        return MEMORY if os.WEXITSTATUS(status) == OUT_OF_MEMORY else CRASHED

    def close(self) -> None:
        """End the process, and with it its children."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        self._stop()
        ours, theirs = socket.socketpair()
        ours.settimeout(_START_S)
        # Settings, a database's password among them, are no business of a process that parses films. One
        # thread for linear algebra: more would make forking unsafe.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **_KEEP_MEMORY}
        with theirs:
            command = [sys.executable, "-m", "cxr_core.worklist.decoder_child", str(theirs.fileno())]
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
                [*command, *self._arguments],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=environment,
                pass_fds=(theirs.fileno(),),
            )
        self._process, self._control = process, ours
        return process

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._control = None

    def _told(self, message: bytes, fds: list[int]) -> int:
        """Return the nursery's answer to a message."""
        if self._control is None:
            raise EOFError
        socket.send_fds(self._control, [message], fds)
        answer = self._control.recv(NUMBER.size)
        if len(answer) < NUMBER.size:
            raise EOFError
        number: int = NUMBER.unpack(answer)[0]
        return number
