"""The process in which one explanation is made: film from stdin, packed explanation to stdout, then it ends.

torch and captum are loaded here and nowhere else in the served app, so a worker's memory stays as it is.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import numpy as np

from cxr_core.errors import ModelError
from cxr_core.worklist.supervisor import die_with

MODEL_EXIT, MEMORY_EXIT = 3, 4
NICE = 5
"""Pages go before it; films do in any case, as it stands still then. More would starve it on a busy
machine."""


def main(parent: str, folder: str, threads: str, label: str, method: str) -> int:
    """Return the exit status: 0, MODEL_EXIT where the model cannot be used, MEMORY_EXIT.

    Args:
        parent: process id of the worker, without which this one ends at once.
        folder: of the model.
        threads: for the network; 0 leaves the number to it.
        label: what to explain.
        method: how.
    """
    die_with(int(parent), signal.SIGKILL)
    os.nice(NICE)
    film = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)

    from cxr_core.inference import registry
    from cxr_core.inference.explainers import explained
    from cxr_core.inference.explanation import Method, pack

    try:
        classifier = registry.load(Path(folder), threads=int(threads))
        packed = pack(explained(classifier, film, label, Method(method)))
    except ModelError:
        return MODEL_EXIT
    except MemoryError:
        return MEMORY_EXIT
    sys.stdout.buffer.write(packed)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
