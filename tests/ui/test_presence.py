"""What a person does in a part that refreshes by itself keeps them signed in; its refreshing does not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from cxr_core.access import Actor, Role
from cxr_core.ui import recent, services
from cxr_core.worklist.accounts import Claims
from cxr_core.worklist.schema import SignInRow
from cxr_core.worklist.values import BATCH, Incoming, Source
from tests.ui.conftest import Home
from tests.worklist.films import Films

PAGE = str(Path(__file__).with_name("signed_in_page.py"))
ADMIN = Actor("admin", Role.ADMIN)


class Visit:
    """A lead who signed in and looks at one part, on the page's own service with a clock that is set."""

    def __init__(self, home: Home, part: str) -> None:
        self.home, self.ahead = home, timedelta(0)
        service = services.opened()
        service.clock = lambda: datetime.now(UTC) + self.ahead
        service.name_account(ADMIN, "https://idp.example", "ana", "Ana Silva", Role.LEAD)
        key = hashlib.sha256(b"ana").hexdigest()
        actor = service.arrive(Claims("https://idp.example", "ana", "Ana Silva", "", key))
        self.app = AppTest.from_file(PAGE, default_timeout=20)
        self.app.session_state["part"], self.app.session_state["actor"] = part, actor
        self.app.run()

    def later(self, act: Callable[[AppTest], object] | None = None) -> timedelta:
        """Do something after ten minutes, or merely look; return how long ago the person was last there."""
        self.ahead += timedelta(minutes=10)
        recent.forget()
        if act is not None:
            act(self.app)
        self.app.run()
        assert not self.app.exception
        with self.home.service.database.read() as session:
            seen = session.scalars(select(SignInRow.seen_utc)).one()
        return services.opened().clock() - seen


def press(label: str) -> Callable[[AppTest], object]:
    return lambda app: next(button for button in app.button if button.label == label).click()


@pytest.fixture
def two(tiny_app: Home, films: Films) -> Home:
    files = [Incoming(f"{place}.dcm", films.dicom(place)) for place in range(2)]
    tiny_app.service.submit_many(tiny_app.actor, files, source=Source.PAGE, priority=BATCH)
    return tiny_app


@pytest.mark.parametrize(
    "act",
    [
        press("Next"),
        press("Previous"),
        lambda app: app.selectbox(key="f-tier").select("urgent"),
        lambda app: app.selectbox(key="f-finding").select("Effusion"),
        lambda app: app.selectbox(key="f-status").select("All"),
        lambda app: app.selectbox(key="f-span").select("Last 24 h"),
        lambda app: app.text_input(key="f-text").input("P-1"),
    ],
)
def test_keys_and_filters_of_the_list_count_as_being_there(
    two: Home, act: Callable[[AppTest], object]
) -> None:
    visit = Visit(two, "list")
    assert visit.later(act) < timedelta(minutes=1)
    assert visit.later() > timedelta(minutes=9), "the list that refreshes by itself is nobody"


def test_a_draft_being_written_keeps_its_writer_signed_in_beyond_the_idle_time(tiny_app: Home) -> None:
    visit = Visit(tiny_app, "policy")
    assert visit.later(lambda app: app.button(key="pol-begin").click()) < timedelta(minutes=1)
    for minutes in (5, 6, 7):
        typed = lambda app, wait=minutes: app.number_input(key="pol-f-wait-critical").set_value(wait)  # noqa: E731
        assert visit.later(typed) < timedelta(minutes=1)
    assert visit.app.number_input(key="pol-f-wait-critical").value == 7


def test_a_draft_and_its_note_outlive_a_look_at_another_tab(tiny_app: Home) -> None:
    app = Visit(tiny_app, "policy").app
    app.button(key="pol-begin").click().run()
    app.text_input(key="pol-f-approver").set_value("Dr. A. Silva")
    app.text_input(key="pol-note").set_value("as agreed on Monday").run()
    for part in ("nothing", "policy"):
        app.session_state["part"] = part
        app.run()
    assert app.text_input(key="pol-note").value == "as agreed on Monday"
    assert app.text_input(key="pol-f-approver").value == "Dr. A. Silva"
    app.button(key="pol-drop").click().run()
    app.button(key="pol-begin").click().run()
    assert app.text_input(key="pol-note").value == "", "a draft given up leaves nothing to the next"
