"""The tab of changed films: what its plot and table say, and of a finding with too few films."""

from __future__ import annotations

import json
from dataclasses import replace

from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.changes import CHANGES
from cxr_core.evaluation.robustness import ALL, Effect, write
from cxr_core.inference.manifest import read_manifest
from cxr_core.ui import perf_robustness as tab
from tests.inference.tiny import rewrite
from tests.ui.conftest import Home
from tests.ui.shown import html
from tests.ui.test_performance_page import app_home, chosen, made_once, models, opened, plots_of

__all__ = ["app_home", "made_once", "models"]  # fixtures

NONE = Interval(*(float("nan"),) * 3)
WORSE = Effect(
    "noise_050", ALL, 300, 100, 290, 2, 0.8, Interval(-0.05, -0.08, -0.02), 0.3, 0.45,
    Interval(0.15, 0.1, 0.2), Interval(0.2, 0.15, 0.26), 0.0, 0.12, 0.03,
)  # fmt: skip
SAME = replace(WORSE, change="marker", loss=Interval(0.001, -0.01, 0.012))
FEW = replace(WORSE, label="Mass", auc=float("nan"), loss=NONE, stopped=float("nan"))


def test_the_tab_shows_dots_and_figures_of_all_findings_and_of_one(app_home: Home) -> None:
    folder = app_home.settings.models_dir / "one"
    write(folder, [WORSE, FEW, SAME, replace(SAME, label="Mass")])
    rewrite(folder, read_manifest(folder))
    app = opened("Robustness")
    (plot,) = plots_of(app)
    assert "noise: sd 0.05" in plot
    assert "films whose state differs" in plot
    said = html(app)
    assert "−0.050 (−0.080 to −0.020)" in said
    assert "+15.0 (+10.0 to +20.0)" in said
    assert "12.0 %" in said
    assert "No film of test was looked at" in app.caption[0].value
    app = chosen(app, "perf-robustness-finding", "Mass")
    assert "not enough data" in html(app)
    assert "films whose call differs" in plots_of(app)[0]


def test_a_model_whose_films_nobody_changed_says_so(app_home: Home) -> None:
    assert "changed films do to this model was not measured" in html(opened("Robustness"))


def test_what_leaves_out_nothing_is_marked_and_few_films_have_no_dot() -> None:
    plot = json.loads(tab.figure([WORSE, SAME, replace(FEW, label=ALL)]).to_json())
    areas, others = plot["data"]
    assert areas["marker"]["color"] == [tab.MOVED, tab.HELD, tab.HELD]
    assert areas["x"] == [-0.05, 0.001, None]
    assert others["marker"]["color"] == [tab.BLUE] * 3
    low, high = plot["layout"]["xaxis"]["range"]
    assert low < -0.08
    assert 0.012 < high < 0.03


def test_table_and_words_name_every_change() -> None:
    table = tab.table([WORSE, SAME])
    assert {len(each) for each in (table.heads, *table.rows)} == {8}
    assert table.rows[0] == ("as it is", 0.8, "", "30.0 %", "", "", "0.0 %", "")
    assert (table.rows[1][0], table.rows[1][1], table.rows[1][-1]) == ("noise: sd 0.05", 0.75, "3.0 %")
    few = tab.table([replace(FEW, change="turn_left_05")])
    assert {len(each) for each in (few.heads, *few.rows)} == {6}
    assert few.rows[1][:3] == ("turned: 5° left", "not enough data", "")
    assert "burnt in: a side marker +0.001" in tab.said([WORSE, SAME])
    names = {tab.name_of(each.id) for each in CHANGES}
    assert len(names) == len(CHANGES)
    assert tab.name_of("something_new") == "something new"
