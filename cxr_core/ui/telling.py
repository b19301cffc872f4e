"""Who was told of a critical result and how: asked in the same words wherever a study is shown.

Where a colleague was faster, what was typed becomes a note: no page lets it vanish.
"""

from __future__ import annotations

import streamlit as st

from cxr_core.ui import acts
from cxr_core.worklist.actions import LONGEST_NOTE
from cxr_core.worklist.opinions import LONGEST_TEXT
from cxr_core.worklist.values import Line

_TOLD, _HOW, _BACK, _NOTE = "tell-told", "tell-how", "tell-read-back", "tell-note"
WAYS = ("", "by telephone", "in person", "by message")


def settle(line: Line) -> None:
    """Let what was typed of a telling go on as a note, where there is nothing left to acknowledge."""
    asked = acts.failed()
    if asked is None or asked.what != "told" or asked.study_id != line.study_id or acts.alarming(line):
        return
    said = asked.said
    words = [said["told"].strip(), said["how"], "and they read it back" if said["read_back"] else ""]
    typed = [word for word in words if word]
    if typed:
        acts.begin(line.study_id, "note", f"Told {' '.join(typed)}.")
    else:
        acts.begin(line.study_id, "")


def asked(line: Line) -> bool:
    """Return whether one of the forms below is open for this study."""
    return acts.form(line.study_id) in ("acknowledge", "note")


def show(line: Line) -> None:
    """Show the form that is open; it stays when the study changes under it, with what is typed in it."""
    if acts.form(line.study_id) == "note":
        note(line)
    else:
        acknowledge(line)


def acknowledge(line: Line) -> None:
    """Ask who was told and how; no shortcut sends it, for a key may just have been pressed for another."""
    with st.form("telling", border=False):
        # One element whatever it says: the fields beneath must stay the same to the browser.
        st.html(f"<b>Acknowledge a critical result</b><div class='muted'>{_hint(line)}</div>")
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            st.text_input("Who was told", key=_TOLD, max_chars=LONGEST_NOTE, width=260)
            st.selectbox("How", WAYS, key=_HOW, width=170)
            st.checkbox("They read it back", key=_BACK)
            args = ("told", line)
            st.form_submit_button("Acknowledge", type="primary", on_click=_ask, args=args)
            st.form_submit_button("Cancel", shortcut="Escape", on_click=acts.close)


def note(line: Line) -> None:
    """Ask for a note; it may have several lines, so that Enter does not send it."""
    with st.form("noting", border=False):
        st.text_area("Note", acts.started_with(), key=_NOTE, max_chars=LONGEST_TEXT, height=90)
        with st.container(horizontal=True, gap="small"):
            args = ("note", line)
            st.form_submit_button("Save note", type="primary", on_click=_ask, args=args)
            st.form_submit_button("Cancel", shortcut="Escape", on_click=acts.close)


def _hint(line: Line) -> str:
    if acts.alarming(line):
        return "Say whom you told and how; the time is noted by itself. This does not mark it read."
    return "There is nothing left to acknowledge. Send what you typed, and you can keep it as a note."


def _ask(what: str, line: Line) -> None:
    """Keep what was typed with what was asked; a submitted form's fields are gone when the page is drawn."""
    state = st.session_state
    if what == "note":
        said = {"text": state[_NOTE]}
    else:
        said = {"told": state[_TOLD], "how": state[_HOW], "read_back": state[_BACK]}
    acts.ask(acts.Asked(what, line.study_id, line.version, said, typed=True))
