"""What the desk and the list say in words, without a page."""

from __future__ import annotations

from datetime import timedelta
from html.parser import HTMLParser

import pytest

from cxr_core.access import Actor, Role
from cxr_core.domain import Urgency
from cxr_core.ui import desk_findings, desk_history, desk_priors, desk_watch, listed
from cxr_core.worklist.values import Change, Opinion, Overridden, Review, Status
from tests.reports.analyses import POLICY
from tests.ui.lines import NOW, line

ANN, LEAD, VIC = (
    Actor("Ann", Role.CLINICIAN),
    Actor("Lea", Role.LEAD),
    Actor("Vic", Role.VIEWER),
)
HOSTILE = '<img src=x onerror="alert(1)">'


def tags(html: str) -> list[str]:
    found: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(tag)

    Tags().feed(html)
    return found


def review(kind: str, actor: str = "Ann", id_: int = 1, **data: str) -> Review:
    return Review(NOW, actor, kind, data, id_)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (review("claim"), "claimed the study"),
        (
            review("acknowledge", told="Dr Low", how="by telephone", read_back="yes"),
            "acknowledged the critical result; told Dr Low by telephone, who read it back",
        ),
        (
            review("acknowledge", told="", how="", read_back="no"),
            "acknowledged the critical result; it is not said who was told",
        ),
        (
            review("disagree", finding="Mass", said="negative", model="m 1"),
            "disagrees: Mass, which m 1 called not present",
        ),
        (
            review("override", **{"from": "routine", "to": "critical", "reason": "asked"}),
            "set the urgency from ○ routine to ▲ critical: “asked”",
        ),
        (
            review("undo", of="3", what="override", **{"from": "critical", "to": "routine"}),
            "took back an entry (override); the urgency is ○ routine again",
        ),
        (review("complete", age_years="7.0"), "completed the details: age years 7.0"),
        (review("something new"), "something new"),
    ],
)
def test_every_entry_is_said_in_words(entry: Review, said: str) -> None:
    assert desk_history.words(entry, POLICY) == said


def test_undo_is_offered_where_the_service_allows_it() -> None:
    own, others = review("note", "Ann"), review("note", "Ben")
    nothing = frozenset[int]()
    assert desk_history.may_undo(ANN, own, nothing)
    assert not desk_history.may_undo(ANN, others, nothing)
    assert desk_history.may_undo(LEAD, others, nothing)
    assert desk_history.may_undo(ANN, review("override", "Ben"), nothing)
    assert not desk_history.may_undo(VIC, own, nothing)
    assert not desk_history.may_undo(ANN, own, frozenset({1}))
    assert not desk_history.may_undo(ANN, review("acknowledge"), nothing)


def test_opinions_stand_at_their_finding_and_older_ones_say_so() -> None:
    def held(by: str, *, agrees: bool, model: str = "m 1") -> Opinion:
        return Opinion("Mass", agrees, by, NOW, True, model, 1)

    opinions = [held("Ann", agrees=True), held("Ben", agrees=False), held("Cy", agrees=True, model="m 0")]
    said = desk_findings.said(opinions, {"Mass": (True, "m 1")})
    assert said == {"Mass": "✓ Ann, Cy (of an earlier answer) · ✕ Ben"}


def test_a_change_is_an_arrow_a_sign_and_figures() -> None:
    changes = [Change("Mass", 0.10, 0.40), Change("Effusion", 0.50, 0.20), Change("Hernia", 0.1, 0.1)]
    html = desk_priors.changes_html(changes, POLICY, ["Effusion"])
    assert html.index("Effusion") < html.index("Mass") < html.index("Hernia")
    assert "0.10 → 0.40" in html
    assert "▲ +0.30" in html
    assert "▼ −0.30" in html
    assert "= 0.00" in html
    # Square roots of 0.10 and 0.40.
    assert 'class="way" style="left:31.6%;width:31.6%"' in html
    assert desk_priors.most_html(changes, POLICY).count("<span") == 3


def test_the_wait_goes_on_until_the_study_is_read() -> None:
    late = desk_watch.stand_html(line(), NOW + timedelta(minutes=30), 0)
    assert "waits 42 min of 15 min <em>overdue</em>" in late
    read = desk_watch.stand_html(line(status=Status.READ), NOW + timedelta(minutes=30), 0)
    assert "waited 12 min of 15 min</span>" in read


def test_the_list_says_whose_urgency_it_is() -> None:
    given = Overridden(Urgency.CRITICAL, HOSTILE, Urgency.ROUTINE)
    shown = line(overridden=given)
    assert listed.table([shown, line()], POLICY, NOW)["Urgency"].tolist() == [
        ["▲ Critical", "✎"],
        ["▲ Critical"],
    ]
    assert listed.set_by(shown) == f"✎ Urgency set by {HOSTILE}; the films say ○ Routine."
    assert "raised since" in listed.set_by(
        line(overridden=Overridden(Urgency.URGENT, "Ann", Urgency.CRITICAL))
    )
    assert listed.set_by(line()) == ""


def test_what_people_typed_never_becomes_markup() -> None:
    notes = desk_findings.notes_html([review("note", HOSTILE, text=HOSTILE)], NOW)
    stand = desk_watch.stand_html(line(claimed_by=HOSTILE), NOW, 0)
    assert "img" not in tags(notes) + tags(stand)
