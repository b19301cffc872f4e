"""A page with nothing but the live list, or the policy's panel, for the person that the session names."""

import streamlit as st

from cxr_core.ui import policy_panel, services, worklist_page

st.set_page_config(layout="wide")
part = st.session_state["part"]
if part != "nothing":
    show = worklist_page.live if part == "list" else policy_panel.show
    show(services.current(), st.session_state["actor"])
