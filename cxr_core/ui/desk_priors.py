"""The same patient's other studies: picture beside picture, and what changed in each finding."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

import streamlit as st

from cxr_core.access import Actor
from cxr_core.domain import Analysis
from cxr_core.reports.words import MARKS, SCALE, along, name_of
from cxr_core.triage.policy import Policy
from cxr_core.ui import films, links, listed, study_card, viewer
from cxr_core.ui.moments import moment
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Change, Comparison, FilmView, Line, Prior, Priors, StudyView

LIMIT, MOST = 10, 4
SAME = 0.005
"""Probabilities closer than this are called the same."""


def count(service: Service, actor: Actor, study_id: str) -> int:
    """Return how many other studies the patient has; nothing of them is shown."""
    return service.priors(actor, study_id, limit=0, audited=False).total


def show(service: Service, actor: Actor, view: StudyView, film: FilmView) -> None:
    """Show the patient's other studies, or why there are none."""
    found = _found(service, actor, view.line.study_id)
    if not view.line.patient_id.strip():
        _empty(
            "This study has no patient ID", "so nobody can say which other studies are of the same person."
        )
        return
    if not found.shown:
        _empty("No other study", "is on this worklist under the patient's ID.")
        return
    now = service.clock()
    prior = _picked(found, now)
    other = service.study(actor, prior.line.study_id, audited=False)
    theirs = other.films[study_card.start_of(other)]
    if prior.comparison.changes:
        st.html(most_html(prior.comparison.changes, service.policy))
    left, right = st.columns(2)
    with left:
        _beside(service, actor, f"This study · {_taken(view.line, now)}", view, film)
    with right:
        after = "" if prior.earlier else " · came after this one"
        _beside(service, actor, f"{_taken(prior.line, now)}{after}", other, theirs)
    st.html(_changes(prior, view, film, theirs, service.policy, now))
    if st.button("Open that study", key="prior-open"):
        links.to_study(prior.line.study_id)


def changes_html(changes: Sequence[Change], policy: Policy, positive: Sequence[str] = ()) -> str:
    """Return one row a finding: from where to where its probability went, as an arrow and in figures.

    Args:
        changes: of one comparison.
        policy: for names.
        positive: findings of this study; they stand first, the others by how much they changed.
    """
    ranked = sorted(changes, key=lambda each: (each.finding not in positive, -abs(each.difference)))
    return "".join(_change(each, policy) for each in ranked)


def most_html(changes: Sequence[Change], policy: Policy) -> str:
    """Return what changed most, in one line; all of it stands beneath the pictures."""
    ranked = sorted(changes, key=lambda each: -abs(each.difference))[:MOST]
    parts = []
    for each in ranked:
        sign, kind, moved = _way(each)
        parts.append(f'<span class="{kind}">{sign} {escape(name_of(each.finding, policy))} {moved}</span>')
    return f'<div class="most"><b>Changed most</b>{"".join(parts)}</div>'


def _found(service: Service, actor: Actor, study_id: str) -> Priors:
    """Return the priors; each leaves an audit row when this session first sees it beside this study."""
    found = service.priors(actor, study_id, limit=LIMIT, audited=False)
    ids = frozenset(each.line.study_id for each in found.shown)
    kept: tuple[str, frozenset[str]] = st.session_state.get("desk-beside", ("", frozenset()))
    if kept[0] != study_id or not ids <= kept[1]:
        found = service.priors(actor, study_id, limit=LIMIT)
        st.session_state["desk-beside"] = study_id, ids
    return found


def _picked(found: Priors, now: datetime) -> Prior:
    """Return the prior to show: the newest that is earlier, or the one picked."""
    earlier = [place for place, each in enumerate(found.shown) if each.earlier]
    names = [f"{_taken(each.line, now)} · {listed.tier_word(each.line.urgency)}" for each in found.shown]
    place = st.segmented_control(
        "Other studies of this patient",
        range(len(names)),
        default=(earlier or [0])[0],
        format_func=names.__getitem__,
        key=f"prior-{'-'.join(each.line.study_id[:6] for each in found.shown)}",
        required=True,
        label_visibility="collapsed",
    )
    if found.total > len(found.shown):
        st.html(f'<div class="muted">The newest {len(found.shown)} of {found.total}.</div>')
    return found.shown[place or 0]


def _beside(service: Service, actor: Actor, title: str, view: StudyView, film: FilmView) -> None:
    """Show one of the two films under its date, or why it cannot be seen."""
    mark = MARKS[view.line.urgency]
    said = f"{listed.tier_word(view.line.urgency)} · {listed.said(view.line, service.policy)}"
    several = f" · film {view.films.index(film) + 1} of {len(view.films)}" if len(view.films) > 1 else ""
    st.html(
        f'<div class="beside" style="--tier:{mark.colour}"><b>{escape(title)}{several}</b>'
        f'<span title="{escape(said)}">{escape(said)}</span></div>'
    )
    if film.analysis is None:
        why = film.notice.message if film.notice else "The film is being assessed."
        st.html(f'<div class="empty"><b>No picture here</b><br>{escape(why)}</div>')
        return
    shown = films.shown(service, actor, film)
    if shown.payload:
        # Without heatmap at first: film is compared with film.
        viewer.show(shown.payload | {"opacity": 0.0}, key=f"beside-{film.sha256[:16]}")
    else:
        st.html('<div class="empty"><b>No picture here</b><br>Nothing of the file could be shown.</div>')


def _changes(
    prior: Prior, view: StudyView, ours: FilmView, theirs: FilmView, policy: Policy, now: datetime
) -> str:
    comparison: Comparison = prior.comparison
    head = '<div class="head"><h3>CHANGE SINCE {}</h3><span class="legend">{}</span></div>'
    if comparison.why_not:
        body = f"<p>{escape(comparison.why_not)} So no change is shown.</p>"
        return f'<div class="panel">{head.format(escape(_taken(prior.line, now)), "")}{body}</div>'
    legend = f"{SCALE} · ▲ rose, ▼ fell, = same"
    rows = changes_html(comparison.changes, policy, view.line.findings)
    policies = _policies(ours.analysis, theirs.analysis)
    return (
        f'<div class="panel changes">{head.format(escape(_taken(prior.line, now)), legend)}'
        f'{rows}<p class="muted">Of several films of a study the highest probability counts. '
        f"Position, exposure and projection change it too, not disease alone.{policies}</p></div>"
    )


def _policies(ours: Analysis | None, theirs: Analysis | None) -> str:
    """Return a sentence where the two were decided by different policies."""
    if ours is None or theirs is None or ours.versions.policy == theirs.versions.policy:
        return ""
    return escape(
        f" This study was decided by policy {ours.versions.policy}, that one by {theirs.versions.policy}: "
        "urgency and thresholds may differ; the probabilities are the same model's."
    )


def _change(change: Change, policy: Policy) -> str:
    before, now = along(change.before), along(change.now)
    low, width = 100 * min(before, now), 100 * abs(now - before)
    sign, kind, moved = _way(change)
    name = name_of(change.finding, policy)
    told = f"{name}: {change.before:.2f} before, {change.now:.2f} now, {kind}"
    return (
        f'<div class="change {kind}" role="img" aria-label="{escape(told)}" title="{escape(told)}">'
        f'<span class="name">{escape(name)}</span>'
        f'<span class="track"><i class="way" style="left:{low:.1f}%;width:{width:.1f}%"></i>'
        f'<i class="was" style="left:{100 * before:.1f}%"></i>'
        f'<i class="is" style="left:{100 * now:.1f}%"></i></span>'
        f'<span class="value">{change.before:.2f} → {change.now:.2f}</span>'
        f'<span class="moved">{sign} {moved}</span></div>'
    )


def _way(change: Change) -> tuple[str, str, str]:
    """Return shape, word and figure of a change."""
    if abs(change.difference) < SAME:
        return "=", "same", "0.00"
    moved = f"{change.difference:+.2f}".replace("-", "−")
    return ("▲", "rose", moved) if change.difference > 0 else ("▼", "fell", moved)


def _taken(line: Line, now: datetime) -> str:
    """Return when the study was taken, or else when it came in."""
    return moment(line.acquired, now) if line.acquired else f"received {moment(line.received, now)}"


def _empty(bold: str, rest: str) -> None:
    st.html(f'<div class="empty"><b>{bold}</b><br>{rest}</div>')
