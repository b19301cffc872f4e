"""The order of the list, as ranges of one index.

A study is overdue when its wait exceeds its tier's maximum, so the overdue studies of a tier are the first
stretch of `ix_study_list` (is_open, tier, since_utc, id) in that tier. The list is these stretches one after
the other; nothing is sorted, and a page deep down is found by counting stretches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    UnaryExpression,
    and_,
    asc,
    desc,
    false,
    func,
    literal_column,
    or_,
    select,
    union,
    union_all,
)
from sqlalchemy.orm import Session

from cxr_core.domain import Urgency
from cxr_core.triage.order import LOWER, PLACES, max_wait, place, tier_of
from cxr_core.triage.policy import Policy
from cxr_core.worklist.schema import IdentityRow, StudyRow
from cxr_core.worklist.values import Query, Status

TIERS: tuple[tuple[Urgency, ...], ...] = tuple(
    tuple(urgency for urgency in Urgency if tier_of(urgency) == tier) for tier in range(4)
)
"""The urgencies of each place in the list; those of one tier are told apart by nothing but their wait."""

UNREAD = frozenset(Status) - {Status.READ}

FEW = 500
"""Studies named one by one in a statement, in each range of the list."""

Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A part of the list: ranges of the index, merged by the time since when they wait.

    Attributes:
        ranges: conditions, no two of which hold for the same study.
        newest_first: for studies that wait no more.
    """

    ranges: tuple[Condition, ...]
    newest_first: bool = False


def stretches(policy: Policy, query: Query, now: datetime) -> tuple[Stretch, ...]:
    """Return the list's stretches, in order: the open studies, then those read, the newest first.

    Open studies stand in the places of `triage.order`, the longest wait first within each.
    """
    found: list[Stretch] = []
    unread = query.statuses - {Status.READ}
    if unread or not query.statuses:
        asked = [] if unread in (frozenset(), UNREAD) else [StudyRow.status.in_(sorted(unread))]
        parts: list[list[Condition]] = [[] for _ in range(PLACES)]
        parts[place(0, late=False)] += _tier(query, 0)
        for tier in LOWER:
            for late in (True, False):
                parts[place(tier, late=late)] += _waiting(policy, query, now, tier, late=late)
        found += [Stretch(tuple(and_(is_open(True), each, *asked) for each in part)) for part in parts]
    if Status.READ in query.statuses:
        read = tuple(and_(is_open(False), each) for tier in (0, *LOWER) for each in _tier(query, tier))
        found.append(Stretch(read, newest_first=True))
    return tuple(stretch for stretch in found if stretch.ranges)


def is_open(value: bool) -> Condition:
    """Return the condition in the form that both databases look up in an index."""
    return StudyRow.is_open == value


def in_tier(tier: int) -> Condition:
    """Return the condition as a literal, so that an index made for one tier is recognised."""
    return StudyRow.tier == literal_column(str(tier))


def _tier(query: Query, tier: int) -> list[Condition]:
    """Return the one range of a tier's studies, or none if the query leaves its urgencies out."""
    asked = [urgency for urgency in TIERS[tier] if not query.urgencies or urgency in query.urgencies]
    return [_of(tier, asked)] if asked else []


def _waiting(policy: Policy, query: Query, now: datetime, tier: int, *, late: bool) -> list[Condition]:
    """Return the ranges of a tier's overdue studies, or of the others: one for each maximum wait in it."""
    by_wait: dict[timedelta, list[Urgency]] = {}
    for urgency in TIERS[tier]:
        if not query.urgencies or urgency in query.urgencies:
            by_wait.setdefault(max_wait(policy, urgency), []).append(urgency)
    since = StudyRow.since_utc
    return [
        and_(_of(tier, urgencies), since < now - wait if late else since >= now - wait)
        for wait, urgencies in by_wait.items()
    ]


def _of(tier: int, urgencies: list[Urgency]) -> Condition:
    if len(urgencies) == len(TIERS[tier]):
        return in_tier(tier)
    return and_(in_tier(tier), StudyRow.urgency.in_(urgencies))


def matches(session: Session, query: Query) -> list[Condition]:
    """Return what else the query asks of a study, besides urgency and status."""
    conditions: list[Condition] = []
    if query.finding:
        label = f"|{query.finding}|"
        conditions.append(StudyRow.findings.contains(label, autoescape=True) if storable(label) else false())
    if query.since is not None:
        conditions.append(StudyRow.received_utc >= query.since)
    if query.until is not None:
        conditions.append(StudyRow.received_utc < query.until)
    if query.text:
        conditions.append(_named(session, query.text) if storable(query.text) else false())
    return conditions


def _named(session: Session, text: str) -> Condition:
    """Return whether patient id, accession or study id holds the text; A to Z match whatever their case."""
    patient_id, accession, study_id = (
        column.icontains(text, autoescape=True)
        for column in (IdentityRow.patient_id, IdentityRow.accession, StudyRow.id)
    )
    # Two scans, each of one table, are faster than one scan that joins them.
    named = union(
        select(IdentityRow.study_id).where(or_(patient_id, accession)), select(StudyRow.id).where(study_id)
    )
    # Looked up once, not by every range of the list, unless the text says next to nothing.
    found = session.scalars(named.limit(FEW + 1)).all()
    return StudyRow.id.in_(found if len(found) <= FEW else named)


def storable(text: str) -> bool:
    """Return whether both databases can be asked for the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def counts(session: Session, parts: Sequence[Stretch], filters: Sequence[Condition]) -> list[int]:
    """Return how many studies each stretch holds, in one statement."""
    numbers = [
        select(func.count()).select_from(StudyRow).where(each, *filters).scalar_subquery()
        for part in parts
        for each in part.ranges
    ]
    if not numbers:
        return []
    found = iter(session.execute(select(*numbers)).one())
    return [sum(next(found) for _ in part.ranges) for part in parts]


def ids(session: Session, part: Stretch, filters: Sequence[Condition], offset: int, limit: int) -> list[str]:
    """Return the ids of a stretch's studies from `offset` on, at most `limit`, in order."""
    arms = [select(StudyRow.id, StudyRow.since_utc).where(each, *filters) for each in part.ranges]
    names = ("since_utc", "id")
    order: list[UnaryExpression[str]] = [desc(name) if part.newest_first else asc(name) for name in names]
    merged = arms[0].order_by(*order) if len(arms) == 1 else union_all(*arms).order_by(*order)
    return list(session.scalars(merged.limit(limit).offset(offset)))
