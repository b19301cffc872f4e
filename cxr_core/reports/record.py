"""The one JSON form of a result: what the command line prints and the page offers for download."""

from __future__ import annotations

from typing import Any

from cxr_core.domain import Analysis, Gate, Notice, Prediction


def as_record(analysis: Analysis, file: str) -> dict[str, Any]:
    """Return the result as plain JSON values; no patient data, whatever the film's tags hold.

    Args:
        analysis: of one film.
        file: the name under which it came.
    """
    triage = analysis.triage
    head = {
        "file": file,
        "state": triage.state.value,
        "urgency": triage.urgency.value,
        "gate": _gate(analysis.gate),
    }
    if analysis.refusal is not None:
        return head | {"error": _error(analysis.refusal)}
    return head | {
        "abnormal": analysis.abnormal.probability if analysis.abnormal else None,
        "findings": [_finding(prediction) for prediction in analysis.predictions],
        "action": triage.action,
        "reasons": list(triage.reasons),
        "model": analysis.versions.model,
        "policy": analysis.versions.policy,
        "elapsed_ms": round(analysis.elapsed_ms, 3),
    }


def _gate(gate: Gate) -> dict[str, Any]:
    return {"outcome": gate.outcome.value, "codes": list(gate.codes)}


def _error(refusal: Notice) -> dict[str, str]:
    return {"code": refusal.code, "message": refusal.message, "hint": refusal.hint}


def _finding(prediction: Prediction) -> dict[str, Any]:
    return {
        "label": prediction.label,
        "probability": prediction.probability,
        "threshold": prediction.threshold,
        "positive": prediction.positive,
        "spread": prediction.spread,
    }
