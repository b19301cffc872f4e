"""The policy's panel with the real service, without a browser."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from cxr_core.access import Actor, Role
from cxr_core.domain import Urgency
from cxr_core.triage.edit import edited
from cxr_core.ui.operations_lights import Level, lights_of
from cxr_core.ui.policy_draft import next_version
from cxr_core.worklist.schema import PolicyRow
from cxr_core.worklist.service import open_service
from cxr_core.worklist.values import Incoming, Source
from tests.films import png
from tests.ui.conftest import Home
from tests.ui.shown import html

LEAD = Actor("local user", Role.LEAD)
PAGE = str(Path(__file__).with_name("policy_page.py"))


def opened(role: str = "lead") -> AppTest:
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.session_state["role"] = role
    app.run()
    assert not app.exception
    return app


def press(app: AppTest, key: str) -> AppTest:
    next(button for button in app.button if button.key == key).click().run()
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    kinds = (app.text, app.caption, app.success, app.warning, app.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button}


def changed(home: Home, version: str, *, approver: str = "Dr. A. Silva", note: str = "as agreed") -> int:
    values = {("version",): version, ("approver",): approver, ("findings", "Emphysema", "tier"): "urgent"}
    text = edited(home.service.policy_text(LEAD, None), values)
    return home.service.write_policy(LEAD, text, note)


@pytest.fixture
def answered(tiny_app: Home) -> Home:
    """A list with some answers."""
    files = [Incoming(f"{seed}.png", png(seed)) for seed in (3, 9, 2)]
    tiny_app.service.submit_many(LEAD, files, source=Source.PAGE)
    tiny_app.answer()
    return tiny_app


def test_what_is_in_force_and_that_nobody_has_approved_it(tiny_app):
    app = opened()
    assert "<b>1.0.0</b>" in html(app)
    assert "unsigned: a site must approve" in html(app)
    assert "Nobody has approved this policy" in said(app)
    assert "pol-revert-now" not in keys(app)
    assert "pol-activate-now" not in keys(app)


def test_a_version_is_written_tried_kept_activated_and_reverted(answered):
    app = press(opened(), "pol-begin")
    assert app.text_input(key="pol-f-version").value == "1.0.1"
    app.text_input(key="pol-f-approver").set_value("Dr. A. Silva")
    app.selectbox(key="pol-f-tier-Cardiomegaly").set_value(Urgency.CRITICAL)
    app.number_input(key="pol-f-wait-urgent").set_value(60)
    app.number_input(key="pol-f-wait-critical").set_value(10)
    app.text_input(key="pol-note").set_value("a large heart is critical here")
    press(app, "pol-try-draft")
    assert "Of the last 3 studies: 2 would be more urgent, 0 less urgent" in said(app)
    assert "Thresholds belong to the model" in said(app)
    matrix = html(app)
    assert '<td class="up">▲ 2</td>' in matrix
    assert answered.service.policies(LEAD).versions[0].version == "1.0.0", "trying keeps nothing"

    press(app, "pol-save")
    assert "Kept. It is not in force before it is activated." in said(app)
    assert "pol-f-version" not in {field.key for field in app.text_input}
    kept = answered.service.policies(LEAD).versions[0]
    assert (kept.version, kept.approver, kept.note) == (
        "1.0.1",
        "Dr. A. Silva",
        "a large heart is critical here",
    )
    text = answered.service.policy_text(LEAD, kept.id)
    assert "# Per tier: the longest wait" in text, "comments stay"
    assert "max_wait_minutes = 60" in text

    app.selectbox(key="pol-chosen").set_value(kept.id).run()
    press(app, "pol-activate-now")
    assert "Policy 1.0.1 is in force." in said(app)
    assert answered.service.policies(LEAD).in_force.policy_id == kept.id
    assert "<b>1.0.1</b>" in html(app)
    assert "Open studies answered under another policy, model or gate: 3." in said(app)
    press(app, "pol-again")
    assert "3 studies queued behind all new films." in said(app)
    answered.answer()
    assert answered.service.policies(LEAD).otherwise == 0
    press(app, "pol-revert-now")
    assert "Policy 1.0.0 is in force." in said(app)


def test_what_was_typed_survives_what_is_wrong_with_it(tiny_app):
    app = press(opened(), "pol-begin")
    app.text_input(key="pol-f-version").set_value("1.0.0")
    app.text_input(key="pol-f-action-Mass").set_value("Phone the lung team.")
    press(app, "pol-save")
    assert "note" in said(app)
    app.text_input(key="pol-note").set_value("why")
    press(app, "pol-save")
    assert "version 1.0.0 was used before" in said(app)
    app.number_input(key="pol-f-wait-critical").set_value(100_000)
    app.text_input(key="pol-f-version").set_value("1.0.5")
    press(app, "pol-save")
    assert "a more urgent tier may not wait longer" in said(app)
    assert app.text_input(key="pol-f-action-Mass").value == "Phone the lung team."
    assert app.text_input(key="pol-note").value == "why"
    app.number_input(key="pol-f-wait-critical").set_value(10)
    press(app, "pol-save")
    assert tiny_app.service.policies(LEAD).versions[0].version == "1.0.5"


def test_the_whole_text_and_the_fields_are_one_draft(tiny_app):
    app = press(opened(), "pol-begin")
    app.text_input(key="pol-f-approver").set_value("Dr. A. Silva").run()
    app.segmented_control(key="pol-how").set_value("Whole text").run()
    text = app.text_area(key="pol-text").value
    assert 'approver = "Dr. A. Silva"' in text
    app.text_area(key="pol-text").set_value(text.replace("votes = 2", "votes = 3")).run()
    app.segmented_control(key="pol-how").set_value("By fields").run()
    assert app.number_input(key="pol-f-votes").value == 3
    app.segmented_control(key="pol-how").set_value("Whole text").run()
    app.text_area(key="pol-text").set_value("version = ").run()
    press(app, "pol-try-draft")
    assert "not TOML" in said(app)
    app.segmented_control(key="pol-how").set_value("By fields").run()
    assert app.text_area(key="pol-text").value == "version = ", "fields cannot hold it, so the text stays"


def test_an_unapproved_version_is_tried_and_not_activated(answered):
    draft = changed(answered, "1.1.0", approver="unsigned: to be discussed")
    app = opened()
    app.selectbox(key="pol-chosen").set_value(draft).run()
    assert "nobody has approved it: can be tried, not activated" in said(app)
    assert "pol-activate-now" not in keys(app)
    press(app, "pol-try")
    assert "Of the last 3 studies" in said(app)


def test_another_lead_was_quicker(answered):
    first, second = changed(answered, "1.1.0"), changed(answered, "1.2.0")
    app = opened()
    app.selectbox(key="pol-chosen").set_value(second).run()
    answered.service.activate_policy(LEAD, first)
    press(app, "pol-activate-now")
    assert "another policy came into force meanwhile" in said(app)
    assert answered.service.policies(LEAD).in_force.policy_id == first
    assert "<b>1.1.0</b>" in html(app)


def test_a_role_below_lead_sees_nothing(tiny_app):
    app = opened("clinician")
    assert "your role does not allow it" in said(app)
    assert not keys(app)


def test_a_policy_in_force_that_cannot_be_read_is_said_and_can_be_left(tiny_app):
    policy = changed(tiny_app, "1.1.0")
    tiny_app.service.activate_policy(LEAD, policy)
    with tiny_app.service.database.write() as session:
        row = session.get_one(PolicyRow, policy)
        row.body += '\n[telepathy]\nrange = "far"\n'
    with closing(open_service(tiny_app.settings)) as service:
        workers = lights_of(service.health(LEAD), timedelta(minutes=15))[1]
    assert (workers.level, workers.why) == (Level.ACT, "decide nothing: the policy in force cannot be read")
    app = opened()
    assert "No film is decided now" in said(app)
    assert "telepathy" in said(app)
    assert "cannot be read" in app.dataframe[0].value.to_string()
    press(app, "pol-revert-now")
    assert "No film is decided now" not in said(app)
    assert "<b>1.0.0</b>" in html(app)


def test_hostile_text_is_shown_as_text(tiny_app):
    hostile = "<img src=x onerror=alert(1)> ![x](http://evil.example/a.png)"
    policy = changed(tiny_app, "1.1.0", approver=f"Dr. {hostile}", note=hostile)
    tiny_app.service.activate_policy(LEAD, policy)
    app = opened()
    assert "&lt;img src=x" in html(app)
    assert "<img" not in html(app)
    assert "evil.example" not in "\n".join(str(each.value) for each in app.markdown)


@pytest.mark.parametrize(
    ("version", "used", "after"),
    [
        ("1.0.0", {"1.0.0"}, "1.0.1"),
        ("1.0.9", {"1.0.9", "1.0.10"}, "1.0.11"),
        ("site-a", {"site-a"}, "site-a.1"),
        ("2.0", set(), "2.0"),
    ],
)
def test_the_next_version(version, used, after):
    assert next_version(version, frozenset(used)) == after
