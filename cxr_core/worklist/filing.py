"""Films into studies: which study a film belongs to, and its rows, in the caller's transaction.

Two patients never share a study, even under one StudyInstanceUID. The first film with a SOPInstanceUID keeps
it; one with other pixels is kept too, as a conflict that a person must look at.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import or_, select, text
from sqlalchemy.orm import Session

from cxr_core.domain import Sex, Study, View
from cxr_core.files import printable
from cxr_core.triage.policy import Policy
from cxr_core.worklist import audit, judge, queue
from cxr_core.worklist.aggregate import Outcome, aggregate
from cxr_core.worklist.codec import IDENTITY
from cxr_core.worklist.inserts import insert_missing
from cxr_core.worklist.schema import IdentityRow, ImageRow, StudyRow
from cxr_core.worklist.values import ImageStatus, Receipt, Source

LONGEST_NAME = 1000

_ADVISORY_LOCK = 0x66696C65
"""Who files on PostgreSQL holds it: two transactions would else wait for each other's keys for ever."""


@dataclass(frozen=True, slots=True)
class Film:
    """A film at the door.

    Attributes:
        name: of the file as given.
        header: what its tags say; empty where they cannot be read.
    """

    sha256: str
    name: str = field(repr=False)
    size_bytes: int
    header: Study = field(repr=False)

    @property
    def key(self) -> str:
        """The study's key: examination and patient together, or the film itself where it names none."""
        if not self.header.StudyInstanceUID:
            return self.sha256
        named = json.dumps([self.header.StudyInstanceUID, self.header.patient_id])
        return hashlib.sha256(named.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Arrival:
    """What all films of one call have in common."""

    actor: str
    source: Source
    priority: int
    typed: Study | None
    now: datetime


def file_films(
    session: Session,
    policy: Policy,
    films: Sequence[Film],
    *,
    actor: str,
    source: Source,
    priority: int,
    typed: Study | None,
    now: datetime,
) -> dict[str, Receipt]:
    """Return the receipt of each film by its SHA-256; they count once the transaction is committed."""
    if not films:
        return {}
    arrival = Arrival(actor, source, priority, typed, now)
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    known = _known(session, films)
    new = [film for film in films if film.sha256 not in known]
    begun = _begin_studies(session, policy, new, arrival)
    studies = _locked(session, {film.key for film in new}, {receipt.study_id for receipt in known.values()})
    conflicts = _add_images(session, new, studies, arrival)
    _join(session, policy, new, begun, conflicts, studies, arrival)
    _hurry(known.values(), studies.values(), arrival)
    receipts = known | {
        film.sha256: Receipt(film.sha256, studies[film.key].id, True, film.sha256 in conflicts)
        for film in new
    }
    session.flush()
    audit.append_many(session, _events([receipts[film.sha256] for film in films], conflicts, arrival))
    return receipts


def utc(moment: datetime | None) -> datetime | None:
    """Return a film's time in UTC, a naive one read in the zone of this machine; None where impossible."""
    if moment is None:
        return None
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError, OSError):
        return None


def since(acquired: datetime | None, received: datetime) -> datetime:
    """Return from when the wait runs: a time in the future is a wrong clock, so receipt counts."""
    return received if acquired is None else min(acquired, received)


def _known(session: Session, films: Sequence[Film]) -> dict[str, Receipt]:
    query = select(ImageRow.sha256, ImageRow.study_id, ImageRow.conflicts_with).where(
        ImageRow.sha256.in_([film.sha256 for film in films])
    )
    return {
        sha256: Receipt(sha256, study_id, False, first is not None)
        for sha256, study_id, first in session.execute(query)
    }


def _begin_studies(
    session: Session, policy: Policy, films: Sequence[Film], arrival: Arrival
) -> dict[str, Film]:
    """Return the first film of each study that begins here, by the study's key."""
    first: dict[str, Film] = {}
    count: dict[str, int] = {}
    for film in films:
        first.setdefault(film.key, film)
        count[film.key] = count.get(film.key, 0) + 1
    rows = [_study(policy, key, first[key], count[key], arrival) for key in sorted(first)]
    made = insert_missing(session, StudyRow, rows, StudyRow.key, StudyRow.id)
    insert_missing(
        session,
        IdentityRow,
        [{"study_id": made_id, **identity(arrival.typed or first[key].header)} for key, made_id in made],
        IdentityRow.study_id,
    )
    return {key: first[key] for key, _ in made}


def _study(policy: Policy, key: str, film: Film, films: int, arrival: Arrival) -> dict[str, Any]:
    """Return the row of a study all of whose films wait."""
    typed = judge.as_typed(arrival.typed) if arrival.typed else None
    said = judge.completed(film.header, typed)
    acquired = utc(said.acquired)
    verdict = aggregate([Outcome(film.sha256, ImageStatus.WAITING)] * films, policy)
    return {
        "id": secrets.token_hex(8),
        "key": key,
        "study_uid": said.StudyInstanceUID,
        "source": arrival.source.value,
        "received_utc": arrival.now,
        "acquired_utc": acquired,
        "since_utc": since(acquired, arrival.now),
        "age_years": said.age_years,
        "sex": said.sex.value,
        "view": said.view.value,
        "typed": typed,
        "queued_utc": arrival.now,
        "priority": arrival.priority,
        **judge.columns(verdict),
    }


def identity(study: Study) -> dict[str, str]:
    """Return the columns of `identity`; what no database can hold is left out of the text.

    A question of several lines is kept on one.
    """
    study = replace(study, question=" ".join(study.question.split()))
    return {name: printable(getattr(study, name)) for name in IDENTITY}


def _locked(session: Session, keys: Iterable[str], ids: Iterable[str]) -> dict[str, StudyRow]:
    """Return the studies of these keys and ids by key, locked in the order in which everybody locks them."""
    wanted = or_(StudyRow.key.in_(list(keys)), StudyRow.id.in_(list(ids)))
    query = select(StudyRow).where(wanted).order_by(StudyRow.id).with_for_update()
    return {row.key: row for row in session.scalars(query)}


def _add_images(
    session: Session, films: Sequence[Film], studies: dict[str, StudyRow], arrival: Arrival
) -> dict[str, str]:
    """Insert the films and return those in conflict, each with the film that had its SOPInstanceUID first."""
    rows = [_image(film, studies[film.key].id, arrival) for film in films]
    made = {row.sha256 for row in insert_missing(session, ImageRow, rows, ImageRow.sha256)}
    late = [row for row in rows if row["sha256"] not in made]
    query = select(ImageRow.sop_uid, ImageRow.sha256).where(
        ImageRow.sop_uid.in_([row["sop_uid"] for row in late]), ImageRow.conflicts_with.is_(None)
    )
    holders = {row.sop_uid: row.sha256 for row in session.execute(query)} if late else {}
    conflicts = {row["sha256"]: holders[row["sop_uid"]] for row in late}
    insert_missing(
        session,
        ImageRow,
        [
            row | {"conflicts_with": conflicts[row["sha256"]], "status": ImageStatus.CONFLICT.value}
            for row in late
        ],
        ImageRow.sha256,
    )
    return conflicts


def _image(film: Film, study_id: str, arrival: Arrival) -> dict[str, Any]:
    return {
        "sha256": film.sha256,
        "study_id": study_id,
        "received_utc": arrival.now,
        "source": arrival.source.value,
        "file_name": printable(film.name)[:LONGEST_NAME],
        "size_bytes": film.size_bytes,
        "sop_uid": film.header.SOPInstanceUID or None,
        "status": ImageStatus.WAITING.value,
    }


def _join(
    session: Session,
    policy: Policy,
    films: Sequence[Film],
    begun: dict[str, Film],
    conflicts: dict[str, str],
    studies: dict[str, StudyRow],
    arrival: Arrival,
) -> None:
    """Bring studies up to date that had films before, or got one in conflict: they must be seen again."""
    joining = [film for film in films if begun.get(film.key) is not film]
    identities = _identities(session, [studies[film.key].id for film in joining])
    for film in joining:
        _complete(studies[film.key], identities[studies[film.key].id], film.header, arrival)
    waiting = {film.key for film in films if film.sha256 not in conflicts}
    older = {film.key for film in films if film.key not in begun}
    for key in older:
        judge.reopen(studies[key])
    for key in waiting & older:
        if studies[key].wanted_model is not None:
            # A new film is the model in force's to answer; who is at the study by another one loses it.
            studies[key].wanted_model = studies[key].lease_owner = studies[key].lease_until_utc = None
        queue.put(studies[key], arrival.now, arrival.priority)
    for key in begun.keys() - waiting:
        studies[key].queued_utc = None
    changed = older | {film.key for film in films if film.sha256 in conflicts}
    if changed:
        judge.judge(session, policy, [studies[key] for key in sorted(changed)])


def _identities(session: Session, study_ids: Sequence[str]) -> dict[str, IdentityRow]:
    query = select(IdentityRow).where(IdentityRow.study_id.in_(study_ids))
    return {row.study_id: row for row in session.scalars(query)} if study_ids else {}


def _complete(row: StudyRow, who: IdentityRow, header: Study, arrival: Arrival) -> None:
    """Fill in what a further film of the study knows and the others did not say."""
    for name, value in identity(header).items():
        if value and not getattr(who, name):
            setattr(who, name, value)
    if row.age_years is None:
        row.age_years = header.age_years
    if row.sex == Sex.UNKNOWN:
        row.sex = header.sex.value
    open_ = judge.completed(Study(), row.typed).view is View.UNKNOWN
    if row.view in (View.UNKNOWN, View.LATERAL) and header.view is not View.UNKNOWN and open_:
        row.view = header.view.value
    acquired = utc(header.acquired)
    if acquired is not None and (row.acquired_utc is None or acquired < row.acquired_utc):
        row.acquired_utc, row.since_utc = acquired, since(acquired, row.received_utc)


def _hurry(known: Iterable[Receipt], studies: Iterable[StudyRow], arrival: Arrival) -> None:
    """Move studies of films that were there already forward if somebody waits for them now."""
    there = {receipt.study_id for receipt in known}
    for row in studies:
        if row.id in there and row.queued_utc is not None:
            row.priority = min(row.priority, arrival.priority)


def _events(receipts: Sequence[Receipt], conflicts: dict[str, str], arrival: Arrival) -> list[audit.Event]:
    events: list[audit.Event] = []
    for receipt in receipts:
        detail: dict[str, str | int | bool | None] = {"study": receipt.study_id, "new": receipt.new}
        events.append(_event("submit", receipt.sha256, detail, arrival))
        if receipt.sha256 in conflicts:
            events.append(_event("conflict", receipt.sha256, {"first": conflicts[receipt.sha256]}, arrival))
    return events


def _event(
    event: str, subject: str, detail: dict[str, str | int | bool | None], arrival: Arrival
) -> audit.Event:
    return audit.Event(at=arrival.now, actor=arrival.actor, event=event, subject=subject, detail=detail)
