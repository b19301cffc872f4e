"""The reader's desk: one study with all its films, priors and history, and what a reader does with it."""

from __future__ import annotations

import streamlit as st

from cxr_core.access import Actor
from cxr_core.domain import Analysis
from cxr_core.errors import CxrError, Unknown
from cxr_core.triage.policy import Policy
from cxr_core.ui import (
    acts,
    desk_explain,
    desk_findings,
    desk_forms,
    desk_history,
    desk_priors,
    desk_steps,
    desk_watch,
    intake,
    links,
    services,
    study_card,
    telling,
)
from cxr_core.ui.moments import moment
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import FilmView, ImageStatus, Query, Review, StudyView

OPENED = "desk"
FILMS, PRIORS, HISTORY, EXPLAIN = "Films", "Priors", "History", "Explain"


def show(service: Service, actor: Actor, study_id: str) -> None:
    """Show the study, or what to do where there is none; what goes wrong is said plainly."""
    if not study_id:
        _nothing_open(service, actor)
        return
    desk_steps.say()
    acts.perform(service, actor, study_id)
    try:
        view = _opened(service, actor, study_id)
        others = desk_priors.count(service, actor, study_id)
    except Unknown:
        _nothing_open(service, actor, "There is no such study.")
        return
    except CxrError as exc:
        services.say(exc)
        _until_it_opens(service, actor, study_id)
        return
    telling.settle(view.line)
    before = study_card.seen(view)
    part, film = _head(service, actor, view, others, before)
    with services.plainly():
        if part == PRIORS:
            desk_priors.show(service, actor, view, film)
        elif part == HISTORY:
            desk_history.show(actor, view.line, view.reviews, service.policy, service.clock())
        elif part == EXPLAIN:
            desk_explain.show(service, actor, film)
        else:
            _films(service, actor, view, film)


def _opened(service: Service, actor: Actor, study_id: str) -> StudyView:
    """Return the study; the session's first look at it is audited.

    Raises:
        StoreError: there is no such study.
    """
    first = st.session_state.get(OPENED) != study_id
    view = service.study(actor, study_id, audited=first)
    if first:
        acts.close()
    st.session_state[OPENED] = study_id
    return view


def _head(service: Service, actor: Actor, view: StudyView, others: int, before: int) -> tuple[str, FilmView]:
    """Show who it is, how it stands and what can be done; return which part to show, and of which film."""
    first = view.films[study_card.start_of(view)]
    with st.container(key="desk-head", horizontal=True, vertical_alignment="top"):
        with st.container(key="desk-who", gap=None):
            study_card.who(view, first)
            with st.container(key="desk-done", gap=None):
                for line in standing(view, service):
                    st.text(line)
        with st.container(key="desk-watch", width="content"):
            desk_watch.live(service, actor, view.line, len(view.reviews))
    with st.container(key="desk-acts", horizontal=True, gap="small", vertical_alignment="center"):
        part = _part(view, others)
        if not acts.form(view.line.study_id):
            _acts(service, actor, view)
    acts.say()
    if acts.form(view.line.study_id):
        desk_forms.show(service, actor, view, before)
    return part, first if part == HISTORY else study_card.picked(view)


def _acts(service: Service, actor: Actor, view: StudyView) -> None:
    """Show what can be done with the study, and the ways to others."""
    acts.show(actor, view.line, foremost="acknowledge")
    desk_forms.buttons(actor, view.line)
    args = (service, actor, view.line.study_id)
    st.button("Next", key="desk-next", shortcut="J", on_click=desk_steps.step, args=(*args, 1))
    st.button("Previous", key="desk-previous", shortcut="K", on_click=desk_steps.step, args=(*args, -1))
    if st.button("Worklist", key="desk-list", type="tertiary"):
        links.to_worklist(view.line.study_id)


def _part(view: StudyView, others: int) -> str:
    """Return which part of the desk to show; the names say how much there is."""
    names = {FILMS: FILMS, PRIORS: f"{PRIORS} · {others}", HISTORY: f"{HISTORY} · {len(view.reviews)}"}
    names[EXPLAIN] = EXPLAIN
    part = st.segmented_control(
        "Part of the desk",
        list(names),
        default=FILMS,
        format_func=names.__getitem__,
        key="desk-part",
        required=True,
        label_visibility="collapsed",
    )
    return part or FILMS


def _films(service: Service, actor: Actor, view: StudyView, film: FilmView) -> None:
    def rest(analysis: Analysis, policy: Policy) -> None:
        desk_findings.show(actor, view, analysis, policy, service.clock())

    study_card.film_card(service, actor, view, film, rest)
    if film.status is ImageStatus.WAITING:
        intake.until_worker(service, actor, view.line.study_id)


def standing(view: StudyView, service: Service) -> list[str]:
    """Return who acknowledged and who read it, where that holds; shown as plain text."""
    line, now = view.line, service.clock()
    lines = []
    if line.acknowledged and (taken := _last(view, "acknowledge")):
        lines.append(taken)
    if line.status == "read" and (read := _last(view, "read")):
        lines.append(read)
    return [
        f"{each.actor} {desk_history.words(each, service.policy)} · {moment(each.at, now)}" for each in lines
    ]


def _last(view: StudyView, kind: str) -> Review | None:
    return next((each for each in reversed(view.reviews) if each.kind == kind), None)


def _nothing_open(service: Service, actor: Actor, why: str = "No study is open.") -> None:
    """Show where studies are to be found."""
    st.html(
        f'<div class="empty"><b>{why}</b><br>'
        "Open one from the worklist, from an alert or from its card.</div>"
    )
    with st.container(horizontal=True, horizontal_alignment="center"):
        if st.button("To the worklist"):
            links.to_worklist("")
        with services.plainly():
            lines = service.page(actor, Query(limit=1)).lines
            if lines and st.button("Open the most pressing study", type="primary"):
                links.to_study(lines[0].study_id)


@st.fragment(run_every=services.RETRY_S)
def _until_it_opens(service: Service, actor: Actor, study_id: str) -> None:
    """Show the study as soon as it can be read."""
    try:
        service.version(actor, study_id)
    except CxrError:
        return
    services.anew()
