"""The performance page on the bundled model's own tables, without a browser: every control, every state."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from cxr_core.access import Actor, Role
from cxr_core.evaluation import metrics
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.doubt import doubt_of
from cxr_core.evaluation.reference import compare
from cxr_core.evaluation.scored import read_scored
from cxr_core.inference.manifest import read_manifest
from cxr_core.settings import ROOT
from cxr_core.triage.budget import share_report
from cxr_core.triage.policy import load_policy
from cxr_core.ui import perf_curves, perf_forest, perf_operating, perf_overview, performance
from cxr_core.ui.perf_beside import pairs
from cxr_core.ui.perf_numbers import numbers_of
from cxr_core.ui.perf_tables import Table, as_csv, percent
from tests.evaluation.tabled import with_tables
from tests.inference.tiny import rewrite
from tests.ui.conftest import Home
from tests.ui.shown import html, labels, texts
from tests.worklist.test_models import HISTORY, made

PAGE = str(ROOT / "pages" / "performance.py")
BUNDLED = ROOT / "models" / "cxr14-mobilenetv2"
LEAD = Actor("local user", Role.LEAD)
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three with tables (the bundled one's films), one without, one altered."""
    root = tmp_path_factory.mktemp("performance") / "models"
    with_tables(made(root, "one", **{"evaluation/history.csv": HISTORY}))

    def worse(table: pd.DataFrame) -> pd.DataFrame:
        table = table.copy()
        table["Effusion"] = 1 - table["Effusion"]
        return table

    with_tables(made(root, "two", "2.0.0"), worse)
    with_tables(made(root, "binary", "1.0.0", ("Effusion",)))
    made(root, "bare")
    (made(root, "broken") / "card.md").write_text("altered", encoding="utf-8")
    return root


@pytest.fixture
def models(made_once: Path, tmp_path: Path) -> Path:
    """The same for each test, to do with as it likes."""
    return shutil.copytree(made_once, tmp_path / "models")


@pytest.fixture
def app_home(models: Path, tiny_app: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The app on these models."""
    monkeypatch.setenv("CXR_MODELS_DIR", str(models))
    monkeypatch.setenv("CXR_MODEL", "one")
    tiny_app.service.close()
    return Home(tiny_app.folder)


def opened(tab: str = "Overview", **state: object) -> AppTest:
    app = AppTest.from_file(PAGE, default_timeout=300)
    app.session_state["perf-tab"] = tab
    for key, value in state.items():
        app.session_state[key.replace("_", "-")] = value
    app.run()
    assert not app.exception
    return app


def chosen(app: AppTest, key: str, value: object) -> AppTest:
    """Choose in a list."""
    kind = "multiselect" if isinstance(value, list) else "selectbox"
    getattr(app, kind)(key=key).set_value(value).run()
    assert not app.exception
    return app


def plots_of(app: AppTest) -> list[str]:
    return [json.dumps(json.loads(each.proto.spec), ensure_ascii=False) for each in app.get("plotly_chart")]


def test_the_spread_tab_says_what_each_state_holds_and_what_the_rule_is_worth(app_home: Home) -> None:
    app = opened("Spread")
    films = read_scored(app_home.settings.models_dir / "one", "test")
    found = doubt_of(films, load_policy(ROOT / "config" / "policy.toml"))
    assert found is not None
    said = html(app)
    for name, each in found.rows():
        assert f"<td>{name.replace('  ', '– ')}</td><td>{each.films.count:,}</td>" in said
    assert escape(found.said[0]) in html(app)
    assert "unable to classify</td>" not in html(opened("Spread", perf_model="binary"))


# ---- the whole page


def test_every_tab_opens_in_one_sitting(app_home: Home) -> None:
    """One after the other: what one tab keeps of the films is no other tab's."""
    app = opened()
    for _, title, _ in performance.TABS:
        app.session_state["perf-tab"] = title
        app.run()
        assert not app.exception, title
        assert not app.error, title


def test_the_overview_says_on_what_films_and_shows_five_figures_with_their_counts(app_home: Home) -> None:
    app = opened()
    said = html(app)
    films = read_scored(app_home.settings.models_dir / "one", "test")
    many, people = len(films.table), films.table["patient"].nunique()
    assert "<b>one 1.0.0</b>" in said
    assert f"{many:,} films of {people:,} patients" in said
    assert "Devices, drains and wires as confounders: unmeasured" in said
    found = numbers_of(films, None)
    assert f"<strong>{found.macro_auc.value:.2f}</strong>" in said
    assert f"<strong>{found.micro_auc.value:.2f} / {found.micro_ap.value:.2f}</strong>" in said
    assert f"worst: {found.worst.label.replace('_', ' ')}" in said
    policy = load_policy(ROOT / "config" / "policy.toml")
    report = share_report(
        policy, films.labels, films.probabilities, films.members, films.rules.thresholds, films.truth
    )
    assert f"{report.missed.count:,} of {report.missed.of:,} films" in said
    assert f"{report.missed_by_finding['Pneumothorax'].count:,} of" in said
    found = doubt_of(films, policy)
    assert found is not None
    clear = found.states["no_disease_detected"].diseased
    assert f"{clear.count:,} of {clear.of:,} films called so · " in said
    assert "EFFUSION AT THRESHOLD" in said
    curves, forest = plots_of(app)
    assert "threshold %{customdata:.4f}" in curves
    assert "all findings (micro)" in curves
    assert "not enough data (n+ = " in forest


def test_findings_and_published_figures_are_chosen(app_home: Home) -> None:
    app = opened()
    assert app.multiselect(key="perf-findings").value == [
        "Effusion",
        "Pneumothorax",
        "Cardiomegaly",
        "Nodule",
    ]
    curves, forest = plots_of(chosen(app, "perf-findings", ["Mass"]))
    assert '"Mass"' in curves
    assert '"Effusion"' not in curves
    assert "CheXNet 2017" not in forest
    app.toggle(key="perf-published").set_value(True).run()
    assert "CheXNet 2017 (random split)" in plots_of(app)[1]
    assert len(plots_of(chosen(app, "perf-findings", []))) == 2


def test_a_lead_has_intervals_computed_and_a_viewer_is_not_asked(
    app_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in (app_home.settings.models_dir / "one" / "evaluation").iterdir())
    app = opened()
    assert "intervals of these figures are not stored" in app.caption[0].value
    app.button(key="perf-compute").click().run()
    assert not app.exception
    assert "perf-compute" not in {button.key for button in app.button}
    assert " to 0." in html(app).split("Macro AUC")[1][:200]
    assert before == sorted(
        path.name for path in (app_home.settings.models_dir / "one" / "evaluation").iterdir()
    )
    monkeypatch.setenv("CXR_LOCAL_ROLE", "viewer")
    other = opened(perf_model="two")
    assert "intervals of these figures are not stored" in other.caption[0].value
    assert "Compute intervals" not in labels(other)


def test_a_threshold_is_moved_and_its_consequences_follow(app_home: Home) -> None:
    app = opened("Operating point")
    films = read_scored(app_home.settings.models_dir / "one", "test")
    slider = app.slider[0]
    own = films.rules.thresholds[films.labels.index("Effusion")]
    assert slider.value == pytest.approx(min(own, slider.max))
    moved = round(slider.max / 4, 3)
    slider.set_value(moved).run()
    assert not app.exception
    counts = metrics.confusion(*films.column("Effusion"), moved)
    said = html(app)
    row = f"<td>called</td><td>{counts.tp:,}</td><td>{counts.fp:,}</td>"
    assert row in said
    app.number_input(key="perf-prevalence-test-Effusion").set_value(10.0)
    app.number_input(key="perf-films").set_value(1000).run()
    said = html(app)
    ppv = metrics.ppv_at(counts.sensitivity, counts.specificity, 0.1)
    assert f"<td>PPV at 10.00 % prevalence</td><td>{ppv:.3f}</td>" in said
    assert f"<strong>{1000 * counts.flagged_share:,.0f}</strong> flags a day" in said
    assert "FILMS A DAY BY TIER" in said
    app.button(key="perf-point-own").click().run()
    assert app.slider[0].value == pytest.approx(min(own, slider.max))
    chosen(app, "perf-point-finding", "Hernia")
    assert "with Hernia" in html(app)


@pytest.mark.parametrize(
    ("tab", "shown"),
    [
        ("Calibration", "observed against predicted"),
        ("Spread", "How far the members lie apart"),
        ("Classes", "largest probability"),
        ("Training", "Loss by epoch"),
    ],
)
def test_a_tab_draws_its_plot(app_home: Home, tab: str, shown: str) -> None:
    app = opened(tab)
    assert any(shown in spec for spec in plots_of(app))
    assert not app.error


def test_calibration_is_of_the_chosen_finding_and_says_where_there_are_too_few_films(app_home: Home) -> None:
    app = chosen(opened("Calibration"), "perf-calibration-finding", "Nodule")
    assert "Nodule: observed against predicted" in plots_of(app)[0]
    assert "not enough data (n+ = " in html(app)


def test_no_finding_is_called_by_its_largest_probability(app_home: Home) -> None:
    assert "A film is never called by its largest probability" in opened("Classes").caption[0].value


def test_what_was_not_measured_is_said(app_home: Home) -> None:
    assert "was not measured: it came without boxes" in html(opened("Heatmaps"))
    assert "other films was not measured" in html(opened("Elsewhere"))
    assert "does not say how it was trained" in html(opened("Training", perf_model="two"))


def test_two_models_are_laid_over_one_another_with_paired_differences(app_home: Home) -> None:
    app = chosen(opened(), "perf-others", ["two"])
    curves, forest = plots_of(app)
    assert "Effusion · two" in curves
    assert "two 2.0.0" in forest
    said = html(app)
    root = app_home.settings.models_dir
    one, two = read_scored(root / "one", "test"), read_scored(root / "two", "test")
    assert f"minus two, {len(one.table):,} films" in said
    found, films = pairs(one, two)
    area = numbers_of(one, None).row("Effusion").auc.value
    assert films == len(one.table)
    assert found["Effusion"].value == pytest.approx(2 * area - 1), "two says the opposite of one"
    assert found["Atelectasis"].value == found["Atelectasis"].low == found["Atelectasis"].high == 0


def test_a_binary_model_has_its_curve_and_counts_and_sorts_no_worklist(app_home: Home) -> None:
    app = opened("Classes", perf_model="binary")
    assert len(plots_of(app)) == 2
    assert '"called"' in plots_of(app)[1]
    assert "sorts no worklist" in html(opened(perf_model="binary"))
    for tab in ("Operating point", "Calibration", "Spread"):
        assert not opened(tab, perf_model="binary").error


def test_figures_to_take_away_hold_the_naive_model_and_what_lies_between_the_reference_and_ours(
    app_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_MODELS_DIR", str(BUNDLED.parent))
    monkeypatch.setenv("CXR_MODEL", BUNDLED.name)
    taken: list[Table] = []
    monkeypatch.setattr(perf_overview, "with_csv", lambda table, *_: taken.append(table))
    opened()
    rows = pd.read_csv(BytesIO(as_csv(taken[-1])))
    np.testing.assert_allclose(rows["naive AP"], rows["with it"] / rows["films"], atol=1e-6)
    shared = rows[rows["this model minus reference"].notna()]
    assert len(shared) >= 5
    apart = shared["this model's AUC on shared films"] - shared["reference AUC on shared films"]
    np.testing.assert_allclose(shared["this model minus reference"], apart, atol=1e-6)
    assert shared["minus low"].lt(shared["minus high"]).all()


def test_a_model_without_tables_a_broken_one_and_none_are_said_plainly(app_home: Home) -> None:
    assert "bare came without tables" in html(opened(perf_model="bare"))
    app = opened(perf_model="broken")
    assert "This model is not measured here" in app.error[0].value
    assert "card.md was altered" in texts(app)
    assert app.multiselect == []
    shutil.rmtree(app_home.settings.models_dir)
    assert "There is no model." in html(opened())


def test_tables_of_other_films_are_a_plain_error(app_home: Home) -> None:
    folder = app_home.settings.models_dir / "one"
    (folder / "evaluation" / "predictions-test.csv").write_text("file,Mass\nx.png,0.1\n", encoding="utf-8")
    rewrite(folder, read_manifest(folder))
    app = opened()
    assert app.error
    assert "the tables of test are missing or of other labels" in texts(app)


def test_tabs_need_their_role_and_only_the_open_one_is_drawn(
    app_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, title, role in performance.TABS:
        assert (ROOT / "cxr_core" / "ui" / f"{module}.py").is_file(), title
        assert role in Role
    app = opened("Card")
    assert plots_of(app) == []
    assert "Random filters, for tests" in html(app)
    monkeypatch.setenv("CXR_LOCAL_ROLE", "viewer")
    shown = {tab.label for tab in opened("Card").tabs}
    assert shown == {title for _, title, role in performance.TABS if Role.VIEWER.covers(role)}


def test_hostile_words_of_a_model_stay_words(app_home: Home) -> None:
    folder = app_home.settings.models_dir / "two"
    manifest = read_manifest(folder)
    rewrite(folder, replace(manifest, data=replace(manifest.data, name=HOSTILE)))
    said = html(opened(perf_model="two"))
    assert "&lt;img src=x" in said
    assert HOSTILE not in said


# ---- pure


def test_of_films_of_one_patient_nothing_is_worst_and_every_finding_says_why() -> None:
    films = read_scored(BUNDLED, "test")
    found = numbers_of(replace(films, table=films.table.assign(patient=1)), None)
    assert found.worst is None
    many = [row for row in found.rows if min(row.positives, row.films - row.positives) >= 20]
    assert {row.why for row in many} == {"not enough data (too few patients)"}
    assert found.row("Hernia").why == "not enough data (n+ = 9)"
    few = numbers_of(films.pick(films.table.index < 60), None)
    assert few.worst is None or not few.worst.few


def test_curves_are_thin_enough_to_draw_and_keep_their_ends() -> None:
    films = read_scored(BUNDLED, "test")
    for curve in perf_curves.curves_of(films, "Effusion"):
        assert len(curve.x) <= 400
    roc, _ = perf_curves.curves_of(films, "Effusion")
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)


def test_the_forest_sorts_by_area_and_says_where_there_is_not_enough_data() -> None:
    found = numbers_of(read_scored(BUNDLED, "test"), None)
    plot = perf_forest.figure("one", found)
    places = dict(zip(plot.layout.yaxis.ticktext, plot.layout.yaxis.tickvals, strict=True))
    assert places["Cardiomegaly"] == max(places.values())
    assert {note.text for note in plot.layout.annotations} == {
        "not enough data (n− = 0)",  # Pneumonia is known of films that have it only
        "not enough data (n+ = 9)",
    }
    drawn = next(trace for trace in plot.data if trace.name == "one")
    assert len(drawn.x) == len(found.rows) - 2


def test_the_reference_stands_beside_this_model_on_the_very_same_films() -> None:
    films = read_scored(BUNDLED, "test")
    beside = compare(films, resamples=20)
    assert beside is not None
    theirs = perf_forest.Beside("theirs", {k: pair.theirs for k, pair in beside.pairs.items()})
    ours = perf_forest.Beside("ours there", {k: pair.ours for k, pair in beside.pairs.items()})
    plot = perf_forest.figure("one", numbers_of(films, None), reference=theirs, same=ours)
    drawn = {trace.name: trace for trace in plot.data}
    assert drawn["theirs"].marker.symbol == "diamond"
    assert list(drawn["theirs"].x) == [pair.theirs.value for pair in beside.pairs.values()]
    assert list(drawn["theirs"].y) == list(drawn["ours there"].y)


@pytest.mark.parametrize("highest", [0.003, 0.0318, 0.4, 0.97, 1.0])
def test_the_sliders_steps_are_fine_and_reach_every_probability(highest: float) -> None:
    top, step, digits = perf_operating.scale(highest)
    assert highest <= top <= 1
    assert 100 <= top / step <= 20_000
    assert digits >= 4


def test_f1_with_limits_is_f1() -> None:
    films = read_scored(BUNDLED, "val")
    point = perf_operating.point_of(films, "Effusion", 0.2)
    counts = metrics.confusion(*films.column("Effusion"), 0.2)
    assert point.f1.value == pytest.approx(counts.f1)
    assert point.f1.low < counts.f1 < point.f1.high
    assert point.ppv.value == pytest.approx(counts.ppv)
    assert point.npv.value == pytest.approx(counts.npv)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (Interval(0.45, 0.38, 0.53), "45 % (38 to 53)"),
        (Interval(0.0, 0.0, 0.004), "0 % (0 to < 1)"),
        (Interval(0.0006, 0.0001, 0.0041), "0.1 % (< 0.1 to 0.4)"),
        (Interval(0.998, 0.99, 1.0), "99.8 % (99.0 to 100.0)"),
        (Interval(0.3, float("nan"), float("nan")), "30 %"),
    ],
)
def test_a_share_that_is_not_none_never_reads_as_none(share: Interval, said: str) -> None:
    assert percent(share) == said


def test_csv_gives_no_spreadsheet_a_formula() -> None:
    said = as_csv(Table("t", ("a", "@SUM(1)"), (("=1+1", 0.5), ("x", float("nan"))))).decode()
    assert said.splitlines() == ["a,'@SUM(1)", "'=1+1,0.5", "x,"]


def test_the_first_finding_s_curve_has_a_band_that_holds_it(app_home: Home) -> None:
    films = read_scored(app_home.settings.models_dir / "one", "test")
    band = perf_curves.band_of(films, "Effusion")
    assert band is not None
    curve = metrics.roc(*films.column("Effusion"))
    at = np.array([curve.y[curve.x <= each].max() for each in perf_curves.BAND_AT])
    assert ((band[0] <= at + 1e-9) & (at <= band[1] + 1e-9)).mean() > 0.95
    assert perf_curves.band_of(films, "Hernia") is None  # not enough data
    drawn = perf_curves.figure([(films, {}, None)], ["Effusion"], band)
    assert [each.name for each in drawn.data if each.fill == "tonexty"] == ["Effusion: 95 % band"]


def test_a_label_known_within_one_source_has_a_band_of_the_films_where_it_is_known() -> None:
    films = read_scored(BUNDLED, "val")
    known = ~np.isnan(films.truth[:, films.labels.index("Pneumonia")])
    assert 0 < known.sum() < len(known)
    band = perf_curves.band_of(films, "Pneumonia")
    assert band is not None
    curve = metrics.roc(*films.column("Pneumonia"))
    at = np.array([curve.y[curve.x <= each].max() for each in perf_curves.BAND_AT])
    assert ((band[0] <= at + 1e-9) & (at <= band[1] + 1e-9)).mean() > 0.95


def test_each_tab_computes_only_what_it_shows(app_home: Home, monkeypatch) -> None:
    asked = []
    for name in ("elsewhere.elsewhere", "noise.label_noise", "robustness.robustness"):
        monkeypatch.setattr(f"cxr_core.evaluation.{name}", lambda *_, name=name: asked.append(name) or {})
    opened("Heatmaps")
    assert asked == []
    opened("Elsewhere")
    assert asked == ["noise.label_noise"]  # no other population was asked about
