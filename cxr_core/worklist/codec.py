"""An Analysis as the database keeps it: a JSON object without identity and pixels, heatmaps as float16 bytes.

Who it is stands in `identity` alone; `decode` leaves those fields empty and the reader's view fills them in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import (
    Analysis,
    Correction,
    Gate,
    GateOutcome,
    Notice,
    Prediction,
    Sex,
    State,
    Study,
    Triage,
    Urgency,
    Versions,
    View,
)
from cxr_core.errors import StoreError

IDENTITY = ("patient_id", "patient_name", "accession", "referrer", "referrer_phone", "question")
"""Fields of Study that are kept in the identity table only."""

FORM = 1
"""Of the body; a reader of another form refuses it."""


def encode(analysis: Analysis, labels: Sequence[str], heatmaps: NDArray[np.float16] | None) -> dict[str, Any]:
    """Return the JSON object of an analysis; pixels and feature maps are left out.

    Args:
        analysis: a result, a refusal included.
        labels: names of the maps.
        heatmaps: (L, h, w), of which the body holds the shape, or None.
    """
    return {
        "form": FORM,
        "study": _study(analysis.study),
        "gate": {
            "outcome": analysis.gate.outcome.value,
            "warnings": _notices(analysis.gate.warnings),
            "notes": _notices(analysis.gate.notes),
        },
        "predictions": [_prediction(each) for each in analysis.predictions],
        "abnormal": _prediction(analysis.abnormal) if analysis.abnormal else None,
        "triage": asdict(analysis.triage),
        "versions": asdict(analysis.versions),
        "refusal": _notice(analysis.refusal) if analysis.refusal else None,
        "timings_ms": {step: round(value, 2) for step, value in analysis.timings_ms.items()},
        "heatmaps": {"labels": list(labels), "shape": list(heatmaps.shape)} if heatmaps is not None else None,
        "correction": analysis.correction.key,
    }


def heatmap_bytes(heatmaps: NDArray[np.float16] | None) -> bytes | None:
    """Return the maps' little-endian float16 values, row by row."""
    return None if heatmaps is None else np.ascontiguousarray(heatmaps, dtype="<f2").tobytes()


def decode(sha256: str, body: Mapping[str, Any]) -> Analysis:
    """Return the analysis of a body, without pixels, feature maps and identity.

    Raises:
        StoreError: the body is of another form, or not whole.
    """
    if body.get("form") != FORM:
        raise StoreError(f"a result is of form {body.get('form')!r}; this version reads form {FORM}")
    try:
        return _decoded(sha256, body)
    except (KeyError, TypeError, ValueError) as exc:
        raise StoreError(f"a result in the database is not whole ({type(exc).__name__})") from exc


def decode_heatmaps(body: Mapping[str, Any], raw: bytes | None) -> dict[str, NDArray[np.float32]]:
    """Return per label the (h, w) float32 map; empty where there is none.

    Raises:
        StoreError: the bytes are not of the shape that the body says.
    """
    said = body.get("heatmaps")
    if raw is None or said is None:
        return {}
    try:
        maps = np.frombuffer(raw, dtype="<f2").reshape(said["shape"]).astype(np.float32)
        return dict(zip(said["labels"], maps, strict=True))
    except (KeyError, TypeError, ValueError) as exc:
        raise StoreError("a result's heatmaps are not of the shape that it states") from exc


def _decoded(sha256: str, body: Mapping[str, Any]) -> Analysis:
    gate, triage, refusal = body["gate"], body["triage"], body["refusal"]
    return Analysis(
        sha256=sha256,
        study=_read_study(body["study"]),
        gate=Gate(
            GateOutcome(gate["outcome"]), _read_notices(gate["warnings"]), _read_notices(gate["notes"])
        ),
        predictions=tuple(_read_prediction(each) for each in body["predictions"]),
        abnormal=_read_prediction(body["abnormal"]) if body["abnormal"] else None,
        triage=Triage(
            state=State(triage["state"]),
            urgency=Urgency(triage["urgency"]),
            findings=tuple(triage["findings"]),
            action=triage["action"],
            reasons=tuple(triage["reasons"]),
            not_assessed=tuple(triage["not_assessed"]),
        ),
        versions=Versions(**{"gate": "", **body["versions"]}),  # bodies before 0.6.0 name no gate
        refusal=Notice(**refusal) if refusal else None,
        timings_ms=dict(body["timings_ms"]),
        correction=Correction.of(body.get("correction", "")),  # bodies before 0.6.0 know of none
    )


def _study(study: Study) -> dict[str, Any]:
    """Return what differs from an unknown study, identity left out."""
    unknown = asdict(Study())
    told = {
        key: value for key, value in asdict(study).items() if value != unknown[key] and key not in IDENTITY
    }
    if study.acquired is not None:
        told["acquired"] = study.acquired.isoformat()
    return told


def _read_study(told: Mapping[str, Any]) -> Study:
    values = dict(told)
    if "acquired" in values:
        values["acquired"] = datetime.fromisoformat(values["acquired"])
    values["sex"] = Sex(values.get("sex", Sex.UNKNOWN))
    values["view"] = View(values.get("view", View.UNKNOWN))
    return Study(**values)


def _notice(notice: Notice) -> dict[str, str]:
    return {"code": notice.code, "message": notice.message, "hint": notice.hint}


def _notices(notices: Sequence[Notice]) -> list[dict[str, str]]:
    return [_notice(notice) for notice in notices]


def _read_notices(notices: Sequence[Mapping[str, str]]) -> tuple[Notice, ...]:
    return tuple(Notice(**notice) for notice in notices)


def _prediction(prediction: Prediction) -> dict[str, Any]:
    return {
        "label": prediction.label,
        "logit": _number(prediction.logit),
        "probability": _number(prediction.probability),
        "threshold": _number(prediction.threshold),
        "members": [_number(member) for member in prediction.members],
    }


def _read_prediction(said: Mapping[str, Any]) -> Prediction:
    return Prediction(
        label=said["label"],
        logit=float(said["logit"]),
        probability=float(said["probability"]),
        threshold=float(said["threshold"]),
        members=tuple(float(member) for member in said["members"]),
    )


def _number(value: float) -> float | str:
    """Return the number, as text where JSON has none for it; `float` reads both."""
    value = float(value)
    return value if isfinite(value) else str(value)
