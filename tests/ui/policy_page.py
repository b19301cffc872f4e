"""A page with nothing but the policy's panel, for the role that the session names."""

import streamlit as st

from cxr_core.access import Actor, Role
from cxr_core.ui import policy_panel, services

st.set_page_config(layout="wide")
policy_panel.show(services.current(), Actor("local user", Role(st.session_state["role"])))
