"""The list as CSV, for people who count in spreadsheets."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import TYPE_CHECKING

from cxr_core.access import Actor
from cxr_core.files import is_formula
from cxr_core.worklist import audit
from cxr_core.worklist.listing import every_line
from cxr_core.worklist.values import Line, Query

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

COLUMNS: dict[str, str] = {
    "study": "id of the study",
    "file": "name of the film on show, as it was handed in",
    "films": "how many films the study has",
    "patient_id": "PatientID",
    "age_years": "age, as far as known",
    "sex": "PatientSex",
    "view": "PA, AP, LATERAL or unknown",
    "state": "flagged, no_disease_detected, unable_to_classify, refused; empty while waiting for an answer",
    "urgency": "critical, urgent, review, significant or routine",
    "findings": "positive labels in clinical order, separated by semicolons",
    "reason": "first reason of the state",
    "acquired_utc": "when the film was taken, if it says so",
    "received_utc": "when it was handed in",
    "waits_since_utc": "from when the wait runs",
    "waiting_minutes": "until now, or until it was read",
    "max_wait_minutes": "longest wait of its tier by the policy",
    "overdue": "yes or no",
    "status": "new, claimed, acknowledged or read",
    "claimed_by": "who has it",
    "acknowledged": "yes or no; only critical results are acknowledged",
    "source": "page, cli or demo",
    "films_urgency": "what the films alone say, where a person overrode it",
    "overridden_by": "who overrode the urgency",
}
"""Each column and what it says, in order."""


def export_csv(service: Service, actor: Actor, query: Query) -> bytes:
    """Return all studies that fit the query as CSV of COLUMNS, UTF-8, in the list's order; audited.

    `query.offset` and `query.limit` are not looked at. Text that a spreadsheet would take for a formula
    starts with an apostrophe.
    """
    now = service.clock()
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    rows = 0
    with service.database.read() as session:
        for line in every_line(session, service.policy, query, now):
            writer.writerow(guarded(cell) for cell in _cells(line))
            rows += 1
    # The row is there before the file leaves; reading before it keeps writers from waiting.
    with service.database.write() as session:
        audit.append(session, at=now, actor=actor.name, event="export", detail={"studies": rows})
    return text.getvalue().encode("utf-8", "backslashreplace")


def guarded(cell: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{cell}" if is_formula(cell) else cell


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.study_id,
        line.file,
        str(line.films),
        line.patient_id,
        "" if line.age_years is None else f"{line.age_years:g}",
        line.sex.value,
        line.view.value,
        line.state.value if line.state else "",
        line.urgency.value,
        ";".join(line.findings),
        line.reason,
        _time(line.acquired),
        _time(line.received),
        _time(line.since),
        f"{line.waiting_s / 60:.1f}",
        f"{line.limit_s / 60:g}",
        _yes(line.overdue),
        line.status.value,
        line.claimed_by or "",
        _yes(line.acknowledged),
        line.source,
        line.overridden.films.value if line.overridden else "",
        line.overridden.by if line.overridden else "",
    )


def _time(value: datetime | None) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S") if value else ""


def _yes(value: bool) -> str:
    return "yes" if value else "no"
