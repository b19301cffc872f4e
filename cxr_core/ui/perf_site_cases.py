"""The cases to fit a model by: films with a list, read a few at a time, or readers' opinions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from cxr_core.access import Actor
from cxr_core.domain import Notice
from cxr_core.errors import CxrError, DataError, Rejected
from cxr_core.evaluation.site_card import BIASED, plain
from cxr_core.evaluation.site_cases import Cases, Origin
from cxr_core.evaluation.site_listing import MOST_BYTES, read_listing
from cxr_core.evaluation.site_verdict import LEAST_FILMS, RULE
from cxr_core.ui import services
from cxr_core.worklist import handing, site, site_opinions
from cxr_core.worklist.handing import Handed
from cxr_core.worklist.model_folders import Folder
from cxr_core.worklist.service import Service
from cxr_core.worklist.site_films import Reading
from cxr_core.worklist.unpack import Archive, Turned, is_zip
from cxr_core.worklist.values import Incoming

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

ORIGIN, LIST, FILMS, WHOLE, READ = "site-origin", "site-list", "site-films", "site-whole", "site-read"
STOP, ANEW, USE = "site-stop", "site-anew", "site-use"
_STATE, _TURN = "site-state", "site-turn"
SHOWN = 200
"""Refused films listed."""

SLICE_S = 2.0
"""How long films are read before the page is shown anew."""

_ORIGINS = {
    Origin.FILES: "A list of labelled films and the films",
    Origin.OPINIONS: "What readers agreed and disagreed with on the worklist",
}


@dataclass(slots=True)
class _State:
    """What this session has read, of which model; `cases` once that is done."""

    model: str
    reading: Reading | None = None
    announced: int = 0
    cases: Cases | None = None
    remarks: tuple[str, ...] = ()


def cases(service: Service, actor: Actor, model: Folder) -> Cases | None:
    """Return the cases of this session; None while there are none, and then the ways to them are shown."""
    st.subheader("1 · Cases")
    state: _State | None = st.session_state.get(_STATE)
    if state is not None and state.model != model.sha256:
        forget()
        state = None
    if state is None:
        _choose(service, actor, model)
        state = st.session_state.get(_STATE)
    if state is not None and state.cases is None:
        _go_on(state)
    if state is None or state.cases is None:
        return None
    _say(state)
    return state.cases


def forget() -> None:
    """Forget the cases; the decoding processes end."""
    state: _State | None = st.session_state.pop(_STATE, None)
    if state is not None and state.reading is not None:
        state.reading.close()


def _choose(service: Service, actor: Actor, model: Folder) -> None:
    st.caption(
        f"{RULE} Better are some hundred films in a row, as they came, of {LEAST_FILMS} patients or more."
    )
    origin = st.radio("Truth from", list(_ORIGINS), key=ORIGIN, format_func=lambda each: _ORIGINS[each])
    if origin == Origin.OPINIONS:
        st.caption(f"{BIASED} At most the {site_opinions.MOST:,} studies of the newest opinions are taken.")
        if model.name != service.model:
            st.caption(f"Readers saw answers of {service.model}, which is in force: choose it above.")
        elif st.button("Use these opinions", key=USE):
            found = service.site_opinions(actor)
            remarks: tuple[str, ...] = (
                f"{found.studies} studies with an opinion; {found.unanswered} of them without an answer of "
                f"{service.model}; {found.torn} findings on which readers do not agree are left out.",
                *([f"{found.older:,} studies with older opinions are left out."] if found.older else []),
                BIASED,
            )
            st.session_state[_STATE] = _State(model.sha256, cases=found.cases, remarks=remarks)
        return
    turn = st.session_state.setdefault(_TURN, 0)
    left, right = st.columns(2)
    with left:
        listing = st.file_uploader(
            "The list, as CSV",
            key=f"{LIST}-{turn}",
            help="A column with the file, one with the patient, and one for each finding: 1, 0 or empty.",
        )
    with right:
        whole = st.toggle("A whole folder", key=WHOLE)
        films = st.file_uploader(
            "The films: DICOM, PNG, JPEG, or zips of them",
            accept_multiple_files="directory" if whole else True,
            key=f"{FILMS}-{turn}-{whole}",
        )
    if st.button("Read the films", key=READ, disabled=not (listing and films)) and listing and films:
        if listing.size > MOST_BYTES:
            st.warning(
                f"The list has {listing.size / 1e6:.0f} MB; at most {MOST_BYTES / 1e6:.0f} MB are read."
            )
            return
        lines = read_listing(listing.getvalue(), "the list", site.manifest_of(service, model.id).labels)
        with st.spinner("Checking the model"):
            reading = service.read_site(actor, model.id, lines, _handed(films))
        remarks = lines.remarks
        st.session_state[_STATE] = _State(model.sha256, reading, _announced(films), remarks=remarks)


def _go_on(state: _State) -> None:
    """Read on for a moment, then show the page anew: a click counts, alerts ring, an idle page locks."""
    reading = state.reading
    if reading is None:
        return
    bar = st.progress(0.0)
    st.button("Stop", key=STOP, on_click=_stop, args=(state,), help="What was read until then is kept.")
    until, more = time.monotonic() + SLICE_S, True
    try:
        while more:
            more = reading.step()
            done = reading.read.films
            bar.progress(min(done / max(state.announced, 1), 1.0), f"{done} of {state.announced} films read")
            if time.monotonic() >= until:
                break
        if not more:
            _keep(state)
    except CxrError as exc:
        if not reading.read.found:
            forget()
            raise
        _keep(state, f"Stopped early: {exc}")
    except Exception:
        forget()
        raise
    services.anew()


def _keep(state: _State, remark: str = "") -> None:
    """Take what was read for the cases and let go of the uploaded bytes."""
    if state.reading is None:
        return
    state.reading.close()
    state.cases = state.reading.cases()
    state.remarks = (*state.remarks, *([remark] if remark else []))
    st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1


def _stop(state: _State) -> None:
    try:
        _keep(state, "Stopped before the last film.")
    except DataError:  # none could be assessed so far
        forget()


def _say(state: _State) -> None:
    """Show what was read."""
    found = state.cases
    if found is None:
        return
    mask = found.fitted_on()
    st.html(
        f'<div class="muted"><b>{len(found):,} films of {found.number_of_patients():,} patients.</b> '
        f"{int(mask.sum()):,} films of {found.number_of_patients(mask):,} patients to fit by, "
        f"{int((~mask).sum()):,} of {found.number_of_patients(~mask):,} others to judge by.</div>"
    )
    st.dataframe(
        {
            "finding": [plain(label) for label in found.labels],
            "films with it": [int((found.truth[:, k] == 1).sum()) for k in range(len(found.labels))],
            "films without": [int((found.truth[:, k] == 0).sum()) for k in range(len(found.labels))],
            "patients with it": [
                found.number_of_patients(found.truth[:, k] == 1) for k in range(len(found.labels))
            ],
        },
        hide_index=True,
        key="site-counts",
    )
    for remark in state.remarks:
        st.text(f"• {remark}")
    if state.reading is not None:
        _say_refused(state.reading)
    st.button("Other cases", key=ANEW, on_click=forget)


def _say_refused(reading: Reading) -> None:
    read = reading.read
    for count, what in (
        (reading.missing, "of the list were not among the films"),
        (read.unlisted, "files are not in the list"),
        (read.copies, "films are copies of another one, counted once"),
        (len(read.unclear), "lines of the list fit several films and were left out"),
        (len(read.refused), "films were refused"),
    ):
        if count:
            st.text(f"• {count} {what}")
    if read.refused:
        shown = read.refused[:SHOWN]
        st.dataframe(
            {
                "film": [each.name for each in shown],
                "code": [each.notice.code for each in shown],
                "why": [each.notice.message for each in shown],
            },
            hide_index=True,
            key="site-refused",
        )


def _handed(files: Sequence[UploadedFile]) -> Iterator[Handed]:
    """Yield the films of files and zips, one in memory at a time beside what the browser sent."""
    for file in files:
        raw = file.getvalue()
        if not is_zip(file.name, raw[:4]):
            yield Incoming(file.name, raw)
            continue
        try:
            with Archive(raw) as archive:
                yield from handing.inside(file.name, archive)
        except Rejected as exc:
            yield Turned(file.name, Notice(exc.code, exc.message, exc.hint))


def _announced(files: Sequence[UploadedFile]) -> int:
    total = 0
    for file in files:
        raw = file.getvalue()
        if not is_zip(file.name, raw[:4]):
            total += 1
            continue
        try:
            with Archive(raw) as archive:
                total += archive.films
        except Rejected:
            total += 1
    return total
