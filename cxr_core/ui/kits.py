"""The one kit of this process: model, limits and policy, loaded once."""

from __future__ import annotations

import streamlit as st

from cxr_core import settings
from cxr_core.errors import CxrError
from cxr_core.pipeline import Kit, load_kit


@st.cache_resource(max_entries=1, show_spinner="Loading and checking the model")
def _kit(table: settings.Settings) -> Kit:
    return load_kit(table)


def current() -> Kit:
    """Return the kit, or say why there is none and stop the page here."""
    try:
        return _kit(settings.load())
    except CxrError as exc:
        st.error("No film can be assessed: the model or the policy cannot be used.", icon=":material/error:")
        st.text(str(exc))
        st.text(
            "Restore the model folder or the policy, or choose another by CXR_MODEL, then reload this page."
        )
        st.stop()
