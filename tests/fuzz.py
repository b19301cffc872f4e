"""Mutations of sound films through the decoders: `python tests/fuzz.py --minutes 10`.

They are decoded in a child, so that one which crashes, stalls or fills it is found like any other. Whatever
is no film and no refusal is written to a folder, by the numbers from which it can be made again.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from cxr_core.errors import Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.preprocess import Recipe
from cxr_core.pipeline import Unfit, film_from
from cxr_core.worklist.intake import header_of
from tests.corpus.mutate import mutated
from tests.corpus.seeds import seeds

SECONDS = 5
"""Of one processor for one file: the promise's own figure."""

MEMORY = 2 * 2**30
LIMITS, RECIPE = Limits(), Recipe(film_px=48, network_px=64, low_percentile=0.5, high_percentile=99.5)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LENGTH = struct.Struct("!H")
TOGETHER = 50
"""Numbers of each seed that one child begins with."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was neither read nor refused."""

    name: str
    number: int
    why: str


def fault(raw: bytes) -> str:
    """Return "" for a film, ":code" for a refusal, else what went wrong."""
    try:
        header_of(raw, LIMITS)
        film = decode(raw, LIMITS)
        made = film_from(raw, LIMITS, RECIPE, now=NOW)
    except Rejected as exc:
        if isinstance(exc.__cause__, MemoryError):
            return "out of memory"
        return exc.code if exc.code == "internal" else f":{exc.code}"
    except BaseException as exc:
        last = traceback.extract_tb(exc.__traceback__)[-1]
        return f"{type(exc).__name__} in {Path(last.filename).name}:{last.lineno}"
    pixels = film.pixels
    if pixels.dtype != np.float32 or pixels.ndim != 2 or min(pixels.shape) < LIMITS.min_side:
        return f"pixels of {pixels.dtype} {pixels.shape}"
    if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1 + 1e-6):
        return f"pixels from {pixels.min()} to {pixels.max()}"
    if isinstance(made, Unfit):
        return "internal" if made.notice.code == "internal" else f":{made.notice.code}"
    return ""


def fuzz(tasks: list[tuple[str, int]], run: int, said: Counter[str]) -> Iterator[Found]:
    """Yield what is found among these seeds and numbers; `said` counts what became of each."""
    at = 0
    while at < len(tasks):
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ours)
            _work(tasks[at:], run, theirs)
        os.close(theirs)
        with os.fdopen(ours, "rb") as answers:
            while head := answers.read(LENGTH.size):
                why = answers.read(*LENGTH.unpack(head)).decode()
                said[why] += 1
                if why and not why.startswith(":"):
                    yield Found(*tasks[at], why)
                at += 1
        status = os.waitpid(child, 0)[1]
        if at < len(tasks):
            number = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
            why = f"more than {SECONDS} s" if number is signal.SIGPROF else f"died: {number or status}"
            said[why] += 1
            yield Found(*tasks[at], why)
            at += 1


def _work(tasks: list[tuple[str, int]], run: int, answers: int) -> None:
    """Decode all of them; never returns."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for name, number in tasks:
        raw = mutated(number, name, run)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        why = fault(raw).encode()[:999]
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(answers, LENGTH.pack(len(why)) + why)
    os._exit(0)


def main() -> None:
    """Fuzz for some minutes, say what became of the files, and keep what was found."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=float, default=10)
    asked.add_argument("--run", type=int, default=0, help="another run makes other files")
    asked.add_argument("--keep", type=Path, default=Path("fuzz"), help="folder for what is found")
    chosen = asked.parse_args()
    end, said, names = time.monotonic() + 60 * chosen.minutes, Counter[str](), list(seeds())
    for first in count(0, TOGETHER):
        if time.monotonic() > end:
            break
        tasks = [(name, number) for number in range(first, first + TOGETHER) for name in names]
        for found in fuzz(tasks, chosen.run, said):
            chosen.keep.mkdir(exist_ok=True)
            file = chosen.keep / f"{chosen.run}-{found.number}-{found.name}"
            file.write_bytes(mutated(found.number, found.name, chosen.run))
            sys.stdout.write(f"{file}: {found.why}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{said.total()} files\n")
    for why, number in said.most_common():
        sys.stdout.write(f"{number:8} {why or 'a film'}\n")


if __name__ == "__main__":
    main()
