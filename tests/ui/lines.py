"""Lines of the list for tests of how they are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cxr_core.domain import Sex, State, Urgency, View
from cxr_core.worklist.values import Line, Status

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def line(**changed: Any) -> Line:
    """A flagged study that came in twelve minutes ago."""
    usual: dict[str, Any] = {
        "study_id": "a" * 16,
        "state": State.FLAGGED,
        "urgency": Urgency.CRITICAL,
        "findings": ("Pneumothorax", "Mass"),
        "reason": "Pneumothorax 0.71 ≥ 0.42",
        "patient_id": "004-771",
        "age_years": 61.0,
        "sex": Sex.MALE,
        "view": View.AP,
        "acquired": NOW - timedelta(minutes=12),
        "received": NOW - timedelta(minutes=10),
        "since": NOW - timedelta(minutes=12),
        "waiting_s": 720.0,
        "limit_s": 900.0,
        "status": Status.NEW,
        "claimed_by": None,
        "acknowledged": False,
        "source": "page",
        "file": "film.dcm",
        "films": 1,
        "thumbnail": None,
        "version": 3,
    }
    return Line(**(usual | changed))
