"""Files of a result, and the film without identity; each is made when its button is pressed and noted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cxr_core.access import Action, Actor
from cxr_core.domain import Analysis
from cxr_core.imaging.deidentify import Text
from cxr_core.reports.record import as_record
from cxr_core.reports.words import Whole, study_id
from cxr_core.ui import on_demand
from cxr_core.worklist.films import Kind
from cxr_core.worklist.service import Service

_TEXTS = {
    Text.REFUSE: "do not hand the film out",
    Text.BLANK: "black it out",
    Text.CHECKED: "I have looked: it names nobody",
}


def show(
    service: Service,
    actor: Actor,
    analysis: Analysis,
    name: str,
    heatmaps: Mapping[str, NDArray[np.float32]],
    evaluation: Mapping[str, float],
    whole: Whole | None,
) -> None:
    """Show the buttons; a file that was no picture has no annotated one. Each says what its study says."""
    policy = service.policy
    stem, key = f"neuraray-{study_id(analysis)}", analysis.sha256[:16]
    if whole is not None and whole.films > 1:
        stem += f"-film-{whole.film}"

    def as_json() -> bytes:
        return json.dumps(as_record(analysis, name, whole), indent=2, ensure_ascii=False).encode()

    def as_png() -> bytes:
        from cxr_core.reports.picture import annotated

        return annotated(analysis, policy, heatmaps, whole)

    def as_pdf() -> bytes:
        from cxr_core.reports.page import report  # fpdf takes longer to import than a film to assess

        now = datetime.now().astimezone()
        return report(analysis, policy, heatmaps, evaluation=evaluation, now=now, whole=whole)

    def noted(kind: Kind, made: Callable[[], bytes]) -> Callable[[], bytes]:
        def leaves() -> bytes:
            service.note_download(actor, analysis.sha256, kind)
            return made()

        return leaves

    files: list[tuple[Kind, Callable[[], bytes], str]] = [
        ("pdf", as_pdf, "application/pdf"),
        ("json", as_json, "application/json"),
    ]
    if analysis.radiograph is not None:
        files.append(("png", as_png, "image/png"))
    with st.container(key="downloads", horizontal=True, gap="small"):
        for kind, made, mime in files:
            leaves = noted(kind, made)
            on_demand.button(kind.upper(), leaves, f"{stem}.{kind}", mime, key=f"{kind.upper()}-{key}")
        if analysis.radiograph is not None and actor.may(Action.DEIDENTIFY):
            with st.popover("De-identified", key=f"leave-{key}"):
                _without_identity(service, actor, analysis, key)


def _without_identity(service: Service, actor: Actor, analysis: Analysis, key: str) -> None:
    """Show what to do with text in the picture, and the button."""
    is_dicom = analysis.radiograph is not None and analysis.radiograph.source == "DICOM"
    if any(note.code.startswith("burned_in") for note in analysis.gate.notes):
        st.caption("Text is noted on this film: look at it before you choose.")
    if is_dicom and analysis.correction:
        st.caption("The DICOM file leaves as it was sent, without the correction.")
    text = st.radio(
        "If text is found in the picture",
        list(_TEXTS),
        format_func=_TEXTS.__getitem__,
        key=f"text-{key}",
    )
    on_demand.button(
        "De-identified DICOM" if is_dicom else "De-identified PNG",
        lambda: service.deidentify(actor, analysis.sha256, text).raw,
        "deidentified.dcm" if is_dicom else "deidentified.png",
        "application/dicom" if is_dicom else "image/png",
        key=f"leaves-{key}-{text}",
    )
