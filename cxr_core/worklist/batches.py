"""Files handed in together: what became of each is in the database, so any process can say how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import ColumnElement, Select, case, func, or_, select
from sqlalchemy.orm import Session

from cxr_core.access import Actor
from cxr_core.domain import Notice
from cxr_core.errors import Rejected, StoreError
from cxr_core.imaging.refusals import refusal
from cxr_core.worklist import codec, intake
from cxr_core.worklist.aggregate import notice_of
from cxr_core.worklist.schema import BatchItemRow, BatchRow, ImageRow, ResultRow
from cxr_core.worklist.unpack import Turned
from cxr_core.worklist.values import BatchView, ImageStatus, Incoming, Item, Receipt, Source

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

SILENT = timedelta(minutes=1)
"""A batch that is not finished and to which nothing was added for so long was broken off."""

_KNOWN, _CONFLICT = "known", "conflict"


def start(service: Service, actor: Actor, total: int, source: Source) -> str:
    """Return the id of a new batch of `total` files."""
    batch_id, now = uuid4().hex, service.clock()
    with service.database.write() as session:
        session.add(
            BatchRow(
                id=batch_id,
                created_utc=now,
                actor=actor.name,
                source=source,
                total=total,
                finished_utc=None,
                seen_utc=now,
            )
        )
    return batch_id


def add(
    service: Service, actor: Actor, batch_id: str, files: Sequence[Incoming | Turned], *, priority: int
) -> list[Item]:
    """Return what became of each file, in order, once all are on disk and in the batch.

    Args:
        service: whose list it is.
        actor: who hands them in.
        batch_id: of a batch of theirs.
        files: with them, as refused, those that could not even be read.
        priority: INTERACTIVE or BATCH.

    Raises:
        Busy: nothing was taken in, and nothing noted.
        StoreError: the actor has no such batch.
    """
    with service.database.read() as session:
        source = Source(_own(session, actor, batch_id).source)
    films = [each for each in files if isinstance(each, Incoming)]
    items: list[Item] = []

    def note(session: Session, outcomes: intake.Outcomes) -> None:
        answers = iter(outcomes)
        items[:] = [
            Item(each.name, None, each.notice)
            if isinstance(each, Turned)
            else _item(each.name, next(answers))
            for each in files
        ]
        _append(session, _own(session, actor, batch_id, locked=True), items, service.clock())

    intake.submit_many(service, actor, films, source=source, priority=priority, also=note)
    return items


def finish(service: Service, actor: Actor, batch_id: str) -> None:
    """Note that the batch's last file has been handed in.

    Raises:
        StoreError: the actor has no such batch.
    """
    with service.database.write() as session:
        row = _own(session, actor, batch_id, locked=True)
        row.finished_utc = row.finished_utc or service.clock()


def batch(service: Service, actor: Actor, batch_id: str) -> BatchView:
    """Return how far a batch of the actor's has come.

    Raises:
        StoreError: the actor has no such batch.
    """
    with service.database.read() as session:
        return _view(service, session, _own(session, actor, batch_id))


def batches(service: Service, actor: Actor, limit: int) -> tuple[BatchView, ...]:
    """Return the actor's own batches, newest first."""
    newest = select(BatchRow).where(BatchRow.actor == actor.name)
    newest = newest.order_by(BatchRow.created_utc.desc(), BatchRow.id).limit(limit)
    with service.database.read() as session:
        return tuple(_view(service, session, row) for row in session.scalars(newest).all())


def _own(session: Session, actor: Actor, batch_id: str, *, locked: bool = False) -> BatchRow:
    row = session.get(BatchRow, batch_id, with_for_update=locked or None)
    if row is None or row.actor != actor.name:
        raise StoreError("there is no such batch of yours")
    return row


def _item(name: str, answer: Receipt | Rejected) -> Item:
    if isinstance(answer, Receipt):
        return Item(name, answer, None)
    return Item(name, None, Notice(answer.code, answer.message, answer.hint))


def _append(session: Session, row: BatchRow, items: Sequence[Item], now: datetime) -> None:
    """Add items behind those that are there; the caller has locked the batch's row."""
    last = select(func.max(BatchItemRow.position)).where(BatchItemRow.batch_id == row.id)
    first = (session.scalar(last) or 0) + 1
    session.add_all(_row(row.id, first + place, item) for place, item in enumerate(items))
    row.seen_utc = now


def _row(batch_id: str, position: int, item: Item) -> BatchItemRow:
    row = BatchItemRow(batch_id=batch_id, position=position, name=_storable(item.name))
    if item.receipt is not None:
        row.sha256, row.study_id = item.receipt.sha256, item.receipt.study_id
        row.code = _CONFLICT if item.receipt.conflict else "" if item.receipt.new else _KNOWN
    elif item.refusal is not None:
        row.code, row.message, row.hint = item.refusal.code, item.refusal.message, item.refusal.hint
    return row


def _storable(name: str) -> str:
    """Return the name with escapes for what a database cannot hold; everything else stays as given."""
    return name.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


@dataclass(frozen=True, slots=True)
class _Counts:
    turned_away: int
    stored: int
    known: int
    answered: int


def _view(service: Service, session: Session, row: BatchRow) -> BatchView:
    counts = _counts(session, row.id)
    silent = service.clock() - row.seen_utc > SILENT
    return BatchView(
        id=row.id,
        created=row.created_utc,
        source=row.source,
        total=row.total,
        stored=counts.stored,
        known=counts.known,
        answered=counts.answered,
        refused=_refused(session, row.id),
        turned_away=counts.turned_away,
        broken_off=row.finished_utc is None and silent,
    )


def _counts(session: Session, batch_id: str) -> _Counts:
    def number(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    answered = or_(ImageRow.status != ImageStatus.WAITING, ImageRow.result_id.is_not(None))
    query = (
        select(
            number(BatchItemRow.sha256.is_(None)),
            number(BatchItemRow.sha256.is_not(None)),
            number(BatchItemRow.code == _KNOWN),
            number(answered),
        )
        .select_from(BatchItemRow)
        .outerjoin(ImageRow, ImageRow.sha256 == BatchItemRow.sha256)
        .where(BatchItemRow.batch_id == batch_id)
    )
    return _Counts(*(int(each) for each in session.execute(query).one()))


def _refused(session: Session, batch_id: str) -> tuple[tuple[str, Notice], ...]:
    """Return name and reason of what was refused at the door, by the gate or given up, in order."""
    rows = session.execute(_refusals(batch_id))
    return tuple((item.name, _why(item, status, body)) for item, status, body in rows)


def _refusals(batch_id: str) -> Select[BatchItemRow, str | None, dict[str, object] | None]:
    gone = ImageRow.status.in_((ImageStatus.REFUSED, ImageStatus.DEAD, ImageStatus.CONFLICT))
    return (
        select(BatchItemRow, ImageRow.status, ResultRow.body)
        .outerjoin(ImageRow, ImageRow.sha256 == BatchItemRow.sha256)
        .outerjoin(ResultRow, ResultRow.id == ImageRow.result_id)
        .where(BatchItemRow.batch_id == batch_id, or_(BatchItemRow.sha256.is_(None), gone))
        .order_by(BatchItemRow.position)
    )


def _why(item: BatchItemRow, status: str | None, body: dict[str, object] | None) -> Notice:
    if item.sha256 is None or status is None:
        return Notice(item.code, item.message, item.hint)
    said = None
    if status == ImageStatus.REFUSED and body:
        with suppress(StoreError):
            said = codec.decode(item.sha256, body).refusal
    return said or notice_of(ImageStatus(status)) or refusal("internal")
