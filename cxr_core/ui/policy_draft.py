"""A policy being written: one text, edited by fields or as a whole. What was typed stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

import streamlit as st

from cxr_core.domain import Urgency
from cxr_core.errors import PolicyError
from cxr_core.triage.edit import Place, edited
from cxr_core.triage.policy import Policy, parse_policy
from cxr_core.triage.terms import Tiers
from cxr_core.ui.listed import tier_word

FIELDS, WHOLE = "By fields", "Whole text"
_DRAFT, _HOW, _TEXT = "pol-draft", "pol-how", "pol-text"
_PREFIX = "pol-f-"
_TIERS = [urgency for urgency in Urgency if urgency is not Urgency.REVIEW]
_NUMBER = re.compile(r"\d+(?!.*\d)")


def begin(body: str, used: frozenset[str], today: date) -> None:
    """Begin a draft from a policy, under a version that nobody has used and today's date."""
    end()
    try:
        version = parse_policy(body).version
        body = edited(body, {("version",): next_version(version, used), ("date",): today})
    except PolicyError:  # as it is: what is wrong with it is said when it is tried
        pass
    st.session_state[_DRAFT] = body


def end() -> None:
    """Forget the draft."""
    for key in [key for key in st.session_state if str(key).startswith(_PREFIX)]:
        del st.session_state[key]
    for key in (_DRAFT, _TEXT):
        st.session_state.pop(key, None)


def begun() -> bool:
    """Return whether there is a draft."""
    return _DRAFT in st.session_state


def next_version(version: str, used: frozenset[str]) -> str:
    """Return the version after this one that nobody has used: 1.0.9 gives 1.0.10."""
    while version in used:
        raised = _NUMBER.sub(lambda number: str(int(number[0]) + 1), version)
        version = raised if raised != version else f"{version}.1"
    return version


def show() -> str:
    """Show the draft to be edited and return it as TOML."""
    how = st.segmented_control(
        "Edit", [FIELDS, WHOLE], default=FIELDS, key=_HOW, label_visibility="collapsed"
    )
    draft: str = st.session_state[_DRAFT]
    if how != WHOLE:
        st.session_state.pop(_TEXT, None)
        try:
            draft = edited(draft, _fields(_seeds(draft)))
        except PolicyError as exc:
            st.warning("These fields cannot be filled from the text; edit it as a whole.")
            st.text(str(exc))
            how = WHOLE
    if how == WHOLE:
        st.session_state.setdefault(_TEXT, draft)
        draft = st.text_area("Policy as TOML", key=_TEXT, height=420)
    st.session_state[_DRAFT] = draft
    return draft


def _seeds(draft: str) -> Policy | None:
    """Return the policy to fill the fields from; None where they hold what was typed already."""
    if f"{_PREFIX}version" in st.session_state:
        return None
    return parse_policy(draft)


def _fields(seeds: Policy | None) -> Mapping[Place, str | int | float | date]:
    """Show the fields and return what stands in them by its place in the text."""
    if seeds is not None:
        _fill(seeds)
    labels = st.session_state[f"{_PREFIX}labels"]
    found: dict[Place, str | int | float | date] = {}
    head = st.columns([1, 1, 3])
    found["version",] = head[0].text_input("Version", key=f"{_PREFIX}version").strip()
    found["date",] = head[1].date_input("Date", key=f"{_PREFIX}date", format="YYYY-MM-DD")
    found["approver",] = head[2].text_input(
        "Approver",
        key=f"{_PREFIX}approver",
        help="Who answers for these choices, by name and office. A policy whose approver begins with "
        "“unsigned” can be kept and tried, not activated.",
    )
    st.caption("Longest wait in minutes: beyond it a study moves ahead of everything but critical ones.")
    for column, urgency in zip(st.columns(len(Urgency)), Urgency, strict=True):
        found["tiers", urgency.value, "max_wait_minutes"] = int(
            column.number_input(tier_word(urgency), min_value=1, step=5, key=f"{_PREFIX}wait-{urgency}")
        )
    st.caption(
        "The ensemble's members disagree: this many alone reach the threshold, or they spread this far."
    )
    votes, spread, _ = st.columns([1, 1, 3])
    found["disagreement", "votes"] = int(
        votes.number_input("Votes", min_value=1, step=1, key=f"{_PREFIX}votes")
    )
    found["disagreement", "spread"] = spread.number_input(
        "Spread", min_value=0.01, max_value=1.0, step=0.01, key=f"{_PREFIX}spread"
    )
    st.caption("Each finding's tier, and what the card suggests to do.")
    for label in labels:
        found |= _finding(label)
    return found


def _finding(label: str) -> dict[Place, str]:
    word = label.replace("_", " ")
    name, tier, action = st.columns([1.1, 1.2, 5], vertical_alignment="center")
    name.text(word)
    chosen = tier.selectbox(
        f"Tier of {word}",
        _TIERS,
        format_func=tier_word,
        key=f"{_PREFIX}tier-{label}",
        label_visibility="collapsed",
    )
    said = action.text_input(
        f"Action for {word}", key=f"{_PREFIX}action-{label}", label_visibility="collapsed"
    )
    return {("findings", label, "tier"): chosen.value, ("findings", label, "action"): said}


def _fill(policy: Policy) -> None:
    """Put the policy's values where the fields look for them."""
    tiers: Tiers = policy.tiers
    values: dict[str, object] = {
        "labels": policy.labels,
        "version": policy.version,
        "date": policy.date,
        "approver": policy.approver,
        "votes": policy.disagreement.votes,
        "spread": policy.disagreement.spread,
    }
    values |= {f"wait-{urgency}": tiers[urgency].max_wait_minutes for urgency in Urgency}
    values |= {f"tier-{rule.label}": rule.tier for rule in policy.findings}
    values |= {f"action-{rule.label}": rule.action for rule in policy.findings}
    for name, value in values.items():
        st.session_state[f"{_PREFIX}{name}"] = value
