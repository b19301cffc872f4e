"""Entry of the web app: one named local user by default, pages by role."""

import streamlit as st

from cxr_core.ui import theme
from cxr_core.ui.guard import Role, require

st.set_page_config(page_title="NeuraRay", page_icon="🩻", layout="wide", initial_sidebar_state="auto")
user = require(Role.VIEWER)

PAGES = (
    (Role.VIEWER, st.Page("pages/triage.py", title="Triage", icon=":material/radiology:", default=True)),
    (Role.VIEWER, st.Page("pages/worklist.py", title="Worklist", icon=":material/list_alt:")),
)

theme.brand()
st.session_state["entered"] = True
pages = [page for role, page in PAGES if user.role.covers(role)]
page = st.navigation(pages, position="hidden")
for each in pages:
    here = each.url_path == page.url_path
    st.sidebar.container(key="nav-here" if here else f"nav-{each.url_path}").page_link(each)
page.run()
