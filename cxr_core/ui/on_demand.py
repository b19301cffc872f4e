"""Files made when their button is pressed, and what is said where one could not be made.

Streamlit makes such a file outside any run of the page and tells the browser nothing of why that failed.
Nor does it hold that file for the page: the second look that any page takes by itself throws it away, and a
browser that asks for it later, as a busy machine's does, gets none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import ScriptRunContext, add_script_run_ctx, get_script_run_ctx

from cxr_core import logs
from cxr_core.errors import CxrError, SignedOut
from cxr_core.logs import Log
from cxr_core.ui import services

_log = Log(__name__)
_FAILED, _SAID = "on-demand-failed", "on-demand-said"
"""In the session's state: errors and what to quote of them; the one that is on the screen."""


def button(
    label: str,
    make: Callable[[], bytes],
    name: str,
    mime: str,
    *,
    key: str,
    disabled: bool = False,
    icon: str | None = ":material/download:",
    help: str | None = None,  # noqa: A002 -- as Streamlit names it
) -> None:
    """Show a button that makes a file of this name and type; it is there until the page is shown anew."""
    keep = partial(_keep, get_script_run_ctx(), name, mime, key)
    st.download_button(
        label,
        told(lambda: keep(make())),
        name,
        mime,
        key=key,
        on_click="ignore",
        disabled=disabled,
        icon=icon,
        help=help,
    )


def _keep(page: ScriptRunContext | None, name: str, mime: str, key: str, made: bytes) -> bytes:
    """Return the file, held by the page as its pictures are; the button's next one replaces it."""
    add = partial(runtime.get_instance().media_file_mgr.add, is_for_static_download=True)
    thread = Thread(target=add, args=(made, mime, f"made by {key}", name))
    add_script_run_ctx(thread, page)  # of whom the file is, Streamlit goes by the thread
    thread.start()
    thread.join()
    return made


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
