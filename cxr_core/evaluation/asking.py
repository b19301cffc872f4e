"""A model asked about films of a folder, by the very steps that a worker takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from cxr_core.domain import Analysis
from cxr_core.errors import DataError
from cxr_core.pipeline import Kit, answer, prepare

BATCH = 16

Told = Callable[[int, int], None]
"""Called with how many films are done, and of how many."""


def answers(
    paths: Sequence[Path], kit: Kit, *, now: datetime, on_progress: Told | None = None
) -> Iterator[Analysis]:
    """Yield what `pipeline.analyse` returns for each file, in order, without the film's pixels.

    Raises:
        DataError: a file cannot be read.
    """
    for start in range(0, len(paths), BATCH):
        films = [prepare(_bytes(path), kit, now=now) for path in paths[start : start + BATCH]]
        for result in answer(films, kit):
            yield _without_pixels(result)
        if on_progress is not None:
            on_progress(min(start + BATCH, len(paths)), len(paths))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DataError(f"{path.name}: cannot be read ({exc.strerror})") from exc


def _without_pixels(result: Analysis) -> Analysis:
    if result.radiograph is None:
        return result
    return replace(result, radiograph=replace(result.radiograph, pixels=np.empty((0, 0), dtype=np.float32)))
