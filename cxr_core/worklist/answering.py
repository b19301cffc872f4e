"""From decoded films to answers: the network's part of a worker, without queue and database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from cxr_core import pipeline
from cxr_core.batch import BATCH, batched
from cxr_core.domain import Analysis
from cxr_core.pipeline import Film, Kit
from cxr_core.worklist.values import Answer, Job
from cxr_core.worklist.wire import Decoded


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A leased study under way: its kit, and each film's decoding by its SHA-256."""

    job: Job
    kit: Kit = field(repr=False)
    films: dict[str, Future[Decoded]] = field(repr=False)

    @property
    def decoded(self) -> bool:
        """Whether all its films are, or never will be."""
        return all(future.done() for future in self.films.values())


def answers(group: Sequence[Task], decoded: Mapping[str, Decoded]) -> Iterator[Answer]:
    """Yield the answers of all decoded films, the network asked for up to BATCH at a time.

    Args:
        group: studies, each with its own kit.
        decoded: by SHA-256; films that are not there stay without answer.
    """
    kits = {id(task.kit): task.kit for task in group}
    for key, kit in kits.items():
        wanted = [sha for task in group if id(task.kit) == key for sha in task.films if sha in decoded]
        for shas in batched(wanted, BATCH):
            films = [decoded[sha].film for sha in shas]
            ready = [film if isinstance(film, Film) else pipeline.refused(film, kit) for film in films]
            for sha, analysis in zip(shas, pipeline.answer(ready, kit), strict=True):
                yield _answer(analysis, kit, decoded[sha].thumbnail)


def _answer(analysis: Analysis, kit: Kit, thumbnail: bytes | None) -> Answer:
    """Return the analysis with its heatmaps, small enough to be stored."""
    if analysis.features is None:
        return Answer(analysis, None, (), thumbnail)
    maps = pipeline.heatmaps(analysis, kit)
    return Answer(analysis, np.stack(list(maps.values())).astype(np.float16), tuple(maps), thumbnail)
