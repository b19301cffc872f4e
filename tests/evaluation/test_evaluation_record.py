"""An evaluation: the card's own figures and more, as JSON that keeps its form and knows its tables."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from cxr_core.domain import ABNORMAL
from cxr_core.evaluation import report
from cxr_core.evaluation.measure import measure
from cxr_core.evaluation.record import FEW, NO_THRESHOLD, Evaluation, Finding
from cxr_core.evaluation.scored import read_scored
from cxr_core.inference.manifest import read_manifest
from cxr_core.settings import ROOT, Settings
from cxr_core.triage.policy import load_policy

FOLDER = ROOT / "models" / Settings().model
POLICY = load_policy(ROOT / "config" / "policy.toml")


@pytest.fixture(scope="module")
def scored():
    return read_scored(FOLDER, "test")


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def evaluation(scored, told):
    return report.evaluate(scored, resamples=40, policy=POLICY, on_progress=told.append)


@pytest.fixture
def folder(tmp_path):
    """A model folder without its network: what `evaluate` needs."""
    target = tmp_path / FOLDER.name
    shutil.copytree(FOLDER, target, ignore=shutil.ignore_patterns("*.onnx", "*.safetensors", "*.json"))
    return target


def test_its_means_and_areas_are_those_of_the_card(scored, evaluation):
    table = scored.table.assign(sex="", age=np.nan)
    card = measure(table, scored.probabilities, scored.rules, resamples=40)
    assert (evaluation.macro.auc, evaluation.macro.ap) == (card.auc, card.ap)
    assert evaluation.macro.findings == card.averaged
    for label, one in card.each.items():
        found = evaluation.of(label)
        assert (found.n, found.n_pos) == (one.films, one.positives)
        if not one.few:
            assert (found.auc, found.ap, found.error) == (one.auc, one.ap, one.error)
            assert found.naive_error == one.naive_error
            assert found.sensitivity.value == pytest.approx(one.sensitivity.share, abs=1e-12)
            assert found.specificity.value == pytest.approx(one.specificity.share, abs=1e-12)
            assert found.ppv.value == pytest.approx(one.precision.share, abs=1e-12)


def test_rates_and_averages_are_those_of_scikit_learn(scored, evaluation):
    scores, truth = scored.column("Effusion")
    found = evaluation.findings["Effusion"]
    called = scores >= found.threshold
    assert found.f1.value == pytest.approx(sk.f1_score(truth, called), abs=1e-9)
    assert found.npv.value == pytest.approx(sk.precision_score(truth, called, pos_label=0), abs=1e-9)
    assert found.brier == pytest.approx(sk.brier_score_loss(truth, scores), abs=1e-9)
    known = ~np.isnan(scored.truth[:, :-1])  # abnormal is the last
    pooled = scored.truth[:, :-1][known], scored.probabilities[:, :-1][known]
    assert evaluation.micro.auc.value == pytest.approx(sk.roc_auc_score(*pooled), abs=1e-9)
    assert evaluation.micro.ap.value == pytest.approx(sk.average_precision_score(*pooled), abs=1e-9)
    each = [sk.roc_auc_score(scored.column(x)[1], scored.column(x)[0]) for x in evaluation.macro.findings]
    hernia = sk.roc_auc_score(scored.column("Hernia")[1], scored.column("Hernia")[0])
    assert evaluation.macro.auc.value == pytest.approx(np.mean(each), abs=1e-9)
    assert evaluation.macro_with_hernia.auc.value == pytest.approx(np.mean([*each, hernia]), abs=1e-9)


def test_the_naive_model_s_precision_is_the_share_of_films_or_of_cells_with_a_finding(evaluation):
    few, many = Finding(10, 1), Finding(40, 30)
    found = replace(evaluation, findings=evaluation.findings | {"Mass": few, "Effusion": many})
    both = replace(evaluation.macro, findings=("Mass", "Effusion"))
    assert (few.naive_ap, many.naive_ap) == (0.1, 0.75)
    assert found.naive_macro_ap(both) == pytest.approx(0.425)
    assert replace(found, micro=both).naive_micro_ap == pytest.approx(31 / 50)
    assert np.isnan(Finding(0, 0).naive_ap)


def test_every_value_lies_within_its_interval(evaluation):
    for label in (*evaluation.findings, ABNORMAL):
        for name in ("auc", "ap", "sensitivity", "specificity", "ppv", "npv", "error", "f1"):
            value = getattr(evaluation.of(label), name)
            assert value is None or value.low <= value.value <= value.high, (label, name)


def test_few_films_and_thresholds_out_of_reach_say_so(scored, evaluation):
    hernia = evaluation.findings["Hernia"]
    assert hernia == Finding(hernia.n, hernia.n_pos, hernia.threshold, reason=FEW)
    points = tuple(1.01 if x == "Mass" else t for x, t in
                   zip(scored.labels, scored.rules.thresholds, strict=True))  # fmt: skip
    other = replace(scored, rules=replace(scored.rules, thresholds=points))
    mass = report.evaluate(other, resamples=5).findings["Mass"]
    assert (mass.reason, mass.threshold, mass.sensitivity, mass.flip_rate) == (NO_THRESHOLD, None, None, None)
    assert mass.auc is not None


def test_few_films_of_hernia_are_in_no_mean_and_one_patient_gives_no_figure(scored):
    rare = scored.pick((scored.truth[:, scored.labels.index("Hernia")] != 1) | (scored.table.index % 3 == 0))
    rare.truth[np.flatnonzero(rare.truth[:, scored.labels.index("Hernia")] == 1)[4:], :] = np.nan
    assert report.evaluate(rare, resamples=5).macro_with_hernia is None
    alone = replace(scored, table=scored.table.assign(patient=1))
    found = report.evaluate(alone, resamples=5)
    assert (found.macro.auc, found.micro.ap, found.macro_with_hernia.auc) == (None, None, None)
    assert {each.reason for each in found.findings.values()} == {FEW}
    json.dumps(found.to_json(), allow_nan=False)


def test_what_is_cleared_more_boldly_misses_more(evaluation):
    coverage, risk, doubt = np.array(evaluation.risk_coverage).T
    assert coverage[0] == 1
    assert (np.diff(coverage) < 0).all()
    assert (np.diff(doubt) <= 0).all()
    assert ((risk >= 0) & (risk <= 1)).all()


def test_progress_is_told_up_to_the_end(evaluation, told):
    assert told == sorted(told)
    assert told[-1] == 1


def test_json_gives_back_the_same_evaluation(evaluation):
    text = json.dumps(evaluation.to_json(), allow_nan=False)
    again = Evaluation.from_json(json.loads(text))
    assert again.to_json() == evaluation.to_json()
    assert again.worklist.report == evaluation.worklist.report
    assert again.worklist.doubt.caught.errors == evaluation.worklist.doubt.caught.errors
    assert again.of("Mass").auc.low == pytest.approx(evaluation.of("Mass").auc.low, abs=1e-9)


def test_the_documented_keys_are_those_that_are_written(evaluation):
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    record = evaluation.to_json()

    def documented(heading):
        section = page.split(f"### {heading}\n")[1].split("\n###")[0].split("\n## ")[0]
        return [key for line in section.splitlines() if line.startswith("| `")
                for key in re.findall(r"`(\w+)`", line.split("|")[1])]  # fmt: skip

    assert documented("An evaluation") == list(record)
    assert documented("A finding") == list(record["findings"]["Mass"]) == list(record["abnormal"])
    assert documented("An average") == list(record["micro"]) == list(record["macro"])
    assert documented("A worklist") == list(record["worklist"])
    for keys in (record["worklist"]["doubt"], *record["worklist"]["doubt"]["states"].values()):
        assert [key for key in keys if f"`{key}`" not in page] == []


def test_what_was_kept_before_the_states_were_measured_is_still_read(evaluation):
    record = evaluation.to_json()
    del record["worklist"]["doubt"]
    assert Evaluation.from_json(record).worklist.doubt is None


def test_another_schema_is_refused(evaluation):
    with pytest.raises(ValueError, match="schema 2"):
        Evaluation.from_json(evaluation.to_json() | {"schema": 1})


def test_what_was_written_is_found_again_as_long_as_tables_and_thresholds_are_the_same(folder):
    manifest = read_manifest(folder)
    made = report.write_all(folder, manifest, POLICY, resamples=5)
    assert list(made) == ["val", "test"]
    test = read_scored(folder, "test")
    found = report.stored(folder, "test", test)
    assert found is not None
    assert found.to_json() == made["test"].to_json()
    points = tuple(0.5 for _ in test.labels)
    assert report.stored(folder, "test", replace(test, rules=replace(test.rules, thresholds=points))) is None
    assert report.stored(folder, "test", replace(test, model="another 1.0.0")) is None
    members = folder / "evaluation" / "members-test.csv"
    members.write_text(members.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert report.stored(folder, "test", test) is None
    assert report.stored(folder, "val", read_scored(folder, "val")) is not None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}'])
def test_a_damaged_evaluation_is_none(folder, text):
    report.path_of(folder, "val").write_text(text, encoding="utf-8")
    assert report.stored(folder, "val", read_scored(folder, "val")) is None


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_bundled_evaluation_is_of_the_bundled_tables(split):
    found = report.stored(FOLDER, split, read_scored(FOLDER, split))
    assert found is not None, "run cxr evaluate cxr14-mobilenetv2 --write"
    figures = read_manifest(FOLDER).evaluation
    stated = [figures[f"{split}_auc{end}"] for end in ("", "_low", "_high")]
    auc = found.macro.auc
    assert [auc.value, auc.low, auc.high] == pytest.approx(stated, abs=1e-6)
