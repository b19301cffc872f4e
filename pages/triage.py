"""Triage: films in, cards out."""

from cxr_core.ui.guard import Role, require

user = require(Role.VIEWER)

import streamlit as st  # noqa: E402 -- nothing runs before the guard

from cxr_core.ui import films, intake, shell, study_card, theme  # noqa: E402

service = shell.opened(user)
films.settle()
listed = films.mine()
chosen = films.chosen()

with st.sidebar:
    if listed:
        intake.film_list()
    if chosen:
        intake.uploader(service, user, "more")
theme.signed_in(user)
intake.say_what_was_taken()

if chosen:
    study_card.show(service, user, chosen)
else:
    intake.first_page(service, user)
