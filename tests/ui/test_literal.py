"""Names, ids and notes are shown as they are: no element that reads Markdown is told one."""

from __future__ import annotations

import ast
from pathlib import Path

from streamlit.testing.v1 import AppTest

from cxr_core import ui
from tests.hostile_text import HOSTILE
from tests.ui.shown import html

MARKDOWN = {
    "badge", "button", "caption", "checkbox", "error", "expander", "header", "info", "markdown", "popover",
    "radio", "subheader", "success", "tabs", "title", "toast", "toggle", "warning", "write",
}  # fmt: skip
FREE = {
    "actor",
    "email",
    "file",
    "id",
    "model",
    "name",
    "note",
    "patient_id",
    "reason",
    "referrer",
    "version",
}
"""Attributes that hold what somebody or some folder said."""
OURS = {"its.name", "preview.policy.version"}  # written in this program; letters, digits and . _ + -


def told(path: Path) -> list[str]:
    found = []
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if call.func.attr not in MARKDOWN or ast.unparse(call.func.value) != "st":
            continue
        for value in (each for said in call.args[:1] for each in ast.walk(said)):
            if isinstance(value, ast.FormattedValue) and isinstance(value.value, ast.Attribute):
                said = ast.unparse(value.value)
                if value.value.attr in FREE and said not in OURS:
                    found.append(f"{path.name}:{call.lineno}: {said}")
    return found


def test_no_element_that_reads_markdown_is_told_a_name() -> None:
    paths = sorted(Path(str(ui.__file__)).parent.glob("*.py"))
    assert [each for path in paths for each in told(path)] == []


def test_a_name_in_such_an_element_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text('st.caption("of " f"{folder.id} says")\nst.text(f"{folder.id}")\nst.success(f"{a.b}")')
    assert told(page) == ["page.py:1: folder.id"]


def test_a_literal_caption_shows_any_text_as_it_is() -> None:
    def page(text: str) -> None:
        from cxr_core.ui import literal

        literal.caption(text)

    app = AppTest.from_function(page, args=(" ".join(HOSTILE),)).run()
    assert not app.exception
    assert "&lt;script&gt;" in html(app)
    for obeyed in ("<script", "<img", "<svg", "<iframe", "</style>"):
        assert obeyed not in html(app)
