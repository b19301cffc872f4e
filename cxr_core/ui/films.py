"""The studies of one session, and what a card needs of a film; the worklist holds all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cxr_core import __version__, settings
from cxr_core.access import Actor
from cxr_core.domain import Analysis, Gate, GateOutcome, Notice, Radiograph, Study, Versions
from cxr_core.errors import DecoderDied, Rejected
from cxr_core.imaging.correct import corrected, missing
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.overlay import grey, png
from cxr_core.triage.decide import refuse
from cxr_core.ui import services, viewer
from cxr_core.worklist.decoder import DecoderPool
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import FilmView, Item, Line, StudyView

DECODERS = 2
"""Films of the screen that are decoded at the same time."""

HUNG_PX = 320
"""Longer side of the picture that a person looks at before a film is hung so."""


REFUSED = "refused-"
"""How the names of entries begin that are no studies."""


@dataclass(slots=True)
class Mine:
    """One entry of the session's list: a study, or a file that could not be stored.

    Attributes:
        name: of the file as the browser gave it; shown, never used as a path.
        line: of the study when last looked at, or None.
        refusal: why the file was not stored, or None.
        since: monotonic seconds when it was handed in.
        saves: how often the form was saved; a new one is shown each time.
    """

    name: str
    line: Line | None = None
    refusal: Notice | None = None
    since: float = field(default_factory=monotonic)
    saves: int = 0

    @property
    def waits(self) -> bool:
        """No answer has been seen yet."""
        return self.refusal is None and (self.line is None or self.line.state is None)

    @property
    def rank(self) -> int:
        """Place in the list: most urgent first, then what is still being assessed."""
        if self.line is not None and not self.waits:
            return self.line.urgency.rank
        return 2 if self.refusal is not None else 9


@dataclass(frozen=True, slots=True)
class Shown:
    """What a card needs of one film.

    Attributes:
        analysis: with pixels no finer than the browser gets; without where nothing could be decoded.
        payload: what the viewer draws, or empty when there is no film.
        hung: address of a small picture of the film as its refusal offers to hang it, or empty.
        for_now: it was decoded for its answer, but not just now; the next try may succeed.
    """

    analysis: Analysis
    payload: dict[str, Any] = field(repr=False)
    hung: str = field(default="", repr=False)
    for_now: bool = False


def mine() -> dict[str, Mine]:
    """Return the session's list by study id, most urgent first, then in order of arrival."""
    held: dict[str, Mine] = st.session_state.setdefault("mine", {})
    return dict(sorted(held.items(), key=lambda item: item[1].rank))


def add(items: Iterable[Item]) -> list[str]:
    """Put what was dropped into the session's list; return sentences about it."""
    held: dict[str, Mine] = st.session_state.setdefault("mine", {})
    arrived: list[str] = []
    problems: list[str] = []
    for item in items:
        if item.receipt is None:
            number = st.session_state["refusals"] = st.session_state.get("refusals", 0) + 1
            key = f"{REFUSED}{number}"
            held[key] = Mine(item.name, refusal=item.refusal)
        else:
            key = item.receipt.study_id
            if not item.receipt.new:
                problems.append(
                    "A film was already in the list; it is shown once."
                    if key in held
                    else "A film was already on the worklist; it was not stored twice."
                )
            held.setdefault(key, Mine(item.name))
        arrived.append(key)
    if arrived:
        choose(arrived[0])
        st.session_state["arrived"] = arrived
    return list(dict.fromkeys(problems))


def choose(key: str) -> None:
    """Show this entry; its name stands in the address, so that a reload shows it again."""
    st.session_state.pop("arrived", None)
    if key:
        st.query_params["study"] = key
    else:
        st.query_params.pop("study", None)


def chosen() -> str:
    """Return the entry to show: the one in the address, or the first of the list, or none."""
    asked: str = st.query_params.get("study", "")
    held = mine()
    return asked or next(iter(held), "")


def settle() -> None:
    """Of what was dropped together show the most urgent, once, as soon as answers are there."""
    held = mine()
    arrived = [key for key in st.session_state.get("arrived", []) if key in held]
    answered = [key for key in arrived if not held[key].waits]
    if answered and len(arrived) > 1:
        choose(min(answered, key=lambda key: held[key].rank))
    elif answered:
        st.session_state.pop("arrived", None)


def refresh(service: Service, actor: Actor, keys: Iterable[str]) -> bool:
    """Look again at these studies; return whether one was answered meanwhile, for the first time or again."""
    held = mine()
    answered = False
    for key in keys:
        entry = held.get(key)
        if entry is None or entry.refusal is not None:
            continue
        before, waited = entry.line, entry.waits
        entry.line = service.study(actor, key, audited=False).line
        again = before is not None and not waited and before.version != entry.line.version
        answered = answered or again or (waited and not entry.waits)
    return answered


def waiting_s(keys: Iterable[str]) -> float:
    """Return for how long the first of these entries has been waiting."""
    held = mine()
    return max((monotonic() - held[key].since for key in keys if key in held), default=0.0)


def opened(service: Service, actor: Actor, study_id: str) -> StudyView:
    """Return the study; the session's first look at it is audited.

    Raises:
        StoreError: there is no such study.
    """
    view = service.study(actor, study_id, audited=st.session_state.get("opened") != study_id)
    st.session_state["opened"] = study_id
    held: dict[str, Mine] = st.session_state.setdefault("mine", {})
    held.setdefault(study_id, Mine(view.line.file)).line = view.line
    return view


def put_away(key: str) -> None:
    """Take an entry off the session's list; the study stays on the worklist."""
    st.session_state.get("mine", {}).pop(key, None)
    choose("")


def shown(service: Service, actor: Actor, film: FilmView) -> Shown:
    """Return what a card needs of a film that has an answer."""
    if film.analysis is None:
        raise ValueError("this film has no answer yet")
    answer = _answer(film.analysis)
    undrawn: set[tuple[str, str]] = st.session_state.setdefault("undrawn", set())
    if (film.sha256, answer) not in undrawn:
        try:
            return _shown(film.sha256, answer, film, service, actor)
        except DecoderDied:  # which took long: no rerun of this session tries it again
            undrawn.add((film.sha256, answer))
    return Shown(film.analysis, {}, for_now=True)


def unanswered(service: Service, actor: Actor, film: FilmView) -> dict[str, Any]:
    """Return what the viewer draws of a film that has no answer, or nothing where it cannot be decoded.

    Raises:
        StoreError: its bytes cannot be read.
    """
    if film.notice is None:
        raise ValueError("a film without answer says why")
    analysis = replace(refused(film.notice, service), sha256=film.sha256)
    drawn = _shown(film.sha256, film.notice.code, replace(film, analysis=analysis), service, actor).payload
    return drawn and drawn | {"label": "Film without an answer"}


def refused(notice: Notice, service: Service) -> Analysis:
    """Return the card of a file that was not stored, or of a film that nobody could answer."""
    return Analysis(
        sha256="",
        study=Study(),
        gate=Gate(GateOutcome.REFUSED, (notice,)),
        predictions=(),
        abnormal=None,
        triage=refuse(service.policy, notice),
        versions=Versions(service.model, service.policy.version, service.gate, __version__),
        refusal=notice,
    )


def _answer(analysis: Analysis) -> str:
    """Return what tells one answer about a film from another."""
    return repr((analysis.versions, analysis.triage, analysis.refusal, analysis.study, analysis.correction))


@st.cache_resource(max_entries=8, show_spinner=False)
def _shown(sha256: str, answer: str, _film: FilmView, _service: Service, _actor: Actor) -> Shown:
    """Return the film as shown; every argument without underscore is part of the key."""
    analysis = _film.analysis
    if analysis is None:
        raise ValueError("this film has no answer yet")
    raw = _service.film_bytes(_actor, sha256, audited=False)  # its study has just been opened
    try:
        pixels = _decoders(settings.load()).view(raw, analysis.correction)
    except Rejected:
        return Shown(analysis, {})
    except DecoderDied:
        if _film.notice is None:  # what is raised is not kept
            raise
        return Shown(analysis, {})
    whole = replace(analysis, radiograph=replace(pixels, study=analysis.study))
    maps: dict[str, NDArray[np.float32]] = {} if analysis.refusal else _film.heatmaps
    evaluation = services.evaluation(_service, analysis.versions.model)
    return Shown(whole, viewer.payload(whole, _service.policy, maps, evaluation), _hung(whole, pixels))


def _hung(analysis: Analysis, pixels: Radiograph) -> str:
    """Return the film, small, as its refusal offers to hang it; empty where nothing is offered."""
    more = missing(analysis)
    return viewer.address(png(grey(corrected(pixels, more).pixels, HUNG_PX))) if more else ""


@st.cache_resource(max_entries=1, show_spinner=False, on_release=DecoderPool.close)
def _decoders(table: settings.Settings) -> DecoderPool:
    return DecoderPool(
        Limits(),
        None,
        processes=DECODERS,
        timeout_s=table.decode_timeout_s,
        memory_mb=table.decode_memory_mb,
    )
