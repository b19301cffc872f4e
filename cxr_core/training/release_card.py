"""The model card, written from what was measured (Mitchell 2019)."""

from __future__ import annotations

import math

from cxr_core.domain import ABNORMAL, FINDINGS, State, Urgency
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.training.calibrate import FEW_POSITIVES
from cxr_core.training.measure import Measured
from cxr_core.triage.budget import Rate, Report

ATTRIBUTION = (
    "NIH ChestX-ray14, NIH Clinical Center; Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM: "
    "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks, CVPR 2017"
)

INTRODUCTION = """# cxr14-mobilenetv2

Four MobileNetV2 networks answer side by side for the 14 findings of NIH ChestX-ray14 and for *abnormal*
(any of them). **Not a medical device.** It sorts a worklist; it does not rule a disease out.

## What it is for

Sorting frontal chest radiographs of adults by urgency, each read by a radiologist afterwards. It names no
side. It has no label for tension pneumothorax, pneumoperitoneum, misplaced tubes or fractures. Children,
lateral films and films other than chest radiographs are outside what it learned.

## What it sees

A film of any resolution is brought to 128 × 128 pixels (small nodules and thin pleural lines are lost
there), its grey values between the 0.5th and 99.5th percentile to [-1, 1], and enlarged to 160 × 160. The
last stage keeps stride 16, so heatmaps have 10 × 10 fields. Drains, wires and devices are confounders:
unmeasured.

## How it was made

Started from an ImageNet MobileNetV2 (Apache-2.0; stem and first three blocks stay frozen). Each member
learned from the official train list, 128- and 64-pixel films together, without the patients of its own fold
(4 folds by a hash of the patient number). Some 128-pixel films are blurred to 64 so that resolution tells
nothing. Films are turned, scaled, shifted, mirrored and re-exposed at random. Nothing was chosen on val or
test: the last epoch counts. `make model` makes it again.

**Pneumonia** is tied to one enriched source: 98 % of these films come from it. It is therefore learned and
scored within that source only (elsewhere the label is unknown). Its head is then made blind to the source:
the direction in which films without finding differ between the sources, view by view, is taken out of it.
Its probability is moved to the prevalence of the whole data set. How well its output still tells the source
apart stands below.

Calibration (Platt) and thresholds come from films that the answering member has not learned from: train
films through their fold's members, val films through all. Thresholds maximise sensitivity within the
policy's alert budget.
"""

LIMITS = f"""## Limits

* Labels were mined from reports; about one in ten is wrong, more for Pneumonia.
* Findings with fewer than {FEW_POSITIVES} films read "not enough data".
* The official test list is a sicker population than train and val (65 % against 38 % abnormal): shares of
  films per tier are larger there, and the budget, spent on train and val, does not hold. A site sets its
  own.
* Train and serving are of one hospital; no other was measured yet.

Data: {ATTRIBUTION}. Weights: Apache-2.0.
"""


def write_card(
    val: Measured, test: Measured, gain: Interval | None, budget_val: Report, budget_test: Report
) -> str:
    """Return the text of `card.md`."""
    parts = [
        INTRODUCTION,
        "## How well it does\n",
        "Area under the ROC curve, 95 % intervals by bootstrap over patients. "
        "`python -m cxr_core.training figures` prints these again from `evaluation/`.\n",
        areas_table(val, test),
    ]
    if gain is not None:
        verdict = "" if gain.low > 0 else ", so not shown to be better"
        parts.append(
            "\nAgainst one plain MobileNetV2 run on the same val films (no ensemble, no calibration), mean "
            f"over 12 findings, patients paired: {gain} more{verdict}.\n"
        )
    parts.append(
        "\nWithin AP and within PA, the Pneumonia output tells the source of films without findings with "
        f"AUC {val.source_leak:.2f} on val (0.5: not at all; below it: that source reads lower). On test it "
        "cannot be measured: all films of that source have Pneumonia there.\n"
    )
    parts += ["\n## What a worklist would see\n", budget_table(budget_val, budget_test), LIMITS]
    return "\n".join(parts)


def areas_table(val: Measured, test: Measured) -> str:
    """Return the table of areas as markdown."""
    heads = [
        f"{name} ({m.films} films, {m.patients} patients)"
        for name, m in (("val", val), ("official test", test))
    ]
    rows = [f"| | {heads[0]} | {heads[1]} |", "|---|---|---|"]
    rows.append(f"| **mean of 12** (without Hernia, Pneumonia) | {val.primary} | {test.primary} |")
    rows += [
        f"| {_named(label)} | {_cell(val, label)} | {_cell(test, label)} |" for label in (*FINDINGS, ABNORMAL)
    ]
    return "\n".join(rows) + "\n"


def budget_table(val: Report, test: Report) -> str:
    """Return shares per tier and state, sensitivities and misses as markdown."""
    rows = [f"| | val, {val.films} films | official test, {test.films} films |", "|---|---|---|"]
    rows += [
        f"| urgency {tier} | {_rate(val.urgency[tier])} | {_rate(test.urgency[tier])} |" for tier in Urgency
    ]
    quiet = State.NO_DISEASE_DETECTED
    rows += [
        f"| {text} | {_rate(on_val)} | {_rate(on_test)} |"
        for text, on_val, on_test in (
            ('"No disease detected"', val.state[quiet], test.state[quiet]),
            ("unable to classify", val.unable, test.unable),
            (
                "films with Pneumothorax (the critical finding) that became critical",
                val.critical,
                test.critical,
            ),
            ('**diseased films called "No disease detected"**', val.missed, test.missed),
        )
    ]
    rows += [
        f"| {label} found, of the films that have it | {_found(val, label)} | {_found(test, label)} |"
        for label in FINDINGS
    ]
    return "\n".join(rows) + "\n"


def _found(report: Report, label: str) -> str:
    rate = report.sensitivity[label]
    return _rate(rate) if rate.of >= FEW_POSITIVES else f"not enough data, {rate.count} of {rate.of}"


def _rate(rate: Rate) -> str:
    return f"{rate.share:.1%} ({rate.count} of {rate.of})" if rate.of else "none"


def _named(label: str) -> str:
    return f"{label}, within its source" if label == "Pneumonia" else label


def _cell(measured: Measured, label: str) -> str:
    count, area = measured.positives[label], measured.areas[label]
    if count < FEW_POSITIVES or math.isnan(area.value):
        return f"not enough data, n+ {count}"
    return f"{area}, n+ {count}"
