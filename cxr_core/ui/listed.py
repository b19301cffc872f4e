"""The list as the browser gets it: lines become a table of plain columns, tiers become tiles. Pure."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from html import escape

import pandas as pd
from PIL import Image

from cxr_core.domain import Sex, State, Urgency, View
from cxr_core.imaging.refusals import REFUSALS, WARNINGS
from cxr_core.reports.words import MARKS, age, name_of, wait
from cxr_core.triage.policy import Policy
from cxr_core.ui.moments import moment, waited
from cxr_core.worklist.values import Line, Status, Tier

THUMBNAIL_PX = 64
"""Of the longer side; a page's pictures weigh about 150 kB then."""

OVERDUE, BY_HAND = "overdue", "✎"
"""Marks of a row: waited too long; a person set the urgency."""


def tier_word(urgency: Urgency) -> str:
    """Return shape and word: `▲ Critical`."""
    return f"{MARKS[urgency].shape} {urgency.value.capitalize()}"


def table(lines: Sequence[Line], policy: Policy, now: datetime) -> pd.DataFrame:
    """Return one row a study, only what is shown: whatever is in the frame reaches the browser."""
    rows = [
        (
            picture(line.thumbnail),
            [tier_word(line.urgency), *([BY_HAND] if line.overridden else [])],
            said(replace(line, reason=brief(line.reason)), policy),
            whose(line),
            person(line),
            f"{waited(line.waiting_s)} / {wait(round(line.limit_s / 60))}",
            [OVERDUE] if line.overdue else [],
            standing(line),
            moment(line.acquired, now),
            moment(line.received, now),
            line.source,
            line.films,
        )
        for line in lines
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


COLUMNS = (
    "Film",
    "Urgency",
    "Findings",
    "Patient ID",
    "Patient",
    "Wait / limit",
    "Due",
    "Status",
    "Acquired",
    "Received",
    "Source",
    "Films",
)


def said(line: Line, policy: Policy) -> str:
    """Return the findings, or the state and its first reason."""
    if line.state is None:
        return line.reason or "being assessed"
    if line.state is State.NO_DISEASE_DETECTED:
        return policy.states[line.state].headline
    if line.state is State.FLAGGED and line.findings:
        return ", ".join(_named(label, policy) for label in line.findings)
    word = "refused" if line.state is State.REFUSED else line.state.value.replace("_", " ")
    return f"{word}: {line.reason}" if line.reason else word


def whose(line: Line) -> str:
    """Return the patient's id; where the film gives none, the file's name."""
    return line.patient_id or (f"file {line.file}" if line.file else "–")


def brief(reason: str) -> str:
    """Return a sentence of the gate as its code reads, `lateral view`; any other as it is."""
    return next((word for pattern, word in _BRIEF if pattern.fullmatch(reason)), reason)


_BRIEF = [
    (
        re.compile(re.escape(message.format(found="\0", limit="\0")).replace("\0", ".*")),
        code.replace("_", " "),
    )
    for code, (message, _) in (REFUSALS | WARNINGS).items()
]
"""What a sentence of the gate looks like, and its code in words."""


def _named(label: str, policy: Policy) -> str:
    rule = policy.rule(label)
    return f"{name_of(label, policy)}{' ⚑' if rule is not None and rule.cancer else ''}"


def person(line: Line) -> str:
    """Return sex, age and view, short as the list's column: `F 38 · PA`, `M 55 · LAT`."""
    sex = "" if line.sex is Sex.UNKNOWN else line.sex.value
    years = "" if line.age_years is None else age(line.age_years)
    view = {View.UNKNOWN: "", View.LATERAL: "LAT"}.get(line.view, line.view.value)
    return " · ".join(part for part in (f"{sex} {years}".strip() or "–", view) if part)


def standing(line: Line) -> str:
    """Return what people have done with the study: `claimed · dr.lee`; each with the name of who did it."""
    has = f"claimed · {line.claimed_by}" if line.claimed_by else ""
    if line.status is Status.ACKNOWLEDGED:
        parts = (f"acknowledged · {line.acknowledged_by}", has)
        return " · ".join(part for part in parts if part)
    return f"{line.status.value} · {line.claimed_by}" if has else line.status.value


def set_by(line: Line) -> str:
    """Return who set the urgency and what the films alone say; empty where nobody did."""
    given = line.overridden
    if given is None:
        return ""
    raised = "" if given.urgency is line.urgency else f" to {given.urgency}, raised since by a new answer"
    return f"{BY_HAND} Urgency set by {given.by}{raised}; the films say {tier_word(given.films)}."


@lru_cache(maxsize=4096)
def picture(thumbnail: bytes | None) -> str:
    """Return a thumbnail as data URL, small enough for a list; empty text where there is none to show."""
    if thumbnail is None:
        return ""
    shrunk = io.BytesIO()
    try:
        with Image.open(io.BytesIO(thumbnail)) as image:
            image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
            image.save(shrunk, "PNG")
    except OSError:  # a picture that cannot be shown must not hide the list
        return ""
    return "data:image/png;base64," + b64encode(shrunk.getvalue()).decode("ascii")


def tiles_html(tiers: Sequence[Tier], now: datetime) -> str:
    """Return one tile a tier: how many open studies, since when the oldest waits, how many overdue."""
    tiles = []
    for tier in tiers:
        mark = MARKS[tier.urgency]
        oldest = f"oldest {waited((now - tier.oldest).total_seconds())}" if tier.oldest else "none waiting"
        late = f"<em>{tier.overdue} overdue</em>" if tier.overdue else ""
        tiles.append(
            f'<div class="tile{" none" if not tier.count else ""}" style="--tier:{mark.colour}">'
            f"<b><i>{mark.shape}</i>{tier.urgency.value.capitalize()}</b>"
            f"<strong>{tier.count:,}</strong><span>{escape(oldest)}{' · ' if late else ''}{late}</span></div>"
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'
