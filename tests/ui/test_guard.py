import pytest
from streamlit.testing.v1 import AppTest

from cxr_core.settings import ROOT
from cxr_core.ui.guard import Role

PAGES = sorted((ROOT / "pages").glob("*.py"))


def test_each_role_may_what_those_before_it_may() -> None:
    assert [role.covers(Role.LEAD) for role in Role] == [False, False, True, True]


def test_without_the_role_nothing_of_a_page_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def page() -> None:
        import streamlit as st

        from cxr_core.ui.guard import Role, require

        require(Role.LEAD)
        st.button("What only a lead may see")

    monkeypatch.setenv("CXR_LOCAL_ROLE", "clinician")
    app = AppTest.from_function(page).run()
    assert not app.exception
    assert "needs the role" in app.error[0].value
    assert not app.button


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_guard_is_the_first_statement_of_every_page(page) -> None:
    code = [
        line
        for line in page.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith(('"""', "#", "from cxr_core.ui.guard import"))
    ]
    assert "require(Role." in code[0]


def test_a_setting_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as wrong:
        wrong.setenv("CXR_LOCAL_ROLE", "emperor")
        app = AppTest.from_file(str(PAGES[0]), default_timeout=60).run()
    assert "a setting cannot be used" in app.error[0].value
    assert "CXR_LOCAL_ROLE" in app.text[0].value
