"""What is kept of a result comes back whole; who it is does not go in."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from cxr_core.domain import GateOutcome, Notice, Prediction, Sex, Study, View
from cxr_core.errors import StoreError
from cxr_core.pipeline import Kit, analyse
from cxr_core.worklist import codec
from tests.films import png
from tests.reports import analyses

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def there_and_back(analysis, labels=(), maps=None):
    body = json.loads(json.dumps(codec.encode(analysis, labels, maps), allow_nan=False))
    return codec.decode(analysis.sha256, body), body


def nameless(analysis):
    return replace(analysis, study=replace(analysis.study, **dict.fromkeys(codec.IDENTITY, "")))


@pytest.mark.parametrize(
    "analysis", [analyses.flagged(), analyses.clear(), analyses.unable(), analyses.refused()]
)
def test_every_kind_of_result_comes_back_equal(analysis):
    back, _ = there_and_back(analysis)
    assert back == nameless(analysis)
    assert back.radiograph is None
    assert back.features is None
    assert back.timings_ms == analysis.timings_ms


def test_a_real_result_comes_back_equal(kit: Kit):
    analysis = analyse(png(3), kit, now=NOW)
    assert there_and_back(analysis)[0] == analysis


@pytest.mark.parametrize(
    "acquired",
    [None, datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-5)))],
)
def test_the_examination_comes_back(acquired):
    study = Study(
        sex=Sex.OTHER, age_years=0.25, view=View.AP, supine=True, laterality="L", acquired=acquired,
        modality="DX", body_part="CHEST", StudyInstanceUID="1.2", SeriesInstanceUID="1.3",
        SOPInstanceUID="1.4",
    )  # fmt: skip
    assert there_and_back(replace(analyses.clear(), study=study))[0].study == study


def test_no_identity_stands_in_the_body():
    _, body = there_and_back(analyses.named(analyses.flagged(), "SEEDED-NAME"))
    kept = json.dumps({**body, "study": {**body["study"], "StudyInstanceUID": ""}})
    assert "SEEDED-NAME" not in kept


def test_numbers_that_json_does_not_have_come_back():
    odd = Prediction("Mass", math.nan, math.inf, 0.5, (-math.inf, 0.5))
    (back,) = there_and_back(replace(analyses.clear(), predictions=(odd,)))[0].predictions
    assert math.isnan(back.logit)
    assert (back.probability, back.members) == (math.inf, (-math.inf, 0.5))


def test_warnings_and_notes_come_back():
    gate = replace(
        analyses.clear().gate,
        outcome=GateOutcome.WARNED,
        warnings=(Notice("child", "Young.", "Look."),),
        notes=(Notice("ap_view", "AP."),),
    )
    assert there_and_back(replace(analyses.clear(), gate=gate))[0].gate == gate


def test_heatmaps_come_back_as_float32_under_their_labels():
    maps = np.random.default_rng(1).random((2, 3, 4)).astype(np.float16)
    _, body = there_and_back(analyses.clear(), ("Mass", "Edema"), maps)
    back = codec.decode_heatmaps(body, codec.heatmap_bytes(maps))
    assert list(back) == ["Mass", "Edema"]
    assert back["Edema"].dtype == np.float32
    assert (back["Edema"] == maps[1]).all()
    assert codec.decode_heatmaps(body, None) == {}
    with pytest.raises(StoreError, match="shape"):
        codec.decode_heatmaps(body, b"\0\0")


def test_a_body_of_before_the_gate_had_a_name_is_read(kit: Kit):
    analysis = analyse(png(3), kit, now=NOW)
    back, body = there_and_back(analysis)
    assert back.versions.gate == kit.gate.manifest.name == body["versions"].pop("gate")
    old = codec.decode(analysis.sha256, body)
    assert old == replace(analysis, versions=replace(analysis.versions, gate=""))


@pytest.mark.parametrize("body", [{}, {"form": 2}, {"form": 1}, {"form": 1, "gate": {}, "triage": {}}])
def test_a_body_of_another_form_is_refused(body):
    with pytest.raises(StoreError):
        codec.decode("0" * 64, body)
