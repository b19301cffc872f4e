"""A2: who is not signed in sees nothing, whichever address is opened first on a fresh server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from cxr_core.access import Actor, Role
from cxr_core.settings import ROOT
from cxr_core.worklist.values import Incoming, Receipt, Source
from tests.browser import app
from tests.browser.people import SLOW_MS, Department, Ears, department, new_context
from tests.worklist.films import Films

pytestmark = pytest.mark.browser
PATIENT, NAME, FILE = "PIDX-77120", "Quaggamire", "wombatleaf"
PEOPLE = {"lead@hospital.example": "Lea Lead"}
PAGES = ["", *sorted(path.stem for path in (ROOT / "pages").glob("*.py"))]


@pytest.fixture(scope="module")
def here(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    if not app.CHROMIUM.exists():
        pytest.skip(f"{app.CHROMIUM} is not installed")
    small = {"CXR_MODEL": tiny_model.name, "CXR_MODELS_DIR": str(tiny_model.parent)}
    with department(tmp_path_factory.mktemp("guarded") / "home", PEOPLE, **small) as running:
        running.name("lead@hospital.example", Role.LEAD)
        yield running


@pytest.fixture(scope="module")
def study(here: Department) -> Receipt:
    film = Films().dicom(1, patient_id=PATIENT, patient_name=f"{NAME}^Zelda")
    hand = Actor("modality", Role.CLINICIAN)
    return here.service.submit(hand, Incoming(f"{FILE}.dcm", film), source=Source.CLI)


@pytest.mark.parametrize("page", PAGES)
def test_promise_a2_logged_out_a_deep_link_on_a_fresh_server_shows_nothing(
    browser: Browser, here: Department, study: Receipt, page: str
) -> None:
    here.server.stop()
    here.server.start()
    context = new_context(browser)
    ears = Ears(context, here.address)
    opened = context.new_page()
    opened.goto(f"{here.address}/{page}?study={study.study_id}")
    expect(opened.locator(".st-key-sign-in h1")).to_have_text("Sign in", timeout=SLOW_MS)
    expect(opened.locator("[data-testid=stStatusWidget]")).to_have_count(0, timeout=SLOW_MS)
    main = opened.locator("[data-testid=stApp]").inner_text()
    context.close()
    assert ears.heard
    assert ears.told(PATIENT, NAME, FILE, "wl-table", "alert-show", "pages/worklist") == set()
    assert "Worklist" not in main
    assert ears.errors == []


def test_promise_a2_a_reports_address_answers_nobody_who_is_not_signed_in(
    browser: Browser, here: Department, study: Receipt
) -> None:
    inside, outside = new_context(browser), new_context(browser)
    page = here.sign_in(inside, "lead@hospital.example")
    page.locator(".user").wait_for(timeout=SLOW_MS)
    page.goto(f"{here.address}/?study={study.study_id}")
    download = app.download(page, "JSON")
    address = download.url
    assert "/media/" in address
    assert inside.request.get(address).status == 200
    assert outside.request.get(address).status == 401
    upload = f"{here.address}/_stcore/upload_file/some-session/some-file"
    assert outside.request.put(upload, data=b"x").status == 401
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="End session").wait_for(timeout=SLOW_MS)
    assert inside.request.get(address).status == 401
    inside.close()
    outside.close()


def test_health_says_no_more_than_words_to_who_is_not_signed_in(browser: Browser, here: Department) -> None:
    context = new_context(browser)
    assert context.request.get(f"{here.address}/healthz").text() == "ok\n"
    ready = context.request.get(f"{here.address}/readyz")
    assert ready.json().keys() == {"database", "worker", "model"}
    context.close()
