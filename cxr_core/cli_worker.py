"""`cxr worker`: answers the films that wait in the worklist."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from cxr_core import logs, settings
from cxr_core.cli_models import failures


def worker(
    once: Annotated[bool, typer.Option("--once", help="Stop when the queue is empty.")] = False,
    processes: Annotated[
        int, typer.Option("--processes", min=1, max=64, metavar="N", help="Workers; dead ones are replaced.")
    ] = 1,
    child_of: Annotated[int, typer.Option("--child-of", hidden=True)] = 0,
) -> None:
    """Answer the films that wait in the worklist.

    SIGTERM and Ctrl-C let it finish its batch, and give back what it has not begun. Exit status: 0.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    from cxr_core.worklist.supervisor import die_with
    from cxr_core.worklist.worker import run

    if child_of:
        die_with(child_of)
    logs.to_stderr()
    with failures():
        run(settings.load(), once=once, processes=processes, stop=stop)
