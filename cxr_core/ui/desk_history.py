"""What people did with a study, in words and in order; what may be taken back is taken back here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

import streamlit as st

from cxr_core.access import Action, Actor, Role
from cxr_core.domain import Correction, Urgency
from cxr_core.imaging.correct import in_words
from cxr_core.reports.words import MARKS, name_of
from cxr_core.triage.policy import Policy
from cxr_core.ui import acts
from cxr_core.ui.moments import moment
from cxr_core.worklist.corrections import CORRECT, NOW
from cxr_core.worklist.films import CHANGED
from cxr_core.worklist.reviews import (
    AGREE,
    DISAGREE,
    NOTE,
    OF,
    OVERRIDE,
    READ,
    UNDO,
    UNDOABLE,
    lapsed,
    undone,
)
from cxr_core.worklist.values import Line, Review, Status

SHOWN = 100
"""Entries in sight, the newest; older ones are counted."""

_PLAIN = {
    "claim": "claimed the study",
    "release": "released the study",
    "read": "marked the study read",
    "reanalyse": "asked for another answer of the model",
    "retry": "had a film tried again that had been given up",
}

_FIELDS = {
    "patient_id": "patient ID",
    "patient_name": "name",
    "accession": "accession number",
    "referrer": "referrer",
    "referrer_phone": "referrer's phone",
    "question": "clinical question",
}


def show(actor: Actor, line: Line, reviews: Sequence[Review], policy: Policy, now: datetime) -> None:
    """Show everything that people did with the study, the newest first."""
    if not reviews:
        st.html('<div class="empty"><b>Nobody has done anything with this study yet.</b></div>')
        return
    gone = undone(reviews)
    past = gone | lapsed(reviews, is_open=line.status is not Status.READ)
    by = {each.data[OF]: each.actor for each in reviews if each.kind == UNDO}
    with st.container(key="history", gap=None):
        for each in reversed(reviews[-SHOWN:]):
            taken = f" Taken back by {by[str(each.id)]}." if each.id in gone else ""
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.html(_row(each, words(each, policy), taken, moment(each.at, now)), width="stretch")
                if may_undo(actor, each, past):
                    asked = acts.Asked("undo", line.study_id, line.version, {"review_id": each.id})
                    st.button("Undo", key=f"undo-{each.id}", on_click=acts.ask, args=(asked,))
        if len(reviews) > SHOWN:
            st.html(f'<div class="muted">{len(reviews) - SHOWN} older entries are in the audit trail.</div>')


def may_undo(actor: Actor, review: Review, past: frozenset[int]) -> bool:
    """Return whether the service would let this person take the entry back; not what is `past`."""
    if review.kind not in UNDOABLE or review.id in past or not actor.may(Action.UNDO):
        return False
    if review.kind == OVERRIDE:
        return actor.may(Action.OVERRIDE)
    return review.actor == actor.name or actor.role.covers(Role.LEAD)


def words(review: Review, policy: Policy) -> str:
    """Return what was done, as a sentence after the person's name; shown as plain text."""
    said = review.data
    if review.kind in _PLAIN:
        return _PLAIN[review.kind]
    if review.kind == "acknowledge":
        return f"acknowledged the critical result{_told(said)}"
    if review.kind in (AGREE, DISAGREE):
        verb = "agrees" if review.kind == AGREE else "disagrees"
        found = "present" if said["said"] == "positive" else "not present"
        return f"{verb}: {name_of(said['finding'], policy)}, which {said['model']} called {found}"
    if review.kind == OVERRIDE:
        return f"set the urgency from {tier(said['from'])} to {tier(said['to'])}: “{said['reason']}”"
    if review.kind == NOTE:
        return f"noted: “{said['text']}”"
    if review.kind == UNDO:
        if said["what"] == READ:
            return "put the study back on the list"
        change = f"; the urgency is {tier(said['to'])} again" if "to" in said else ""
        return f"took back an entry ({said['what']}){change}"
    if review.kind == CORRECT:
        how = in_words(Correction.of(said[NOW]))
        return f"corrected a film: {how}" if how else "took back the correction of a film"
    if review.kind == "complete":
        return _completed(said)
    return review.kind


def _completed(said: dict[str, str]) -> str:
    kept = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in said.items() if name != CHANGED)
    names = [_FIELDS.get(name, name) for name in said.get(CHANGED, "").split(",") if name]
    if not names:
        return f"completed the details: {kept}" if kept else "completed the details"
    changed = f"changed {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"changed {names[0]}"
    return f"{changed}; completed the details: {kept}" if kept else changed


def tier(urgency: str) -> str:
    """Return shape and word of an urgency's name."""
    return f"{MARKS[Urgency(urgency)].shape} {urgency}"


def _told(said: dict[str, str]) -> str:
    if not said.get("told"):
        return "; it is not said who was told"
    how = f" {said['how']}" if said.get("how") else ""
    back = ", who read it back" if said.get("read_back") == "yes" else ""
    return f"; told {said['told']}{how}{back}"


def _row(review: Review, text: str, taken: str, at: str) -> str:
    kind = " gone" if taken else ""
    return (
        f'<div class="entry{kind}"><span class="muted">{escape(at)}</span><b>{escape(review.actor)}</b>'
        f"<span><i>{escape(text)}</i>{escape(taken)}</span></div>"
    )
