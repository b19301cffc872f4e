"""Whether the parts that answer a film are there: one word for each, and nothing about anybody."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from sqlalchemy import func, select

from cxr_core.errors import Busy, CxrError
from cxr_core.worklist.model_in_force import fault_of
from cxr_core.worklist.schema import AuditHeadRow, WorkerRow
from cxr_core.worklist.service import HEARD_OF, Service

OK = "ok"


def parts(service: Service) -> dict[str, str]:
    """Return part → `ok`, or the word for what is the matter.

    database: `busy` for now, or `unusable`. worker: `silent`, nobody was heard of lately; `unknown`, the
    database does not say. model: `unsound`, the one in force is not what its manifest should be, or the
    gate's folder does not say which gate it holds.
    """
    database = _database(service)
    worker = _worker(service) if database == OK else "unknown"
    return {"database": database, "worker": worker, "model": _model(service)}


def _database(service: Service) -> str:
    """Return whether the database can be read and would take a change now."""
    try:
        with service.database.write() as session:
            session.execute(select(AuditHeadRow.id).with_for_update(skip_locked=True)).all()
    except Busy:
        return "busy"
    except CxrError:
        return "unusable"
    return OK


def _worker(service: Service) -> str:
    query = select(func.max(WorkerRow.seen_utc)).where(WorkerRow.stopped_utc.is_(None))
    try:
        with service.database.read() as session:
            seen = session.scalar(query)
    except CxrError:
        return "unknown"
    silent: timedelta | None = service.clock() - seen if seen is not None else None
    return OK if silent is not None and silent <= HEARD_OF else "silent"


def _model(service: Service) -> str:
    with suppress(CxrError):  # as this process saw it last, then
        service.refresh()
    fault = fault_of(service.settings, service.model_in_force) or service.gate_in_force.fault
    return "unsound" if fault else OK
