"""Findings as bars, what readers hold of each at the finding itself, and their notes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.domain import Analysis, Prediction
from cxr_core.reports.words import name_of
from cxr_core.triage.policy import Policy
from cxr_core.ui import acts, card
from cxr_core.ui.moments import moment
from cxr_core.worklist.values import Line, Opinion, Review, StudyView

SIGNS = {True: "✓", False: "✕"}
ELSEWHERE = "above threshold on another film"
"""At a finding that this film does not have: readers speak of the study, which has it."""


def show(actor: Actor, view: StudyView, analysis: Analysis, policy: Policy, now: datetime) -> None:
    """Show findings with what readers hold of them, notes, and why the card says what it says."""
    if analysis.predictions:
        _findings(actor, view, analysis, policy)
    if view.standing.notes:
        st.html(notes_html(view.standing.notes, now))
    st.html(card.reasons_html(analysis))


def said(opinions: Sequence[Opinion], answers: Mapping[str, tuple[bool, str]]) -> dict[str, str]:
    """Return what readers hold of each finding, by label: `✓ Ann, Ben · ✕ Cy`.

    Args:
        opinions: that stand.
        answers: by label, what the model says now and which model; who spoke of another answer is marked.
    """
    found: dict[str, dict[bool, list[str]]] = {}
    for each in opinions:
        stale = "" if answers.get(each.finding) == (each.positive, each.model) else " (of an earlier answer)"
        found.setdefault(each.finding, {}).setdefault(each.agrees, []).append(f"{each.by}{stale}")
    return {
        label: " · ".join(
            f"{SIGNS[agrees]} {', '.join(names)}" for agrees, names in sorted(held.items())[::-1]
        )
        for label, held in found.items()
    }


def answers(view: StudyView) -> dict[str, tuple[bool, str]]:
    """Return by label whether any film of the study has the finding, and which models answered."""
    found: dict[str, tuple[bool, set[str]]] = {}
    for film in view.films:
        if film.analysis is None or film.analysis.refusal is not None:
            continue
        for each in film.analysis.predictions:
            positive, models = found.get(each.label, (False, set()))
            found[each.label] = positive or each.positive, models | {film.analysis.versions.model}
    return {label: (positive, ", ".join(sorted(models))) for label, (positive, models) in found.items()}


def elsewhere(finding: Prediction, held: Mapping[str, tuple[bool, str]]) -> bool:
    """Return whether another film has this finding, which the film it is of has not."""
    return not finding.positive and held.get(finding.label, (False, ""))[0]


def told(sign: str, finding: Prediction, policy: Policy, *, agrees: bool) -> str:
    """Return a button's whole name, of which only the sign is drawn: with what exactly somebody agrees."""
    present = "present" if finding.positive else "not present"
    name = re.sub(r"([^\w\s])", r"\\\1", name_of(finding.label, policy))  # labels are Markdown
    return f"{sign} I {'agree' if agrees else 'disagree'}: {name} {present}"


def notes_html(notes: Sequence[Review], now: datetime) -> str:
    """Return the notes that stand, in order of time."""
    rows = "".join(
        f"<p><span class=muted>{escape(moment(each.at, now))} · {escape(each.actor)}</span><br>"
        f"{escape(each.data['text'])}</p>"
        for each in notes
    )
    return f'<div class="panel notes"><h3>NOTES</h3>{rows}</div>'


def _findings(actor: Actor, view: StudyView, analysis: Analysis, policy: Policy) -> None:
    held = answers(view)
    texts = said(view.standing.opinions, held)
    for each in analysis.predictions:
        if elsewhere(each, held):
            texts[each.label] = ": ".join(filter(None, (ELSEWHERE, texts.get(each.label))))
    if not actor.may(Action.OPINE):
        st.html(card.findings_html(analysis, policy, texts))
        return
    mine = {each.finding: each for each in view.standing.opinions if each.by == actor.name}
    near, far = card.split(analysis)
    with st.container(key="findings", gap=None):
        st.html(card.FINDINGS)
        for each in near:
            _row(view.line, each, policy, analysis, texts, mine, held)
        if far:
            with st.expander(card.more(far), key="findings-more"):
                for each in far:
                    _row(view.line, each, policy, analysis, texts, mine, held)
        st.html(card.missing_html(analysis, policy) + '<p class="muted">✓ I agree · ✕ I disagree</p>')


def _row(
    line: Line,
    finding: Prediction,
    policy: Policy,
    analysis: Analysis,
    texts: Mapping[str, str],
    mine: Mapping[str, Opinion],
    held: Mapping[str, tuple[bool, str]],
) -> None:
    label = finding.label
    own = mine.get(label)
    standing = own is not None and held.get(label) == (own.positive, own.model)
    with st.container(horizontal=True, vertical_alignment="top", gap=None):
        st.html(card.row_html(finding, policy, analysis, texts.get(label, "")), width="stretch")
        if elsewhere(finding, held):
            return
        for agrees, sign in SIGNS.items():
            pressed = own is not None and standing and own.agrees is agrees
            if pressed and own is not None:
                asked = acts.Asked("undo", line.study_id, line.version, {"review_id": own.review})
            else:
                opinion = {"finding": label, "agrees": agrees}
                asked = acts.Asked("opine", line.study_id, line.version, opinion)
            name = told(sign, finding, policy, agrees=agrees)
            st.button(
                name,
                help=f"{name}{'; press to take it back' if pressed else ''}",
                key=f"opine-{label}-{'agree' if agrees else 'disagree'}",
                type="primary" if pressed else "tertiary",
                on_click=acts.ask,
                args=(asked,),
            )
