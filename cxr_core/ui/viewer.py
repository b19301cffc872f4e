"""The film viewer: what it is given (pure) and where it is mounted."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cxr_core.domain import ABNORMAL, Analysis, Prediction, State
from cxr_core.imaging.overlay import CONTOUR_LEVELS, FIELD_PX, PALETTE, contours, grey, png, tiles
from cxr_core.inference.explain import NoRegion
from cxr_core.reports.regions import region_of
from cxr_core.reports.words import figures, localisation, name_of, not_looked_at, ordered
from cxr_core.triage.policy import Policy

MAX_SIDE = 2048
"""Pixels of the longer side that the browser gets; finer films are shrunk."""

_HERE = Path(__file__)
_viewer = st.components.v2.component(
    "neuraray_viewer",
    html=_HERE.with_name("viewer.html").read_text(encoding="utf-8"),
    css=_HERE.with_name("viewer.css").read_text(encoding="utf-8"),
    js=_HERE.with_name("viewer.js").read_text(encoding="utf-8"),
)


def show(payload: dict[str, Any], key: str) -> None:
    """Mount the viewer; everything it does happens in the browser."""
    _viewer(data=payload, key=key)


def payload(
    analysis: Analysis,
    policy: Policy,
    heatmaps: Mapping[str, NDArray[np.floating]],
    evaluation: Mapping[str, float],
    *,
    max_side: int = MAX_SIDE,
) -> dict[str, Any]:
    """Return what the viewer draws: film, heatmaps, contours and captions, no patient text.

    Args:
        analysis: with its film.
        policy: for names and wording.
        heatmaps: per label (h, w); empty when refused.
        evaluation: the manifest's table of measured figures.
        max_side: pixels of the film's longer side.

    Raises:
        ValueError: the analysis carries no film.
    """
    if analysis.radiograph is None:
        raise ValueError("there is no film to show: decoding refused it")
    shown: list[NDArray[np.float32]] = []
    findings = []
    for prediction in _selectable(analysis, heatmaps):
        region = region_of(heatmaps[prediction.label])
        findings.append(_finding(prediction, region, policy, evaluation, len(shown)))
        if not isinstance(region, NoRegion):
            shown.append(region)
    heat = address(png(tiles(shown))) if shown else ""
    labels = [finding["label"] for finding in findings]
    overall = ABNORMAL in labels and analysis.abnormal is not None and analysis.abnormal.positive
    unsure = overall and analysis.triage.state is State.UNABLE_TO_CLASSIFY
    return {
        "id": " ".join((analysis.sha256, analysis.correction.key, _digest(heat, *labels))),
        "label": "Chest film" if findings else "Film that was refused",
        "film": address(png(grey(analysis.radiograph.pixels, max_side))),
        "heat": heat,
        "aspect": round(analysis.radiograph.pixels.shape[1] / analysis.radiograph.pixels.shape[0], 4),
        "tile_px": FIELD_PX,
        "palette": PALETTE.ravel().tolist(),
        "findings": findings,
        "start": labels.index(ABNORMAL) if unsure else 0,
        "opacity": 0.5 if unsure or analysis.triage.findings else 0.0,
        "caption": "" if findings else not_looked_at(analysis),
    }


def _digest(*parts: str) -> str:
    """Return what tells one answer's heatmaps from another's: the browser keeps both under their `id`."""
    return sha256("|".join(parts).encode()).hexdigest()[:16]


def _selectable(analysis: Analysis, heatmaps: Mapping[str, Any]) -> list[Prediction]:
    overall = (analysis.abnormal,) if analysis.abnormal else ()
    return [prediction for prediction in (*ordered(analysis), *overall) if prediction.label in heatmaps]


def _finding(
    prediction: Prediction,
    region: NDArray[np.float32] | NoRegion,
    policy: Policy,
    evaluation: Mapping[str, float],
    tile: int,
) -> dict[str, Any]:
    """Return one entry of the selector; `tile` is None where there is nothing to draw."""
    name = name_of(prediction.label, policy)
    side = "above" if prediction.positive else "below"
    about = f"{name}, {side} threshold"
    common = {
        "label": prediction.label,
        "name": name,
        "title": f"{name} · {figures(prediction)[0]}{' ▲' if prediction.positive else ''}",
    }
    if isinstance(region, NoRegion):
        return common | {
            "tile": None,
            "lines": [],
            "note": region.value,
            "caption": f"{about}: {region.value}",
        }
    lines = np.concatenate([contours(region, level) for level in CONTOUR_LEVELS])
    caption = f"{about}: {localisation(evaluation, prediction.label)}. {policy.texts.heatmap}"
    return common | {"tile": tile, "lines": lines.ravel().round(4).tolist(), "note": "", "caption": caption}


def address(picture: bytes) -> str:
    """Return a PNG as an address that asks no server."""
    return "data:image/png;base64," + b64encode(picture).decode("ascii")
