"""Files made when their button is pressed, and what is said where one could not be made.

Streamlit makes such a file outside any run of the page and tells the browser nothing of why that failed.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from cxr_core import logs
from cxr_core.errors import CxrError, SignedOut
from cxr_core.logs import Log
from cxr_core.ui import services

_log = Log(__name__)
_FAILED, _SAID = "unmade", "unmade-said"
"""In the session's state: errors and what to quote of them; the one that is on the screen."""


def told(make: Callable[[], bytes]) -> Callable[[], bytes]:
    """Return what makes the file; the page's next look says why it could not."""
    failed: list[tuple[Exception, str]] = st.session_state.setdefault(_FAILED, [])

    def made() -> bytes:
        asked = logs.begin()
        try:
            return make()
        except Exception as exc:
            _log.error("file_not_made", **logs.traced(exc))
            failed.append((exc, asked))
            raise

    return made


def forget() -> None:
    """Take away what was said; the page is shown anew."""
    st.session_state.pop(_SAID, None)


def say() -> None:
    """Say why a file was not made, until the page is shown anew; the part that says it looks by itself."""
    failed: list[tuple[Exception, str]] = st.session_state.get(_FAILED, [])
    if failed:
        st.session_state[_SAID] = failed.pop()
        failed.clear()
        st.toast("The file was not made; the top of the page says why.", icon=":material/error:")
    if _SAID not in st.session_state:
        return
    exc, asked = st.session_state[_SAID]
    if isinstance(exc, SignedOut):
        services.anew()
    st.error("The file that you asked for was not made. Nothing that was stored is lost.")
    if isinstance(exc, CxrError):
        st.text(str(exc))
    st.caption(f"If you ask about this, quote {asked}.")
