"""One study on the page: whose it is, its films, each film's card beside the film."""

from __future__ import annotations

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.errors import CxrError, StoreError
from cxr_core.ui import acts, card, downloads, films, intake, recent, services, study_form, viewer
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import FilmView, ImageStatus, StudyView


def show(service: Service, actor: Actor, key: str) -> None:
    """Show the study, or the file that could not be stored; what goes wrong is said plainly."""
    entry = films.mine().get(key)
    if entry is not None and entry.refusal is not None:
        _not_stored(service, entry, key)
        return
    if key.startswith(films.REFUSED):
        films.choose("")
        st.rerun()
    acts.perform(service, actor, key)
    try:
        view = films.opened(service, actor, key)
    except StoreError as exc:
        services.say(exc)
        if st.button("Back"):
            films.choose("")
            st.rerun()
        return
    film = _picked(view)
    _head(service, actor, view, film)
    acts.say()
    if acts.telling(view.line):
        acts.ask_whom(view.line)
    _study_says(view)
    with services.plainly():
        _card(service, actor, film)
    waiting = [key, *(other for other, each in films.mine().items() if each.waits and other != key)]
    waiting = waiting if films.mine()[key].waits or film.status is ImageStatus.WAITING else waiting[1:]
    if waiting:
        intake.until_answered(service, actor, waiting)


def _picked(view: StudyView) -> FilmView:
    """Return the film to show: the only one, or the one picked, the first assessed one at the start."""
    if len(view.films) == 1:
        return view.films[0]
    assessed = [place for place, film in enumerate(view.films) if film.status is ImageStatus.ASSESSED]
    start = (assessed or [0])[0]
    place = st.segmented_control(
        "Films of this study",
        range(len(view.films)),
        default=start,
        format_func=lambda place: f"Film {place + 1} · {view.films[place].status.value}",
        key=f"film-{view.line.study_id}-{len(view.films)}-{start}",  # anew when the first answer comes
        required=True,
        label_visibility="collapsed",
    )
    return view.films[place or 0]


def _head(service: Service, actor: Actor, view: StudyView, film: FilmView) -> None:
    """Show who it is, and what can be done with the study as a whole."""
    study_id = view.line.study_id
    entry = films.mine()[study_id]
    seen = st.session_state.get("seen", {}).get(study_id, view.line.version)
    st.session_state["seen"] = {study_id: view.line.version}
    with st.container(horizontal=True, vertical_alignment="top"):
        card.show_who(film.analysis.study if film.analysis else view.study, film.file)
        if not acts.telling(view.line):
            acts.show(actor, view.line)
        if actor.may(Action.COMPLETE):
            with st.popover("Study details", key=f"details-{study_id[:16]}-{entry.saves}"):
                typed = study_form.ask(view.study, f"{study_id[:16]}-{entry.saves}")
            if typed is not None:
                try:
                    service.complete(actor, study_id, typed, seen)
                except CxrError as exc:
                    services.say(exc)
                else:
                    entry.saves += 1
                    recent.forget()
                    st.rerun()
        if st.button("Put away", help="Take this study off your list here; it stays on the worklist"):
            films.put_away(study_id)
            st.rerun()


def _study_says(view: StudyView) -> None:
    """Show what the films make of the study together, where there are several."""
    if len(view.films) > 1 and view.line.state is not None:
        st.html(card.study_html(view.line.urgency, view.line.state, view.reasons))


def _card(service: Service, actor: Actor, film: FilmView) -> None:
    if film.analysis is None and film.notice is None:
        intake.being_assessed()
        return
    key = film.sha256[:16]
    if film.analysis is None and film.notice is not None:
        _unanswered(service, actor, film)
        return
    shown = films.shown(service, actor, film)
    analysis, policy = shown.analysis, service.policy
    with st.container(key="study"):
        with st.container(key="urgent"):
            card.show_urgency(analysis, policy)
        with st.container(key="film"):
            if shown.payload:
                viewer.show(shown.payload, key=f"viewer-{key}")
            else:
                card.show_refused_file(film.file, film.size_bytes)
        with st.container(key="card"):
            card.show_rest(analysis, policy)
            maps = {} if analysis.refusal else film.heatmaps
            evaluation = services.evaluation(service, analysis.versions.model)
            downloads.show(analysis, film.file, policy, maps, evaluation)
            st.html(card.foot_html(analysis, policy))


def _unanswered(service: Service, actor: Actor, film: FilmView) -> None:
    """Show a film that was given up, or that contradicts another: a person must look at it."""
    if film.notice is None:
        raise ValueError("a film without answer says why")
    analysis = films.refused(film.notice, service)
    with st.container(key="study"):
        with st.container(key="urgent"):
            card.show_urgency(analysis, service.policy)
        with st.container(key="film"):
            card.show_refused_file(film.file, film.size_bytes)
        with st.container(key="card"):
            card.show_rest(analysis, service.policy)
            retry = film.status is ImageStatus.DEAD and actor.may(Action.RETRY)
            if retry and st.button("Try again", help="Back in the queue, its attempts forgotten"):
                service.retry(actor, film.sha256)
                st.rerun()


def _not_stored(service: Service, entry: films.Mine, key: str) -> None:
    """Show a file that was refused at the door."""
    notice = entry.refusal
    if notice is None:
        raise ValueError("an entry that was stored has a study")
    with st.container(horizontal=True, vertical_alignment="top"):
        with st.container(key="who", gap=None), st.container(key="name"):
            st.text(entry.name)
        if st.button("Put away", help="Take this file off your list"):
            films.put_away(key)
            st.rerun()
    analysis = films.refused(notice, service)
    card.show_urgency(analysis, service.policy)
    card.show_rest(analysis, service.policy)
