"""People sign in through a real identity provider, see what their role opens, and lose it when it goes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import select, update

from cxr_core.access import Actor, Role
from cxr_core.worklist.database import SQLITE_FILE
from cxr_core.worklist.schema import AuditRow, SignInRow
from cxr_core.worklist.values import Incoming, Query, Source
from tests.browser import app
from tests.browser.people import ADMIN, SLOW_MS, SUBJECTS, Department, Ears, department, new_context
from tests.worklist.films import Films

pytestmark = pytest.mark.browser
PATIENT = "PIDX-40417"
EXTRA = {"gone@hospital.example": "Gone", "two@hospital.example": "Two", "idle@hospital.example": "Idle"}
EXTRA |= {"less@hospital.example": "Less", "new@hospital.example": "New", "old@hospital.example": "Old"}
EXTRA |= {"lock@hospital.example": "Lock"}


@pytest.fixture(scope="module")
def here(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    """A department with one study on its list, and everybody but the new one known to it."""
    if not app.CHROMIUM.exists():
        pytest.skip(f"{app.CHROMIUM} is not installed")
    people = {subject: f"Person {role}" for role, subject in SUBJECTS.items()} | EXTRA
    small = {"CXR_MODEL": tiny_model.name, "CXR_MODELS_DIR": str(tiny_model.parent)}
    with department(tmp_path_factory.mktemp("people") / "home", people, **small) as running:
        film = Incoming("film.dcm", Films().dicom(1, patient_id=PATIENT))
        running.service.submit(Actor("modality", Role.CLINICIAN), film, source=Source.CLI)
        for role, subject in SUBJECTS.items():
            running.name(subject, role)
        for subject in EXTRA:
            if not subject.startswith("new"):
                running.name(subject, Role.LEAD if subject.startswith("lock") else Role.CLINICIAN)
        yield running


@pytest.fixture
def context(browser: Browser, here: Department) -> Iterator[BrowserContext]:
    opened = new_context(browser)
    ears = Ears(opened, here.address)
    yield opened
    opened.close()
    assert ears.errors == []


def on_the_list(page: Page) -> Page:
    page.get_by_role("link", name="Worklist").click(timeout=SLOW_MS)
    page.get_by_role("heading", name="Worklist").wait_for(timeout=SLOW_MS)
    page.locator(".st-key-table [role=grid]").wait_for(state="attached", timeout=SLOW_MS)
    app.press(page, "j", "wl-next")
    page.locator(".st-key-strip").wait_for(timeout=SLOW_MS)
    return page


def nothing_is_left(page: Page, title: str) -> None:
    """Wait until the page says this, and shows nothing of the list any more."""
    expect(page.locator(".st-key-sign-in h1")).to_have_text(title, timeout=SLOW_MS)
    for gone in ("[data-testid=stDataFrame]", ".st-key-strip", "[data-testid=stPageLink]", ".user"):
        expect(page.locator(gone)).to_have_count(0, timeout=SLOW_MS)
    assert PATIENT not in page.content()


@pytest.mark.parametrize("role", Role)
def test_signed_in_as_each_role_people_see_what_it_opens(
    context: BrowserContext, here: Department, role: Role
) -> None:
    page = here.sign_in(context, SUBJECTS[role])
    user = page.locator("[data-testid=stSidebar] .user")
    expect(user).to_have_text(f"{handle(here, SUBJECTS[role])} · {role}", timeout=SLOW_MS)
    links = page.locator("[data-testid=stSidebar] [data-testid=stPageLink]")
    for name in ("Triage", "Worklist", "Study", "Performance", "Models", "Operations"):
        opens = name != "Operations" or role.covers(Role.LEAD)
        expect(links.filter(has_text=name)).to_have_count(int(opens), timeout=SLOW_MS)
    expect(page.locator("input[type=file]")).to_have_count(int(role.covers(Role.CLINICIAN)))
    on_the_list(page)
    claim = page.get_by_role("button", name="Claim")
    expect(claim).to_have_count(int(role.covers(Role.CLINICIAN)))
    expect(page.get_by_role("button", name="CSV")).to_have_count(int(role.covers(Role.LEAD)))


def handle(here: Department, subject: str) -> str:
    (found,) = [each.handle for each in here.service.accounts(ADMIN) if each.subject == subject]
    return found


def test_a_viewer_is_refused_where_a_lead_may_look(context: BrowserContext, here: Department) -> None:
    page = here.sign_in(context, SUBJECTS[Role.VIEWER])
    page.locator(".user").wait_for(timeout=SLOW_MS)
    page.goto(f"{here.address}/operations")
    refused = page.get_by_text("This page needs the role lead; you are signed in as viewer.")
    refused.wait_for(timeout=SLOW_MS)
    expect(page.locator("[data-testid=stMain] [data-testid=stTabs]")).to_have_count(0)


def test_somebody_new_is_told_what_to_send_to_an_administrator_and_then_let_in(
    context: BrowserContext, here: Department
) -> None:
    page = here.sign_in(context, "new@hospital.example")
    nothing_is_left(page, "An administrator must give you a role")
    shown = page.locator(".st-key-sign-in [data-testid=stText]").inner_text()
    assert here.provider.address in shown
    assert "new@hospital.example" in shown
    here.service.set_role(ADMIN, here.account("new@hospital.example"), Role.VIEWER)
    page.reload()
    expect(page.locator(".user")).to_contain_text("viewer", timeout=SLOW_MS)


def test_a_role_taken_away_while_its_button_was_on_the_screen_is_refused(
    context: BrowserContext, here: Department
) -> None:
    page = on_the_list(here.sign_in(context, "less@hospital.example"))
    claim = page.get_by_role("button", name="Claim")
    claim.wait_for(timeout=SLOW_MS)
    here.service.set_role(ADMIN, here.account("less@hospital.example"), Role.VIEWER)
    page.evaluate("document.querySelector('.st-key-wl-claim button')?.click()")
    expect(claim).to_have_count(0, timeout=SLOW_MS)
    expect(page.locator(".user")).to_contain_text("viewer", timeout=SLOW_MS)
    (line,) = here.service.page(ADMIN, Query()).lines
    assert line.claimed_by is None


def test_a_sign_in_that_an_administrator_ends_leaves_nothing_on_the_open_page(
    context: BrowserContext, here: Department
) -> None:
    page = on_the_list(here.sign_in(context, "gone@hospital.example"))
    here.service.set_role(ADMIN, here.account("gone@hospital.example"), None)
    nothing_is_left(page, "Signed out")
    expect(page.locator(".st-key-sign-in")).to_contain_text("An administrator ended this sign-in")


@pytest.mark.timeout(600)
def test_a_lead_is_told_why_a_file_was_not_made_and_why_nobody_is_signed_out_yet(
    context: BrowserContext, here: Department
) -> None:
    page = on_the_list(here.sign_in(context, "lock@hospital.example"))
    file = here.service.settings.home / SQLITE_FILE
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        page.get_by_role("button", name="CSV").click()
        said = page.get_by_text("The file that you asked for was not made.")
        said.wait_for(timeout=2 * SLOW_MS)
        toast = page.locator("[data-testid=stToast]")
        expect(toast).to_have_count(0, timeout=SLOW_MS)  # some looks later
        expect(said).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        nothing_is_left(page, "You are not signed out yet")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="End session").click(timeout=SLOW_MS)
    nothing_is_left(page, "Sign in")


def test_signing_out_anywhere_is_signing_out_everywhere(
    browser: Browser, context: BrowserContext, here: Department
) -> None:
    page = on_the_list(here.sign_in(context, "two@hospital.example"))
    elsewhere = new_context(browser)
    other = here.sign_in(elsewhere, "two@hospital.example")
    other.get_by_role("button", name="Sign out").click(timeout=SLOW_MS)
    other.get_by_role("button", name="End session").click(timeout=SLOW_MS)
    nothing_is_left(other, "Sign in")
    nothing_is_left(page, "Signed out")
    elsewhere.close()


def test_a_cookie_that_was_kept_opens_nothing_after_signing_out(
    browser: Browser, context: BrowserContext, here: Department
) -> None:
    page = here.sign_in(context, "old@hospital.example")
    page.locator(".user").wait_for(timeout=SLOW_MS)
    kept = context.cookies(here.address)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="End session").wait_for(timeout=SLOW_MS)
    thief = new_context(browser)
    thief.add_cookies(kept)  # type: ignore[arg-type]  # as they came
    stolen = thief.new_page()
    stolen.goto(f"{here.address}/worklist")
    nothing_is_left(stolen, "Signed out")
    thief.close()


def test_a_screen_that_nobody_touches_locks_itself_and_opens_again_by_signing_in(
    context: BrowserContext, here: Department
) -> None:
    subject = "idle@hospital.example"
    page = on_the_list(here.sign_in(context, subject))
    long_ago = here.service.clock() - timedelta(minutes=here.service.settings.idle_minutes, seconds=1)
    with here.service.database.write() as session:
        mine = update(SignInRow).where(SignInRow.account_id == here.account(subject))
        session.execute(mine.values(seen_utc=long_ago))
    nothing_is_left(page, "Locked")
    said = select(AuditRow.event).where(AuditRow.actor == handle(here, subject)).order_by(AuditRow.seq)
    with here.service.database.read() as session:
        events = [event for event in session.scalars(said) if event in ("sign_in", "lock")]
    assert events == ["sign_in", "lock"]
    here.through_the_provider(page, subject)
    on_the_list(page)
