"""What the pages do where a sign-in cannot be looked up or ended, and where a file cannot be made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from cxr_core.access import Actor, Role
from cxr_core.errors import Busy, SignedOut
from cxr_core.logs import JsonLines
from cxr_core.ui import services
from cxr_core.worklist import database
from cxr_core.worklist.schema import SignInRow
from tests.ui.conftest import Home
from tests.ui.shown import html

ADMIN = Actor("the one who set it up", Role.ADMIN)
ISSUER, SUBJECT = "https://id.example", "ana"
SHOWN = "what is on the list"


def page() -> None:
    """A page with a part as those that look by themselves; what happens before it looks, the test says."""
    import streamlit as st

    from cxr_core.ui.guard import Role, require

    require(Role.VIEWER)
    user = require(Role.LEAD)  # entry and page both ask

    from cxr_core.ui import on_demand, services, shell, sign_in, theme
    from cxr_core.worklist.values import Query

    service = shell.opened(user)
    theme.signed_in(user)
    st.session_state["make"] = on_demand.told(lambda: service.export_csv(user, Query()))
    st.button("Reload")

    @st.fragment
    def part() -> None:
        if st.button("Look"):
            st.session_state.pop("then")(st.session_state)
        sign_in.still(service, user)
        if st.session_state.pop("changed", False):
            services.anew()
        st.text("what is on the list")

    part()


@pytest.fixture
def app(tiny_app: Home, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """A page with Ana before it, who is a lead."""
    monkeypatch.setenv("CXR_SIGN_IN", "oidc")
    monkeypatch.setattr(database, "LOCK_WAIT_S", 0.2)
    tiny_app.service.name_account(ADMIN, ISSUER, SUBJECT, "Ana Silva", Role.LEAD)
    app = AppTest.from_function(page, default_timeout=120)
    app.user = {"is_logged_in": True, "iss": ISSUER, "sub": SUBJECT, "name": "Ana Silva"}
    app.run()
    assert SHOWN in words(app)
    return app


def words(app: AppTest) -> list[str]:
    assert not app.exception
    return [each.value for each in (*app.text, *app.warning, *app.error, *app.caption)]


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def row(home: Home) -> SignInRow:
    with home.service.database.read() as session:
        return session.scalars(select(SignInRow)).one()


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Another program holds the lock for writing."""
    with closing(sqlite3.connect(home.folder / database.SQLITE_FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def away(home: Home) -> Iterator[None]:
    """The database is no database."""
    files = [path for path in home.folder.iterdir() if path.name.startswith(database.SQLITE_FILE)]
    kept = {path: path.read_bytes() for path in files}
    for path in files:
        path.write_bytes(b"no database " * 500)
    yield
    for path, content in kept.items():
        path.write_bytes(content)


def test_a_page_that_is_shown_anew_by_itself_is_nobodys_doing(tiny_app: Home, app: AppTest) -> None:
    began = row(tiny_app).seen_utc

    def later(state: MutableMapping[str, Any]) -> None:
        services.opened().clock = lambda: began + timedelta(seconds=60)
        state["changed"] = True

    app.session_state["then"] = later
    press(app, "Look")
    assert SHOWN in words(app)
    assert services.opened().clock() > began
    assert row(tiny_app).seen_utc == began
    press(app, "Reload")
    assert row(tiny_app).seen_utc == began + timedelta(seconds=60)


def test_a_screen_does_not_outlive_a_sign_in_that_nobody_can_look_up(tiny_app: Home, app: AppTest) -> None:
    idle = tiny_app.settings.idle_minutes
    for minutes in (idle - 1, idle):
        with ExitStack() as gone:

            def nobody_answers(state: MutableMapping[str, Any], minutes: int = minutes) -> None:
                gone.enter_context(away(tiny_app))  # noqa: B023 -- it is called within
                state["held"] -= 60 * minutes

            app.session_state["then"] = nobody_answers
            press(app, "Look")
        assert (SHOWN in words(app)) is (minutes < idle)
    assert "Nothing that was stored is lost" in app.error[0].value
    app.run()
    assert SHOWN in words(app)


def test_whoever_cannot_be_signed_out_everywhere_is_told_so_and_sees_nothing_else(
    tiny_app: Home, app: AppTest
) -> None:
    with locked(tiny_app):
        press(app, "Sign out")
        assert "You are not signed out yet" in html(app)
        assert SHOWN not in words(app)
        assert [button.label for button in app.button] == ["Try again", "Sign out on this browser only"]
        app.run()
        assert "You are not signed out yet" in html(app), "nothing comes back by itself"
    press(app, "Try again")
    assert row(tiny_app).ended_why == "signed_out"
    assert not app.user.get("is_logged_in")


def test_on_a_browser_alone_a_person_can_leave_at_once(tiny_app: Home, app: AppTest) -> None:
    with away(tiny_app):
        press(app, "Sign out")
        press(app, "Sign out on this browser only")
        assert not app.user.get("is_logged_in")
    assert row(tiny_app).ended_utc is None


def test_why_a_file_was_not_made_is_logged_and_said_by_the_next_look(
    tiny_app: Home, app: AppTest, caplog: pytest.LogCaptureFixture
) -> None:
    make: Callable[[], bytes] = app.session_state["make"]
    with locked(tiny_app), pytest.raises(Busy):
        make()
    (line,) = [json.loads(JsonLines().format(each)) for each in caplog.records if "said" in each.__dict__]
    assert (line["event"], line["error"], line["level"]) == ("file_not_made", "Busy", "error")
    assert line["causes"][0].startswith("OperationalError ")
    assert line["request"]
    app.run()
    assert "The file that you asked for was not made." in app.error[0].value
    assert f"If you ask about this, quote {line['request']}." in words(app)
    app.run()
    assert not app.error


def test_a_file_asked_for_after_signing_out_elsewhere_leaves_nothing_on_the_screen(
    tiny_app: Home, app: AppTest
) -> None:
    make: Callable[[], bytes] = app.session_state["make"]
    (account,) = tiny_app.service.accounts(ADMIN)
    tiny_app.service.sign_out_account(ADMIN, account.id)
    with pytest.raises(SignedOut):
        make()
    app.run()
    assert "An administrator ended this sign-in." in html(app)
    assert SHOWN not in words(app)
