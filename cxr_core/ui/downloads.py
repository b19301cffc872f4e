"""The three files of a result; each is made when its button is pressed, not before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cxr_core.domain import Analysis
from cxr_core.pipeline import Kit
from cxr_core.reports.record import as_record
from cxr_core.reports.words import study_id


def show(analysis: Analysis, name: str, kit: Kit, heatmaps: Mapping[str, NDArray[np.float32]]) -> None:
    """Show the buttons; a file that was no picture has no annotated one."""
    stem, key = f"neuraray-{study_id(analysis)}", analysis.sha256[:16]
    evaluation = kit.classifier.manifest.evaluation

    def as_json() -> str:
        return json.dumps(as_record(analysis, name), indent=2, ensure_ascii=False)

    def as_png() -> bytes:
        from cxr_core.reports.picture import annotated

        return annotated(analysis, kit.policy, heatmaps)

    def as_pdf() -> bytes:
        from cxr_core.reports.page import report  # fpdf takes longer to import than a film to assess

        now = datetime.now().astimezone()
        return report(analysis, kit.policy, heatmaps, evaluation=evaluation, now=now)

    with st.container(key="downloads", horizontal=True, gap="small"):
        st.download_button(
            "PDF", as_pdf, f"{stem}.pdf", "application/pdf", key=f"pdf-{key}", on_click="ignore"
        )
        st.download_button(
            "JSON", as_json, f"{stem}.json", "application/json", key=f"json-{key}", on_click="ignore"
        )
        if analysis.radiograph is not None:
            st.download_button("PNG", as_png, f"{stem}.png", "image/png", key=f"png-{key}", on_click="ignore")
