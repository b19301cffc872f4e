"""Films onto the list: many at once, zips too; how far they are stands in the database, not in the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.ui import presence, recent, services, taking
from cxr_core.ui.moments import moment
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import BATCH, BatchView, Incoming

SHOWN = 2
_TURN, _TAKEN, _CLOSED = "wl-upload-turn", "wl-taken", "wl-batches-closed"


def add(service: Service, actor: Actor) -> None:
    """Show the button that opens the drop zone; what is dropped is on disk when the zone is empty again."""
    if not actor.may(Action.SUBMIT):
        return
    turn = st.session_state.setdefault(_TURN, 0)
    with st.popover("Add films", type="primary", key=f"add-films-{turn}"):
        dropped = st.file_uploader(
            "Films as DICOM, PNG or JPEG, or zips of them",
            accept_multiple_files=True,
            key=f"wl-films-{turn}",
        )
    if not dropped:
        return
    with st.spinner(f"Storing {len(dropped)} files; this goes on if you leave the page"):
        files = [Incoming(file.name, file.getvalue()) for file in dropped]
        taken = taking.take(service, actor, files, priority=BATCH)
    st.session_state[_TURN] = turn + 1
    st.session_state[_TAKEN] = taken if taken.trouble else None
    recent.forget()
    st.rerun()


def say_what_was_taken() -> None:
    """Say what kept the last drop from being taken in as a whole, until the next drop."""
    taken: taking.Taken | None = st.session_state.get(_TAKEN)
    if taken is not None and taken.trouble is not None:
        services.say(taken.trouble)
        st.text(taking.summary(taken))


def progress(service: Service, actor: Actor) -> None:
    """Show how far the person's last batches have come; a reload, or another browser, shows the same."""
    if not actor.may(Action.SUBMIT):
        return
    closed = st.session_state.setdefault(_CLOSED, frozenset[str]())
    shown = [
        each for each in service.batches(actor, SHOWN) if each.id not in closed and _current(service, each)
    ]
    done = [each for each in shown if settled(each) and not each.broken_off]
    if not shown:
        return
    with st.container(key="batches", gap=None):
        for batch in shown:
            if batch not in done:
                _under_way(service, batch)
        if done:
            with st.expander(outcome(done, service.clock())):
                for batch in done:
                    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                        st.text(sentence(batch, moment(batch.created, service.clock())))
                        _button_to_close(batch)
                    _refused(batch)


def _under_way(service: Service, batch: BatchView) -> None:
    """Show how far a batch has come, or that it was broken off."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.progress(share(batch), text=sentence(batch, moment(batch.created, service.clock())))
        if settled(batch):
            _button_to_close(batch)
    if batch.refused:
        with st.expander(f"{len(batch.refused)} refused, and why"):
            _refused(batch)


def _button_to_close(batch: BatchView) -> None:
    st.button("Close", key=f"close-{batch.id}", on_click=_close, args=(batch.id,), type="tertiary")


def _refused(batch: BatchView) -> None:
    if batch.refused:
        st.dataframe(refusals(batch), hide_index=True, key=f"refused-{batch.id}")


def share(batch: BatchView) -> float:
    """Return how much of the batch is dealt with, 0 to 1."""
    if settled(batch) and not batch.broken_off:
        return 1.0
    dealt_with = batch.stored + batch.answered + 2 * batch.turned_away
    return min(1.0, dealt_with / max(1, 2 * batch.total))


def settled(batch: BatchView) -> bool:
    """Return whether nothing more is going to happen to the batch."""
    everything = batch.stored + batch.turned_away >= batch.total
    return batch.answered >= batch.stored and (batch.broken_off or everything)


def sentence(batch: BatchView, when: str) -> str:
    """Return the batch in figures: `30 files, 21 Nov 02:41: 26 stored; 18 answered`, and what was refused."""
    known = f" ({batch.known} known before)" if batch.known else ""
    away = f", {batch.turned_away} refused at the door" if batch.turned_away else ""
    later = len(batch.refused) - batch.turned_away
    refused = f", {later} of them refused" if later else ""
    broken = ". Broken off: hand in the rest again" if batch.broken_off else ""
    files = "1 file" if batch.total == 1 else f"{batch.total:,} files"
    stored = f"{batch.stored:,} stored{known}{away}"
    return f"{files}, {when}: {stored}; {batch.answered:,} answered{refused}{broken}"


def outcome(done: Sequence[BatchView], now: datetime) -> str:
    """Return in one line what became of batches of which nothing is awaited any more."""
    total, stored, answered, refused = (
        sum(figures)
        for figures in zip(*((b.total, b.stored, b.answered, len(b.refused)) for b in done), strict=True)
    )
    why = f" · {refused:,} refused, and why" if refused else ""
    files = "1 file" if total == 1 else f"{total:,} files"
    what = f"{files}, {moment(done[0].created, now)}" if len(done) == 1 else f"{len(done)} uploads, {files}"
    return f"{what}: {stored:,} stored; {answered:,} answered{why}"


def refusals(batch: BatchView) -> pd.DataFrame:
    """Return name, reason and what to do of each refused file; plain columns show names literally."""
    rows = [(name, notice.message, notice.hint) for name, notice in batch.refused]
    return pd.DataFrame(rows, columns=["File", "Why", "What to do"])


def _current(service: Service, batch: BatchView) -> bool:
    """Return whether the batch is under way, or so recent that its outcome is still of interest."""
    return not settled(batch) or (service.clock() - batch.created).total_seconds() < 900


def _close(batch_id: str) -> None:
    presence.acted()
    st.session_state[_CLOSED] |= {batch_id}
