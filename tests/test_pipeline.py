from __future__ import annotations

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cxr_core import pipeline
from cxr_core.batch import analyse_many
from cxr_core.domain import FINDINGS, Analysis, GateOutcome, State, Urgency
from cxr_core.errors import ModelError, PolicyError, Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.preprocess import network_input
from cxr_core.pipeline import Kit, analyse, heatmaps, load_kit
from cxr_core.settings import ROOT, Settings
from tests.films import blobs, photograph, png
from tests.imaging.dicom_files import as_bytes, dataset

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHARED_FIXTURES = hypothesis_settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def figures(analysis: Analysis) -> np.ndarray:
    """Return every number of an answered analysis."""
    assert analysis.abnormal is not None
    return np.array(
        [(p.logit, p.probability, p.threshold, p.spread) for p in (*analysis.predictions, analysis.abnormal)]
    )


def assert_same(one: Analysis, other: Analysis) -> None:
    """Promise C1: everything equal, numbers within 1e-4."""
    assert (one.sha256, one.study, one.gate, one.triage.state, one.triage.urgency) == (
        other.sha256,
        other.study,
        other.gate,
        other.triage.state,
        other.triage.urgency,
    )
    assert (one.triage.findings, one.versions, one.refusal) == (
        other.triage.findings,
        other.versions,
        other.refusal,
    )
    if one.refusal is None:
        np.testing.assert_allclose(figures(one), figures(other), atol=1e-4)


class Faulty:
    """An ONNX Runtime session that fails or answers nonsense when `fails` says so of its input."""

    def __init__(self, session: Any, fails: Any, answer: Any = None) -> None:
        self.session, self.fails, self.answer = session, fails, answer

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        answers = self.session.run(names, feed)
        if self.fails(feed["film"]):
            if self.answer is None:
                raise RuntimeError("DOE^JOHN could not be allocated")
            answers[0] = np.full_like(answers[0], self.answer)
        return answers


def faulty(kit: Kit, fails: Any, answer: Any = None) -> Kit:
    session = Faulty(kit.classifier.session, fails, answer)
    return replace(kit, classifier=replace(kit.classifier, session=session))


def test_an_answer_is_what_the_manifest_and_the_network_say(kit):
    """Reference: the steps done by hand with ONNX Runtime and the manifest's figures."""
    raw = png(1)
    analysis = analyse(raw, kit, now=NOW)
    manifest = kit.classifier.manifest
    film = network_input(decode(raw, kit.limits).pixels, manifest.preprocessing)
    logits = kit.classifier.session.run(["logits"], {"film": film[None]})[0][0].mean(axis=0)
    answers = (*analysis.predictions, analysis.abnormal)
    assert [answer.label for answer in answers] == [*FINDINGS, "abnormal"]
    for k, answer in enumerate(answers):
        line = manifest.calibration.slope[k] * logits[k] + manifest.calibration.intercept[k]
        assert answer.logit == pytest.approx(logits[k], abs=1e-5)
        assert answer.probability == pytest.approx(1 / (1 + math.exp(-line)), abs=1e-5)
        assert answer.threshold == manifest.thresholds.values[k]
        assert len(answer.members) == manifest.model.members
    assert analysis.versions.model == f"{manifest.id} {manifest.version}"
    assert analysis.versions.policy == kit.policy.version
    assert set(analysis.timings_ms) == {"decode", "gate", "preprocess", "classify", "decide"}


def test_a_dicom_film_brings_its_study(kit):
    made = dataset(blobs(2).astype(np.uint16) * 16, PatientID="P-1", PatientAge="071Y", ViewPosition="AP")
    analysis = analyse(as_bytes(made), kit, now=NOW)
    assert analysis.refusal is None
    assert (analysis.study.patient_id, analysis.study.age_years) == ("P-1", 71)
    assert "ap_view" in [note.code for note in analysis.gate.notes]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty_file"),
        (b"hello", "unknown_format"),
        (png(1)[:-60], "broken_image"),
        (b"%PDF-1.7", "unsupported_format"),
        (as_bytes(dataset(blobs(2), Modality="CT")), "wrong_modality"),
        (as_bytes(dataset(np.full((200, 200), 7, np.uint8))), "blank_image"),
    ],
)
def test_what_is_no_film_is_refused_not_raised(kit, raw, code):
    analysis = analyse(raw, kit, now=NOW)
    assert analysis.refusal is not None
    assert analysis.refusal.code == code
    assert analysis.gate.outcome is GateOutcome.REFUSED
    assert analysis.gate.codes == (code,)
    assert (analysis.triage.state, analysis.triage.urgency) == (State.REFUSED, Urgency.REVIEW)
    assert analysis.predictions == ()
    assert analysis.abnormal is None
    assert len(analysis.sha256) == 64
    with pytest.raises(Rejected, match=code):
        heatmaps(analysis, kit)


def test_a_photograph_is_refused_and_can_still_be_looked_at(kit):
    analysis = analyse(photograph(1), kit, now=NOW)
    assert analysis.gate.codes == ("not_radiograph",)
    assert analysis.radiograph is not None
    assert analysis.radiograph.pixels.shape == (96, 120)


def test_a_film_refused_by_the_gate_still_says_whose_it_is(kit):
    analysis = analyse(as_bytes(dataset(np.full((200, 200), 7, np.uint8), PatientID="P-1")), kit, now=NOW)
    assert analysis.study.patient_id == "P-1"
    assert analysis.radiograph is not None


@pytest.mark.parametrize("step", ["decode", "network_input", "decide"])
def test_a_fault_in_any_step_is_a_refusal_without_patient_data(kit, step, monkeypatch, caplog):
    def fault(*_: Any, **__: Any) -> Any:
        raise RuntimeError("DOE^JOHN")

    monkeypatch.setattr(pipeline, step, fault)
    with caplog.at_level(logging.DEBUG):
        analysis = analyse(png(1), kit, now=NOW)
    assert analysis.refusal == pipeline.INTERNAL
    assert analysis.triage.state is State.REFUSED
    assert "RuntimeError" in caplog.text
    assert "DOE" not in caplog.text + repr(analysis)


@pytest.mark.parametrize("answer", [None, np.nan, np.inf, -np.inf])
def test_a_network_that_fails_or_answers_no_number_never_reads_as_normal(kit, answer, caplog):
    analysis = analyse(png(1), faulty(kit, lambda film: True, answer), now=NOW)
    assert analysis.refusal == pipeline.INTERNAL
    assert analysis.triage.state is State.REFUSED
    assert "DOE" not in caplog.text


def test_one_film_that_breaks_the_network_leaves_the_others_their_answers(kit):
    raws = [png(seed) for seed in range(6)]
    poison = network_input(decode(raws[3], kit.limits).pixels, kit.classifier.manifest.preprocessing)
    broken = faulty(kit, lambda films: any(np.array_equal(film, poison) for film in films))
    results = list(analyse_many(raws, broken, now=NOW, batch=6))
    assert [result.refusal for result in results] == [None] * 3 + [pipeline.INTERNAL] + [None] * 2
    for raw, result in zip(raws, results, strict=True):
        if result.refusal is None:
            assert_same(result, analyse(raw, kit, now=NOW))


def test_c1_same_bytes_same_analysis_alone_or_in_a_batch_of_16_with_1_or_8_threads(tiny_model):
    raws = [png(seed) for seed in range(14)] + [b"", as_bytes(dataset(blobs(3), PatientAge="005Y"))]
    kits = [
        load_kit(Settings(model=tiny_model.name, models_dir=tiny_model.parent, threads=threads))
        for threads in (1, 8)
    ]
    alone = [analyse(raw, kits[0], now=NOW) for raw in raws]
    assert len({result.triage.state for result in alone}) >= 2, "the films must not all read alike"
    for kit in kits:
        for threads in (1, 8):
            batch = analyse_many(raws, kit, now=NOW, batch=16, threads=threads)
            for one, other in zip(alone, batch, strict=True):
                assert_same(one, other)
        with ThreadPoolExecutor(8) as pool:
            for one, other in zip(alone, pool.map(partial(analyse, kit=kit, now=NOW), raws), strict=True):
                assert_same(one, other)


@pytest.mark.real_data
def test_c1_holds_for_the_bundled_model_on_real_films(data_dir):
    chosen = Settings()
    if not (chosen.models_dir / chosen.model / "manifest.toml").exists():
        pytest.skip("the bundled model is not there yet")
    raws = [path.read_bytes() for path in sorted((data_dir / "nih" / "images").glob("*.png"))[:16]]
    kits = [load_kit(replace(chosen, threads=threads)) for threads in (1, 8)]
    alone = [analyse(raw, kits[0], now=NOW) for raw in raws]
    for kit in kits:
        for one, other in zip(alone, analyse_many(raws, kit, now=NOW, batch=16, threads=8), strict=True):
            assert_same(one, other)


def with_thresholds(kit: Kit, values: list[float]) -> Kit:
    manifest = kit.classifier.manifest
    thresholds = replace(manifest.thresholds, values=tuple(values))
    return replace(kit, classifier=replace(kit.classifier, manifest=replace(manifest, thresholds=thresholds)))


@SHARED_FIXTURES
@given(st.lists(st.booleans(), min_size=15, max_size=15), st.integers(0, 13), st.integers(0, 3))
def test_c3_adding_a_positive_finding_never_lowers_urgency(kit, positive, added, seed):
    before = analyse(png(seed), with_thresholds(kit, [1e-9 if p else 1.0 for p in positive]), now=NOW)
    more = [p or k == added for k, p in enumerate(positive)]
    after = analyse(png(seed), with_thresholds(kit, [1e-9 if p else 1.0 for p in more]), now=NOW)
    assert after.triage.urgency.rank <= before.triage.urgency.rank
    assert set(before.triage.findings) <= set(after.triage.findings)
    assert after.triage.state is State.FLAGGED


class Without:
    """An ONNX Runtime session whose network lacks one label."""

    def __init__(self, session: Any, label: int) -> None:
        self.session, self.label = session, label

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        logits, features = self.session.run(names, feed)
        return [np.delete(logits, self.label, axis=2), features]


@pytest.mark.parametrize("missing", range(15))
def test_c3_a_missing_finding_never_reads_as_normal(kit, missing):
    agreeing = replace(kit.policy, disagreement=replace(kit.policy.disagreement, spread=1.0))
    quiet = replace(with_thresholds(kit, [1.0] * 15), policy=agreeing)
    normal = next(
        raw
        for raw in map(png, range(40))
        if analyse(raw, quiet, now=NOW).triage.state is State.NO_DISEASE_DETECTED
    )
    manifest, table = quiet.classifier.manifest, quiet.classifier.calibration
    labels = tuple(np.delete(manifest.labels, missing).tolist())
    lacking = replace(
        quiet,
        classifier=replace(
            quiet.classifier,
            manifest=replace(
                manifest,
                model=replace(manifest.model, labels=labels),
                thresholds=replace(manifest.thresholds, values=(1.0,) * 14),
            ),
            calibration=replace(
                table, slope=np.delete(table.slope, missing), intercept=np.delete(table.intercept, missing)
            ),
            session=Without(quiet.classifier.session, missing),
        ),
    )
    analysis = analyse(normal, lacking, now=NOW)
    assert manifest.labels[missing] in analysis.triage.not_assessed
    assert analysis.triage.state is State.UNABLE_TO_CLASSIFY
    assert analysis.triage.urgency is Urgency.REVIEW


@SHARED_FIXTURES
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\0" * 128 + b"DICM"]),
)
def test_c3_refused_never_sorts_as_routine_and_no_bytes_raise(kit, tail, head):
    analysis = analyse(head + tail, kit, now=NOW)
    assert analysis.triage.state is State.REFUSED
    assert analysis.triage.urgency is Urgency.REVIEW
    assert analysis.refusal != pipeline.INTERNAL


@SHARED_FIXTURES
@given(st.data())
def test_a_damaged_film_is_answered_or_refused_but_never_raises(kit, data):
    raw = bytearray(data.draw(st.sampled_from([png(1), as_bytes(dataset(blobs(2)))])))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    analysis = analyse(bytes(raw[: data.draw(st.integers(0, len(raw)))]), kit, now=NOW)
    assert (analysis.refusal is None) == (len(analysis.predictions) == 14)
    assert analysis.refusal != pipeline.INTERNAL


@pytest.mark.parametrize(("ahead", "noted"), [(timedelta(0), False), (timedelta(days=3), True)])
def test_a_film_from_the_future_is_noted(kit, ahead, noted):
    day = (NOW + ahead).strftime("%Y%m%d")
    raw = as_bytes(dataset(blobs(2), AcquisitionDate=day, AcquisitionTime="100000"))
    analysis = analyse(raw, kit, now=NOW)
    assert analysis.refusal is None
    assert ("date_in_future" in [note.code for note in analysis.gate.notes]) is noted
    assert analysis.gate.outcome is GateOutcome.ACCEPTED


def test_heatmaps_come_for_every_label_and_follow_the_logit(kit):
    """Reference: the mean of one map, its ReLU left out, is the logit without its bias."""
    analysis = analyse(png(1), kit, now=NOW)
    maps = heatmaps(analysis, kit)
    assert tuple(maps) == kit.classifier.manifest.labels
    assert analysis.features is not None
    raw = np.einsum("mlc,mchw->lhw", kit.classifier.heads.weight, analysis.features)
    raw /= analysis.features.shape[0] * raw[0].size
    for label, expected in zip(maps, raw, strict=True):
        np.testing.assert_allclose(maps[label], np.maximum(expected, 0), atol=1e-5)


def test_a_kit_is_refused_when_model_or_policy_is_not_there(tiny_model, tmp_path):
    with pytest.raises(ModelError):
        load_kit(Settings(model="none", models_dir=tiny_model.parent))
    with pytest.raises(PolicyError):
        load_kit(Settings(model="tiny", models_dir=tiny_model.parent, policy=tmp_path / "none.toml"))
    assert (ROOT / "config" / "policy.toml").is_file()
