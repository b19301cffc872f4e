"""The card: patient, urgency, action, findings, reasons, as escaped HTML and as shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st

from cxr_core.domain import Analysis, GateOutcome, Notice, Prediction, State, Study, Urgency
from cxr_core.reports.words import (
    MARKS,
    SCALE,
    advice,
    along,
    banner,
    beneath,
    figures,
    headline,
    made_by,
    name_of,
    not_assessed,
    ordered,
    patient,
    reasons,
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


def show_urgency(analysis: Analysis, policy: Policy, *, apart: bool = False) -> None:
    """Show the banner and the action; `apart` where the study as a whole is not as urgent as this film."""
    st.html(urgency_html(analysis, policy, apart=apart) + action_html(analysis, policy))


def show_rest(analysis: Analysis, policy: Policy) -> None:
    """Show findings and reasons."""
    findings = findings_html(analysis, policy) if analysis.predictions else ""
    st.html(findings + reasons_html(analysis))


def show_file(name: str, size: int, *, for_now: bool = False) -> None:
    """Show what was dropped when there is no film to show, or none `for_now`."""
    title, said = "FILE WITHOUT A PICTURE", "Nothing of it could be shown."
    if for_now:
        title = "NO PICTURE JUST NOW"
        said = "The machine was too busy, or short of memory, to draw the film. Reload the page to try again."
    with st.container(border=True):
        st.html(f'<div class="panel"><h3>{title}</h3><p>{said}</p></div>')
        st.text(f"{name} · {size:,} bytes")


def urgency_html(analysis: Analysis, policy: Policy, *, apart: bool = False) -> str:
    """Return the banner: colour, shape and word, longest wait, headline and what stands beneath it."""
    due = banner(analysis.triage.urgency, policy)
    said = (
        "This film alone: " + due if apart else due,
        headline(analysis, policy),
        beneath(analysis, policy),
    )
    return _banner(analysis.triage.urgency, *said, kind=" apart" if apart else "")


def _banner(urgency: Urgency, due: str, headline: str, under: str, kind: str = "") -> str:
    tier = MARKS[urgency]
    return (
        f'<div class="banner{kind}" role="status" style="--tier:{tier.colour}">'
        f'<div class="shape" aria-hidden="true">{tier.shape}</div><div>'
        f'<div class="due">{escape(due)}</div><div class="headline">{escape(headline)}</div>'
        f'<div class="beneath">{escape(under)}</div></div></div>'
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


def notice_html(notice: Notice) -> str:
    """Return that the answer beneath is an older one, for the film was not answered again."""
    said = f"{escape(notice.message)} {escape(notice.hint)}".strip()
    return f'<div class="panel"><h3>THE ANSWER BENEATH IS AN OLDER ONE</h3><p>{said}</p></div>'


def apart_html(urgency: Urgency, policy: Policy, headline: str, under: str) -> str:
    """Return the banner of a study that is not as urgent as the film beneath it, and why."""
    return _banner(urgency, banner(urgency, policy), headline, under)


def action_html(analysis: Analysis, policy: Policy) -> str:
    """Return the suggested action, one line each, and that the side was not assessed."""
    triage = analysis.triage
    positive = frozenset(triage.findings)
    tiers = {name_of(label, policy): policy.tier_of(label, positive) for label in triage.findings}
    shown: list[str] = []
    folded: list[str] = []
    for line in advice(analysis):
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


def findings_html(analysis: Analysis, policy: Policy, said: Mapping[str, str] = {}) -> str:  # noqa: B006
    """Return all findings as bars: positive ones first, those far below their threshold folded away.

    Args:
        analysis: of the film.
        policy: for names and colours.
        said: by label, what readers hold of the finding.
    """
    near, far = split(analysis)
    rows, rest = (
        "".join(row_html(each, policy, analysis, said.get(each.label, "")) for each in part)
        for part in (near, far)
    )
    summary = f"<summary>{more(far)}</summary>"
    folded = f'<details class="more">{summary}{rest}</details>' if far else ""
    return f'<div class="panel">{FINDINGS}{rows}{folded}{missing_html(analysis, policy)}</div>'


FINDINGS = (
    f'<div class="head"><h3>FINDINGS</h3><span class="legend">{SCALE}'
    '<i class="t"></i>threshold<i class="s"></i>spread</span></div>'
)
"""The head of the findings, which says what the bars are."""


def split(analysis: Analysis) -> tuple[tuple[Prediction, ...], tuple[Prediction, ...]]:
    """Return the findings in sight, every positive one among them, and those that are folded away."""
    predictions = ordered(analysis)
    shown = max(ROWS, len(analysis.triage.findings))
    return predictions[:shown], predictions[shown:]


def more(folded: Sequence[Prediction]) -> str:
    """Return what stands where findings are folded away."""
    return f"+ {len(folded)} more below threshold"


def missing_html(analysis: Analysis, policy: Policy) -> str:
    """Return what the model did not assess, or nothing."""
    missing = not_assessed(analysis, policy)
    return f"<p class=muted>{escape(missing)}</p>" if missing else ""


def row_html(prediction: Prediction, policy: Policy, analysis: Analysis, said: str = "") -> str:
    """Return one bar: probability, threshold mark, plus and minus one standard deviation of the ensemble."""
    value, threshold = figures(prediction)
    name = name_of(prediction.label, policy)
    low, high = (100 * along(end) for end in spread_ends(prediction))
    verdict = "above" if prediction.positive else "below"
    told = f"{name}: probability {value}, {verdict} threshold {threshold}, spread {prediction.spread:.2f}"
    rule = policy.rule(prediction.label)
    flag = prediction.positive and rule is not None and rule.cancer
    told += ", suspected-cancer flag" if flag else ""
    positive = frozenset(analysis.triage.findings)
    colour = MARKS[policy.tier_of(prediction.label, positive)].colour
    return (
        f'<div class="row{" positive" if prediction.positive else ""}" role="img" '
        f'aria-label="{escape(told)}" title="{escape(told)}" style="--tier:{colour}">'
        f'<span class="name">{escape(name)}{" ⚑" if flag else ""}</span>'
        f'<span class="bar"><span class="p" style="width:{100 * along(prediction.probability):.1f}%"></span>'
        f'<span class="s" style="left:{low:.1f}%;width:{high - low:.1f}%"></span>'
        f'<span class="t" style="left:{100 * along(prediction.threshold):.1f}%"></span></span>'
        f'<span class="value">{value} / {threshold}</span></div>'
        f"{f'<div class=said>{escape(said)}</div>' if said else ''}"
    )


def reasons_html(analysis: Analysis) -> str:
    """Return why the card says what it says: the gate's warnings, the findings' figures, all else."""
    found = len(analysis.triage.findings)
    warned, others = reasons(analysis)
    why = (*warned, " · ".join(others[:found]), *others[found:])
    gate = "" if analysis.gate.outcome is GateOutcome.REFUSED else f"Gate: {analysis.gate.outcome.value}"
    code = f"Code: {analysis.refusal.code}" if analysis.refusal else ""
    lines = "</p><p>".join(escape(part) for part in (*why, gate, code) if part)
    return f'<div class="panel"><h3>WHY</h3><p>{lines}</p></div>'


def foot_html(analysis: Analysis, policy: Policy) -> str:
    """Return versions and what this software is not."""
    texts = policy.texts
    said = " ".join((texts.role, texts.device, *texts.unseen))
    return f'<div class="foot">{escape(made_by(analysis))}<br>{escape(said)}</div>'
