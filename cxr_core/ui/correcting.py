"""A film that hangs wrong: how it would hang, the button that says so, and the way back."""

from __future__ import annotations

from html import escape

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.domain import AS_SENT, Correction
from cxr_core.imaging.correct import in_words, missing
from cxr_core.ui import acts, films
from cxr_core.worklist.values import FilmView, ImageStatus, StudyView

BUTTONS = {
    Correction(inverted=True): "Invert it and assess it",
}
"""What the button says of a correction that does not turn the film."""

UPRIGHT = "Turn it upright and assess it"


_ANSWERED_OR_GIVEN_UP = (ImageStatus.ASSESSED, ImageStatus.REFUSED, ImageStatus.DEAD)


def offer(actor: Actor, view: StudyView, film: FilmView, shown: films.Shown) -> None:
    """Show how the film would hang, and have it so if the person says that this is right."""
    if film.offer is None or not shown.hung or not actor.may(Action.CORRECT):
        return
    more = missing(shown.analysis)
    with st.container(key="correct"):
        st.html(offer_html(shown.hung, more))
        asked = {"sha256": film.sha256, "correction": film.offer}
        st.button(
            BUTTONS.get(more, UPRIGHT),
            key=f"correct-{film.sha256[:16]}",
            type="primary",
            on_click=acts.ask,
            args=(acts.Asked("correct", view.line.study_id, view.line.version, asked),),
        )


def offer_html(hung: str, more: Correction) -> str:
    """Return the picture of the film as it would hang, and what the button beneath it does."""
    done = in_words(more)
    return (
        '<div class="hang"><div><h3>CORRECT AND GO ON</h3>'
        f"<p>This is the film, {escape(done)}. If it should hang like this, have it assessed so; heatmaps "
        "and reports then show it so too.</p>"
        '<p class="muted">The file stays as it was sent. Your name stands in the history, and it can be '
        "taken back.</p></div>"
        f'<img src="{hung}" alt="The film {escape(done)}"></div>'
    )


def way_back(actor: Actor, view: StudyView, film: FilmView) -> None:
    """Show that the film was corrected, and have it as it was sent again if the person wants that."""
    if not film.correction or film.status not in _ANSWERED_OR_GIVEN_UP:
        return
    done = escape(in_words(film.correction))
    so = film.analysis is not None and film.analysis.correction == film.correction
    said = f"Corrected by hand: {done}." if so else f"Given up as it was corrected by hand: {done}."
    with st.container(key="corrected", horizontal=True, vertical_alignment="center", gap="small"):
        st.html(f'<div class="muted">{said}</div>')
        if actor.may(Action.CORRECT):
            asked = {"sha256": film.sha256, "correction": AS_SENT}
            st.button(
                "Take the correction back",
                key=f"as-sent-{film.sha256[:16]}",
                help="Have the film assessed as it was sent",
                on_click=acts.ask,
                args=(acts.Asked("correct", view.line.study_id, view.line.version, asked),),
            )


def under_way(film: FilmView) -> str:
    """Return what is being assessed, where a person has just hung the film anew."""
    if not film.corrects:
        return ""
    said = in_words(film.correction)
    return f"The film is assessed as corrected: {said}." if said else "The film is assessed as it was sent."
