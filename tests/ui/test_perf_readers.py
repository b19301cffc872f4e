"""The readers' tab: opinions in the tables, charts, discrepancies, and who may see it; without a browser."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cxr_core.evaluation.control import Event, rolling
from cxr_core.ui import perf_readers
from cxr_core.ui.perf_readers_plots import control_chart
from cxr_core.worklist.values import Opinion
from cxr_core.worklist.verdicts import Verdict
from tests.ui.conftest import Home
from tests.ui.shown import html, press, texts
from tests.ui.test_perf_fairness import app_home as app_home  # noqa: PLC0414 -- a fixture
from tests.ui.test_performance_page import chosen, opened, plots_of
from tests.worklist.rows import THEN, image, put, result, study
from tests.worklist.test_verdicts import body, said


def verdict(study_number, agrees, positive, finding="Mass", minute=0):
    at = THEN + timedelta(minutes=minute)
    return Verdict(f"{study_number:032x}", Opinion(finding, agrees, "Ann", at, positive, "m 1", minute))


@pytest.fixture
def opined(app_home: Home) -> Home:
    """Sixty studies, of each a Mass that was called; readers agree at first, then no longer."""
    service = app_home.service
    put(
        service.database,
        [study(k) for k in range(1, 61)],
        images=[image(k, k, result_id=k) for k in range(1, 61)],
        results=[result(k, k, "m 1", "p", body=body(k, {"Mass": 0.9})) for k in range(1, 61)],
    )
    said(service, *[(k, "<b>Ann</b>", "Mass", k <= 40 or k % 4 == 0, True) for k in range(1, 61)])
    said(service, (1, "Ben", "Edema", False, False))
    return app_home


def test_without_opinions_the_tab_says_how_they_come_to_be(app_home: Home) -> None:
    app = opened("Readers")
    assert "Nobody has agreed or disagreed" in html(app)
    assert not plots_of(app)


def test_a_fall_is_out_of_control_and_the_discrepancies_stand_the_newest_first(opined: Home) -> None:
    app = opened("Readers", rd_points="last 20 opinions")
    captions = "\n".join(each.value for each in app.caption)
    assert "Last point 25% (5 of 20)" in captions
    assert "points out of control" in captions
    assert '"out of control"' in plots_of(app)[0]
    assert "<strong>16</strong> to review" in html(app)
    lines = texts(app).splitlines()
    assert lines[0].startswith("Mass: called by m 1 (0.90, threshold")
    assert "<b>Ann</b> says it is not there" in lines[0], "names are plain text"
    first = lines[0]
    press(app, "Older")
    assert first not in texts(app)
    assert len(texts(app).splitlines()) == 6
    press(app, "Newer")
    assert texts(app).splitlines()[0] == first


def test_finding_points_and_baseline_are_chosen(opined: Home) -> None:
    app = opened("Readers")
    chosen(app, "rd-finding", "Edema")
    assert "<strong>1</strong> to review" in html(app)
    assert "Edema: not called by m 1" in texts(app)
    assert "Ben says it is there" in texts(app)
    chosen(app, "rd-finding", "")
    chosen(app, "rd-points", "by week")
    assert len(plots_of(app)) == 2
    chosen(app, "rd-base", 100)
    assert "of the first 60 opinions" in "\n".join(each.value for each in app.caption)
    chosen(app, "rd-model", "m 1")
    assert "<strong>16</strong> to review" in html(app)


def test_a_study_is_opened_from_its_line(opined: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    went = []
    monkeypatch.setattr("cxr_core.ui.links.to_study", went.append)
    app = opened("Readers")
    press(app, "Open study")
    assert len(went) == 1
    assert int(went[0], 16) in range(1, 61)


def test_only_a_lead_has_the_tab(app_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_LOCAL_ROLE", "clinician")
    app = opened()
    assert "Readers" not in [tab.label for tab in app.tabs]
    assert "Fairness" in [tab.label for tab in app.tabs]


def test_shares_by_hand() -> None:
    # 24 called, 18 agreed; 6 not called of which 3 are there: 18 of 21 of what readers hold to be there.
    those = [verdict(k, k < 18, True) for k in range(24)]
    those += [verdict(30 + k, k >= 3, False) for k in range(6)]
    total, mass = perf_readers.by_finding(those).rows
    assert total[0] == "all"
    assert mass[:4] == ("Mass", 30, 24, 18)
    assert mass[4] == pytest.approx(18 / 24)
    assert mass[7:9] == (6, 3)
    assert mass[9] == pytest.approx(18 / 21)
    assert mass[5] < mass[4] < mass[6]


def test_out_of_control_is_another_shape_and_colour() -> None:
    rights = [True] * 50 + [False] * 10
    events = [Event(THEN + timedelta(hours=k), right) for k, right in enumerate(rights)]
    plot = control_chart("x", rolling(events, 20, 50))
    marks = {trace.name: trace.marker for trace in plot.data if trace.mode == "markers"}
    assert (marks["within limits"].symbol, marks["out of control"].symbol) == ("circle", "x")
    assert marks["within limits"].color != marks["out of control"].color
    outside = next(trace for trace in plot.data if trace.name == "out of control")
    assert 0 < len(outside.x) < 12
