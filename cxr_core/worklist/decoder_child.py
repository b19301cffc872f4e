"""Where films are decoded: a nursery that has imported everything forks a child whenever it is asked to.

`python -m cxr_core.worklist.decoder_child` is started by `decoder.Nursery`, never by a person. A fork of
it is ready in milliseconds, however often a film kills one. It holds no database connection and no
settings. It ends when its parent does, since its control socket does, and with it all its children.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from importlib import import_module

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_core import pipeline
from cxr_core.domain import Notice, Radiograph
from cxr_core.errors import Rejected
from cxr_core.imaging import overlay
from cxr_core.imaging.correct import corrected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.raster import NoFilm
from cxr_core.pipeline import Film, Unfit
from cxr_core.worklist import wire

FORK, END = b"F", b"E"
NUMBER = struct.Struct("!q")
OUT_OF_MEMORY = 17
"""Exit status of a child that ran out of memory."""

THUMBNAIL_PX = 96
_PR_SET_PDEATHSIG = 1

Hook = Callable[[bytes], None]


def main(control_fd: int, memory_mb: int, hook_name: str) -> None:
    """Fork and end children as the control socket says, until it is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are meant for the parent, which finishes its films first
    hook = _hook(hook_name)
    Image.init()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=control_fd) as control, suppress(ConnectionError):
        while True:
            message, fds, _, _ = socket.recv_fds(control, 1 + NUMBER.size, 1)
            if message == FORK and fds:
                pid = os.fork()
                if pid == 0:
                    control.close()
                    _child(fds[0], memory_mb, hook)
                os.close(fds[0])
                control.sendall(NUMBER.pack(pid))
            elif message[:1] == END:
                control.sendall(NUMBER.pack(_end(*NUMBER.unpack(message[1:]))))
            else:
                return


def _end(pid: int) -> int:
    """Return the wait status of a child that is dead now; until it is waited for its id is nobody else's."""
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _child(fd: int, memory_mb: int, hook: Hook | None) -> None:
    """Answer requests until the asker closes the socket; never returns."""
    status = 1
    try:
        _confine(memory_mb)
        # Closed by the end of the process, never before: whoever sees it closed may ask at once why.
        channel = socket.socket(fileno=fd)
        while True:
            head, parts = wire.receive(channel)
            decoded = _work(wire.read_request(head), parts[0], hook)
            wire.send(channel, *wire.answer_parts(decoded))
    except EOFError:
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    finally:
        os._exit(status)  # no traceback: a message may quote the film


def _confine(memory_mb: int) -> None:
    """Bound what a child may use, write and outlive."""
    if sys.platform == "linux":
        nursery = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != nursery:
            os._exit(0)
    bytes_ = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the film
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _work(request: wire.Request, raw: bytes, hook: Hook | None) -> wire.Decoded:
    if hook:
        hook(raw)
    if request.recipe is None:
        film: Film | Unfit = _only_decoded(raw, request)
    else:
        now = datetime.fromisoformat(request.now)
        film = pipeline.film_from(raw, request.limits, request.recipe, now=now, correction=request.correction)
    if film.radiograph is None:
        return wire.Decoded(film, None)
    small = overlay.png(overlay.grey(_thinned(film.radiograph.pixels), THUMBNAIL_PX))
    return wire.Decoded(replace(film, radiograph=_shrunk(film.radiograph, request.max_side)), small)


def _only_decoded(raw: bytes, request: wire.Request) -> Unfit:
    """Return a film that nobody asked to be made ready, with what decoding says or an empty notice."""
    try:
        radiograph = corrected(decode(raw, request.limits), request.correction)
    except Rejected as exc:
        if isinstance(exc.__cause__, MemoryError):
            raise exc.__cause__ from None
        shown = exc.radiograph if isinstance(exc, NoFilm) else None
        return Unfit(Notice(exc.code, exc.message, exc.hint), shown.sha256 if shown else "", shown)
    return Unfit(Notice("", ""), radiograph.sha256, radiograph)


def _thinned(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return every n-th pixel, still four times finer than a thumbnail: shrinking a whole film takes long."""
    step = max(1, max(pixels.shape) // (4 * THUMBNAIL_PX))
    return np.ascontiguousarray(pixels[::step, ::step])


def _shrunk(radiograph: Radiograph, max_side: int | None) -> Radiograph:
    """Return the film with pixels no finer than `max_side`, or with none."""
    if max_side is None:
        return replace(radiograph, pixels=wire.NO_PIXELS)
    height, width = radiograph.pixels.shape
    scale = max_side / max(height, width)
    if scale >= 1:
        return radiograph
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels = Image.fromarray(radiograph.pixels).resize(size, Image.Resampling.BILINEAR)
    return replace(radiograph, pixels=np.asarray(pixels, dtype=np.float32))


def _hook(name: str) -> Hook | None:
    """Return the function `module:name` that tests have called with each film before it is decoded."""
    if not name:
        return None
    module, _, function = name.partition(":")
    hook: Hook = getattr(import_module(module), function)
    return hook


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
