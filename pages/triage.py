"""Triage: films in, cards out."""

from cxr_core.ui.guard import Role, require

user = require(Role.VIEWER)

import streamlit as st  # noqa: E402 -- nothing runs before the guard

from cxr_core.ui import films, intake, shell, study_card, theme  # noqa: E402

service = shell.opened(user)
films.settle()
intake.say_what_was_taken()
chosen = films.chosen()
if chosen:
    study_card.show(service, user, chosen)
else:
    intake.first_page(service, user)

with st.sidebar:
    if films.mine():
        intake.film_list()
    if chosen:
        intake.uploader(service, user, "more")
theme.signed_in(user)
