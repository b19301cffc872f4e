"""The card: patient, urgency, action, findings, reasons, as escaped HTML and as shown."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from cxr_core.domain import Analysis, GateOutcome, Prediction, State, Study, Urgency
from cxr_core.reports.words import (
    MARKS,
    SCALE,
    along,
    banner,
    beneath,
    figures,
    made_by,
    name_of,
    not_assessed,
    ordered,
    patient,
    spread_ends,
    who,
)
from cxr_core.triage.policy import Policy

ACTIONS = 3
"""Lines of action after which those for findings less urgent than the film are folded away."""

ROWS = 9
"""Findings in sight; the others, all below their threshold, are one click away."""


def show_who(study: Study, file: str) -> None:
    """Show patient, time and view as plain text elements, which no name can turn into markup.

    Args:
        study: whose film it is.
        file: its file's name, shown where neither name nor id say whose film it is.
    """
    with st.container(key="who", gap=None):
        with st.container(key="name"):
            st.text(patient(study))
        with st.container(key="facts", gap=None):
            nameless = not (study.patient_name.strip() or study.patient_id.strip())
            st.text(f"{who(study)} · file {file}" if nameless else who(study))
            if referrer := " · ".join(
                part for part in (study.referrer, study.referrer_phone) if part.strip()
            ):
                st.text(f"Referrer: {referrer}")
            if study.question.strip():
                st.text(f"Question: {study.question}")


def show_urgency(analysis: Analysis, policy: Policy) -> None:
    """Show the banner and the action."""
    st.html(urgency_html(analysis, policy) + action_html(analysis, policy))


def show_rest(analysis: Analysis, policy: Policy) -> None:
    """Show findings and reasons."""
    findings = findings_html(analysis, policy) if analysis.predictions else ""
    st.html(findings + reasons_html(analysis))


def show_refused_file(name: str, size: int) -> None:
    """Show what was dropped when there is no film to show."""
    with st.container(border=True):
        st.html(
            '<div class="panel"><h3>FILE WITHOUT A PICTURE</h3><p>Nothing of it could be shown.</p></div>'
        )
        st.text(f"{name} · {size:,} bytes")


def urgency_html(analysis: Analysis, policy: Policy) -> str:
    """Return the banner: colour, shape and word, longest wait, headline and what stands beneath it."""
    urgency = analysis.triage.urgency
    tier = MARKS[urgency]
    return (
        f'<div class="banner" role="status" style="--tier:{tier.colour}">'
        f'<div class="shape" aria-hidden="true">{tier.shape}</div><div>'
        f'<div class="due">{escape(banner(urgency, policy))}</div>'
        f'<div class="headline">{escape(policy.states[analysis.triage.state].headline)}</div>'
        f'<div class="beneath">{escape(beneath(analysis, policy))}</div></div></div>'
    )


def study_html(urgency: Urgency, state: State, reasons: Sequence[str]) -> str:
    """Return what several films together make of a study."""
    mark = MARKS[urgency]
    lines = "</p><p>".join(escape(reason) for reason in reasons)
    word = f"{mark.shape} {urgency.value.capitalize()} · {state.value.replace('_', ' ')}"
    return (
        f'<div class="panel whole" style="--tier:{mark.colour}"><h3>THE WHOLE STUDY</h3>'
        f"<p><b>{escape(word)}</b></p><p>{lines}</p></div>"
    )


def action_html(analysis: Analysis, policy: Policy) -> str:
    """Return the suggested action, one line each, and that the side was not assessed."""
    triage = analysis.triage
    positive = frozenset(triage.findings)
    tiers = {name_of(label, policy): policy.tier_of(label, positive) for label in triage.findings}
    shown: list[str] = []
    folded: list[str] = []
    for line in triage.action.splitlines():
        name, colon, text = line.partition(": ")
        found = bool(colon) and name in tiers
        html = f"<p><b>{escape(name)}</b>: {escape(text)}</p>" if found else f"<p>{escape(line)}</p>"
        less_urgent = found and tiers[name].rank > triage.urgency.rank
        (folded if less_urgent and len(shown) >= ACTIONS else shown).append(html)
    summary = f"<summary>+ {len(folded)} for less urgent findings</summary>"
    rest = f'<details class="more">{summary}{"".join(folded)}</details>' if folded else ""
    side = f'<p class="muted">{escape(policy.texts.side)}</p>' if analysis.predictions else ""
    title = "WHAT TO DO" if triage.state is State.REFUSED else "SUGGESTED ACTION"
    return f'<div class="panel action"><h3>{title}</h3>{"".join(shown)}{rest}{side}</div>'


def findings_html(analysis: Analysis, policy: Policy) -> str:
    """Return all findings as bars: positive ones first, those far below their threshold folded away."""
    predictions = ordered(analysis)
    shown = max(ROWS, len(analysis.triage.findings))
    rows = [row_html(prediction, policy, analysis) for prediction in predictions]
    more = len(rows) - shown
    summary = f"<summary>+ {more} more below threshold</summary>"
    folded = f'<details class="more">{summary}{"".join(rows[shown:])}</details>' if more > 0 else ""
    missing = not_assessed(analysis, policy)
    marks = '<i class="t"></i>threshold<i class="s"></i>spread'
    legend = f'<span class="legend">{SCALE}{marks}</span>'
    return (
        f'<div class="panel"><div class="head"><h3>FINDINGS</h3>{legend}</div>'
        f"{''.join(rows[:shown])}{folded}"
        f"{f'<p class=muted>{escape(missing)}</p>' if missing else ''}</div>"
    )


def row_html(prediction: Prediction, policy: Policy, analysis: Analysis) -> str:
    """Return one bar: probability, threshold mark, plus and minus one standard deviation of the ensemble."""
    value, threshold = figures(prediction)
    name = name_of(prediction.label, policy)
    low, high = (100 * along(end) for end in spread_ends(prediction))
    verdict = "above" if prediction.positive else "below"
    said = f"{name}: probability {value}, {verdict} threshold {threshold}, spread {prediction.spread:.2f}"
    rule = policy.rule(prediction.label)
    flag = prediction.positive and rule is not None and rule.cancer
    said += ", suspected-cancer flag" if flag else ""
    positive = frozenset(analysis.triage.findings)
    colour = MARKS[policy.tier_of(prediction.label, positive)].colour
    return (
        f'<div class="row{" positive" if prediction.positive else ""}" role="img" '
        f'aria-label="{escape(said)}" title="{escape(said)}" style="--tier:{colour}">'
        f'<span class="name">{escape(name)}{" ⚑" if flag else ""}</span>'
        f'<span class="bar"><span class="p" style="width:{100 * along(prediction.probability):.1f}%"></span>'
        f'<span class="s" style="left:{low:.1f}%;width:{high - low:.1f}%"></span>'
        f'<span class="t" style="left:{100 * along(prediction.threshold):.1f}%"></span></span>'
        f'<span class="value">{value} / {threshold}</span></div>'
    )


def reasons_html(analysis: Analysis) -> str:
    """Return why the card says what it says: the findings' figures, then one line a reason."""
    found = len(analysis.triage.findings)
    reasons = [" · ".join(analysis.triage.reasons[:found]), *analysis.triage.reasons[found:]]
    gate = "" if analysis.gate.outcome is GateOutcome.REFUSED else f"Gate: {analysis.gate.outcome.value}"
    code = f"Code: {analysis.refusal.code}" if analysis.refusal else ""
    lines = "</p><p>".join(escape(part) for part in (*reasons, gate, code) if part)
    return f'<div class="panel"><h3>WHY</h3><p>{lines}</p></div>'


def foot_html(analysis: Analysis, policy: Policy) -> str:
    """Return versions and what this software is not."""
    texts = policy.texts
    said = " ".join((texts.role, texts.device, *texts.unseen))
    return f'<div class="foot">{escape(made_by(analysis))}<br>{escape(said)}</div>'
