"""Entry of the web app: one named local user by default, pages by role."""

import streamlit as st

from cxr_core.ui import theme
from cxr_core.ui.guard import Role, require

st.set_page_config(page_title="NeuraRay", page_icon="🩻", layout="wide", initial_sidebar_state="auto")
user = require(Role.VIEWER)

PAGES = (
    (Role.CLINICIAN, st.Page("pages/triage.py", title="Triage", icon=":material/radiology:", default=True)),
)

theme.brand()
pages = [page for role, page in PAGES if user.role.covers(role)]
page = st.navigation(pages, position="hidden")
for each in pages:
    st.sidebar.page_link(each)
page.run()
