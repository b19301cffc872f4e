"""The worker: claims studies, has their films decoded, asks the network in batches, records the answers.

While the network answers some studies, the decoding children are at the next. Answers are those
of `pipeline.analyse`, whatever came before or beside them. Whatever kills a worker costs nothing but its
lease, after which others claim the studies; an answer that comes too late is not written.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from time import monotonic
from typing import Any

from cxr_core import logs
from cxr_core.batch import BATCH
from cxr_core.errors import Busy, DecoderDied, ModelError, StoreError
from cxr_core.logs import Log
from cxr_core.pipeline import Film, Kit
from cxr_core.settings import Settings
from cxr_core.worklist import explanations, queue
from cxr_core.worklist.answering import Task, answers
from cxr_core.worklist.decoder import CRASHED, DecoderPool
from cxr_core.worklist.explaining import Explaining
from cxr_core.worklist.kits import Kits
from cxr_core.worklist.lifeline import Lifeline
from cxr_core.worklist.patience import Patience
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Answer, Job
from cxr_core.worklist.wire import Decoded

POLL_S = 0.08
"""Between two looks at an empty queue: somebody may be waiting at the screen."""

LINGER_S = 0.25
"""A decoded film waits no longer for others to fill its batch."""

START_S = 120.0
"""A database that is locked or away for longer when the worker starts is a fault to be seen."""

MODEL_UNAVAILABLE, UNREADABLE, UNRECORDED = "model_unavailable", "unreadable_blob", "not_recorded"
POLICY_UNREADABLE = "policy_unreadable"

_log = Log(__name__)


def run(settings: Settings, *, once: bool, stop: threading.Event, processes: int = 1) -> None:
    """Answer films until `stop` is set, or with `once` until none waits.

    Args:
        settings: name the worklist, the model and the bounds.
        once: return when the queue is empty.
        stop: set by whoever wants the worker to finish its batch and go.
        processes: workers; with more than one, this process only watches over them.

    Raises:
        StoreError, ModelError, PolicyError: it cannot even start.
    """
    if processes > 1:
        from cxr_core.worklist.supervisor import supervise

        supervise(processes, once=once, stop=stop)
        return
    patience = Patience("starting", stop, START_S)
    service = patience.tried(lambda: open_service(settings))
    if service is None:
        if not stop.is_set():
            raise StoreError(f"the worklist could not be opened for {START_S:.0f} s; see the lines above")
        return
    try:
        with open_pool(service) as pool:
            Worker(service, pool, stop).work(once=once)
    finally:
        service.close()


def open_pool(service: Service, *, hook: str = "") -> DecoderPool:
    """Return the decoding children that the settings ask for; `hook` is for tests, see DecoderPool."""
    settings = service.settings
    return DecoderPool(
        service.limits,
        None,
        processes=settings.worker_processes or os.cpu_count() or 1,
        timeout_s=settings.decode_timeout_s,
        memory_mb=settings.decode_memory_mb,
        hook=hook,
    )


class Worker:
    """One loop over the queue; `work` returns when told to stop."""

    def __init__(self, service: Service, pool: DecoderPool, stop: threading.Event) -> None:
        """Choose an id that no other process ever bears."""
        self.service, self.pool, self.stop = service, pool, stop
        self.id = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}"
        in_force = service.policy, service.model_in_force, service.gate
        self.kits = Kits(service.settings, service.limits, *in_force)
        self.lifeline = Lifeline(service, self.id)
        self.explaining = Explaining(service, self.id, pool)
        decoding = service.settings.worker_processes or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(decoding, thread_name_prefix="decode")
        # One thread writes, so that a worker never waits for its own locks, nor the network for the disk.
        self._store = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._claiming: Future[list[Task]] | None = None
        self._settling: Future[None] | None = None
        self._patience = Patience(self.id, stop, service.settings.lease_s)
        self._look_at = self._since = 0.0
        self._unreadable = 0
        self._unloadable: int | None = None
        self._away: set[str] = set()

    def work(self, *, once: bool) -> None:
        """Answer films until told to stop, or with `once` until none waits."""
        _log.info("started", worker=self.id)
        with self.lifeline, self._threads, self._store, self.explaining:
            if not self._ready(once):
                return
            tasks: list[Task] = []
            while not self.stop.is_set():
                tasks += self._arrived()
                group = self._due(tasks)
                self.explaining.let(idle=not tasks)
                tasks = [task for task in tasks if task not in group]
                self._look(sum(len(task.films) for task in tasks))
                if group:
                    self._finish(group)
                elif pending := self._pending(tasks):
                    wait(pending, timeout=POLL_S, return_when=FIRST_COMPLETED)
                elif once and self._nothing_left():
                    break
                else:
                    self.stop.wait(POLL_S)
            self._wind_up(tasks)
        _log.info("stopped", worker=self.id, answered=self.lifeline.answered)

    def _nothing_left(self) -> bool:
        """Return whether no film waits, and no explanation; those of a model that is not there are left.

        Raises:
            PolicyError: films do, but the policy in force cannot be read.
            ModelError: films do, but the model in force cannot be loaded.
        """
        away = tuple(self._away)
        waiting = self._patience.tried(lambda: queue.waiting(self.service, without=away))
        if waiting:
            self.service.deciding()
            self.kits.get(None)
            self._miss()
        return waiting == 0 and self._patience.tried(lambda: explanations.waiting(self.service)) == 0

    def _miss(self) -> None:
        """Note which models asked for cannot be opened: another worker may have put their films off."""
        wanted = self._patience.tried(lambda: queue.models_awaited(self.service)) or ()
        for each in set(wanted) - self._away:
            try:
                self.kits.get(each)
            except ModelError:
                self._away.add(each)

    def _ready(self, once: bool) -> bool:
        """Return whether the model in force is loaded; until then nothing is claimed.

        Raises:
            ModelError: it cannot be, and only the films waiting now were to be answered.
        """
        while not self.stop.is_set():
            try:
                self.kits.get(None)
            except ModelError as exc:
                if once:
                    raise
                self._patience.pause(MODEL_UNAVAILABLE, exc)
                self._patience.tried(self.service.refresh)
                self.kits.use(self.service.policy, self.service.model_in_force, self.service.gate)
            else:
                return True
        return False

    def _look(self, under_way: int) -> None:
        """Have the queue looked at, unless a batch's worth is under way or it was empty a moment ago."""
        if self._claiming is None and under_way < BATCH and monotonic() >= self._look_at:
            self._claiming = self._store.submit(self._claimed)

    def _claimed(self) -> list[Task]:
        """Return newly leased studies, their decoding begun."""
        return [task for job in self._leased() if (task := self._begun(job))]

    def _leased(self) -> list[Job]:
        """Return newly leased studies; none while policy, model or gate in force cannot be used.

        They are looked up after the claim: whoever queues studies after an activation gets its answers.
        """
        if not self._patience.tried(self._decides):
            return []
        jobs = self._patience.tried(lambda: queue.claim(self.service, self.id, BATCH)) or []
        self.lifeline.hold(job.study_id for job in jobs)
        if not jobs or self._patience.tried(lambda: self._decides(anew=True)):
            return jobs
        self._patience.tried(lambda: queue.give_back(self.service, self.id, jobs))
        self.lifeline.drop(job.study_id for job in jobs)
        return []

    def _decides(self, *, anew: bool = False) -> bool:
        """Return whether policy and model to answer by are there; looked up `anew`, or while one is not."""
        before = self.service.in_force
        if anew or before.fault or self._unloadable is not None:
            self.service.refresh()
        now = self.service.in_force
        if now.fault and now.change != self._unreadable:
            _log.error(POLICY_UNREADABLE, worker=self.id, change=now.change)
            self._unreadable = now.change
        return not now.fault and self._loaded()

    def _loaded(self) -> bool:
        """Return whether the model in force is loaded, by now; no film is answered by another instead."""
        model = self.service.model_in_force
        self.kits.use(self.service.policy, model, self.service.gate)
        try:
            self.kits.get(None)
        except ModelError as exc:
            if self._unloadable != model.change:
                _log.error(MODEL_UNAVAILABLE, worker=self.id, change=model.change, error=type(exc).__name__)
            self._unloadable = model.change
            return False
        self._unloadable = None
        return True

    def _arrived(self) -> list[Task]:
        """Return what the last look at the queue brought, once."""
        if self._claiming is None or not self._claiming.done():
            return []
        tasks, self._claiming = self._claiming.result(), None
        if not tasks:
            self._look_at = monotonic() + POLL_S
        return tasks

    def _pending(self, tasks: Sequence[Task]) -> list[Future[Any]]:
        """Return what may soon give the network something to do."""
        decoding = [future for task in tasks for future in task.films.values() if not future.done()]
        return [*decoding, *([self._claiming] if self._claiming else [])]

    def _due(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the decoded studies once they fill a batch, or there is nothing left worth waiting for.

        A film that keeps its decoder busy delays nobody's answer for long.
        """
        decoded = [task for task in tasks if task.decoded]
        if not decoded:
            self._since = monotonic()
        full = sum(len(task.films) for task in decoded) >= BATCH
        late = monotonic() - self._since >= LINGER_S
        return decoded if full or late or not self._pending(tasks) else []

    def _begun(self, job: Job) -> Task | None:
        try:
            kit = self.kits.get(job.model)
        except ModelError as exc:
            _log.error(MODEL_UNAVAILABLE, study=job.study_id, error=type(exc).__name__)
            self._away.update([job.model] if job.model else [])
            self._patience.tried(lambda: queue.put_off(self.service, self.id, [job]))
            self.lifeline.drop([job.study_id])
            return None
        self._away.discard(job.model or "")
        return Task(job, kit, {sha: self._threads.submit(self._decode, job, sha, kit) for sha in job.films})

    def _decode(self, job: Job, sha256: str, kit: Kit) -> Decoded:
        """Return what a child makes of a stored film; runs in a thread that mostly waits."""
        now, correction = self.service.clock(), job.correction(sha256)
        raw = self.service.blobs.get(sha256)
        recipe = kit.classifier.manifest.recipe
        decoded = self.pool.prepare(raw, now=now, recipe=recipe, correction=correction)
        film = decoded.film
        if (film.radiograph.sha256 if isinstance(film, Film) else film.sha256) != sha256:
            raise DecoderDied(CRASHED)
        return decoded

    def _finish(self, group: Sequence[Task]) -> None:
        """Answer a group; it is recorded while the network is at the next."""
        logs.begin()
        start = self._since = monotonic()
        decoded, codes = self._decoded(group)
        found = {answer.analysis.sha256: answer for answer in answers(group, decoded)}
        self._settled()
        self._settling = self._store.submit(copy_context().run, self._settle, group, found, codes, start)

    def _settled(self) -> None:
        """Return once the last group is recorded; raise what went wrong with it."""
        if self._settling is not None:
            self._settling.result()

    def _settle(
        self, group: Sequence[Task], found: dict[str, Answer], codes: dict[str, str], start: float
    ) -> None:
        """Record the answers of a group, and count its films that killed or stalled their decoder."""
        done = [
            (task.job, [found[sha] for sha in task.films if sha in found])
            for task in group
            if not found.keys().isdisjoint(task.films)
        ]
        studies = self._recorded(done) if done else 0
        for task in group:
            self._failed(task.job, {sha: codes[sha] for sha in task.films if sha in codes})
        nothing = [task.job for task in group if not (found.keys() | codes).intersection(task.films)]
        self._patience.tried(lambda: queue.give_back(self.service, self.id, nothing))
        self.lifeline.drop(task.job.study_id for task in group)
        _log.info(
            "group",
            worker=self.id,
            studies=len(group),
            recorded=studies,
            films=len(found),
            failed=len(codes),
            ms=round((monotonic() - start) * 1e3),
        )

    def _decoded(self, group: Sequence[Task]) -> tuple[dict[str, Decoded], dict[str, str]]:
        """Return the decoded films, and codes of those whose decoder died; busy ones are in neither."""
        decoded: dict[str, Decoded] = {}
        codes: dict[str, str] = {}
        for sha256, future in ((sha, future) for task in group for sha, future in task.films.items()):
            try:
                decoded[sha256] = future.result()
            except DecoderDied as exc:
                codes[sha256] = exc.code
            except Busy as exc:
                self._patience.pause("store_busy", exc)
            except StoreError:
                codes[sha256] = UNREADABLE
        for sha256, code in codes.items():
            _log.error("film_failed", film=sha256, code=code)
        return decoded, codes

    def _recorded(self, done: Sequence[tuple[Job, Sequence[Answer]]]) -> int:
        """Return how many studies were written; one that the store will not take spoils no other."""
        try:
            studies = self._patience.tried(lambda: queue.record_many(self.service, self.id, done)) or 0
        except StoreError as exc:
            if len(done) > 1:
                return sum(self._recorded([each]) for each in done)
            _log.error(UNRECORDED, study=done[0][0].study_id, error=type(exc).__name__)
            self._failed(done[0][0], dict.fromkeys(done[0][0].films, UNRECORDED))
            return 0
        self.lifeline.answered += sum(len(answers) for _, answers in done)
        return studies

    def _failed(self, job: Job, codes: dict[str, str]) -> None:
        for sha256, code in codes.items():
            self._patience.tried(lambda sha256=sha256, code=code: queue.failed(  # type: ignore[misc]
                self.service, self.id, job, sha256, code
            ))  # fmt: skip

    def _wind_up(self, group: Sequence[Task]) -> None:
        """Finish the films whose decoding has begun and give back the studies of all others."""
        group = [*group, *(self._claiming.result() if self._claiming else [])]
        begun: list[Task] = []
        back: list[Task] = []
        for task in group:
            cancelled = [future.cancel() for future in task.films.values()]
            (back if any(cancelled) else begun).append(task)
        if begun:
            self._finish(begun)
        self._settled()
        self._patience.tried(lambda: queue.give_back(self.service, self.id, [task.job for task in back]))
        self.lifeline.drop(task.job.study_id for task in back)
