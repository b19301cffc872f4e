"""The cases to fit a model by: films with a list, read a few at a time, or readers' opinions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from cxr_core.access import Actor
from cxr_core.domain import Notice
from cxr_core.errors import Rejected
from cxr_core.evaluation.site_card import BIASED, plain
from cxr_core.evaluation.site_cases import Cases, Origin
from cxr_core.evaluation.site_listing import MOST_BYTES, read_listing
from cxr_core.evaluation.site_verdict import LEAST_FILMS, RULE
from cxr_core.ui import literal, services
from cxr_core.worklist import handing, site, site_opinions
from cxr_core.worklist.handing import Handed
from cxr_core.worklist.model_folders import Folder
from cxr_core.worklist.service import Service
from cxr_core.worklist.site_films import Reading
from cxr_core.worklist.site_readings import Background
from cxr_core.worklist.unpack import Archive, Turned, is_zip
from cxr_core.worklist.values import Incoming

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

ORIGIN, LIST, FILMS, WHOLE, READ = "site-origin", "site-list", "site-films", "site-whole", "site-read"
STOP, ANEW, USE = "site-stop", "site-anew", "site-use"
_TAKEN, _TURN = "site-taken", "site-turn"
SHOWN = 200
"""Refused films listed."""

EVERY_S = 1.0
"""How often it is shown how far the films are read."""

_ORIGINS = {
    Origin.FILES: "A list of labelled films and the films",
    Origin.OPINIONS: "What readers agreed and disagreed with on the worklist",
}


@dataclass(frozen=True, slots=True)
class _Taken:
    """Readers' opinions as this session took them, answered by the model of that manifest."""

    model: str
    cases: Cases
    remarks: tuple[str, ...]


def cases(service: Service, actor: Actor, model: Folder) -> Cases | None:
    """Return the person's cases; None while there are none, and then the ways to them are shown."""
    st.subheader("1 · Cases")
    found = _found(service, actor, model)
    if isinstance(found, Background) and found.ended is not None and found.cases is None:
        service.drop_site_reading(actor)
        st.warning("No film was read that can be used.")
        st.text(found.fault)
        found = None
    if found is None:
        _choose(service, actor, model)
        return None
    reading = None
    if isinstance(found, Background):
        if found.ended is None:
            _watch(found)
            return None
        reading = found.reading
    if found.cases is not None:
        _say(service, actor, found.cases, found.remarks, reading)
    return found.cases


def _found(service: Service, actor: Actor, model: Folder) -> Background | _Taken | None:
    """Return what there is of this model, in whatever session of the person's it was begun."""
    taken: _Taken | None = st.session_state.get(_TAKEN)
    if taken is not None and taken.model == model.sha256:
        return taken
    reading = service.site_reading(actor)
    return reading if reading is not None and reading.model == model.sha256 else None


def _forget(service: Service, actor: Actor) -> None:
    """Forget the cases; the decoding processes end."""
    st.session_state.pop(_TAKEN, None)
    with services.plainly():
        service.drop_site_reading(actor)


def _choose(service: Service, actor: Actor, model: Folder) -> None:
    if (other := service.site_reading(actor)) is not None:
        literal.caption(
            f"You are having films read by {other.name}: choose it above to go on. Reading films by "
            f"{model.name} ends that."
        )
    st.caption(
        f"{RULE} Better are some hundred films in a row, as they came, of {LEAST_FILMS} patients or more."
    )
    origin = st.radio("Truth from", list(_ORIGINS), key=ORIGIN, format_func=lambda each: _ORIGINS[each])
    if origin == Origin.OPINIONS:
        st.caption(f"{BIASED} At most the {site_opinions.MOST:,} studies of the newest opinions are taken.")
        if model.name != service.model:
            literal.caption(f"Readers saw answers of {service.model}, which is in force: choose it above.")
        elif st.button("Use these opinions", key=USE):
            found = service.site_opinions(actor)
            remarks: tuple[str, ...] = (
                f"{found.studies} studies with an opinion; {found.unanswered} of them without an answer of "
                f"{service.model}; {found.torn} findings on which readers do not agree are left out.",
                *([f"{found.older:,} studies with older opinions are left out."] if found.older else []),
                BIASED,
            )
            st.session_state[_TAKEN] = _Taken(model.sha256, found.cases, remarks)
            st.rerun()
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
            service.begin_site_reading(actor, model.id, lines, _handed(list(films)), _announced(films))
        st.session_state[_TURN] = turn + 1  # the reading alone holds the uploaded bytes from now on
        st.rerun()


@st.fragment(run_every=EVERY_S)
def _watch(reading: Background) -> None:
    """Show how far it is; nobody need be there, so an idle page locks, and the reading goes on."""
    if reading.ended is not None:
        services.anew()
    done = reading.reading.read.films
    st.progress(min(done / max(reading.films, 1), 1.0), f"{done} of {reading.films} films read")
    st.button(
        "Stop",
        key=STOP,
        on_click=reading.stop,
        disabled=reading.stopping,
        help="What was read until then is kept.",
    )
    st.caption("It goes on while you look at something else, and also where this page is locked or closed.")


def _say(
    service: Service, actor: Actor, found: Cases, remarks: Sequence[str], reading: Reading | None
) -> None:
    """Show what was read."""
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
    for remark in remarks:
        st.text(f"• {remark}")
    if reading is not None:
        _say_refused(reading)
    st.button("Other cases", key=ANEW, on_click=_forget, args=(service, actor))


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


def _handed(files: list[UploadedFile]) -> Iterator[Handed]:
    """Yield the films of files and zips, letting go of each as it is done."""
    while files:
        file = files.pop(0)
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
