"""What people do with a study. Each is one transaction: the study, a review row and an audit row.

Whoever acts names the version that was on the screen; if the study has changed since, nothing happens and
the person looks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from cxr_core.access import Actor, Role
from cxr_core.domain import Urgency
from cxr_core.errors import Changed, Conflict, Forbidden, Invalid, ModelError, PolicyError, StoreError
from cxr_core.files import printable
from cxr_core.worklist import audit, queue
from cxr_core.worklist.judge import HELD, judge, outcomes, weigh
from cxr_core.worklist.model_in_force import known_sha256, manifest_sha256
from cxr_core.worklist.schema import ImageRow, ResultRow, ReviewRow, StudyRow
from cxr_core.worklist.values import AGAIN, ImageStatus, Status

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

CHUNK = 500
"""Studies queued in one transaction: nobody else who writes waits long."""

LONGEST_NOTE = 500


def claim(service: Service, actor: Actor, study_id: str, version: int) -> None:
    """Note that the actor has the study.

    Raises:
        Conflict: it is no longer at `version`, somebody has it, or it was read.
        StoreError: there is no such study.
    """
    with change(service, actor, "claim", study_id, version) as (study, now, _):
        if study.claimed_by is not None:
            raise Conflict("somebody has this study already; it must be released first")
        if not study.is_open:
            raise Conflict("this study was read already")
        study.claimed_by, study.claimed_utc = actor.name, now


def release(service: Service, actor: Actor, study_id: str, version: int) -> None:
    """Note that nobody has the study any more; a lead may release what another has.

    Raises:
        Conflict: it is no longer at `version`, or nobody has it.
        Forbidden: another person has it.
        StoreError: there is no such study.
    """
    with change(service, actor, "release", study_id, version) as (study, _, _):
        if study.claimed_by is None or not study.is_open:
            raise Conflict("nobody has this study")
        if study.claimed_by != actor.name and not actor.role.covers(Role.LEAD):
            raise Forbidden(f"another person has this study; to release it needs the role {Role.LEAD}")
        study.claimed_by = study.claimed_utc = None


def acknowledge(
    service: Service,
    actor: Actor,
    study_id: str,
    version: int,
    *,
    told: str,
    how: str,
    read_back: bool = False,
) -> None:
    """Note that a critical result was told, which ends its alert.

    Whoever sees it may, also when another has the study or has read it: the alert must not wait for them.

    Args:
        service: whose list it is.
        actor: who told it.
        study_id: of the study.
        version: that was on the screen.
        told: who was told.
        how: by telephone, in person …
        read_back: they repeated it.

    Raises:
        Conflict: it is no longer at `version`, is not critical, or was acknowledged before.
        Invalid: what is said of the telling is not whole, see `lacking`.
        StoreError: there is no such study.
    """
    said = {"told": one_line(told), "how": one_line(how), "read_back": "yes" if read_back else "no"}
    with change(service, actor, "acknowledge", study_id, version, said) as (study, now, session):
        if study.urgency != Urgency.CRITICAL:
            raise Conflict("only a critical result is acknowledged; this study is not critical")
        if study.acknowledged_utc is not None:
            raise Conflict("this result was acknowledged before")
        if want := lacking(told, how, read_back=read_back):
            raise Invalid(want)
        study.acknowledged_by, study.acknowledged_utc = actor.name, now
        if HELD in study.reasons:
            with suppress(PolicyError):  # it stays critical then, and the alert has ended
                weigh(study, outcomes(session, service.policy, [study])[study.id], service.policy)


def lacking(told: str, how: str, *, read_back: bool) -> str:
    """Return one sentence on what is still to be said of how a critical result was told, or nothing.

    Always to whom and how; by telephone also that they read it back.
    """
    told, how = one_line(told), one_line(how)
    if not told:
        return "say who was told"
    if not how:
        return "say how they were told"
    if "phone" in how.casefold() and not read_back:
        return "told by telephone: have them read it back, then acknowledge"
    return ""


def mark_read(service: Service, actor: Actor, study_id: str, version: int) -> None:
    """Note that the study was read, which closes it.

    A critical result is acknowledged first: reading does not say that anybody was told.

    Raises:
        Conflict: it is no longer at `version`, was read before, another person has it, or it is critical
            and not acknowledged.
        StoreError: there is no such study.
    """
    with change(service, actor, "read", study_id, version) as (study, now, _):
        if not study.is_open:
            raise Conflict("this study was read already")
        if study.claimed_by not in (None, actor.name):
            raise Conflict("another person has this study; it must be released first")
        if study.urgency == Urgency.CRITICAL and study.acknowledged_utc is None:
            raise Conflict("this critical result is not acknowledged; acknowledge it, then mark it read")
        study.is_open, study.read_by, study.read_utc = False, actor.name, now


def reanalyse(service: Service, actor: Actor, study_ids: Sequence[str] | None, model: str | None) -> int:
    """Return how many studies were queued for an answer of another model, policy or gate; behind new films.

    The old answers count until the new ones are there. Broken off half way, those queued stay so; ask again.

    Args:
        service: whose list it is.
        actor: who asks.
        study_ids: of these, read ones too; None: of all open studies.
        model: id of a model folder; None: the one in force.

    Raises:
        ModelError: there is no such model, its name was another model's, or nobody can tell which gate is in
            force.
    """
    if service.gate_in_force.fault:
        raise ModelError(service.gate_in_force.fault)
    wanted = None if model == service.model_in_force.id else model
    answering = service.model_named(wanted)
    with service.database.read() as session:
        known = known_sha256(session, answering) if wanted else ""
        if wanted and known and known != manifest_sha256(service.settings, wanted):
            raise ModelError(
                f"another model was in force as {answering}; results are told apart by that name, so this "
                "one needs a version of its own"
            )
        found = answered_otherwise(
            session, answering, service.policy.version, service.gate, wanted, study_ids
        )
    queued = 0
    while chunk := list(islice(found, CHUNK)):
        with service.database.write() as session:
            queued += _queue(service, session, actor, chunk, wanted)
    return queued


def retry(service: Service, actor: Actor, sha256: str) -> None:
    """Put a film that was given up back in the queue, its attempts forgotten.

    Raises:
        Conflict: the film was not given up, or is waiting again already.
        StoreError: there is no such film.
    """
    now = service.clock()
    with service.database.write() as session:
        image = session.get(ImageRow, sha256)
        if image is None:
            raise StoreError("there is no such film")
        # The study first, as everybody does: else two transactions could wait for each other.
        study = session.get_one(StudyRow, image.study_id, with_for_update=True)
        session.refresh(image, with_for_update=True)
        if image.status != ImageStatus.DEAD:
            raise Conflict("this film was not given up, or waits again already")
        image.status, image.attempts = ImageStatus.WAITING, 0
        if study.wanted_model is not None:
            # By the model in force: the one asked for may be why it was given up. Whoever is at it loses it.
            study.wanted_model = study.lease_owner = study.lease_until_utc = None
        queue.put(study, now)
        session.flush()
        judge(session, service.policy, [study])
        _note(session, actor, study, now, "retry", {"sha256": sha256}, {}, subject=sha256)


@contextmanager
def change(
    service: Service,
    actor: Actor,
    kind: str,
    study_id: str,
    version: int,
    said: Mapping[str, str] = {},  # noqa: B006 -- never changed
    detail: audit.Detail = {},  # noqa: B006 -- never changed
) -> Iterator[tuple[StudyRow, datetime, Session]]:
    """Give the study at `version` to be changed; note the change when the block ends well.

    What was said goes into the review row, `detail` (closed words and numbers only) into the audit row; both
    are read when the block has ended.

    Raises:
        Changed: it is no longer at `version`.
        StoreError: there is no such study.
    """
    now = service.clock()
    with service.database.write() as session:
        study = session.get(StudyRow, study_id, with_for_update=True)
        if study is None:
            raise StoreError("there is no such study")
        if study.version != version:
            raise Changed("this study changed since it was shown; look again, then act")
        yield study, now, session
        study.status = _status(study)
        study.version += 1
        session.flush()
        _note(session, actor, study, now, kind, said, detail, subject=study.id)


def _status(study: StudyRow) -> Status:
    if not study.is_open:
        return Status.READ
    if study.acknowledged_utc is not None:
        return Status.ACKNOWLEDGED
    return Status.CLAIMED if study.claimed_by is not None else Status.NEW


def _note(
    session: Session,
    actor: Actor,
    study: StudyRow,
    now: datetime,
    kind: str,
    said: Mapping[str, str],
    detail: audit.Detail,
    *,
    subject: str,
) -> None:
    """Append the review row and the audit row; what was typed is in the former only."""
    session.add(ReviewRow(study_id=study.id, at_utc=now, actor=actor.name, kind=kind, data=dict(said)))
    audit.append(session, at=now, actor=actor.name, event=kind, subject=subject, detail=detail)


def answered_otherwise(
    session: Session,
    model: str,
    policy: str,
    gate: str,
    wanted: str | None,
    study_ids: Sequence[str] | None = None,
) -> Iterator[str]:
    """Return the ids of studies with a film that was, or would be, answered by another model, policy or gate.

    Args:
        session: of the caller.
        model: as results name it.
        policy: version.
        gate: as results name it.
        wanted: the model's id as `StudyRow.wanted_model` has it.
        study_ids: of these, read ones too; None: of all open studies.
    """
    query = _otherwise(model, policy, gate, wanted)
    if study_ids is None:
        return iter(session.scalars(query.where(StudyRow.is_open == True)).all())  # noqa: E712
    asked, found = iter(dict.fromkeys(study_ids)), list[str]()
    while chunk := list(islice(asked, CHUNK)):
        found += session.scalars(query.where(StudyRow.id.in_(chunk)))
    return iter(found)


def number_answered_otherwise(session: Session, model: str, policy: str, gate: str) -> int:
    """Return how many open studies were, or would be, answered by other than this model, policy and gate."""
    open_ = _otherwise(model, policy, gate, None).where(StudyRow.is_open == True).subquery()  # noqa: E712
    return session.scalar(select(func.count()).select_from(open_)) or 0


def _otherwise(model: str, policy: str, gate: str, wanted: str | None) -> Select[str]:
    answered = ImageRow.status.in_((ImageStatus.ASSESSED, ImageStatus.REFUSED))
    others = answered & or_(ResultRow.model != model, ResultRow.policy != policy, ResultRow.gate != gate)
    waiting = (ImageRow.status == ImageStatus.WAITING) & StudyRow.wanted_model.is_distinct_from(wanted)
    return (
        select(StudyRow.id)
        .join(ImageRow, ImageRow.study_id == StudyRow.id)
        .outerjoin(ResultRow, ResultRow.id == ImageRow.result_id)
        .where(or_(others, waiting))
        .distinct()
    )


def _queue(service: Service, session: Session, actor: Actor, study_ids: list[str], wanted: str | None) -> int:
    """Queue these studies; a worker that is busy with one loses it, for its answer is not the one asked."""
    now = service.clock()
    studies = session.scalars(
        select(StudyRow).where(StudyRow.id.in_(study_ids)).order_by(StudyRow.id).with_for_update()
    ).all()
    done = (ImageStatus.ASSESSED, ImageStatus.REFUSED)
    for image in session.scalars(
        select(ImageRow).where(ImageRow.study_id.in_(study_ids), ImageRow.status.in_(done))
    ):
        image.status, image.attempts = ImageStatus.WAITING, 0
    for study in studies:
        study.wanted_model = wanted
        study.lease_owner = study.lease_until_utc = None
        queue.put(study, now, AGAIN)
        session.add(ReviewRow(study_id=study.id, at_utc=now, actor=actor.name, kind="reanalyse", data={}))
        study.version += 1
    session.flush()
    audit.append_many(session, [audit.Event(now, actor.name, "reanalyse", each.id) for each in studies])
    return len(studies)


def one_line(text: str) -> str:
    """Return what a person typed on one line, without control characters, at most LONGEST_NOTE long."""
    return printable(" ".join(text.split()))[:LONGEST_NOTE]
