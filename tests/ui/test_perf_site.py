"""Fitting a model to this site on the performance page, without a browser: every control."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from cxr_core.access import Actor, Role
from cxr_core.inference import registry
from cxr_core.inference.manifest import read_manifest
from cxr_core.worklist import model_check
from cxr_core.worklist.site_films import Reading
from cxr_core.worklist.site_opinions import Opined
from tests.evaluation.site_made import site_cases
from tests.ui.conftest import Home
from tests.ui.shown import html, labels, press, texts
from tests.worklist.films import Films
from tests.worklist.test_models import made

LEAD = Actor("local user", Role.LEAD)


def page() -> None:
    """The tab alone, on the model that is set."""
    from types import SimpleNamespace

    import streamlit as st

    from cxr_core import settings
    from cxr_core.local import local_actor
    from cxr_core.ui import perf_site, services

    service = services.opened()
    actor = local_actor(settings.load())
    folder = service.models(actor).folder("one")
    st.fragment(perf_site.draw)(service, actor, SimpleNamespace(model=folder))


@pytest.fixture
def app_home(tmp_path: Path, tiny_app: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The app on one model of this test's own, checked in this process."""
    root = tmp_path / "models"
    made(root, "one")
    monkeypatch.setenv("CXR_MODELS_DIR", str(root))
    monkeypatch.setenv("CXR_MODEL", "one")
    monkeypatch.setattr(model_check, "check", lambda folder: registry.load(folder, threads=1))
    tiny_app.service.close()
    return Home(tiny_app.folder)


def opened() -> AppTest:
    app = AppTest.from_function(page, default_timeout=120).run()
    assert not app.exception
    return app


@pytest.fixture
def with_cases(app_home: Home, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page once readers' opinions were taken, which stand for any 600 cases here."""
    manifest = read_manifest(app_home.settings.models_dir / "one")
    found = Opined(site_cases(manifest, 600), 300, 2, 1)
    monkeypatch.setattr("cxr_core.worklist.site_opinions.opined", lambda service: found)
    monkeypatch.setattr("cxr_core.evaluation.site.RESAMPLES", 20)
    app = opened()
    app.radio(key="site-origin").set_value("readers' agreement and disagreement on the worklist").run()
    return press(app, "Use these opinions")


def table(app: AppTest, title: str) -> str:
    return next(each for each in html(app).split('<div class="panel perf-table">') if title in each)


def test_a_zip_of_films_and_a_list_are_read_and_what_is_refused_is_said(app_home: Home, films: Films) -> None:
    app = opened()
    assert app.button(key="site-read").disabled
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(5):
            archive.writestr(f"{number}.png", films.png(number))
        archive.writestr("broken.png", b"no film")
    rows = "".join(f"{number}.png,p{number % 3},1,0\n" for number in range(5))
    app.file_uploader[0].upload(
        "list.csv", b"file,patient,Mass,Edema\n" + rows.encode() + b"broken.png,x,1,0\n"
    )
    app.file_uploader[1].upload("films.zip", packed.getvalue(), "application/zip")
    app.file_uploader[1].upload("5.dcm", films.dicom(7), "application/octet-stream").run()
    ended(press(app, "Read the films"))
    assert "<b>5 films of 3 patients.</b>" in html(app), texts(app)
    said = texts(app)
    assert "1 films were refused" in said
    counts, refused = app.dataframe[0].value, app.dataframe[1].value
    assert counts.set_index("finding").loc["Mass", "films with it"] == 5
    assert refused["film"].tolist() == ["films.zip/broken.png"]
    assert refused["code"].tolist() == ["unknown_format"]
    press(app, "Fit and judge")
    assert "5 films of 3 patients with a known label; a model is fitted to a site by at least 100" in texts(
        app
    )
    press(app, "Other cases")
    assert "Read the films" in labels(app)
    assert not app.dataframe
    app.toggle(key="site-whole").set_value(True).run()
    assert not app.exception


def test_a_list_that_is_none_is_said(app_home: Home, films: Films) -> None:
    app = opened()
    app.file_uploader[0].upload("list.csv", b"x,y\n1,2\n", "text/csv")
    app.file_uploader[1].upload("1.png", films.png(1), "image/png").run()
    press(app, "Read the films")
    assert "no column of files" in texts(app)


def uploaded(app: AppTest, films: Films, number: int) -> AppTest:
    rows = "".join(f"{each}.png,p{each},1\n" for each in range(number))
    app.file_uploader[0].upload("list.csv", b"file,patient,Mass\n" + rows.encode(), "text/csv")
    for each in range(number):
        app.file_uploader[1].upload(f"{each}.png", films.png(each), "image/png")
    return app.run()


def ended(app: AppTest) -> AppTest:
    """The page once the films are read, as the part that shows itself anew would show it."""
    for _ in range(600):
        if "Stop" not in labels(app):
            return app
        time.sleep(0.1)
        app.run()
    raise AssertionError("the films are not read")


def test_a_reading_that_is_stopped_keeps_what_was_read(
    app_home: Home, films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, step = Event(), Reading.step

    def slow(self: Reading) -> bool:
        more = step(self, 1)
        gate.wait(60)
        return more

    monkeypatch.setattr(Reading, "step", slow)
    app = press(uploaded(opened(), films, 4), "Read the films")
    assert "films read" in app.get("progress")[0].proto.text
    app.button(key="site-stop").click().run()
    assert app.button(key="site-stop").disabled
    gate.set()
    ended(app)
    assert "<b>1 films of 1 patients.</b>" in html(app)
    assert "Stopped before the last film." in texts(app)


def test_films_are_read_on_while_the_page_is_locked_and_found_again_by_the_same_person(
    app_home: Home, films: Films
) -> None:
    """Another session of the same person, as after signing in again or in another tab."""
    press(uploaded(opened(), films, 4), "Read the films")
    again = ended(opened())
    assert "<b>4 films of 4 patients.</b>" in html(again)
    press(again, "Other cases")
    assert "Read the films" in labels(again)


def test_what_came_of_no_film_is_said_and_other_films_can_be_chosen(app_home: Home, films: Films) -> None:
    app = opened()
    app.file_uploader[0].upload("list.csv", b"file,patient,Mass\n1.png,p,1\n", "text/csv")
    app.file_uploader[1].upload("1.png", b"no film", "image/png").run()
    ended(press(app, "Read the films"))
    assert "none of the films that the list names could be assessed" in texts(app)
    assert "Read the films" in labels(app)


def test_opinions_fitted_judged_named_and_saved(with_cases: AppTest, app_home: Home, monkeypatch) -> None:
    app = with_cases
    assert "<b>600 films of 300 patients.</b>" in html(app)
    assert "300 studies with an opinion" in texts(app)
    assert "showed. What it missed and nobody looked for" in texts(app)
    app = press(app, "Fit and judge")
    figures = table(app, "sensitivity before")
    assert "Mass" in figures
    assert any(each.value.startswith("The cases") for each in (*app.success, *app.warning))
    assert "routine" in table(app, "<td>routine")
    app.selectbox(key="site-label").set_value("Mass").run()
    assert "Mass: share of films with it" in "\n".join(each.value for each in app.caption)
    app.text_input(key="site-name").set_value("Ward 3")
    press(app, "Save as a new model")
    assert "small letters" in texts(app)
    app.text_input(key="site-name").set_value("ward-3")
    press(app, "Save as a new model")
    assert app.success[-1].value.startswith("Saved. It answers nothing")
    assert "one-ward-3 1.0.0+site.1" in texts(app)
    saved = app_home.service.models(LEAD).folder("one-ward-3")
    assert saved is not None
    assert not saved.fault
    assert app_home.service.models(LEAD).in_force.model == "one 1.0.0"
    went: list[str] = []
    monkeypatch.setattr("cxr_core.ui.perf_site.st.switch_page", went.append)
    press(app, "Go to the models page")
    assert went == ["pages/models.py"]
    assert app.session_state["mod-chosen"] == "one-ward-3"


def test_what_is_asked_for_changes_what_comes_out(with_cases: AppTest) -> None:
    app = press(with_cases, "Fit and judge")
    first = app.session_state["site-fitted"][2]
    app.slider(key="site-sensitivity").set_value(70)
    app.multiselect(key="site-only").set_value(["Mass", "Edema"])
    app.number_input(key="site-films-a-day").set_value(250)
    app.checkbox(key="site-chosen").set_value(True).run()
    assert "What is asked for has changed since" in "\n".join(each.value for each in app.caption)
    app.number_input(key="site-share-Mass").set_value(2.0).run()
    press(app, "Fit and judge")
    fit = app.session_state["site-fitted"][2]
    assert fit.choice.sensitivity == 0.7
    assert fit.choice.prevalence == {"Mass": pytest.approx(0.02)}
    assert [each.label for each in fit.labels if each.renewed] == ["Mass", "Edema"]
    assert 0.7 <= fit["Mass"].reached.value < first["Mass"].reached.value
    assert np.isclose(sum(fit.tiers_after.values()), 250)
    app.radio(key="site-aim").set_value("budget").run()
    assert app.slider(key="site-sensitivity").disabled
    press(app, "Fit and judge")
    assert app.session_state["site-fitted"][2].choice.prevalence == {}


def test_a_folder_that_cannot_be_written_is_named(with_cases: AppTest, monkeypatch) -> None:
    app = press(with_cases, "Fit and judge")

    def denied(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("cxr_core.evaluation.site_folder.tempfile.TemporaryDirectory", denied)
    press(app, "Save as a new model")
    assert "CXR_MODELS_DIR" in texts(app)
