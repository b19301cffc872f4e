import logging
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pypdfium2 as pdfium
import pytest
from PIL import Image

from cxr_core.domain import Analysis, Urgency
from cxr_core.reports import page, picture
from cxr_core.reports.words import Whole
from tests.reports import analyses
from tests.reports.analyses import POLICY

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
HOSTILE = ("<b>x</b>", "![x](http://evil.example/x)", "**bold** __u__", "a\nb\x00\x1b[31mc", "=1+1", "{nb}")


def text_of(analysis: Analysis, whole: Whole | None = None) -> str:
    heatmaps = analyses.heatmaps(analysis) if analysis.predictions else {}
    made = page.report(analysis, POLICY, heatmaps, evaluation={}, now=NOW, whole=whole)
    document = pdfium.PdfDocument(made)
    try:
        assert len(document) == 1
        return str(document[0].get_textpage().get_text_bounded())
    finally:
        document.close()


def test_one_page_with_the_card_in_its_order() -> None:
    text = text_of(analyses.flagged())
    parts = [
        "PATIENT, Example",
        "URGENT · read within 2 h",
        "SUGGESTED ACTION",
        "FINDINGS",
        "square-root scale | threshold ▬ spread",
        "0.71 / 0.40",
        "WHY",
    ]
    places = [" ".join(text.split()).index(part) for part in parts]
    assert places == sorted(places)
    assert "Side not assessed" in text
    assert "not measured" in text
    assert f"policy 1.0.0 · gate {analyses.GATE} · code" in text


def test_a_page_of_one_film_says_what_its_study_says() -> None:
    said = "Urgency set by Dr Lind: “seen at the bedside”"
    text = text_of(analyses.clear(), Whole(1, 2, Urgency.CRITICAL, apart=True, said=said))
    assert "This film alone: ○ ROUTINE · read within 72 h" in text
    assert "Film 1 of 2. The whole study: ▲ CRITICAL · read within 15 min" in text
    assert said in text
    alike = text_of(analyses.clear(), Whole(2, 2, Urgency.ROUTINE, apart=False, said=""))
    assert "alone" not in alike
    assert "Film 2 of 2. The whole study: ○ ROUTINE" in alike


def test_the_picture_of_one_film_has_lines_for_its_study() -> None:
    analysis = analyses.clear()
    plain, told = (
        Image.open(BytesIO(picture.annotated(analysis, POLICY, {}, whole)))
        for whole in (None, Whole(1, 2, Urgency.CRITICAL, apart=True, said="Pneumothorax on another film"))
    )
    assert told.width == plain.width
    assert told.height > plain.height + 20


@pytest.mark.parametrize(
    ("analysis", "headline"),
    [
        (analyses.clear(), "No disease detected"),
        (analyses.unable(), "Anomalies found – unable to classify"),
        (analyses.only_warned(), "Unable to classify – a person must look"),
        (analyses.refused(), "Not assessed – a person must look"),
    ],
)
def test_every_state_says_its_headline(analysis: Analysis, headline: str) -> None:
    assert headline in text_of(analysis)


def test_a_refused_file_says_why_and_what_to_do() -> None:
    text = text_of(analyses.refused())
    assert "The file cannot be read as a picture." in text
    assert "Export the film again" in text
    assert "FINDINGS" not in text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_patient_text_is_printed_literally(hostile: str) -> None:
    text = text_of(analyses.named(analyses.flagged(), hostile))
    assert page.printable(hostile).strip("�") in text


def test_long_text_keeps_to_one_page_and_keeps_the_urgency() -> None:
    text = text_of(analyses.named(analyses.flagged(), "Wolfeschlegelsteinhausenbergerdorff " * 80))
    assert "URGENT" in text
    assert "…" in text


def test_names_beyond_the_font_are_marked_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    text = text_of(analyses.named(analyses.flagged(), "山田, Łukasz Ωμέγα"))
    assert "��, Łukasz Ωμέγα" in text.replace("\ufffe", "�")
    assert "山" not in caplog.text


def test_the_annotated_picture_marks_where_the_finding_is() -> None:
    analysis = analyses.flagged()
    heatmaps = analyses.heatmaps(analysis)
    film = np.asarray(picture.marked_film(analysis, POLICY, heatmaps, (300, 300)))
    spread = film.max(axis=2).astype(int) - film.min(axis=2)
    rows, columns = np.argwhere(spread > 60).T
    # Effusion is cell (6, 2) and Consolidation cell (4, 8) of ten by ten.
    left = columns < film.shape[1] / 2
    assert columns[left].mean() / film.shape[1] == pytest.approx(0.25, abs=0.05)
    assert columns[~left].mean() / film.shape[1] == pytest.approx(0.85, abs=0.05)
    assert rows.min() / film.shape[0] > 0.3


def test_a_finding_without_region_is_said_and_not_drawn() -> None:
    analysis = analyses.assessed({"Hernia": 0.9})
    heatmaps = analyses.heatmaps(analysis)
    plain = np.asarray(picture.marked_film(analysis, POLICY, heatmaps, (300, 300)))
    assert (plain.max(axis=2) == plain.min(axis=2)).all()
    with_word = Image.open(BytesIO(picture.annotated(analysis, POLICY, heatmaps)))
    without = Image.open(BytesIO(picture.annotated(analysis, POLICY, {})))
    assert with_word.height > without.height


def test_only_a_picture_with_a_heatmap_speaks_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    strip = picture._strip
    monkeypatch.setattr(picture, "_strip", lambda *a: lines.extend(each[0] for each in a[2]) or strip(*a))
    for analysis in (analyses.clear(), analyses.unable(), analyses.assessed({"Hernia": 0.9})):
        picture.annotated(analysis, POLICY, analyses.heatmaps(analysis))
        assert POLICY.texts.heatmap not in lines
    picture.annotated(analyses.flagged(), POLICY, analyses.heatmaps(analyses.flagged()))
    assert POLICY.texts.heatmap in lines


def test_a_page_speaks_of_a_heatmap_only_where_one_is_drawn_and_of_that_finding() -> None:
    begins = POLICY.texts.heatmap[:20]
    none = text_of(analyses.assessed({"Hernia": 0.9}))
    assert begins not in none
    assert "Hernia: " in none
    both = text_of(analyses.assessed({"Hernia": 0.9, "Effusion": 0.9}))
    assert begins in both
    assert "Effusion: peak" in both
    assert "Hernia: peak" not in both


def test_what_a_heatmap_does_not_say_stays_whole_however_many_have_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flat = np.zeros((10, 10), dtype=np.float32)
    labels = ["Hernia", "Mass", "Nodule", "Fibrosis", "Edema"]
    analysis = analyses.assessed(dict.fromkeys(["Effusion", *labels], 0.9))
    made = analyses.heatmaps(analysis) | dict.fromkeys(labels, flat)
    monkeypatch.setattr(analyses, "heatmaps", lambda _: made)
    text = " ".join(text_of(analysis).split())
    assert POLICY.texts.heatmap in text
    assert POLICY.texts.side in text
    assert all(label in text for label in labels)
    assert "stands out for this finding" in text


def test_a_refused_film_without_pixels_has_no_picture() -> None:
    with pytest.raises(ValueError, match="no film"):
        picture.annotated(analyses.refused(), POLICY, {})


def test_reports_import_neither_matplotlib_nor_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, cxr_core.reports.page, cxr_core.reports.fonts as f; f.font(); print(sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "'matplotlib'" not in done.stdout
    assert "'torch'" not in done.stdout
