"""The same patient's other studies: picture beside picture, and what changed in each finding."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

import streamlit as st

from cxr_core.access import Actor
from cxr_core.domain import Analysis, Sex, Study
from cxr_core.reports.words import MARKS, SCALE, age, along, name_of
from cxr_core.triage.policy import Policy
from cxr_core.ui import films, links, listed, study_card, viewer
from cxr_core.ui.moments import moment
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Beside, Change, FilmView, Line, Prior, Priors, StudyView

LIMIT, MOST = 10, 4
SAME = 0.005
"""Probabilities closer than this are called the same."""

UNKNOWN_ORDER = (
    "Which of the two was taken first is not known: a film does not say when it was taken. "
    "The figures go from that study to this one."
)
_ORDER = {True: "", False: " · taken after this one", None: " · order not known"}
_MOST = {True: "Changed most", False: "Changed most until then", None: "Differs most"}
_CHANGE = {True: "CHANGE SINCE", False: "CHANGE UNTIL", None: "DIFFERENCE FROM"}
"""By whether the other study was taken first."""


def count(service: Service, actor: Actor, study_id: str) -> int:
    """Return how many other studies the patient has; nothing of them is shown."""
    return service.priors(actor, study_id, limit=0).total


def show(service: Service, actor: Actor, view: StudyView, film: FilmView) -> None:
    """Show the patient's other studies, or why there are none."""
    if not view.line.patient_id.strip():
        _empty(
            "This study has no patient ID", "so nobody can say which other studies are of the same person."
        )
        return
    found = service.priors(actor, view.line.study_id, limit=LIMIT)
    if not found.shown:
        _empty("No other study", "is on this worklist under the patient's ID.")
        return
    now = service.clock()
    prior = _picked(found, now)
    beside = _opened(service, actor, view.line.study_id, prior.line.study_id)
    other = beside.view
    theirs = other.films[study_card.start_of(other)]
    if beside.doubts:
        st.warning(f"**This may be another person:** {', '.join(beside.doubts)}.", icon=":material/warning:")
    if beside.comparison.changes:
        st.html(most_html(beside, service.policy))
    left, right = st.columns(2)
    with left:
        _beside(service, actor, f"This study · {_taken(view.line, now)}", view, film)
    with right:
        _beside(service, actor, f"{_taken(other.line, now)}{_ORDER[beside.earlier]}", other, theirs)
    st.html(_changes(beside, film, theirs, service.policy, now))
    if st.button("Open that study", key="prior-open"):
        links.to_study(other.line.study_id)


def ranked(changes: Sequence[Change], policy: Policy) -> list[Change]:
    """Return findings that are newly positive or no longer first, by tier; then by how much they changed."""
    positive = {each.finding for each in changes if each.was_positive or each.is_positive}

    def place(each: Change) -> tuple[bool, int, float]:
        tier = policy.tier_of(each.finding, positive).rank if each.crossed else 0
        return not each.crossed, tier, -abs(each.difference)

    return sorted(changes, key=place)


def changes_html(changes: Sequence[Change], policy: Policy) -> str:
    """Return one row a finding: from where to where its probability went, as an arrow and in figures."""
    return "".join(_change(each, policy) for each in ranked(changes, policy))


def most_html(beside: Beside, policy: Policy) -> str:
    """Return what changed most, in one line; all of it stands beneath the pictures."""
    parts = []
    for each in ranked(beside.comparison.changes, policy)[:MOST]:
        sign, kind, moved = _way(each)
        name = escape(name_of(each.finding, policy))
        parts.append(f'<span class="{kind}">{sign} {name} {moved}{_crossed(each)}</span>')
    return f'<div class="most"><b>{_MOST[beside.earlier]}</b>{"".join(parts)}</div>'


def person(study: Study) -> str:
    """Return whose study it is, in one line of plain text; what is not known is said."""
    years = "age not given" if study.age_years is None else f"age {age(study.age_years)}"
    sex = "sex not given" if study.sex is Sex.UNKNOWN else study.sex.value
    name = study.patient_name if study.patient_name.strip() else "name not given"
    return f"{name} · ID {study.patient_id} · {sex} · {years}"


def _opened(service: Service, actor: Actor, study_id: str, other_id: str) -> Beside:
    """Return that study; it leaves an audit row when this session first sees it beside this one."""
    of, seen = st.session_state.get("desk-beside", ("", frozenset()))
    seen = seen if of == study_id else frozenset()
    found = service.beside(actor, study_id, other_id, audited=other_id not in seen)
    st.session_state["desk-beside"] = study_id, seen | {other_id}
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
        said = f"{len(found.shown)} of {found.total}, earlier ones first."
        st.html(f'<div class="muted">{said}</div>')
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
    with st.container(key=f"beside-who-{view.line.study_id[:16]}"):
        st.text(person(view.study))
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


def _changes(beside: Beside, ours: FilmView, theirs: FilmView, policy: Policy, now: datetime) -> str:
    comparison = beside.comparison
    title = f"{_CHANGE[beside.earlier]} {escape(_taken(beside.view.line, now))}"
    head = '<div class="head"><h3>{}</h3><span class="legend">{}</span></div>'
    if comparison.why_not:
        body = f"<p>{escape(comparison.why_not)} So no change is shown.</p>"
        return f'<div class="panel">{head.format(title, "")}{body}</div>'
    order = "" if beside.earlier is not None else f"<p>{UNKNOWN_ORDER}</p>"
    legend = f"{SCALE} · ▲ rose, ▼ fell, = same"
    rows = changes_html(comparison.changes, policy)
    policies = _policies(ours.analysis, theirs.analysis)
    return (
        f'<div class="panel changes">{head.format(title, legend)}'
        f'{order}{rows}<p class="muted">Of several films of a study the highest probability counts. '
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
    told = f"{name}: from {change.before:.2f} to {change.now:.2f}, {kind}{_crossed(change)}"
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


def _crossed(change: Change) -> str:
    """Return that a finding is newly positive, or no longer."""
    if not change.crossed:
        return ""
    return ", newly positive" if change.is_positive else ", no longer positive"


def _taken(line: Line, now: datetime) -> str:
    """Return when the study was taken, or else when it came in."""
    return moment(line.acquired, now) if line.acquired else f"received {moment(line.received, now)}"


def _empty(bold: str, rest: str) -> None:
    st.html(f'<div class="empty"><b>{bold}</b><br>{rest}</div>')
