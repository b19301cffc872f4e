"""Entry of the web app: `streamlit run` imports it for the server, then runs it for every page."""

import streamlit as st

from cxr_core.logs import Log
from cxr_core.ui import theme
from cxr_core.ui.guard import Role, require


def show() -> None:
    """Show the page that was asked for, and the way to those that the person's role opens."""
    st.set_page_config(page_title="NeuraRay", page_icon="🩻", layout="wide", initial_sidebar_state="auto")
    user = require(Role.VIEWER)
    listed = (
        (Role.VIEWER, st.Page("pages/triage.py", title="Triage", icon=":material/radiology:", default=True)),
        (Role.VIEWER, st.Page("pages/worklist.py", title="Worklist", icon=":material/list_alt:")),
        (Role.VIEWER, st.Page("pages/study.py", title="Study", icon=":material/clinical_notes:")),
        (Role.VIEWER, st.Page("pages/performance.py", title="Performance", icon=":material/monitoring:")),
        (Role.VIEWER, st.Page("pages/models.py", title="Models", icon=":material/model_training:")),
        (Role.LEAD, st.Page("pages/operations.py", title="Operations", icon=":material/monitor_heart:")),
    )
    theme.brand()
    st.session_state["entered"] = True
    page = st.navigation([its for _, its in listed], position="hidden")  # each asks for its role itself
    for each in (its for role, its in listed if user.role.covers(role)):
        here = each.url_path == page.url_path
        st.sidebar.container(key="nav-here" if here else f"nav-{each.url_path}").page_link(each)
    with Log("cxr_core.ui").timed("page", page=page.url_path or "triage"):
        page.run()


if __name__ == "__main__":
    show()
else:
    from cxr_core.ui import server, startup

    server.one_way_of_logging()
    startup.insist()
    app = st.App(
        __file__,
        routes=server.ROUTES,
        middleware=server.MIDDLEWARE,
        lifespan=server.lifespan,
        on_script_error=server.say_fault,
    )
