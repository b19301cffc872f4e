"""Study: one examination on the reader's desk."""

from cxr_core.ui.guard import Role, require

user = require(Role.VIEWER)

import streamlit as st  # noqa: E402 -- nothing runs before the guard

from cxr_core.ui import desk, shell, theme  # noqa: E402

service = shell.opened(user)
theme.signed_in(user)
desk.show(service, user, st.query_params.get("study", ""))
