"""Triage: films in, cards out."""

from cxr_core.ui.guard import Role, require

user = require(Role.CLINICIAN)

import streamlit as st  # noqa: E402 -- nothing runs before the guard

from cxr_core.ui import card, downloads, films, intake, kits, study_form, theme, viewer  # noqa: E402

theme.apply()
kit = kits.current()
listed = films.listed()

with st.sidebar:
    if listed:
        intake.film_list(listed)
        intake.uploader(kit, "more")
theme.signed_in(user)

for problem in st.session_state.pop("problems", []):
    st.warning(problem)

if not listed:
    intake.first_page(kit)
    st.stop()

film = listed[films.chosen(listed)]
analysis, shown = films.current(film, kit)
key = analysis.sha256[:16]

with st.container(horizontal=True, vertical_alignment="top"):
    card.show_who(analysis, film.name)
    with st.popover("Study details", key=f"details-{key}-{film.saves}"):
        if (study := study_form.ask(analysis.study, key)) is not None:
            films.complete(film, study, kit)
            st.rerun()
    if st.button("Remove", help="Take this film off the list"):
        films.remove(analysis.sha256)
        st.rerun()

with st.container(key="study"):
    with st.container(key="urgent"):
        card.show_urgency(analysis, kit.policy)
    with st.container(key="film"):
        if shown.payload:
            viewer.show(shown.payload, key=f"viewer-{key}")
        else:
            card.show_refused_file(film.name, len(film.raw))
    with st.container(key="card"):
        card.show_rest(analysis, kit.policy)
        downloads.show(analysis, film.name, kit, shown.heatmaps)
        st.html(card.foot_html(analysis, kit.policy))
