"""The fairness tab on films of the bundled model, without a browser: every control, every state."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest

from cxr_core.evaluation import fairness
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.scored import read_scored
from cxr_core.evaluation.subgroups import By
from cxr_core.settings import ROOT
from cxr_core.ui.perf_fairness_plots import LOOKS, Cell, Panel, forest, heat_map, said
from tests.ui.conftest import Home
from tests.ui.shown import html
from tests.ui.test_performance_page import chosen, opened, plots_of, with_tables
from tests.worklist.test_models import made

BUNDLED = ROOT / "models" / "cxr14-mobilenetv2"


@pytest.fixture
def app_home(tmp_path, tiny_app: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The app on one small model with a quarter of the bundled one's answers."""
    with_tables(made(tmp_path / "models", "one"))
    monkeypatch.setenv("CXR_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("CXR_MODEL", "one")
    tiny_app.service.close()
    return Home(tiny_app.folder)


def test_groups_stand_side_by_side_and_what_was_found_is_said(app_home: Home) -> None:
    app = opened("Fairness")
    words = html(app)
    assert "would by chance" in words
    assert "passed" not in words.lower()
    (plot,) = plots_of(app)
    assert '"women"' in plot
    assert "Sensitivity gap to all others" in plot
    assert "Underdiagnosis" in plot or "Diseased, nothing called" in plot
    assert app.get("download_button")
    (plot,) = plots_of(chosen(app, "fair-by", By.AGE))
    assert "not enough data (n+ = " in plot
    assert "years" in plot


def test_of_two_facts_there_is_a_map_with_its_figures_in_the_cells(app_home: Home) -> None:
    app = opened("Fairness", fair_by=By.AGE_VIEW)
    assert len(plots_of(app)) == 2
    for measure in ("AUC", "Sensitivity", "Sensitivity gap", "Underdiagnosis", "False alarms"):
        app.button_group(key="fair-measure").set_value(measure).run()
        assert not app.exception
        (heat,) = [trace for trace in json.loads(plots_of(app)[0])["data"] if trace["type"] == "heatmap"]
        assert list(heat["x"]) == ["AP", "PA"]
        figures = [text for row in heat["text"] for text in row if text]
        assert all(" to " in text for text in figures)
        assert figures or measure != "Underdiagnosis"
        assert "not enough data<br>n" in plots_of(app)[0]


def test_another_finding_gives_other_figures(app_home: Home) -> None:
    app = opened("Fairness")
    before = plots_of(app)
    assert plots_of(chosen(app, "fair-label", "Infiltration")) != before


def test_of_the_bundled_model_the_views_differ_and_no_group_is_left_out() -> None:
    """Pinned to the model: films taken from the back are underdiagnosed more often than bedside ones."""
    from cxr_core.settings import Settings
    from cxr_core.triage.policy import load_policy

    scored = read_scored(BUNDLED, "test")
    cleared = fairness.cleared(scored, load_policy(Settings().policy))
    ap, pa = fairness.missed(scored, cleared, By.VIEW)
    assert ap.group.name == "AP"
    assert pa.missed is not None
    assert pa.missed.gap is not None
    assert pa.missed.gap.marked
    assert pa.missed.share.value > 2 * ap.missed.share.value
    assert ap.group.mask.sum() + pa.group.mask.sum() == len(scored.table)


def test_marks_differ_by_shape_as_well_as_colour() -> None:
    assert len({colour_and_shape for _, colour_and_shape in LOOKS.values()}) == len(LOOKS)
    gap = Interval(-0.08, -0.15, -0.01)
    marked = list(LOOKS)[1]
    cells = [Cell(gap, "n+ = 34", marked), Cell(None, "n+ = 3")]
    plot = forest(["women", "men"], [Panel("Gap", cells, zero=0.0)])
    shapes = [trace.marker.symbol for trace in plot.data if trace.mode == "markers"]
    assert shapes == ["diamond-open"]
    assert [list(trace.text) for trace in plot.data if trace.mode == "text"] == [["not enough data (n+ = 3)"]]


def test_figures_read_as_people_write_them() -> None:
    gap = Interval(-0.08, -0.15, -0.01)
    assert said(gap, signed=True) == "−0.08 (−0.15 to −0.01)"
    assert said(Interval(0.08, -0.01, 0.15), signed=True) == "+0.08 (−0.01 to +0.15)"
    assert said(Interval(0.12, 0.08, 0.17), percent=True) == "12 % (8 to 17)"
    assert said(Interval(-0.06, -0.11, -0.001), percent=True, signed=True) == "−6.0 % (−11.0 to −0.1)"


def test_a_map_leaves_pairs_without_films_empty() -> None:
    cell = Cell(Interval(0.5, 0.4, 0.6), "n = 30")
    rows = [("a", "AP", cell), ("b", "PA", Cell(None, "n = 2"))]
    plot = heat_map("x", rows, percent=True, about_zero=False)
    assert [list(row) for row in plot.data[0].text] == [
        ["50 % (40 to 60)<br>n = 30", ""],
        ["", ""],
    ]
    assert [each.text for each in plot.layout.annotations] == ["not enough data<br>n = 2"]
    assert not math.isnan(plot.data[0].zmax)
    assert SimpleNamespace(**plot.data[0].to_plotly_json()).z[0][1] is None
