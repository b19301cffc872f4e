"""What decoding children of tests do before they decode; see DecoderPool's `hook`."""

from __future__ import annotations

import os
import signal

ABORT, KILL, STALL = b"test-only: abort", b"test-only: kill", b"test-only: stall"


def fail(raw: bytes) -> None:
    """End the process as a decoder's memory fault or another program would, or keep it for ever."""
    if ABORT in raw:
        os.abort()
    if KILL in raw:
        os.kill(os.getpid(), signal.SIGKILL)
    while STALL in raw:
        signal.pause()
