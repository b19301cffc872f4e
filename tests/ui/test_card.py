from dataclasses import replace
from html.parser import HTMLParser

import pytest

from cxr_core.domain import Analysis, Gate, GateOutcome, Notice
from cxr_core.imaging.refusals import refusal
from cxr_core.triage.decide import refuse
from cxr_core.ui import card
from tests.reports import analyses
from tests.reports.analyses import POLICY


class Text(HTMLParser):
    """All text and all tags of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def texts(html: str) -> list[str]:
    return Text(html).text


@pytest.mark.parametrize(
    ("analysis", "due", "headline", "beneath"),
    [
        (analyses.flagged(), "URGENT · read within 2 h", "Findings to check", "by the model; a suggestion"),
        (
            analyses.clear(),
            "ROUTINE · read within 72 h",
            "No disease detected",
            "by the model; not a rule-out",
        ),
        (
            analyses.unable(),
            "REVIEW · read within 2 h",
            "Anomalies found – unable to classify",
            "Abnormal 0.90",
        ),
        (
            analyses.only_warned(),
            "REVIEW · read within 2 h",
            "Unable to classify – a person must look",
            "The heart seems",
        ),
        (
            analyses.refused(),
            "REVIEW · read within 2 h",
            "Not assessed – a person must look",
            "The file cannot",
        ),
    ],
)
def test_banner_says_word_shape_wait_headline_and_why(
    analysis: Analysis, due: str, headline: str, beneath: str
) -> None:
    shape, *lines = texts(card.urgency_html(analysis, POLICY))
    assert shape in "▲◆?●○"
    assert lines[:2] == [due, headline]
    assert lines[2].startswith(beneath)


def test_findings_show_all_fourteen_with_the_positive_ones_first() -> None:
    html = card.findings_html(analyses.flagged(), POLICY)
    said = texts(html)
    assert said.index("Effusion") < said.index("Consolidation") < said.index("Pneumothorax")
    assert html.count('role="img"') == 14
    assert html.count("row positive") == 2
    assert "+ 5 more below threshold" in said


def test_a_bar_is_as_long_as_the_root_of_its_probability_and_marked_at_its_threshold() -> None:
    analysis = analyses.flagged()
    effusion = next(p for p in analysis.predictions if p.label == "Effusion")
    html = card.row_html(effusion, POLICY, analysis)
    # Square roots of 0.71, 0.40 and 0.71 ± 0.014142.
    assert 'class="p" style="width:84.3%"' in html
    assert 'class="t" style="left:63.2%"' in html
    assert 'class="s" style="left:83.4%;width:1.7%"' in html
    assert "Effusion: probability 0.71, above threshold 0.40, spread 0.01" in html


def test_every_positive_finding_is_in_sight_however_many() -> None:
    html = card.findings_html(analyses.assessed(dict.fromkeys(POLICY.labels, 0.9)), POLICY)
    assert "<details" not in html
    assert html.count("row positive") == 14


def test_action_and_side_stand_together() -> None:
    said = " ".join(texts(card.action_html(analyses.flagged(), POLICY)))
    assert "Review today; ultrasound" in said
    assert "Side not assessed." in said


def test_actions_are_folded_only_for_findings_less_urgent_than_the_film() -> None:
    many = analyses.assessed(
        dict.fromkeys(["Edema", "Effusion", "Pneumonia", "Consolidation", "Mass", "Hernia"], 0.9)
    )
    shown, folded = card.action_html(many, POLICY).split("<details")
    assert [name in shown for name in ("Edema", "Effusion", "Pneumonia", "Consolidation")] == [True] * 4
    assert "Mass" not in shown
    assert "+ 2 for less urgent findings" in folded
    assert "Mass</b>" in folded


def test_a_refused_card_says_what_why_and_what_to_do() -> None:
    analysis = analyses.refused()
    action, why = texts(card.action_html(analysis, POLICY)), texts(card.reasons_html(analysis))
    assert action[0] == "WHAT TO DO"
    assert "Export the film again as DICOM or PNG." in action
    assert "The file cannot be read as a picture." in why
    assert "Code: unreadable" in why


def test_who_reads_a_refused_film_is_said_once() -> None:
    notice = refusal("cross_section")
    analysis = replace(analyses.refused(), refusal=notice, triage=refuse(POLICY, notice))
    said = texts(card.action_html(analysis, POLICY))
    assert said == ["WHAT TO DO", "Radiologist to read now: the model did not assess this film."]


def test_what_the_gate_warned_of_stands_before_the_findings() -> None:
    gate = analyses.only_warned().gate
    analysis = analyses.assessed({"Effusion": 0.71, "Consolidation": 0.48}, gate=gate)
    assert texts(card.reasons_html(analysis)) == [
        "WHY",
        "The heart seems to lie on the patient's right.",
        "Effusion 0.71, threshold 0.40 · Consolidation 0.48, threshold 0.40",
        "An AP view.",
        "Gate: warned",
    ]


def test_versions_stand_at_the_foot() -> None:
    said = " ".join(texts(card.foot_html(analyses.flagged(), POLICY)))
    assert f"model cxr14-mobilenetv2 1.0.0 · policy 1.0.0 · gate {analyses.GATE} · code 0.1.0" in said
    assert "tension pneumothorax" in said


def test_text_from_the_gate_never_becomes_markup() -> None:
    hostile = '<img src=x onerror="alert(1)">'
    gate = Gate(GateOutcome.WARNED, (Notice("odd", hostile, hostile),))
    analysis = analyses.assessed({}, gate=gate)
    for html in (
        card.urgency_html(analysis, POLICY),
        card.action_html(analysis, POLICY),
        card.reasons_html(analysis),
    ):
        assert "img" not in Text(html).tags
        assert hostile in " ".join(texts(html))
