"""The one JSON form of a result: what the page's download and `cxr triage --json` both write."""

from __future__ import annotations

from typing import Any

from cxr_core.domain import Analysis, Prediction
from cxr_core.reports.words import Whole

_DIGITS = 6


def as_record(analysis: Analysis, file: str, whole: Whole | None = None) -> dict[str, Any]:
    """Return a JSON object of numbers and text; keys and order are fixed, patient data is left out.

    `error` takes the place of the findings when the film was refused; what made the answer is named in both
    cases. `correction` is as `Correction.key` has it, `turn=2,invert`, and empty where the film was judged as
    it was sent.

    Args:
        analysis: the result.
        file: name of the file, as the person gave it.
        whole: the study, where it says more than this film; adds `study` to the keys.
    """
    versions = analysis.versions
    head: dict[str, Any] = {
        "file": file,
        "state": analysis.triage.state.value,
        "urgency": analysis.triage.urgency.value,
        "model": versions.model,
        "policy": versions.policy,
        "code": versions.code,
        "gate": {
            "version": versions.gate,
            "outcome": analysis.gate.outcome.value,
            "codes": list(analysis.gate.codes),
        },
        "correction": analysis.correction.key,
    }
    if whole is not None:
        head["study"] = {
            "urgency": whole.urgency.value,
            "said": whole.said,
            "film": whole.film,
            "films": whole.films,
        }
    if refusal := analysis.refusal:
        error = {"code": refusal.code, "message": refusal.message, "hint": refusal.hint}
        return {**head, "error": error}
    return {
        **head,
        "abnormal": round(analysis.abnormal.probability, _DIGITS) if analysis.abnormal else None,
        "findings": [_finding(prediction) for prediction in analysis.predictions],
        "action": analysis.triage.action,
        "reasons": list(analysis.triage.reasons),
        "elapsed_ms": round(analysis.elapsed_ms, 1),
    }


def _finding(prediction: Prediction) -> dict[str, Any]:
    return {
        "label": prediction.label,
        "probability": round(prediction.probability, _DIGITS),
        "threshold": round(prediction.threshold, _DIGITS),
        "positive": prediction.positive,
        "spread": round(prediction.spread, _DIGITS),
    }
