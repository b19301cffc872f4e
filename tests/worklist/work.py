"""Work done in this process: the real pipeline with the tiny model behind `queue`, no worker process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxr_core.access import Actor, Role
from cxr_core.pipeline import Kit, analyse, heatmaps
from cxr_core.worklist import queue
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Answer, Job

NURSE = Actor("nurse", Role.CLINICIAN)
THUMBNAIL = b"\x89PNG stands for a small picture"


def answers(service: Service, kit: Kit, films: Sequence[str]) -> list[Answer]:
    """Return what the pipeline says of the films."""
    found = []
    for sha256 in films:
        analysis = analyse(service.blobs.get(sha256), kit, now=service.clock())
        assert analysis.sha256 == sha256
        maps = heatmaps(analysis, kit) if analysis.features is not None else {}
        stack = np.stack(list(maps.values())).astype(np.float16) if maps else None
        found.append(Answer(analysis, stack, tuple(maps), THUMBNAIL))
    return found


def work(service: Service, kit: Kit, worker: str = "w1", *, limit: int = 16) -> int:
    """Answer whatever can be claimed now; return how many studies that were."""
    done = 0
    while jobs := queue.claim(service, worker, limit):
        done += queue.record_many(service, worker, [(job, answers(service, kit, job.films)) for job in jobs])
    return done


def one(jobs: Sequence[Job]) -> Job:
    (job,) = jobs
    return job
