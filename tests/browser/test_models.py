"""What people do on the models page, in real Chromium, on a server with its own worker."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from cxr_core.access import Actor, Role
from cxr_core.settings import Settings
from cxr_core.worklist import queue
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Source
from tests.browser import app
from tests.browser.conftest import Watched
from tests.films import png
from tests.worklist.processes import wait_for
from tests.worklist.test_models import HISTORY, made

pytestmark = pytest.mark.browser
LEAD = Actor("lead", Role.LEAD)
SLOW_MS = 120_000
HOSTILE = "\n\n![x](http://evil.example/a.png) <img src=x onerror=alert(1)>\n"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A worklist with three models: one in force, one with a hostile card, one altered."""
    models = tmp_path / "models"
    made(models, "one", **{"evaluation/history.csv": HISTORY})
    made(models, "two", "2.0.0", ("Effusion",), **{"card.md": HOSTILE, "evaluation/history.csv": HISTORY})
    (made(models, "three") / "card.md").write_text("altered", encoding="utf-8")
    settings = Settings(home=tmp_path / "home", model="one", models_dir=models)
    with closing(open_service(settings)) as opened:
        yield opened


@pytest.fixture
def watched(browser: Browser, service: Service) -> Iterator[Watched]:
    settings = service.settings
    with app.running(settings.home, CXR_MODEL="one", CXR_MODELS_DIR=str(settings.models_dir)) as server:
        context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
        page = context.new_page()
        watch = Watched(page, server.address)
        page.on("dialog", lambda dialog: pytest.fail("a card ran as a script"))
        page.goto(server.address)
        page.get_by_text("Drop a chest X-ray").wait_for(timeout=SLOW_MS)
        page.get_by_role("link", name="Models").click()
        page.locator(".mod-models").wait_for(timeout=SLOW_MS)
        yield watch
        context.close()
    assert watch.outside == []
    assert watch.errors == []


def test_a_model_is_looked_at_taken_away_and_activated_and_the_next_film_is_answered_by_it(
    watched: Watched, service: Service
) -> None:
    page = watched.page
    expect(page.locator(".mod-models tr.force")).to_contain_text("in force")
    expect(page.locator(".mod-models tr.unsound")).to_contain_text("card.md was altered")
    app.choose(page, "Model", "two")
    expect(page.locator(".mod-card")).to_contain_text("<img src=x onerror=alert(1)>", timeout=SLOW_MS)
    page.get_by_role("tab", name="Training").click()
    expect(page.locator(".js-plotly-plot")).to_have_count(2, timeout=SLOW_MS)
    taken = app.download(page, "Bundle")
    with zipfile.ZipFile(io.BytesIO(taken.path().read_bytes())) as bundle:
        assert {"two/manifest.toml", "two/model.onnx", "two/card.md"} <= set(bundle.namelist())

    page.get_by_role("button", name="Activate", exact=True).click()
    expect(page.get_by_role("button", name="Activate now")).to_be_disabled(timeout=SLOW_MS)
    page.get_by_role("button", name="Check this model").click()
    expect(page.get_by_text("self-test are as its manifest says")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("button", name="Check this model")).to_be_disabled(timeout=SLOW_MS)
    page.get_by_label("Why", exact=True).fill("a teaching day")
    page.get_by_role("button", name="Activate now").click()
    expect(page.get_by_text("two 2.0.0 is in force.")).to_be_visible(timeout=SLOW_MS)
    assert service.models(LEAD).changes[0].note == "a teaching day"

    film = service.submit(LEAD, Incoming("film.png", png(3)), source=Source.CLI)
    wait_for(lambda: queue.waiting(service) == 0, 120, "the worker's answer")
    (answered,) = service.study(LEAD, film.study_id).films
    assert answered.analysis is not None
    assert answered.analysis.versions.model == "two 2.0.0"
