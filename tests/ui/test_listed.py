"""The list as the browser gets it."""

import io
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta

import pytest
from PIL import Image

from cxr_core.domain import Sex, State, Urgency, View
from cxr_core.imaging.refusals import refusal, warning
from cxr_core.settings import ROOT
from cxr_core.triage.policy import load_policy
from cxr_core.ui import listed
from cxr_core.ui.worklist_page import CHIPS
from cxr_core.worklist.values import Status, Tier
from tests import films
from tests.ui.lines import NOW, line

POLICY = load_policy(ROOT / "config" / "policy.toml")


def test_a_line_says_in_one_row_what_a_reading_room_asks() -> None:
    row = listed.table([line()], POLICY, NOW).iloc[0]
    assert row["Urgency"] == ["▲ Critical"]
    assert row["Findings"] == "Pneumothorax, Mass ⚑"
    assert row["Patient ID"] == "004-771"
    assert row["Patient"] == "M 61 · AP"
    assert row["Wait / limit"] == "12 min / 15 min"
    assert row["Due"] == []
    assert row["Status"] == "new"
    assert row["Received"].startswith("5 Jan ")


def test_a_study_that_waits_too_long_says_so_in_words_until_it_is_read() -> None:
    late, done = line(waiting_s=1000.0), line(waiting_s=1000.0, status=Status.READ)
    assert list(listed.table([late, done], POLICY, NOW)["Due"]) == [["overdue"], []]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"state": None, "findings": (), "reason": ""}, "being assessed"),
        ({"state": None, "findings": (), "reason": "1 film is still waiting."}, "1 film is still waiting."),
        ({"state": State.NO_DISEASE_DETECTED, "findings": ()}, "No disease detected"),
        ({"state": State.REFUSED, "findings": (), "reason": "lateral view"}, "refused: lateral view"),
        ({"state": State.UNABLE_TO_CLASSIFY, "findings": (), "reason": "x"}, "unable to classify: x"),
        ({"state": State.UNABLE_TO_CLASSIFY, "findings": (), "reason": ""}, "unable to classify"),
    ],
)
def test_a_study_without_findings_says_why(changed: dict[str, object], said: str) -> None:
    assert listed.said(line(**changed), POLICY) == said


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (refusal("lateral_view").message, "lateral view"),
        (warning("low_resolution", found=99).message, "low resolution"),
        ("Abnormal 0.90, threshold 0.50", "Abnormal 0.90, threshold 0.50"),
    ],
)
def test_a_reason_of_the_gate_fits_its_column(reason: str, said: str) -> None:
    row = listed.table([line(state=State.REFUSED, findings=(), reason=reason)], POLICY, NOW).iloc[0]
    assert row["Findings"] == f"refused: {said}"


def test_films_without_a_patient_id_are_told_apart_by_their_files() -> None:
    rows = listed.table([line(patient_id="", file="a.png"), line(patient_id="", file="")], POLICY, NOW)
    assert list(rows["Patient ID"]) == ["file a.png", "–"]


def test_unknown_age_sex_and_view_are_left_out() -> None:
    assert listed.person(line(age_years=None, sex=Sex.UNKNOWN)) == "– · AP"
    assert listed.person(line(view=View.UNKNOWN)) == "M 61"
    assert listed.person(line(view=View.LATERAL)) == "M 61 · LAT"


def test_who_has_a_study_is_named() -> None:
    assert listed.standing(line(status=Status.CLAIMED, claimed_by="dr.lee")) == "claimed · dr.lee"
    told = line(status=Status.ACKNOWLEDGED, acknowledged=True, acknowledged_by="Ann")
    assert listed.standing(told) == "acknowledged · Ann"
    assert listed.standing(replace(told, claimed_by="Ben")) == "acknowledged · Ann · claimed · Ben"


def test_hostile_text_stands_in_plain_columns_as_it_came() -> None:
    hostile = "![x](http://evil.example/a.png)<img src=x>"
    frame = listed.table([line(patient_id=hostile)], POLICY, NOW)
    assert frame["Patient ID"][0] == hostile
    assert "file" not in {name.lower() for name in frame.columns}, "what is not shown is not sent"


def test_a_thumbnail_becomes_a_small_picture_in_the_page_itself() -> None:
    address = listed.picture(films.png(1, 96))
    raw = b64decode(address.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(raw)) as image:
        assert max(image.size) == listed.THUMBNAIL_PX
    assert listed.picture(None) == ""
    assert listed.picture(b"no picture") == ""


def test_tiles_say_how_many_since_when_and_how_many_too_late() -> None:
    oldest = NOW - timedelta(hours=1, minutes=38)
    html = listed.tiles_html([Tier(Urgency.URGENT, 1200, 3, oldest), Tier(Urgency.ROUTINE, 0, 0, None)], NOW)
    assert "1,200" in html
    assert "oldest 1 h 38" in html
    assert "3 overdue" in html
    assert html.count("overdue") == 1
    assert "none waiting" in html


def test_every_tier_has_a_chip_that_white_letters_stand_out_on() -> None:
    assert list(CHIPS) == [*map(listed.tier_word, Urgency), listed.BY_HAND]
    assert all(_contrast_to_white(colour) >= 4.5 for colour in CHIPS.values())


def _contrast_to_white(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
