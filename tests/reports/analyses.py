"""Hand-made results: one for each thing that the card can say."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from cxr_core.domain import (
    ABNORMAL,
    FINDINGS,
    Analysis,
    Gate,
    GateOutcome,
    Notice,
    Prediction,
    Radiograph,
    Sex,
    Study,
    Versions,
    View,
)
from cxr_core.inference import gate_manifest
from cxr_core.settings import Settings
from cxr_core.triage.decide import decide, refuse
from cxr_core.triage.policy import load_policy

POLICY = load_policy(Path(__file__).parents[2] / "config" / "policy.toml")
GATE = gate_manifest.read(Settings().gate).name
VERSIONS = Versions("cxr14-mobilenetv2 1.0.0", "1.0.0", GATE, "0.1.0")
SHA256 = "ab" * 32
STUDY = Study(
    patient_id="004-812",
    patient_name="PATIENT, Example",
    sex=Sex.FEMALE,
    age_years=38.0,
    view=View.PA,
    acquired=datetime(2026, 11, 21, 2, 41),
)


def film(height: int = 300, width: int = 260) -> Radiograph:
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    pixels = 0.2 + 0.6 * np.hypot(rows / height - 0.5, columns / width - 0.5)
    return Radiograph(pixels=pixels.astype(np.float32), sha256=SHA256, source="PNG", study=STUDY)


def answer(label: str, probability: float, threshold: float = 0.4) -> Prediction:
    members = tuple(min(1.0, max(0.0, probability + step)) for step in (-0.02, 0.0, 0.0, 0.02))
    return Prediction(label, 0.0, probability, threshold, members)


def assessed(positive: dict[str, float], abnormal: float = 0.2, gate: Gate | None = None) -> Analysis:
    predictions = tuple(
        answer(label, positive.get(label, 0.05 + 0.01 * i)) for i, label in enumerate(FINDINGS)
    )
    gate = gate or Gate(GateOutcome.ACCEPTED)
    overall = answer(ABNORMAL, abnormal, 0.5)
    return Analysis(
        sha256=SHA256,
        study=STUDY,
        gate=gate,
        predictions=predictions,
        abnormal=overall,
        triage=decide(POLICY, gate, predictions, overall),
        versions=VERSIONS,
        radiograph=film(),
        features=np.zeros((1, 4, 10, 10), dtype=np.float32),
        timings_ms={"decode": 12.0, "classify": 7.25},
    )


def flagged() -> Analysis:
    return assessed({"Effusion": 0.71, "Consolidation": 0.48}, abnormal=0.83)


def clear() -> Analysis:
    return assessed({})


def unable() -> Analysis:
    return assessed({}, abnormal=0.9)


def only_warned() -> Analysis:
    warned = Notice("mirrored", "The heart seems to lie on the patient's right.", "Check the side marker.")
    note = Notice("ap_view", "An AP view.")
    return assessed({}, gate=Gate(GateOutcome.WARNED, (warned,), (note,)))


def refused() -> Analysis:
    notice = Notice(
        "unreadable", "The file cannot be read as a picture.", "Export the film again as DICOM or PNG."
    )
    return Analysis(
        sha256=SHA256,
        study=Study(),
        gate=Gate(GateOutcome.REFUSED, (notice,)),
        predictions=(),
        abnormal=None,
        triage=refuse(POLICY, notice),
        versions=VERSIONS,
        refusal=notice,
    )


def named(analysis: Analysis, text: str) -> Analysis:
    """Return the analysis with `text` in every field that a person or a file fills in."""
    study = replace(
        analysis.study,
        patient_id=text,
        patient_name=text,
        referrer=text,
        referrer_phone=text,
        question=text,
        accession=text,
        StudyInstanceUID=text,
    )
    return replace(analysis, study=study)


def heatmaps(analysis: Analysis) -> dict[str, np.ndarray]:
    """Return one hot cell per finding, further right for each; the last two have no support."""
    maps = {}
    for i, label in enumerate((*FINDINGS, ABNORMAL)):
        heatmap = np.full((10, 10), -0.5, dtype=np.float32)
        if i < 13:
            heatmap[4 + i % 4, i % 10] = 2.0
        maps[label] = heatmap
    return maps
