"""`python -m cxr_core.ui.embedded`: a worker that ends with whoever holds the other end of its input."""

from __future__ import annotations

import os
import sys
from threading import Event, Thread
from time import sleep

from cxr_core import logs, settings
from cxr_core.worklist import worker

GRACE_S = 15.0
"""For the films in hand; after that the process ends at once, and another worker will take them."""


def main() -> None:
    """Work until the input ends."""
    logs.to_stderr()
    stop = Event()
    Thread(target=_end_with_input, args=(stop,), daemon=True).start()
    worker.run(settings.load(), once=False, stop=stop)


def _end_with_input(stop: Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    stop.set()
    sleep(GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    main()
