"""Files made when their button is pressed, and what is said where one could not be made.

Streamlit makes such a file outside any run of the page and tells the browser nothing of why that failed.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cxr_core import logs
from cxr_core.errors import CxrError
from cxr_core.logs import Log
from cxr_core.ui import services

_log = Log(__name__)
_FAILED = "unmade"


def told(make: Callable[[], bytes]) -> Callable[[], bytes]:
    """Return what makes the file; the page's next look says why it could not."""
    failed: list[Exception] = st.session_state.setdefault(_FAILED, [])

    def made() -> bytes:
        logs.begin()
        try:
            return make()
        except Exception as exc:
            _log.error("file_not_made", **logs.traced(exc))
            failed.append(exc)
            raise

    return made


def say(place: DeltaGenerator) -> None:
    """Say what could not be made since the last look, where it stays until the page is shown anew."""
    failed: list[Exception] = st.session_state.get(_FAILED, [])
    while failed:
        exc = failed.pop(0)
        st.toast("The file was not made; the top of the page says why.", icon=":material/error:")
        with place:
            st.caption("The file that you asked for was not made.")
            if isinstance(exc, CxrError):
                services.say(exc)
            else:
                st.error("Making it has a fault. Nothing that was stored is lost.", icon=":material/error:")
                services.quote("file_fault", exc)
