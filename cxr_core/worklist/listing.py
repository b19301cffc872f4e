"""A page of the list, the tiers' counts, the alert: what a reading room looks at all day."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, literal_column, select
from sqlalchemy.orm import Session

from cxr_core.domain import Sex, State, Urgency, View
from cxr_core.triage.order import max_wait, tier_of
from cxr_core.triage.policy import Policy
from cxr_core.worklist import order
from cxr_core.worklist.judge import overridden
from cxr_core.worklist.schema import IdentityRow, ImageRow, StudyRow
from cxr_core.worklist.values import Alert, Line, Overridden, Page, Query, Status, Tier

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service


def page(service: Service, query: Query) -> Page:
    """Return the lines from `query.offset` on, at most `query.limit`, and how many fit the query in all.

    The order is that of `order.stretches`, ties by id: while no study changes and none becomes overdue,
    page after page neither repeats nor skips a study.
    """
    now = service.clock()
    with service.database.read() as session:
        found, total = select_ids(session, service.policy, query, now)
        return Page(lines(session, service.policy, found, now), total)


def select_ids(session: Session, policy: Policy, query: Query, now: datetime) -> tuple[list[str], int]:
    """Return the ids of a page's studies, in order, and how many studies fit the query in all."""
    parts = order.stretches(policy, query, now)
    filters = order.matches(session, query)
    counts = order.counts(session, parts, filters)
    skip, room = max(query.offset, 0), max(query.limit, 0)
    found: list[str] = []
    for part, count in zip(parts, counts, strict=True):
        if skip < count and room > len(found):
            found += order.ids(session, part, filters, skip, room - len(found))
        skip = max(skip - count, 0)
    return found, sum(counts)


def tiers(service: Service) -> tuple[Tier, ...]:
    """Return for every urgency how many open studies there are, how many overdue, since when they wait."""
    now = service.clock()
    since = StudyRow.since_utc
    columns = []
    for urgency in Urgency:
        alone = len(order.TIERS[tier_of(urgency)]) == 1
        same = [order.is_open(True), order.in_tier(tier_of(urgency))]
        same += [] if alone else [StudyRow.urgency == urgency]
        count = select(func.count()).select_from(StudyRow).where(*same)
        latest = now - max_wait(service.policy, urgency)
        oldest = select(since).where(*same).order_by(since, StudyRow.id).limit(1)
        parts = (count.where(since < latest), count.where(since >= latest), oldest)
        columns += [part.scalar_subquery() for part in parts]
    with service.database.read() as session:
        row = session.execute(select(*columns)).one()
    found = zip(Urgency, row[0::3], row[1::3], row[2::3], strict=True)
    return tuple(Tier(urgency, late + rest, late, oldest) for urgency, late, rest, oldest in found)


def alerts(service: Service) -> tuple[Alert, ...]:
    """Return the unacknowledged critical studies, the longest wait first.

    Those that became critical only after they were read are among them: nobody has taken note yet.
    """
    # Looked up one by one: PostgreSQL expects far more alerts than there are, and would read all identities.
    patient_id = select(IdentityRow.patient_id).where(IdentityRow.study_id == StudyRow.id).scalar_subquery()
    query = (
        select(StudyRow.id, patient_id, StudyRow.since_utc, StudyRow.version)
        .where(order.in_tier(0), StudyRow.acknowledged_utc.is_(None))
        .order_by(StudyRow.since_utc, StudyRow.id)
    )
    with service.database.read() as session:
        rows = session.execute(query).all()
    return tuple(Alert(id_, patient or "", since, version) for id_, patient, since, version in rows)


def lines(
    session: Session, policy: Policy, ids: Sequence[str], now: datetime, *, thumbnails: bool = True
) -> tuple[Line, ...]:
    """Return the lines of these studies, in the order of the ids; an id without study has no line."""
    if not ids:
        return ()
    picture = ImageRow.thumbnail if thumbnails else literal_column("NULL")
    query = (
        select(StudyRow, IdentityRow.patient_id, picture)
        .outerjoin(IdentityRow, IdentityRow.study_id == StudyRow.id)
        .outerjoin(ImageRow, ImageRow.sha256 == StudyRow.cover)
        .where(StudyRow.id.in_(ids))
    )
    rows = {row[0].id: row for row in session.execute(query)}
    names = _names(session, ids)
    return tuple(
        _line(study, patient_id or "", thumbnail, names.get(study.id, {}), policy, now)
        for study, patient_id, thumbnail in (rows[id_] for id_ in ids if id_ in rows)
    )


def _names(session: Session, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return, per study, its films in order of arrival: SHA-256 and name."""
    query = (
        select(ImageRow.study_id, ImageRow.sha256, ImageRow.file_name)
        .where(ImageRow.study_id.in_(ids))
        .order_by(ImageRow.received_utc, ImageRow.sha256)
    )
    found: dict[str, dict[str, str]] = {}
    for study_id, sha256, name in session.execute(query):
        found.setdefault(study_id, {})[sha256] = name
    return found


def _line(
    study: StudyRow,
    patient_id: str,
    thumbnail: bytes | None,
    names: dict[str, str],
    policy: Policy,
    now: datetime,
) -> Line:
    """Return a study's line; `file` is the name of the film on show, or of the first."""
    urgency, status = Urgency(study.urgency), Status(study.status)
    until = study.read_utc if status is Status.READ and study.read_utc else now
    first = next(iter(names.values()), "")
    age = study.age_years
    return Line(
        study_id=study.id,
        state=State(study.state) if study.state else None,
        urgency=urgency,
        findings=tuple(label for label in study.findings.split("|") if label),
        reason=study.reasons[0] if study.reasons else "",
        patient_id=patient_id,
        age_years=age if age is not None and math.isfinite(age) else None,
        sex=Sex(study.sex),
        view=View(study.view),
        acquired=study.acquired_utc,
        received=study.received_utc,
        since=study.since_utc,
        waiting_s=max((until - study.since_utc).total_seconds(), 0.0),
        limit_s=max_wait(policy, urgency).total_seconds(),
        status=status,
        claimed_by=study.claimed_by,
        acknowledged=study.acknowledged_utc is not None,
        source=study.source,
        file=names.get(study.cover or "", first),
        films=len(names),
        thumbnail=thumbnail,
        version=study.version,
        acknowledged_by=study.acknowledged_by,
        overridden=_overridden(study),
    )


def _overridden(study: StudyRow) -> Overridden | None:
    given = overridden(study)
    if given is None or study.films_urgency is None:
        return None
    return Overridden(given.urgency, given.by, Urgency(study.films_urgency))


def every_line(session: Session, policy: Policy, query: Query, now: datetime) -> Iterator[Line]:
    """Yield all lines that fit the query, in order and without thumbnails, whatever its page."""
    parts = order.stretches(policy, query, now)
    filters = order.matches(session, query)
    for part, count in zip(parts, order.counts(session, parts, filters), strict=True):
        found = order.ids(session, part, filters, 0, count) if count else []
        for start in range(0, len(found), CHUNK):
            yield from lines(session, policy, found[start : start + CHUNK], now, thumbnails=False)
            session.expunge_all()


CHUNK = 500
"""Studies read at once; databases limit how many values one statement may name."""
