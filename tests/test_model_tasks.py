"""Card, report, JSON and `predict` follow the labels of the model, whatever its task."""

import csv
from dataclasses import replace
from datetime import UTC, datetime

import pypdfium2 as pdfium
import pytest

from cxr_core import batch
from cxr_core.domain import ABNORMAL, FINDINGS, State, Urgency
from cxr_core.evaluation.calibrate import UNREACHABLE
from cxr_core.inference.manifest import read_manifest
from cxr_core.pipeline import analyse, heatmaps, load_kit
from cxr_core.reports import page
from cxr_core.reports.record import as_record
from cxr_core.settings import Settings
from cxr_core.ui import card
from tests.films import png
from tests.inference.tiny import make_tiny_model, rewrite

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KINDS = {
    "binary": ("Effusion",),
    "multiclass": ("Effusion", "Mass", "Nodule"),
    "multilabel": ("Effusion", "Mass"),
    "abnormal only": (ABNORMAL,),
    "uncalibrated": (*FINDINGS, ABNORMAL),
}


@pytest.fixture(scope="module", params=KINDS, ids=lambda name: name.replace(" ", "-"))
def made(request, tmp_path_factory):
    """A kit of such a model with the labels that it assesses."""
    labels = KINDS[request.param]
    task = request.param if request.param == "multiclass" else ""
    folder = make_tiny_model(tmp_path_factory.mktemp("models"), labels=labels, task=task)
    if request.param == "uncalibrated":
        manifest = read_manifest(folder)
        never = replace(manifest.thresholds, values=(UNREACHABLE,) * len(labels))
        rewrite(folder, replace(manifest, thresholds=never))
    kit = load_kit(Settings(model="tiny", models_dir=folder.parent))
    return kit, labels, () if request.param == "uncalibrated" else labels


@pytest.fixture(scope="module")
def results(made):
    return [analyse(png(seed), made[0], now=NOW) for seed in range(12)]


def test_what_the_model_lacks_reads_not_assessed_and_no_film_is_called_free_of_disease(made, results):
    _, _, assessed = made
    for result in results:
        assert set(result.triage.not_assessed) == {*FINDINGS, ABNORMAL} - set(assessed)
        assert result.triage.state is not State.NO_DISEASE_DETECTED
        assert result.triage.urgency.rank <= Urgency.REVIEW.rank or result.triage.findings
        assert {each.label for each in result.predictions} == set(assessed) - {ABNORMAL}


def test_a_finding_is_one_that_reaches_its_own_threshold(results):
    for result in results:
        expected = {each.label for each in result.predictions if each.probability >= each.threshold}
        assert set(result.triage.findings) == expected


def test_the_json_form_holds_the_assessed_findings_alone(made, results):
    record = as_record(results[0], "film.png")
    assert {each["label"] for each in record["findings"]} == set(made[2]) - {ABNORMAL}
    assert (record["abnormal"] is None) == (ABNORMAL not in made[2])
    assert any("not assessed" in reason.lower() for reason in record["reasons"])


def test_the_card_and_the_report_name_what_was_not_assessed(made, results):
    kit, _, assessed = made
    html = card.findings_html(results[0], kit.policy)
    sheet = page.report(results[0], kit.policy, heatmaps(results[0], kit), evaluation={}, now=NOW)
    document = pdfium.PdfDocument(sheet)
    text = document[0].get_textpage().get_text_bounded()
    document.close()
    for shown in (html, text):
        assert "Not assessed: " in shown
        assert ("Pneumothorax" in shown.split("Not assessed: ")[1]) == ("Pneumothorax" not in assessed)
    assert html.count('class="value"') == len(results[0].predictions)


def test_predict_writes_the_models_labels_and_leaves_empty_what_is_not_assessed(made, tmp_path):
    kit, labels, assessed = made
    film = tmp_path / "film.png"
    film.write_bytes(png(3))
    batch.predict([film], kit, tmp_path / "out.csv", now=NOW)
    with (tmp_path / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row)[1:] == [label for label in labels if label != ABNORMAL] + [ABNORMAL] * (
        ABNORMAL in labels
    )
    assert [label for label in labels if row[label]] == list(assessed)


def test_multiclass_probabilities_sum_to_one_and_no_largest_one_wins(tmp_path):
    folder = make_tiny_model(tmp_path, labels=KINDS["multiclass"], task="multiclass")
    manifest = read_manifest(folder)
    rewrite(folder, replace(manifest, thresholds=replace(manifest.thresholds, values=(0.99,) * 3)))
    result = analyse(png(1), load_kit(Settings(model="tiny", models_dir=tmp_path)), now=NOW)
    assert sum(each.probability for each in result.predictions) == pytest.approx(1)
    assert result.triage.findings == ()
    assert result.triage.state is State.UNABLE_TO_CLASSIFY
