"""Explanations that people asked for: a row each, worked out by a worker while no film waits.

A row is queued, then running under a lease like a study's, then done or failed; whoever asks again for one
that failed queues it anew. What was made for one model, or for a film as it hung, is never shown for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, func, or_, select, text
from sqlalchemy.orm import Session

from cxr_core.access import Actor
from cxr_core.domain import AS_SENT, Correction, Prediction
from cxr_core.errors import Changed, Invalid, ModelError, Unknown
from cxr_core.inference.explanation import Method, unpack
from cxr_core.inference.manifest import Manifest, read_manifest
from cxr_core.worklist import audit, codec, model_in_force, queue
from cxr_core.worklist.inserts import insert_missing
from cxr_core.worklist.schema import ExplanationRow, ImageRow, ResultRow
from cxr_core.worklist.values import ImageStatus

if TYPE_CHECKING:
    from cxr_core.settings import Settings
    from cxr_core.worklist.service import Service

GIVEN_UP = timedelta(minutes=15)
"""Whose worker was lost so long after it was asked for is not begun again: it may be what killed it."""

LOST, UNREADABLE = "lost_leases", "unreadable_explanation"

_WAITING = text("explanation.status IN ('queued', 'running')")
"""As a literal: the databases recognise the index of waiting rows by it."""


class Progress(StrEnum):
    """How far an explanation is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def waits(self) -> bool:
        """Whether there is more to come."""
        return self in (Progress.QUEUED, Progress.RUNNING)


@dataclass(frozen=True, slots=True, eq=False)
class ExplanationView:
    """An explanation as a page shows it.

    Attributes:
        label, method: of which finding, by which method.
        progress: how far it is.
        asked_by, asked: who asked for it last, and when.
        heatmap: (h, w) float32 once it is done.
        ms: how long the method took.
        films: how many films the network was shown for it.
        error: code of why it failed.
    """

    label: str
    method: Method
    progress: Progress
    asked_by: str
    asked: datetime
    heatmap: NDArray[np.float32] | None = field(default=None, repr=False)
    ms: float = 0.0
    films: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be worked out: method and finding, for the film and the model ("id version") named.

    `id` is that of the row, 0 where no worker is asked; `sha256_of_model` is that of the manifest which
    answered, empty where it is not known; `correction` is how the film is to hang.
    """

    id: int
    sha256: str
    label: str
    method: Method
    model: str
    sha256_of_model: str = ""
    correction: Correction = AS_SENT

    @property
    def model_id(self) -> str:
        """Name of the model's folder."""
        return self.model.split(" ")[0]


# ---- people


def ask(service: Service, actor: Actor, sha256: str, label: str, method: Method) -> None:
    """Queue an explanation of a film's answer, unless there is one or it is on its way.

    Raises:
        Unknown: there is no such film.
        Invalid: the model did not answer it, or said nothing of this finding.
    """
    now = service.clock()
    with service.database.write() as session:
        image, result = _answered(session, sha256)
        _check_said(image, result, label)
        wanted = {"sha256": sha256, "label": label, "method": method.value, "model": result.model}
        wanted |= {"correction": result.correction}
        new = {"study_id": image.study_id, "status": Progress.QUEUED.value, "error": ""}
        by = {"asked_by": actor.name, "asked_utc": now}
        if not insert_missing(session, ExplanationRow, [wanted | new | by], ExplanationRow.id):
            row = session.scalars(select(ExplanationRow).filter_by(**wanted).with_for_update()).one()
            if _shown(row).progress is not Progress.FAILED:
                return
            row.status, row.error, row.asked_by, row.asked_utc = Progress.QUEUED, "", actor.name, now
        _audit(session, actor, image, result, (label, method), now)


def to_explain(service: Service, sha256: str, label: str, methods: Sequence[Method]) -> tuple[Wanted, ...]:
    """Return what it takes to explain a film's answer at once; raises as `ask` and `manifest_of`."""
    with service.database.read() as session:
        image, result = _answered(session, sha256)
        _check_said(image, result, label)
        known = model_in_force.known_sha256(session, result.model)
    hung = Correction.of(result.correction)
    found = tuple(Wanted(0, sha256, label, method, result.model, known, hung) for method in methods)
    manifest_of(service.settings, found[0])
    return found


def note(service: Service, actor: Actor, wanted: Sequence[Wanted]) -> None:
    """Note that somebody explains a film's answer without a worker, by some methods.

    Raises:
        Changed: the film has another answer by now.
        Invalid: it has none any more.
    """
    now = service.clock()
    with service.database.write() as session:
        image, result = _answered(session, wanted[0].sha256)
        if (result.model, Correction.of(result.correction)) != (wanted[0].model, wanted[0].correction):
            raise Changed("the film has another answer by now; explain that one")
        for each in wanted:
            _audit(session, actor, image, result, (each.label, each.method), now)


def manifest_of(settings: Settings, wanted: Wanted) -> Manifest:
    """Return the manifest of the model that answered.

    Raises:
        ModelError: it is not here any more, or another one lies in its folder.
    """
    try:
        manifest = read_manifest(settings.models_dir / wanted.model_id)
        lies_there = model_in_force.manifest_sha256(settings, wanted.model_id)
    except ModelError as exc:
        raise ModelError(f"{wanted.model} answered, and is not to be used any more: {exc}") from exc
    named = f"{manifest.id} {manifest.version}"
    if named != wanted.model or wanted.sha256_of_model not in ("", lies_there):
        raise ModelError(f"{wanted.model} answered, and another model lies in its folder now")
    return manifest


def of_film(service: Service, sha256: str) -> tuple[ExplanationView, ...]:
    """Return the explanations of a film's present answer, the first asked for first.

    Raises:
        Unknown: there is no such film.
    """
    with service.database.read() as session:
        image = session.get(ImageRow, sha256)
        if image is None:
            raise Unknown("there is no such film")
        query = (
            select(ExplanationRow)
            .join(ResultRow, ResultRow.id == image.result_id)
            .where(
                ExplanationRow.sha256 == sha256,
                ExplanationRow.model == ResultRow.model,
                ExplanationRow.correction == ResultRow.correction,
            )
            .order_by(ExplanationRow.asked_utc, ExplanationRow.id)
        )
        return tuple(_shown(row) for row in session.scalars(query))


def _answered(session: Session, sha256: str) -> tuple[ImageRow, ResultRow]:
    image = session.get(ImageRow, sha256)
    if image is None:
        raise Unknown("there is no such film")
    result = session.get(ResultRow, image.result_id) if image.result_id else None
    if result is None or image.status == ImageStatus.CONFLICT:
        raise Invalid("the model has not answered this film, so there is nothing to explain")
    return image, result


def _check_said(image: ImageRow, result: ResultRow, label: str) -> None:
    if label not in _labels(image, result):
        raise Invalid("the model said nothing of this finding, so there is nothing to explain")


def _audit(
    session: Session,
    actor: Actor,
    image: ImageRow,
    result: ResultRow,
    wanted: tuple[str, Method],
    now: datetime,
) -> None:
    label, method = wanted
    detail = {"film": image.sha256, "finding": label, "method": method.value, "model": result.model}
    audit.append(session, at=now, actor=actor.name, event="explain", subject=image.study_id, detail=detail)


def _labels(image: ImageRow, result: ResultRow) -> list[str]:
    """Return what the model said something of."""
    analysis = codec.decode(image.sha256, result.body)
    said: list[Prediction | None] = [*analysis.predictions, analysis.abnormal]
    return [each.label for each in said if each is not None and analysis.refusal is None]


def _shown(row: ExplanationRow) -> ExplanationView:
    view = ExplanationView(
        row.label, Method(row.method), Progress(row.status), row.asked_by, row.asked_utc, error=row.error
    )
    if view.progress is not Progress.DONE:
        return view
    try:
        made = unpack(row.body or b"")
    except ModelError:
        return ExplanationView(
            view.label, view.method, Progress.FAILED, view.asked_by, view.asked, error=UNREADABLE
        )
    return ExplanationView(
        view.label,
        view.method,
        view.progress,
        view.asked_by,
        view.asked,
        heatmap=made.heatmap,
        ms=made.ms,
        films=made.films,
    )


# ---- workers


def claim(service: Service, worker: str) -> Wanted | None:
    """Return the explanation asked for first, now leased to the worker; None while a film is due.

    One whose lease ran out (its worker was killed) is taken over, or given up long after it was asked for.
    """
    now = service.clock()
    with service.database.read() as session:
        if session.scalar(_free(now).limit(1)) is None or queue.at_work(session, now):
            return None
    with service.database.write() as session:
        row = session.scalar(_free(now).limit(1).with_for_update(skip_locked=True))
        if row is None:
            return None
        if row.status == Progress.RUNNING and row.asked_utc < now - GIVEN_UP:
            _end(row, Progress.FAILED, now, error=LOST)
            return None
        row.status = Progress.RUNNING
        row.lease_owner, row.lease_until_utc = worker, now + _lease(service)
        known = model_in_force.known_sha256(session, row.model)
        hung = Correction.of(row.correction)
        return Wanted(row.id, row.sha256, row.label, Method(row.method), row.model, known, hung)


def must_wait(service: Service) -> bool:
    """Return whether films are due, with whatever worker: they have the processors first."""
    with service.database.read() as session:
        return queue.at_work(session, service.clock())


def renew(service: Service, worker: str, wanted: Wanted) -> bool:
    """Return whether the lease is still this worker's, and extend it then."""
    with service.database.write() as session:
        row = _held(session, worker, wanted)
        if row is not None:
            row.lease_until_utc = service.clock() + _lease(service)
        return row is not None


def done(service: Service, worker: str, wanted: Wanted, packed: bytes) -> bool:
    """Return whether the explanation was kept: not if the lease is another's by now.

    Raises:
        ModelError: the bytes are no explanation of what was wanted; nothing was written.
    """
    made = unpack(packed)
    if (made.label, made.method) != (wanted.label, wanted.method):
        raise ModelError("an explanation of something else came back")
    with service.database.write() as session:
        row = _held(session, worker, wanted)
        if row is not None:
            _end(row, Progress.DONE, service.clock())
            row.body, row.ms = packed, round(made.ms)
        return row is not None


def failed(service: Service, worker: str, wanted: Wanted, code: str) -> None:
    """Note why an explanation could not be made; a person may ask again."""
    with service.database.write() as session:
        row = _held(session, worker, wanted)
        if row is not None:
            _end(row, Progress.FAILED, service.clock(), error=code)


def give_back(service: Service, worker: str, wanted: Wanted) -> None:
    """Queue a leased explanation again at once: the worker stops."""
    with service.database.write() as session:
        row = _held(session, worker, wanted)
        if row is not None:
            row.status, row.lease_owner, row.lease_until_utc = Progress.QUEUED, None, None


def waiting(service: Service) -> int:
    """Return how many explanations are still to come."""
    with service.database.read() as session:
        return session.scalar(select(func.count()).select_from(ExplanationRow).where(_WAITING)) or 0


def _free(now: datetime) -> Select[ExplanationRow]:
    free = or_(ExplanationRow.status == Progress.QUEUED, ExplanationRow.lease_until_utc <= now)
    return select(ExplanationRow).where(_WAITING, free).order_by(ExplanationRow.asked_utc, ExplanationRow.id)


def _held(session: Session, worker: str, wanted: Wanted) -> ExplanationRow | None:
    row = session.get(ExplanationRow, wanted.id, with_for_update=True)
    return row if row is not None and (row.status, row.lease_owner) == (Progress.RUNNING, worker) else None


def _end(row: ExplanationRow, progress: Progress, now: datetime, *, error: str = "") -> None:
    row.status, row.error, row.done_utc = progress, error, now
    row.lease_owner = row.lease_until_utc = None


def _lease(service: Service) -> timedelta:
    return timedelta(seconds=service.settings.lease_s)
