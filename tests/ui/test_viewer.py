from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cxr_core.imaging.overlay import FIELD_PX
from cxr_core.ui import viewer
from tests.reports import analyses
from tests.reports.analyses import POLICY


def payload(analysis=None, evaluation=None):
    analysis = analysis or analyses.flagged()
    return viewer.payload(analysis, POLICY, analyses.heatmaps(analysis), evaluation or {})


def picture(address: str) -> np.ndarray:
    assert address.startswith("data:image/png;base64,")
    return np.asarray(Image.open(BytesIO(b64decode(address.split(",")[1]))))


def test_the_browser_gets_the_film_exactly() -> None:
    analysis = analyses.flagged()
    assert analysis.radiograph is not None
    shown = picture(payload(analysis)["film"])
    assert shown.dtype == np.uint8
    assert np.abs(shown / 255 - analysis.radiograph.pixels).max() <= 0.5 / 255 + 1e-6


def test_each_finding_finds_its_own_tile_with_the_peak_where_the_model_looked() -> None:
    made = payload()
    stack = picture(made["heat"])
    for finding in made["findings"]:
        if finding["tile"] is None:
            continue
        tile = stack[finding["tile"] * FIELD_PX : (finding["tile"] + 1) * FIELD_PX]
        row, column = np.unravel_index(tile.argmax(), tile.shape)
        heatmap = analyses.heatmaps(analyses.flagged())[finding["label"]]
        expected = np.unravel_index(heatmap.argmax(), heatmap.shape)
        assert (row // (FIELD_PX / 10), column // (FIELD_PX / 10)) == expected
        lines = np.array(finding["lines"]).reshape(-1, 2)
        assert lines.mean(axis=0) == pytest.approx(
            [(expected[1] + 0.5) / 10, (expected[0] + 0.5) / 10], abs=0.03
        )


def test_another_answer_to_the_same_film_has_another_id() -> None:
    """The browser keeps heatmaps under their id."""
    one, analysis = payload()["id"], analyses.flagged()
    assert payload()["id"] == one
    maps = {label: np.roll(heatmap, 3) for label, heatmap in analyses.heatmaps(analysis).items()}
    assert viewer.payload(analysis, POLICY, maps, {})["id"] != one


def test_positive_findings_lead_and_abnormal_can_be_chosen_last() -> None:
    labels = [finding["label"] for finding in payload()["findings"]]
    assert labels[:2] == ["Effusion", "Consolidation"]
    assert labels[-1] == "abnormal"
    assert len(labels) == 15


def test_a_finding_without_region_says_so() -> None:
    hernia = next(finding for finding in payload()["findings"] if finding["label"] == "Hernia")
    assert hernia["tile"] is None
    assert hernia["note"].startswith("No single place")
    assert "No single place of the film stands out" in hernia["caption"]


def test_the_caption_says_how_often_the_peak_was_right_or_that_nobody_measured() -> None:
    measured = {"localisation_Effusion_inside": 5.0, "localisation_Effusion_films": 17.0}
    first, second, *_ = payload(evaluation=measured)["findings"]
    assert "peak fell inside the radiologist's box: 5 of 17 test films" in first["caption"]
    assert "peak fell inside the radiologist's box: not measured" in second["caption"]
    assert "where the model looked, not where disease is" in first["caption"]


def test_a_film_called_clear_starts_without_heatmap_and_a_doubtful_one_with_abnormal() -> None:
    assert payload(analyses.clear())["opacity"] == 0.0
    unable = payload(analyses.unable())
    assert unable["findings"][unable["start"]]["label"] == "abnormal"
    assert unable["opacity"] > 0


def test_where_nothing_is_positive_no_heatmap_comes_up_by_itself() -> None:
    warned = payload(analyses.only_warned())
    assert warned["opacity"] == 0.0
    assert warned["start"] == 0


def test_no_patient_text_reaches_the_viewer() -> None:
    assert "SECRET" not in repr(payload(analyses.named(analyses.flagged(), "SECRET")))


def test_a_refused_film_is_shown_as_it_came() -> None:
    refused = replace(analyses.refused(), radiograph=analyses.film())
    made = viewer.payload(refused, POLICY, {}, {})
    assert made["findings"] == []
    assert made["heat"] == ""
    assert "did not look" in made["caption"]
    with pytest.raises(ValueError, match="no film"):
        viewer.payload(analyses.refused(), POLICY, {}, {})


def test_large_films_are_shrunk_for_the_browser() -> None:
    large = replace(analyses.flagged(), radiograph=analyses.film(3000, 1500))
    shown = picture(viewer.payload(large, POLICY, {}, {})["film"])
    assert shown.shape == (2048, 1024)
