"""The simulator's tab on the bundled model's tables: every control, what it says, what it refuses."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from cxr_core.domain import Urgency
from cxr_core.triage.simulate import Discipline
from cxr_core.triage.simulated import By
from cxr_core.ui import perf_simulator, sim_plots
from cxr_core.ui.perf_simulator import RAN
from cxr_core.ui.perf_tables import as_csv
from cxr_core.ui.sim_asked import Asked
from tests.triage.builders import POLICY
from tests.ui.shown import html


def tab() -> None:
    from types import SimpleNamespace

    from cxr_core.evaluation.scored import read_scored
    from cxr_core.settings import ROOT
    from cxr_core.ui import perf_simulator
    from cxr_core.ui.perf_choice import Chosen
    from cxr_core.worklist import model_folders
    from tests.triage.builders import POLICY

    path = ROOT / "models" / "cxr14-mobilenetv2"
    chosen = Chosen(model_folders.folder(path), (), "val", read_scored(path, "val"), None)
    perf_simulator.draw(SimpleNamespace(policy=POLICY), None, chosen)


@pytest.fixture
def app() -> AppTest:
    st.cache_resource.clear()
    opened = AppTest.from_function(tab, default_timeout=120).run()
    assert not opened.exception
    return opened


def run(app: AppTest, **values: object) -> AppTest:
    for name, value in values.items():
        if name == "profile":
            app.selectbox(key="sim-profile").set_value(value)
        elif name == "hours":
            app.slider(key="sim-hours").set_value(value)
        else:
            app.number_input(key=f"sim-{name}").set_value(value)
    app.button(key="sim-run").click()
    app.run()
    assert not app.exception
    return app


def ran(app: AppTest) -> sim_plots.Ran:
    return app.session_state[RAN][1]


def test_the_point_is_seen_at_once(app: AppTest) -> None:
    first = ran(app)
    critical = [first.of(By.TRUE, Urgency.CRITICAL, each) for each in Discipline]
    assert critical[1].mean.value < 0.6 * critical[0].mean.value
    assert critical[2].worst.value < critical[1].worst.value
    assert "A film that truly is critical is read after" in html(app)
    assert len(app.get("plotly_chart")) == 2
    app.segmented_control(key="sim-by").set_value(By.SAID).run()
    app.selectbox(key="sim-tier").set_value(Urgency.REVIEW).run()
    assert not app.exception
    assert "<td>review</td>" in html(app)
    curve = ran(app).curves[By.SAID, Urgency.REVIEW, Discipline.LIMITED]
    assert (curve[1:] >= curve[:-1]).all()


def test_every_control_changes_what_is_simulated(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[object] = []
    first = ran(app)

    def fake(asked: Asked, films: object, policy: object) -> sim_plots.Ran:
        rooms.append((asked.room, asked.replications, asked.critical, policy))
        return first

    monkeypatch.setattr(perf_simulator, "_run", fake)
    changes: tuple[dict[str, object], ...] = (
        {"films": 120},
        {"minutes": 6.0},
        {"monday": 60},
        {"profile": "the same at every hour"},
        {"day": 3},
        {"night": 2},
        {"weekend": 2},
        {"hours": (7, 20)},
        {"critical": 10.0},
        {"significant": 4.0},
        {"routine": 30.0},
        {"days": 14},
        {"repeats": 2},
    )
    for change in changes:
        run(app, **change)
    assert len({repr(each) for each in rooms}) == len(rooms) == len(changes)


def test_what_cannot_be_run_says_why(app: AppTest) -> None:
    run(app, day=0, night=0, weekend=0)
    assert [each.value for each in app.warning] == ["Nobody reads: give at least one reader."]
    assert not app.get("plotly_chart")
    run(app, day=2, night=1, weekend=1, films=2000, days=180)
    assert "more than 150,000 films" in app.warning[0].value
    run(app, films=60, days=7, minutes=30.0, repeats=2)
    assert "the pile only grows" in app.warning[0].value


def test_few_films_are_not_enough_data(app: AppTest) -> None:
    run(app, films=20, days=7)
    assert "not enough data" in html(app)
    table = sim_plots.flat(ran(app))
    read = list(csv.DictReader(io.StringIO(as_csv(table).decode())))
    few = [each for each in read if int(each["films"]) < 20]
    assert few
    assert {each["mean"] for each in few} == {""}


def test_few_real_films_are_said_to_be_few_however_many_days_are_simulated(app: AppTest) -> None:
    found = ran(app)
    few = {by: tuple(replace(each, real=7) for each in its) for by, its in found.waits.items()}
    said = sim_plots.said(replace(found, waits=few), POLICY)
    assert said.startswith("Only 7 of the films drawn from truly are critical: not enough data")


def test_the_sentence_says_so_where_the_longest_wait_is_never_reached(app: AppTest) -> None:
    run(app, significant=240.0, routine=240.0, repeats=2)
    assert "hardly ever reached" in html(app)


def test_tried_waits_never_put_a_less_urgent_film_before_a_more_urgent_one() -> None:
    tried = Asked(significant_h=0.5, routine_h=0.5).policy(POLICY)
    waits = [tried.tiers[urgency].max_wait_minutes for urgency in Urgency]
    assert waits == sorted(waits)
    assert waits[:3] == [15, 120, 120]
