import json
from dataclasses import replace

from cxr_core.domain import FINDINGS, Correction, Urgency
from cxr_core.reports.record import as_record
from cxr_core.reports.words import Whole
from tests.reports import analyses


def test_a_result_has_exactly_the_promised_keys_in_order() -> None:
    record = as_record(analyses.flagged(), "film.png")
    assert list(record) == [
        *("file", "state", "urgency", "model", "policy", "code", "gate", "correction"),
        *("abnormal", "findings", "action", "reasons", "elapsed_ms"),
    ]
    assert record["gate"] == {"version": analyses.GATE, "outcome": "accepted", "codes": []}
    assert [finding["label"] for finding in record["findings"]] == list(FINDINGS)
    effusion = record["findings"][2]
    assert effusion == {
        "label": "Effusion",
        "probability": 0.71,
        "threshold": 0.4,
        "positive": True,
        "spread": 0.014142,  # of 0.69, 0.71, 0.71, 0.73 by hand: sqrt(2 * 0.02² / 4)
    }
    assert record["abnormal"] == 0.83
    assert record["elapsed_ms"] == 19.2
    assert json.loads(json.dumps(record)) == record


def test_a_refusal_has_exactly_the_promised_keys() -> None:
    assert as_record(analyses.refused(), "broken.dcm") == {
        "file": "broken.dcm",
        "state": "refused",
        "urgency": "review",
        "model": "cxr14-mobilenetv2 1.0.0",
        "policy": "1.0.0",
        "code": "0.1.0",
        "gate": {"version": analyses.GATE, "outcome": "refused", "codes": ["unreadable"]},
        "correction": "",
        "error": {
            "code": "unreadable",
            "message": "The file cannot be read as a picture.",
            "hint": "Export the film again as DICOM or PNG.",
        },
    }


def test_a_corrected_film_s_record_says_so() -> None:
    for analysis in (analyses.flagged(), analyses.refused()):
        record = as_record(replace(analysis, correction=Correction(2, inverted=True)), "film.png")
        assert record["correction"] == "turn=2,invert"


def test_no_patient_data_in_the_record() -> None:
    assert "SECRET" not in json.dumps(as_record(analyses.named(analyses.flagged(), "SECRET"), "film.png"))


def test_a_record_of_one_film_says_what_its_study_says() -> None:
    whole = Whole(2, 3, Urgency.CRITICAL, apart=True, said="Pneumothorax")
    for analysis in (analyses.clear(), analyses.refused()):
        record = as_record(analysis, "film.png", whole)
        told = {"urgency": "critical", "said": "Pneumothorax", "film": 2, "films": 3}
        assert record["study"] == told
        assert "study" not in as_record(analysis, "film.png")
