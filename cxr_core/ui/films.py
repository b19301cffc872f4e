"""The films of one session and their results: a bounded list, and a bounded cache keyed by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from cxr_core.domain import Analysis, Radiograph, Study
from cxr_core.pipeline import Kit, analyse, heatmaps
from cxr_core.ui import viewer
from cxr_core.worklist.amend import amended

MAX_FILMS = 50
MAX_BYTES = 256 * 2**20
"""A session's list: beyond this, files are not taken and the page says so."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a card needs of one film; pixels no finer than the browser gets, no feature maps.

    Attributes:
        analysis: as the film's tags and the model say.
        heatmaps: per label (h, w) float32; empty when refused.
        payload: what the viewer draws, or empty when there is no film.
    """

    analysis: Analysis
    heatmaps: dict[str, NDArray[np.float32]] = field(repr=False)
    payload: dict[str, Any] = field(repr=False)


@dataclass(slots=True)
class Film:
    """One file of the session's list.

    Attributes:
        name: as the browser gave it; shown, never used as a path.
        raw: the file.
        light: its result without pixels.
        typed: the study as a person completed it, or None.
        saves: how often that happened; a new form is shown each time.
    """

    name: str
    raw: bytes = field(repr=False)
    light: Analysis
    typed: Study | None = None
    saves: int = 0


@st.cache_resource(max_entries=6, show_spinner=False)
def _shown(sha256: str, model: str, policy: str, code: str, _raw: bytes, _kit: Kit) -> Shown:
    """Return the result of a file; every argument without underscore is part of the key."""
    analysis = analyse(_raw, _kit, now=datetime.now(UTC))
    maps = heatmaps(analysis, _kit) if analysis.features is not None else {}
    small = replace(analysis, radiograph=_shrunk(analysis.radiograph), features=None)
    evaluation = _kit.classifier.manifest.evaluation
    picture = viewer.payload(small, _kit.policy, maps, evaluation) if small.radiograph else {}
    return Shown(small, maps, picture)


def shown(film_sha256: str, raw: bytes, kit: Kit) -> Shown:
    """Return the result of a file, from the cache where the same bytes were asked before."""
    versions = kit.versions
    return _shown(film_sha256, versions.model, versions.policy, versions.code, raw, kit)


def current(film: Film, kit: Kit) -> tuple[Analysis, Shown]:
    """Return the film's result with what a person typed, and what is drawn for it."""
    base = shown(film.light.sha256, film.raw, kit)
    if film.typed is None:
        return base.analysis, base
    analysis = amended(base.analysis, film.typed, kit.policy)
    if analysis.triage == base.analysis.triage:
        return analysis, base
    maps = {} if analysis.refusal else base.heatmaps
    if analysis.radiograph is None:
        return analysis, base
    picture = viewer.payload(analysis, kit.policy, maps, kit.classifier.manifest.evaluation)
    return analysis, Shown(base.analysis, maps, picture)


def listed() -> dict[str, Film]:
    """Return the session's films by SHA-256, most urgent first, then in order of arrival."""
    films: dict[str, Film] = st.session_state.setdefault("films", {})
    return dict(sorted(films.items(), key=lambda item: item[1].light.triage.urgency.rank))


def add(files: Iterable[tuple[str, bytes]], kit: Kit) -> list[str]:
    """Assess files one after the other with a progress bar; return sentences on what was not taken."""
    files = list(files)
    films: dict[str, Film] = st.session_state.setdefault("films", {})
    problems: list[str] = []
    arrived: list[str] = []
    bar = st.progress(0.0, text="Reading")
    for number, (name, raw) in enumerate(files, start=1):
        bar.progress((number - 1) / len(files), text=f"Assessing film {number} of {len(files)}")
        sha256 = hashlib.sha256(raw).hexdigest()
        if sha256 in films:
            arrived.append(sha256)
            problems.append("A file was already in the list; it is shown once.")
        elif len(films) >= MAX_FILMS or len(raw) + sum(len(film.raw) for film in films.values()) > MAX_BYTES:
            problems.append(f"The list is full ({len(films)} films). Remove some, then add the others.")
        else:
            light = replace(shown(sha256, raw, kit).analysis, radiograph=None)
            films[sha256] = Film(name, raw, light)
            arrived.append(sha256)
    bar.empty()
    if arrived:
        st.session_state["chosen"] = min(arrived, key=lambda key: films[key].light.triage.urgency.rank)
    return list(dict.fromkeys(problems))


def chosen(films: dict[str, Film]) -> str:
    """Return the key of the film whose card is shown: the one picked, else the most urgent."""
    picked: str = st.session_state.get("chosen", "")
    return picked if picked in films else next(iter(films))


def complete(film: Film, study: Study, kit: Kit) -> None:
    """Keep what a person typed about a film, and its result for the list."""
    film.typed = study
    film.saves += 1
    film.light = replace(current(film, kit)[0], radiograph=None)


def remove(sha256: str) -> None:
    """Take a film off the session's list."""
    st.session_state.get("films", {}).pop(sha256, None)


def _shrunk(radiograph: Radiograph | None) -> Radiograph | None:
    if radiograph is None or max(radiograph.pixels.shape) <= viewer.MAX_SIDE:
        return radiograph
    height, width = radiograph.pixels.shape
    scale = viewer.MAX_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels = np.asarray(Image.fromarray(radiograph.pixels).resize(size, Image.Resampling.BILINEAR))
    return replace(radiograph, pixels=pixels.astype(np.float32, copy=False))
