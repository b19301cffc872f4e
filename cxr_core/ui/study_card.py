"""One study on a page: whose it is, its films, each film's card beside the film; for triage and the desk."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.domain import Analysis, Study, Urgency
from cxr_core.errors import CxrError, StoreError, Unknown
from cxr_core.reports.words import Whole
from cxr_core.triage.policy import Policy
from cxr_core.ui import (
    acts,
    card,
    correcting,
    downloads,
    films,
    intake,
    links,
    recent,
    services,
    study_form,
    telling,
    viewer,
)
from cxr_core.ui.listed import tier_word
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import FilmView, ImageStatus, StudyView

Rest = Callable[[Analysis, Policy], None]

_LOST = "The film as it came. The model's answer to it cannot be read."
_WHY = {
    ImageStatus.DEAD: "The film as it came. It was given up before the model had answered.",
    ImageStatus.CONFLICT: "The film as it came. It contradicts another film, so the model was not asked.",
    ImageStatus.ASSESSED: _LOST,
    ImageStatus.REFUSED: _LOST,
}
"""Of a film without answer: why that is so."""


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
        if isinstance(exc, Unknown):
            st.warning("There is no such study.")
        else:
            services.say(exc)
        if st.button("Back"):
            films.choose("")
            st.rerun()
        return
    telling.settle(view.line)
    film = picked(view)
    _head(service, actor, view, film)
    with st.container(key="said"):
        acts.say(stays=telling.asked(view.line))
    if telling.asked(view.line):
        telling.show(view.line)
    with services.plainly():
        film_card(service, actor, view, film)
    waiting = [key, *(other for other, each in films.mine().items() if each.waits and other != key)]
    waiting = waiting if films.mine()[key].waits or film.status is ImageStatus.WAITING else waiting[1:]
    if waiting:
        intake.until_answered(service, actor, waiting)
    if key not in waiting and not telling.asked(view.line):
        intake.until_changed(service, actor, key, view.line.version)


def start_of(view: StudyView) -> int:
    """Return the place of the film to show first: the most urgent of those assessed, the first of equals."""
    assessed = [
        (film.analysis.triage.urgency.rank, place)
        for place, film in enumerate(view.films)
        if film.status is ImageStatus.ASSESSED and film.analysis is not None
    ]
    return min(assessed)[1] if assessed else 0


def picked(view: StudyView) -> FilmView:
    """Return the film to show: the only one, or the one picked."""
    if len(view.films) == 1:
        return view.films[0]
    start = start_of(view)
    place = st.segmented_control(
        "Films of this study",
        range(len(view.films)),
        default=start,
        format_func=lambda place: f"Film {place + 1} · {_standing(view.films[place])}",
        key=f"film-{view.line.study_id}-{len(view.films)}-{start}",  # anew when a graver answer comes
        required=True,
        label_visibility="collapsed",
    )
    return view.films[place or 0]


def _standing(film: FilmView) -> str:
    """Return the tier of an assessed film, of any other how far it is."""
    if film.status is ImageStatus.ASSESSED and film.analysis is not None:
        return tier_word(film.analysis.triage.urgency)
    return film.status.value


def who(view: StudyView, film: FilmView) -> None:
    """Show whose study it is."""
    card.show_who(film.analysis.study if film.analysis else view.study, film.file)


def complete(service: Service, actor: Actor, study_id: str, typed: Study, version: int) -> bool:
    """Return whether what a person typed of the study was kept; else say why not."""
    try:
        service.complete(actor, study_id, typed, version)
    except CxrError as exc:
        services.say(exc)
        return False
    recent.forget()
    return True


def seen(view: StudyView) -> int:
    """Return the version that was on the screen before this look, for a form that was filled in there."""
    study_id, version = view.line.study_id, view.line.version
    before: int = st.session_state.get("seen", {}).get(study_id, version)
    st.session_state["seen"] = {study_id: version}
    return before


def _head(service: Service, actor: Actor, view: StudyView, film: FilmView) -> None:
    """Show who it is, and what can be done with the study as a whole."""
    study_id = view.line.study_id
    entry = films.mine()[study_id]
    before = seen(view)
    with st.container(horizontal=True, vertical_alignment="top"):
        who(view, film)
        if not telling.asked(view.line):
            acts.show(actor, view.line)
        if actor.may(Action.COMPLETE):
            with st.popover("Study details", key=f"details-{study_id[:16]}-{entry.saves}"):
                typed = study_form.ask(view.study, f"{study_id[:16]}-{entry.saves}")
            if typed is not None and complete(service, actor, study_id, typed, before):
                entry.saves += 1
                st.rerun()
        if st.button("Open study", help="Priors, history, and all that a reader does"):
            links.to_study(study_id)
        if st.button("Put away", help="Take this study off your list here; it stays on the worklist"):
            films.put_away(study_id)
            st.rerun()


def _apart(view: StudyView, film: FilmView) -> bool:
    """Return whether the study is not as urgent as this film, or a person said how urgent it is."""
    of_film = film.analysis.triage.urgency if film.analysis else Urgency.REVIEW
    answered = film.analysis is not None or film.notice is not None
    return view.line.overridden is not None or (answered and of_film is not view.line.urgency)


def _set_by(view: StudyView) -> tuple[str, str] | None:
    """Return who set the urgency, and why, beside what the films say; None where nobody did."""
    line, given = view.line, view.standing.override
    if line.overridden is None or given is None:
        return None
    raised = " What came in since raised it." if line.urgency is not line.overridden.urgency else ""
    under = f"“{given.data['reason']}” The films say {tier_word(line.overridden.films)}.{raised}"
    return f"Urgency set by {line.overridden.by}", under


def whole_of(view: StudyView, film: FilmView) -> Whole | None:
    """Return what a file of this film has to say of its study; None where the film says all."""
    older = f"An older answer: {film.notice.message}" if film.notice is not None else ""
    given = _set_by(view)
    if len(view.films) == 1 and given is None and not older:
        return None
    why = f"{given[0]}: {given[1]}" if given else " · ".join(view.reasons)
    place = [each.sha256 for each in view.films].index(film.sha256)
    said = " ".join(part for part in (older, why) if part)
    return Whole(place + 1, len(view.films), view.line.urgency, _apart(view, film), said)


def _study_says(view: StudyView, film: FilmView, policy: Policy) -> None:
    """Show what people and films make of the study together, where that is more than this film says."""
    line, given = view.line, _set_by(view)
    if given is not None:
        st.html(card.apart_html(line.urgency, policy, *given))
    elif _apart(view, film):
        st.html(card.apart_html(line.urgency, policy, "The whole study", " · ".join(view.reasons)))
    elif len(view.films) > 1 and line.state is not None:
        st.html(card.study_html(line.urgency, line.state, view.reasons))


def film_card(
    service: Service, actor: Actor, view: StudyView, film: FilmView, rest: Rest = card.show_rest
) -> None:
    """Show the film and its card, or why there is none.

    Args:
        service: whose study it is.
        actor: at the screen.
        view: the study.
        film: of it.
        rest: shows findings and reasons.
    """
    if film.corrects or (film.analysis is None and film.notice is None):
        _study_says(view, film, service.policy)
        intake.being_assessed(correcting.under_way(film))
        return
    key, apart = film.sha256[:16], _apart(view, film)
    if film.notice is not None and (film.analysis is None or film.analysis.correction != film.correction):
        _unanswered(service, actor, view, film)
        return
    shown = films.shown(service, actor, film)
    analysis, policy = shown.analysis, service.policy
    with st.container(key="study"):
        with st.container(key="urgent"):
            _study_says(view, film, policy)
            if film.notice is not None:
                st.html(card.notice_html(film.notice))
                _try_again(service, actor, film)
            card.show_urgency(analysis, policy, apart=apart)
            correcting.offer(actor, view, film, shown)
            correcting.way_back(actor, view, film)
        with st.container(key="film"):
            if shown.payload:
                viewer.show(shown.payload, key=f"viewer-{key}")
            else:
                card.show_file(film.file, film.size_bytes, for_now=shown.for_now)
        with st.container(key="card"):
            rest(analysis, policy)
            maps = {} if analysis.refusal else film.heatmaps
            evaluation = services.evaluation(service, analysis.versions.model)
            whole = whole_of(view, film)
            downloads.show(service, actor, analysis, film.file, maps, evaluation, whole)
            st.html(card.foot_html(analysis, policy))


def _unanswered(service: Service, actor: Actor, view: StudyView, film: FilmView) -> None:
    """Show a film that was given up, or that contradicts another: a person must look at it."""
    if film.notice is None:
        raise ValueError("a film without answer says why")
    analysis = films.refused(film.notice, service)
    with st.container(key="study"):
        with st.container(key="urgent"):
            _study_says(view, film, service.policy)
            card.show_urgency(analysis, service.policy, apart=_apart(view, film))
            correcting.way_back(actor, view, film)
        with st.container(key="film"):
            _as_it_came(service, actor, film)
        with st.container(key="card"):
            card.show_rest(analysis, service.policy)
            _try_again(service, actor, film)


def _try_again(service: Service, actor: Actor, film: FilmView) -> None:
    """Show the button that has a film that was given up answered once more."""
    retry = film.status is ImageStatus.DEAD and actor.may(Action.RETRY)
    if retry and st.button("Try again", help="Back in the queue, its attempts forgotten"):
        service.retry(actor, film.sha256)
        st.rerun()


def _as_it_came(service: Service, actor: Actor, film: FilmView) -> None:
    """Show a film without answer, with why it has none; or, once that was tried, that it has no picture."""
    try:
        payload = films.unanswered(service, actor, film)
    except StoreError as exc:
        services.say(exc)
        return
    if payload:
        viewer.show(payload | {"caption": _WHY[film.status]}, key=f"viewer-{film.sha256[:16]}")
    else:
        card.show_file(film.file, film.size_bytes)


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
