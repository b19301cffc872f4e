"""Studies written straight into the tables, as no page could make them so quickly or so odd."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert

from cxr_core.domain import Urgency
from cxr_core.inference import gate_manifest
from cxr_core.settings import Settings
from cxr_core.triage.order import tier_of
from cxr_core.worklist import audit
from cxr_core.worklist.database import Database
from cxr_core.worklist.schema import (
    AccountRow,
    ExplanationRow,
    IdentityRow,
    ImageRow,
    ModelChangeRow,
    PolicyChangeRow,
    PolicyRow,
    ResultRow,
    ReviewRow,
    SignInRow,
    StudyRow,
)
from cxr_core.worklist.service import Service

GATE = gate_manifest.read(Settings().gate).name
"""The gate of the checkout, which is in force unless a test says otherwise."""
THEN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def id_of(number: int) -> str:
    """The id of a study of that number."""
    return f"{number:032x}"


def sha(number: int) -> str:
    """The hash by which a film of that number is known."""
    return f"{number:064x}"


def note(service: Service, *events: tuple[Any, ...]) -> None:
    """Put these into the audit trail."""
    with service.database.write() as session:
        audit.append_many(session, [audit.Event(*event) for event in events])


def study(number: int, urgency: str = "routine", since: datetime = THEN, **columns: Any) -> dict[str, Any]:
    """Columns of a study; its id is the number in hexadecimal."""
    status = columns.get("status", "new")
    row = {
        "id": f"{number:032x}",
        "key": f"{number:064x}",
        "study_uid": "",
        "source": "cli",
        "received_utc": since,
        "acquired_utc": None,
        "since_utc": since,
        "age_years": None,
        "sex": "unknown",
        "view": "unknown",
        "typed": None,
        "state": "flagged",
        "urgency": urgency,
        "tier": tier_of(Urgency(urgency)),
        "findings": "",
        "action": "",
        "reasons": [],
        "cover": None,
        "is_open": status != "read",
        "status": status,
        "claimed_by": "somebody" if status == "claimed" else None,
        "acknowledged_utc": since if status == "acknowledged" else None,
        "read_utc": since if status == "read" else None,
        "version": 1,
        "priority": 1,
        "lost_leases": 0,
        "queued_utc": None,
        "lease_owner": None,
        "wanted_model": None,
    }
    return row | columns


def put(
    database: Database,
    studies: Sequence[dict[str, Any]],
    identities: Sequence[dict[str, Any]] = (),
    images: Sequence[dict[str, Any]] = (),
    results: Sequence[dict[str, Any]] = (),
) -> None:
    """Make these the only rows of their tables."""
    with database.write() as session:
        for table in (ExplanationRow, ReviewRow, ResultRow, ImageRow, IdentityRow, StudyRow):
            session.execute(delete(table))
        given = ((StudyRow, studies), (IdentityRow, identities), (ImageRow, images), (ResultRow, results))
        for table, rows in given:
            if rows:
                session.execute(insert(table), list(rows))


def identity(number: int, **columns: Any) -> dict[str, Any]:
    """Who study `number` is of."""
    names = ("patient_id", "patient_name", "accession", "referrer", "referrer_phone", "question")
    return {"study_id": f"{number:032x}"} | dict.fromkeys(names, "") | columns


def image(number: int, study_number: int, received: datetime = THEN, **columns: Any) -> dict[str, Any]:
    """Film `number` of a study; its SHA-256 is the number."""
    row = {
        "sha256": f"{number:064x}",
        "study_id": f"{study_number:032x}",
        "received_utc": received,
        "source": "cli",
        "file_name": f"film {number}.png",
        "size_bytes": 1000,
        "sop_uid": None,
        "status": "assessed",
        "attempts": 0,
        "conflicts_with": None,
        "result_id": None,
        "thumbnail": None,
        "correction": "",
    }
    return row | columns


def result(id_: int, film: int, model: str, policy: str, **columns: Any) -> dict[str, Any]:
    """Result `id_` of a film; its body is empty."""
    row = {
        "id": id_,
        "sha256": f"{film:064x}",
        "model": model,
        "policy": policy,
        "code": "0",
        "created_utc": THEN,
        "state": "flagged",
        "urgency": "routine",
        "body": {},
        "heatmaps": None,
        "correction": "",
        "gate": GATE,
    }
    return row | columns


def put_people(database: Database) -> None:
    """One row in each table that is about who signs in and about policies."""
    key = f"{1:032x}"
    with database.write() as session:
        session.add(
            AccountRow(id=key, issuer="https://id.example", subject="s-1", handle="Ana #1", created_utc=THEN)
        )
        session.add(
            PolicyRow(id=1, version="1.0.1", body="", approver="Ana", author="Ana #1", created_utc=THEN)
        )
        session.flush()
        session.add(SignInRow(key="1" * 64, account_id=key, started_utc=THEN, seen_utc=THEN))
        session.add(PolicyChangeRow(at_utc=THEN, actor="Ana #1", policy_id=1))


def put_models(database: Database, study_number: int, sha256: str) -> None:
    """A model that came into force, and two explanations of a film: one waits, one is there."""
    asked = {"study_id": f"{study_number:032x}", "sha256": sha256, "label": "Mass", "model": "tiny 1"}
    asked |= {"asked_by": "Ana #1", "asked_utc": THEN}
    with database.write() as session:
        session.add(
            ModelChangeRow(at_utc=THEN, actor="Ana #1", model="tiny 1", sha256="2" * 64, note="sees more")
        )
        session.add(ExplanationRow(**asked, method="lime", status="queued"))
        done = {"status": "done", "done_utc": THEN, "ms": 1200, "body": bytes(8)}
        session.add(ExplanationRow(**asked, **done, method="occlusion"))
