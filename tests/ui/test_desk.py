"""What the desk and the list say in words, without a page."""

from __future__ import annotations

from datetime import timedelta
from html.parser import HTMLParser

import pytest

from cxr_core.access import Actor, Role
from cxr_core.domain import FINDINGS, Study, Urgency
from cxr_core.ui import desk_findings, desk_history, desk_priors, desk_watch, listed
from cxr_core.worklist.values import (
    Beside,
    Change,
    Comparison,
    Opinion,
    Overridden,
    Review,
    Status,
    StudyView,
)
from tests.reports.analyses import POLICY, assessed
from tests.ui.lines import NOW, line

ANN, LEAD, VIC = (
    Actor("Ann", Role.CLINICIAN),
    Actor("Lea", Role.LEAD),
    Actor("Vic", Role.VIEWER),
)
STUDY = StudyView(line(), Study(), (), (), "", ())
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
        (review("undo", of="3", what="read"), "put the study back on the list"),
        (review("complete", age_years="7.0"), "completed the details: age years 7.0"),
        (review("complete"), "completed the details"),
        (review("complete", changed="patient_id"), "changed patient ID"),
        (
            review("complete", sex="F", changed="patient_id,patient_name,referrer"),
            "changed patient ID, name and referrer; completed the details: sex F",
        ),
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


def test_the_buttons_at_a_finding_say_with_what_exactly_somebody_agrees() -> None:
    analysis = assessed({"Pneumothorax": 0.9})
    said = [
        desk_findings.told(sign, each, POLICY, agrees=agrees)
        for each in analysis.predictions
        if each.label in ("Pneumothorax", "Nodule")
        for agrees, sign in desk_findings.SIGNS.items()
    ]
    assert sorted(said) == [
        "✓ I agree: Nodule not present",
        "✓ I agree: Pneumothorax present",
        "✕ I disagree: Nodule not present",
        "✕ I disagree: Pneumothorax present",
    ]


def test_a_change_is_an_arrow_a_sign_and_figures() -> None:
    changes = [
        Change("Mass", 0.10, 0.40),
        Change("Effusion", 0.50, 0.20, was_positive=True),
        Change("Hernia", 0.1, 0.1),
    ]
    html = desk_priors.changes_html(changes, POLICY)
    assert html.index("Effusion") < html.index("Mass") < html.index("Hernia")
    assert "0.10 → 0.40" in html
    assert "▲ +0.30" in html
    assert "▼ −0.30" in html
    assert "= 0.00" in html
    assert "Effusion: from 0.50 to 0.20, fell, no longer positive" in html
    # Square roots of 0.10 and 0.40.
    assert 'class="way" style="left:31.6%;width:31.6%"' in html


def test_what_is_newly_positive_or_no_longer_comes_first_by_tier_then_what_changed_most() -> None:
    changes = [
        Change("Mass", 0.10, 0.60, was_positive=True, is_positive=True),
        Change("Edema", 0.60, 0.20, was_positive=True),
        Change("Pneumothorax", 0.09, 0.12, is_positive=True),
        Change("Hernia", 0.10, 0.15),
    ]
    order = [each.finding for each in desk_priors.ranked(changes, POLICY)]
    assert order == ["Pneumothorax", "Edema", "Mass", "Hernia"]


@pytest.mark.parametrize(
    ("earlier", "said"),
    [(True, "Changed most"), (False, "Changed most until then"), (None, "Differs most")],
)
def test_the_line_of_changes_says_which_way_it_goes(earlier: bool | None, said: str) -> None:
    changes = tuple(Change(name, 0.1, 0.5, is_positive=True) for name in FINDINGS)
    beside = Beside(STUDY, earlier, (), Comparison(changes))
    html = desk_priors.most_html(beside, POLICY)
    assert f"<b>{said}</b>" in html
    assert html.count("<span") == desk_priors.MOST
    assert "+0.40, newly positive" in html


def test_the_wait_goes_on_until_the_study_is_read() -> None:
    late = desk_watch.stand_html(line(), NOW + timedelta(minutes=30), 0)
    assert "waits 42 min of 15 min <em>overdue</em>" in late
    read = desk_watch.stand_html(line(status=Status.READ), NOW + timedelta(minutes=30), 0)
    assert "waited 12 min of 15 min</span>" in read


def test_another_urgency_is_named() -> None:
    was = line(urgency=Urgency.ROUTINE)
    assert desk_watch.retiered(was, line()) == "Now ▲ Critical, was ○ Routine."
    assert desk_watch.retiered(was, was) == ""


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
