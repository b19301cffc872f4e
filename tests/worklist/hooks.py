"""What decoding children of tests do before they decode; see DecoderPool's `hook`."""

from __future__ import annotations

import os
import signal

ABORT, STALL = b"test-only: abort", b"test-only: stall"


def fail(raw: bytes) -> None:
    """End the process as a decoder's memory fault would, or keep it for ever."""
    if ABORT in raw:
        os.abort()
    while STALL in raw:
        signal.pause()
