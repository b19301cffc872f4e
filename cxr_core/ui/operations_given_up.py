"""Films that were given up: each to be looked at, or tried again."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from cxr_core.access import Actor
from cxr_core.errors import Conflict, CxrError
from cxr_core.ui import links, services
from cxr_core.ui.moments import moment
from cxr_core.ui.operations_lights import many
from cxr_core.worklist.operations import DeadLetter
from cxr_core.worklist.service import Service

WHY: dict[str, str] = {
    "decoder_crashed": "its decoder crashed",
    "decoder_timeout": "its decoder took too long",
    "decoder_memory": "its decoder ran out of memory",
    "decoder_killed": "its decoder was killed",
    "lost_leases": "its workers were lost, again and again",
    "model_unavailable": "the model asked for cannot be used",
    "unreadable_blob": "its bytes cannot be read from disk",
    "not_recorded": "its answer could not be written",
}
SHOWN = 25
_SAID = "ops-retried"


def show(service: Service, actor: Actor) -> None:
    """Show the films that were given up, the newest first."""
    _say()
    letters = service.given_up(actor)
    if not letters:
        st.html(
            '<div class="empty"><b>No film is given up.</b><br>Each has its answer or waits for it.</div>'
        )
        return
    films = many(len(letters), "film")
    with st.container(key="ops-dead-head", horizontal=True, vertical_alignment="center", gap="small"):
        st.html(
            f'<div class="ops-said"><strong>{films}</strong> given up; on the worklist their '
            "studies wait for a person. Read them in the usual way, or have them tried again.</div>"
        )
        with st.popover(f"Try all {len(letters)} again", disabled=len(letters) < 2):
            st.text(
                f"{films} go back to the queue. One that kills its decoder again costs a "
                "worker a few seconds each time, and comes back here."
            )
            st.button(
                "Yes, try all again", key="ops-retry-all", on_click=_retry, args=(service, actor, letters)
            )
    for letter in letters[:SHOWN]:
        _letter(service, actor, letter)
    if len(letters) > SHOWN:
        st.caption(f"and {len(letters) - SHOWN} older ones; they move up as these are dealt with")


def _letter(service: Service, actor: Actor, letter: DeadLetter) -> None:
    now = service.clock()
    with st.container(key=f"ops-dead-{letter.sha256}", horizontal=True, vertical_alignment="center"):
        why = WHY.get(letter.code, "the audit trail does not say why")
        attempts = many(letter.attempts, "failed attempt")
        st.text(
            f"{letter.code or 'unknown'}: {why} · {attempts} · given up {moment(letter.at, now)} · "
            f"received {moment(letter.received, now)} · film {letter.sha256[:12]}"
        )
        if st.button("Open study", key=f"ops-open-{letter.sha256}"):
            links.to_study(letter.study_id)
        st.button(
            "Try again",
            key=f"ops-retry-{letter.sha256}",
            type="primary",
            on_click=_retry,
            args=(service, actor, (letter,)),
        )


def _retry(service: Service, actor: Actor, letters: Sequence[DeadLetter]) -> None:
    """Put them back one by one; what somebody else put back meanwhile is left out."""
    done = 0
    try:
        for letter in letters:
            try:
                service.retry(actor, letter.sha256)
                done += 1
            except Conflict:
                continue
    except CxrError as exc:
        st.session_state[_SAID] = exc
        return
    st.session_state[_SAID] = f"{many(done, 'film')} back in the queue."


def _say() -> None:
    said = st.session_state.pop(_SAID, None)
    if isinstance(said, CxrError):
        services.say(said)
    elif said:
        st.success(said, icon=":material/check:")
