"""Films in: at the door, to disk, into the tables, and only then the receipt.

Order: size, SHA-256 and header; room in queue and disk; blobs with every fsync; one transaction. So whatever
has a receipt survives a power cut, and a film without row is at worst a file that nobody asks for.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from cxr_core import logs
from cxr_core.access import Actor
from cxr_core.domain import Study
from cxr_core.errors import Busy, Rejected
from cxr_core.imaging.decode import sniff
from cxr_core.imaging.dicom import read_header
from cxr_core.imaging.limits import Limits, check_bytes
from cxr_core.logs import Log
from cxr_core.worklist import queue
from cxr_core.worklist.filing import Film, file_films
from cxr_core.worklist.schema import ImageRow
from cxr_core.worklist.values import Incoming, Receipt, Source

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

_log = Log(__name__)

Outcomes = list[Receipt | Rejected]


def submit(
    service: Service,
    actor: Actor,
    file: Incoming,
    *,
    source: Source,
    priority: int,
    typed: Study | None,
) -> Receipt:
    """Return the receipt of one file; see `Service.submit`."""
    (outcome,) = submit_many(service, actor, [file], source=source, priority=priority, typed=typed)
    if isinstance(outcome, Rejected):
        raise outcome
    return outcome


def submit_many(
    service: Service,
    actor: Actor,
    files: Sequence[Incoming],
    *,
    source: Source,
    priority: int,
    typed: Study | None = None,
    also: Callable[[Session, Outcomes], None] = lambda session, outcomes: None,
) -> Outcomes:
    """Return a receipt or a refusal for each file, in order.

    Args:
        service: whose list it is.
        actor: who hands them in.
        files: at best some dozens: they are in memory, and others who write wait meanwhile.
        source: how they came in.
        priority: INTERACTIVE or BATCH.
        typed: what a person says of the study; counts for studies that begin with one of these films.
        also: is called inside the transaction with what is about to be returned.

    Raises:
        Busy: queue or disk full, or the database cannot be written; nothing was taken in.
    """
    at_door = [_at_door(file, service.limits) for file in files]
    films = {each.sha256: each for each in at_door if isinstance(each, Film)}
    raws = {
        each.sha256: file.raw for each, file in zip(at_door, files, strict=True) if isinstance(each, Film)
    }
    check_room(service, raws)
    if raws:
        service.blobs.put_many(raws)
    now = service.clock()
    with service.database.write() as session:
        receipts = file_films(
            session,
            service.policy,
            list(films.values()),
            actor=actor.name,
            source=source,
            priority=priority,
            typed=typed,
            now=now,
        )
        outcomes = _in_order(at_door, receipts)
        also(session, outcomes)
    return outcomes


def check_room(service: Service, raws: dict[str, bytes]) -> None:
    """Return if these films may come in.

    Raises:
        Busy: with those that are new, more films than `queue_limit` would wait; or the disk is nearly full.
    """
    settings = service.settings
    with service.database.read() as session:
        known = set(session.scalars(select(ImageRow.sha256).where(ImageRow.sha256.in_(raws))))
        # Those asked about anew need no room: a lead who has everything analysed again stops no intake.
        waits = queue.films_waiting(session, first=True)
    new = raws.keys() - known
    if new and waits + len(new) > settings.queue_limit:
        raise Busy(
            f"{waits} films wait already and at most {settings.queue_limit} may; "
            "nothing was taken in, try again when some have been answered"
        )
    free = _free_bytes(service)
    needed = settings.min_free_mb * 2**20 + sum(len(raws[sha256]) for sha256 in new)
    if new and free < needed:
        raise Busy(
            f"the disk of CXR_HOME has {free // 2**20} MB left and at least {needed // 2**20} MB are needed; "
            "nothing was taken in, make room and try again"
        )


def _free_bytes(service: Service) -> int:
    try:
        return shutil.disk_usage(service.settings.home).free
    except OSError as exc:
        raise Busy("the disk of CXR_HOME cannot be read; nothing was taken in, try again") from exc


def _at_door(file: Incoming, limits: Limits) -> Film | Rejected:
    try:
        check_bytes(file.raw, limits)
    except Rejected as refusal:
        return refusal
    sha256 = hashlib.sha256(file.raw).hexdigest()
    return Film(sha256, file.name, len(file.raw), header_of(file.raw, limits))


def header_of(raw: bytes, limits: Limits) -> Study:
    """Return what the header says; a film without a readable one makes a study of its own."""
    try:
        return read_header(raw, limits) if sniff(raw) == "DICOM" else Study()
    except Rejected:
        return Study()
    except Exception as exc:  # a fault of ours or of the parser must not lose the film
        _log.error("fault", step="header", error=type(exc).__name__, at=logs.places(exc))
        return Study()


def _in_order(at_door: Sequence[Film | Rejected], receipts: dict[str, Receipt]) -> Outcomes:
    """Return the outcomes in the files' order; the second of two equal files of one call is not new."""
    outcomes: Outcomes = []
    for each in at_door:
        if isinstance(each, Rejected):
            outcomes.append(each)
            continue
        receipt = receipts[each.sha256]
        outcomes.append(receipt)
        receipts[each.sha256] = Receipt(receipt.sha256, receipt.study_id, False, receipt.conflict)
    return outcomes
