"""The models page on the real service, without a browser: every control, every state."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from cxr_core.access import Actor, Role
from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.errors import ModelError
from cxr_core.evaluation import report
from cxr_core.evaluation.record import Evaluation
from cxr_core.inference.manifest import MANIFEST, read_manifest
from cxr_core.inference.stripped import strip
from cxr_core.settings import ROOT
from cxr_core.triage.policy import load_policy
from cxr_core.ui import models_curves
from cxr_core.ui.models_card import card_html
from cxr_core.ui.models_table import naive_ap, would_change
from cxr_core.worklist import model_check
from cxr_core.worklist.model_folders import Curve, Figure
from cxr_core.worklist.values import Incoming, Source
from tests.evaluation.tabled import with_tables
from tests.films import png
from tests.inference.tiny import rewrite
from tests.ui.conftest import Home
from tests.ui.shown import html, labels, press, texts
from tests.worklist.test_models import HISTORY, made

PAGE = str(ROOT / "pages" / "models.py")
LEAD = Actor("local user", Role.LEAD)
HOSTILE = "![x](http://evil.example/a.png) <img src=x onerror=alert(1)>"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Models of this test's own: one in force, one more, one altered."""
    root = tmp_path / "models"
    made(root, "one", **{"evaluation/history.csv": HISTORY})
    made(root, "two", "2.0.0", ("Effusion",), **{"evaluation/history.csv": HISTORY})
    (made(root, "three") / "card.md").write_text("altered", encoding="utf-8")
    return root


@pytest.fixture
def app_home(models: Path, tiny_app: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The app on these models."""
    monkeypatch.setenv("CXR_MODELS_DIR", str(models))
    monkeypatch.setenv("CXR_MODEL", "one")
    tiny_app.service.close()
    return Home(tiny_app.folder)


def opened(tab: str = "Card") -> AppTest:
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.session_state["mod-tab"] = tab
    app.run()
    assert not app.exception
    return app


def choose(app: AppTest, model_id: str) -> AppTest:
    app.selectbox(key="mod-chosen").set_value(model_id).run()
    assert not app.exception
    return app


def able(app: AppTest) -> list[str]:
    """Return the buttons that can be pressed."""
    return [button.label for button in app.button if not button.disabled]


def bundles(app: AppTest) -> list[str]:
    return [each.label for each in app.get("download_button")]


def test_all_models_are_shown_and_the_one_in_force_marked(app_home: Home) -> None:
    app = opened()
    said = html(app)
    assert "<b>one 1.0.0</b>" in said
    assert "nobody has activated another" in said
    assert said.index('<tr class="force">') < said.index("<b>two</b>") < said.index('<tr class="unsound">')
    assert "card.md was altered" in said
    assert "2 epochs<br><small>2 min</small>" in said
    assert "Effusion" in said
    assert "Random filters, for tests. Its answers mean nothing." in said
    assert app.selectbox(key="mod-chosen").value == "one"
    assert "is in force" in texts(app)


def measured(folder: Path) -> Evaluation:
    """Give a model tables of test, their evaluation, and the mean figures of it in its manifest."""
    manifest = read_manifest(with_tables(folder))
    found = report.write_all(folder, manifest, load_policy(ROOT / "config" / "policy.toml"), resamples=5)[
        "test"
    ]
    assert found.macro.auc is not None
    assert found.macro.ap is not None
    stated = {"test_auc": found.macro.auc.value, "test_ap": found.macro.ap.value}
    rewrite(folder, replace(manifest, evaluation=stated))
    return found


def test_the_naive_model_stands_beside_every_figure_and_no_network_is_opened_for_it(
    app_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = app_home.settings.models_dir
    found = measured(made(root, "four"))
    assert found.macro.ap is not None
    assert len(found.macro.findings) > 2

    def never(*_: object, **__: object) -> None:
        pytest.fail("a network was opened")

    monkeypatch.setattr(onnxruntime, "InferenceSession", never)
    table = pd.read_csv(root / "four" / "evaluation" / "labels-test.csv")
    share = table[list(found.macro.findings)].mean().mean()
    assert 0.02 < share < 0.5
    said = html(opened())
    row = re.search("<b>four</b>.*?</tr>", said)
    assert row is not None
    assert f'<td class="">{found.macro.ap.value:.3f}<br><small>naive {share:.3f}</small></td>' in row[0]
    assert row[0].count("naive 0.500") == 1
    other = re.search("<b>one</b>.*?</tr>", said)
    assert other is not None
    assert re.findall("naive [0-9.]+", other[0]) == ["naive 0.500"], "it states an AUC alone"
    assert "says of every film what most films are" in said


def test_a_model_whose_tables_nobody_can_read_is_listed_without_the_naive_one(app_home: Home) -> None:
    folder = made(app_home.settings.models_dir, "four")
    measured(folder)
    path = folder / "evaluation" / "labels-test.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table["Effusion"] = HOSTILE
    table.to_csv(path, index=False)
    rewrite(folder, read_manifest(folder))
    row = re.search("<b>four</b>.*?</tr>", html(opened()))
    assert row is not None
    assert re.findall("naive [0-9.]+", row[0]) == ["naive 0.500"]


def test_a_model_is_checked_then_activated_then_open_studies_are_analysed_again(app_home: Home) -> None:
    files = [Incoming(f"{seed}.png", png(seed)) for seed in (3, 9)]
    app_home.service.submit_many(LEAD, files, source=Source.PAGE)
    app_home.answer()
    app = choose(opened(), "two")
    said = texts(app)
    assert "one 1.0.0 → two 2.0.0" in said
    assert "No longer assessed: Atelectasis" in said
    assert "does not assess 14 of 15 labels" in said
    assert "Not checked yet" in texts(app)
    assert able(app) == ["Check this model"]
    press(app, "Check this model")
    assert "self-test are as its manifest says" in texts(app)
    assert able(app) == ["Activate now"]
    press(app, "Activate now")
    assert "say in a note" in texts(app)
    assert app_home.service.models(LEAD).in_force.change == 0
    app.text_input(key="mod-note").set_value("a teaching day")
    press(app, "Activate now")
    assert [each.value for each in app.success] == ["two 2.0.0 is in force."]
    assert "a teaching day" in html(app)
    assert "Open studies answered under another policy, model or gate: 2." in texts(app)
    press(app, "Analyse again")
    assert [each.value for each in app.success] == ["2 studies queued behind all new films."]
    app_home.answer()
    assert app_home.service.models(LEAD).otherwise == 0
    (change,) = app_home.service.models(LEAD).changes
    assert (change.model, change.actor, change.note) == ("two 2.0.0", LEAD.name, "a teaching day")
    history = opened("History")
    assert "a teaching day" in history.dataframe[0].value.to_string()


def test_another_lead_was_quicker(app_home: Home) -> None:
    app = press(choose(opened(), "two"), "Check this model")
    app.text_input(key="mod-note").set_value("why")
    made(app_home.settings.models_dir, "four")
    app_home.service.activate_model(LEAD, "four", "first")
    press(app, "Activate now")
    assert "another model came into force meanwhile" in app.warning[0].value
    assert app_home.service.models(LEAD).in_force.model == "four 1.0.0"


def test_an_unsound_model_is_shown_with_why_and_never_offered(app_home: Home) -> None:
    app = choose(opened(), "three")
    assert "must not be used" in app.error[0].value
    assert "card.md was altered" in texts(app)
    assert bundles(app) == []
    assert not {"Check this model", "Activate now"} & set(labels(app))
    assert "The card of a model that is not sound is not shown." in html(app)


def test_a_model_whose_network_is_elsewhere_shows_card_and_curves_and_is_not_offered(app_home: Home) -> None:
    folder = app_home.settings.models_dir / "two"
    strip(folder, read_manifest(folder), app_home.folder / "away", HOSTILE)
    app = choose(opened(), "two")
    said = html(app)
    assert said.index("figures only, weights not in this copy") < said.index('<tr class="unsound">')
    assert re.search(r'figures only((?!</tr>).)*<td><span class="muted">–</span></td></tr>', said)
    assert "answers no film" in app.info[0].value
    assert HOSTILE in [each.value for each in app.text]
    assert "Random filters, for tests. Its answers mean nothing." in said
    assert not app.error
    assert bundles(app) == ["Bundle"]
    assert not {"Check this model", "Activate now"} & set(labels(app))
    assert opened("Training").multiselect(key="mod-compared").options == ["one", "two"]


def test_a_model_that_fails_its_check_is_no_longer_offered(app_home: Home) -> None:
    folder = app_home.settings.models_dir / "two"
    manifest = read_manifest(folder)
    wrong = tuple(value + 1 for value in manifest.self_test.logits)
    rewrite(folder, replace(manifest, self_test=replace(manifest.self_test, logits=wrong)))
    app = press(choose(opened(), "two"), "Check this model")
    assert "The one in force stays." in app.error[0].value
    assert "self-test" in texts(app)
    assert "✕ not sound" in html(app)
    assert "Activate now" not in labels(app)


def test_a_model_that_was_altered_after_its_check_does_not_come_into_force(app_home: Home) -> None:
    app = press(choose(opened(), "two"), "Check this model")
    app.text_input(key="mod-note").set_value("why")
    (app_home.settings.models_dir / "two" / "model.onnx").write_bytes(b"altered")
    press(app, "Activate now")
    assert "must not be used" in app.error[0].value
    assert app_home.service.models(LEAD).in_force.model == "one 1.0.0"


def test_curves_of_several_models_lie_over_one_another(app_home: Home) -> None:
    app = opened("Training")
    assert app.multiselect(key="mod-compared").options == ["one", "two"]
    assert app.multiselect(key="mod-compared").value == ["one"]
    app.multiselect(key="mod-compared").set_value(["one", "two"]).run()
    assert not app.exception
    assert "one: 2 members, up to epoch 2; two: 2 members, up to epoch 2" in html(app)
    assert len(app.get("plotly_chart")) == 2
    app.multiselect(key="mod-compared").set_value([]).run()
    assert not app.exception


def test_a_viewer_sees_the_models_and_takes_one_away_but_activates_none(
    app_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_LOCAL_ROLE", "viewer")
    app = choose(opened(), "two")
    assert bundles(app) == ["Bundle"]
    assert labels(app) == []
    assert "→" not in texts(app)


def test_no_model_no_history_no_card(app_home: Home) -> None:
    root = app_home.settings.models_dir
    assert "Nobody has activated a model yet" in html(opened("History"))
    for each in ("one", "two"):
        shutil.rmtree(root / each)
        made(root, each)
        (root / each / "card.md").unlink()
        rewrite(root / each, read_manifest(root / each))
    assert "This model has no card" in html(opened())
    assert "No model here says how it was trained." in html(opened("Training"))
    shutil.rmtree(root)
    assert "There is no model." in html(opened())


def test_a_model_in_force_that_is_gone_is_said(app_home: Home) -> None:
    app_home.service.activate_model(LEAD, "two", "why")
    shutil.rmtree(app_home.settings.models_dir / "two")
    app = opened()
    assert "No film is answered now" in app.error[0].value
    assert f"no {MANIFEST} in the model folder" in texts(app)
    press(press(choose(app, "one"), "Check this model"), "Activate now")
    app.text_input(key="mod-note").set_value("the other is gone")
    press(app, "Activate now")
    assert not app.error


def test_hostile_text_of_a_model_is_shown_as_text(app_home: Home) -> None:
    folder = app_home.settings.models_dir / "two"
    (folder / "card.md").write_text(f"# {HOSTILE}\n\n<script>alert(1)</script>\n", encoding="utf-8")
    manifest = read_manifest(folder)
    model = replace(manifest.model, summary=HOSTILE, licence=HOSTILE, architecture=HOSTILE)
    rewrite(folder, replace(manifest, model=model, data=replace(manifest.data, name=HOSTILE)))
    app_home.service.activate_model(LEAD, "two", HOSTILE)
    app = choose(opened(), "two")
    assert "<img" not in html(app)
    assert "<script>alert" not in html(app)
    assert "&lt;img src=x" in html(app)
    for kind in (app.markdown, app.caption, app.success, app.error):
        assert not any("evil.example" in str(each.value) for each in kind)


# ---- pure


def test_a_card_has_tables_and_no_pictures_links_or_markup() -> None:
    said = card_html(
        "# A\n\n| a | b |\n|---|---|\n| 1 | **2** |\n\n- x\n\n[words](http://evil.example/?a=1&b) "
        "<http://evil.example> ![alt <b>](http://evil.example/a.png) <b onclick=x>y</b> &lt;i&gt;\n\n"
        "[r]\n\n[r]: javascript:alert(1)\n\n<iframe src=x></iframe>\n"
    )
    assert "<td>1</td>" in said
    assert "<strong>2</strong>" in said
    assert "<li>x</li>" in said
    assert "words (http://evil.example/?a=1&amp;b)" in said
    assert "[picture: alt &lt;b&gt;]" in said
    for banned in ("<a", "<img", "<b ", "<b>", "<i>", "<iframe", "href", "src="):
        assert banned not in said.replace("&lt;iframe src=x&gt;", ""), banned


def curve(model: str, member: str = "0", judged_by: str = "mean_auc") -> Curve:
    return Curve(model, member, (1, 2), (0.5, 0.4), (0.6, None), judged_by, (0.7, 0.8))


def test_models_are_told_apart_by_colour_marker_and_dash() -> None:
    curves = [curve(f"m{number}", member) for number in range(8) for member in "01"]
    figure = models_curves.loss_figure(curves)
    assert len(figure.data) == 32
    assert sum(bool(line.showlegend) for line in figure.data) == 16, "one entry a model and kind"
    looks = {(line.line.color, line.marker.symbol) for line in figure.data if line.line.dash == "solid"}
    assert len(looks) == len({colour for colour, _ in looks}) == len({shape for _, shape in looks}) == 8
    both = [curve("a"), curve("b", judged_by="auc"), curve("c", judged_by="recall_precision")]
    assert models_curves.judges(both) == ("auc", "recall_precision")
    assert [line.name for line in models_curves.judged_figure(both, "auc").data] == ["a", "b"]


def test_a_naive_precision_is_of_the_findings_of_the_figure_beside_it_or_not_said(app_home: Home) -> None:
    found = measured(made(app_home.settings.models_dir, "four"))
    assert found.macro.ap is not None
    stated = found.macro.ap.value
    shares = [found.of(label).n_pos / found.of(label).n for label in found.macro.findings]
    assert naive_ap(Figure(stated), found) == pytest.approx(sum(shares) / len(shares))
    assert naive_ap(Figure(stated + 0.001), found) is None, "a mean over other findings, or of other films"
    assert naive_ap(Figure(stated), None) is None
    assert naive_ap(None, found) is None


def test_what_another_model_would_change(app_home: Home) -> None:
    root, policy = app_home.settings.models_dir, app_home.service.policy
    one, two = read_manifest(root / "one"), read_manifest(root / "two")
    assert would_change(one, one, policy) == ()
    lost, missing = would_change(one, two, policy)
    assert lost.startswith("No longer assessed: Atelectasis")
    assert "Effusion" not in lost
    assert "14 of 15 labels" in missing
    (gained,) = would_change(two, one, policy)
    assert gained.startswith("Newly assessed: ")
    never = replace(one, thresholds=replace(one.thresholds, values=(1.01,) * len(one.labels)))
    assert f"does not assess {len(FINDINGS) + 1} of" in would_change(None, never, policy)[0]
    assert ABNORMAL in would_change(one, never, policy)[0]
    other = replace(one, thresholds=replace(one.thresholds, budget_policy="0.9"))
    assert "policy 0.9; 1.0.0 is in force" in would_change(one, other, policy)[0]


def test_a_model_check_that_fails_says_why(app_home: Home) -> None:
    with pytest.raises(ModelError, match=r"card\.md was altered"):
        model_check.check(app_home.settings.models_dir / "three")
