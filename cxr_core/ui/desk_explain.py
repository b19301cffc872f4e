"""Where the model looked, by another method beside Grad-CAM: asked for here, made by a worker."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cxr_core.access import Action, Actor
from cxr_core.domain import Analysis
from cxr_core.inference.explanation import MEANS, NAMES, Method
from cxr_core.reports.words import name_of, ordered
from cxr_core.triage.policy import Policy
from cxr_core.ui import films, intake, services, viewer
from cxr_core.worklist.explanations import ExplanationView, Progress
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import FilmView

LOOK_S = 1.0
SIDE = 1024
"""Pixels of the longer side of each of the two pictures."""

OTHERS = tuple(method for method in Method if method is not Method.GRAD_CAM)
"""Grad-CAM comes with every answer; these are made when somebody asks."""

_TAKES = {
    Method.GRAD_CAM_PLUS_PLUS: "a few seconds",
    Method.OCCLUSION: "some seconds",
    Method.LIME: "half a minute or so",
}

_WHY = {
    "model_unavailable": "The model that answered this film is not here any more, or is another one now.",
    "unreadable_film": "The film could not be read again.",
    "timeout": "It took too long and was broken off.",
    "out_of_memory": "There was too little memory for it.",
    "crashed": "The program that makes it ended in the midst of it.",
    "lost_leases": "Its worker was lost, and nobody finished it within a quarter of an hour.",
    "unreadable_explanation": "What was kept of it cannot be read.",
}
"""Code of a failure → a sentence for people."""


def show(service: Service, actor: Actor, film: FilmView) -> None:
    """Show what can be asked for, and two maps side by side once the second is made."""
    analysis = film.analysis
    if analysis is None or analysis.refusal is not None or not film.heatmaps:
        why = "The model has not answered this film." if analysis is None else "The model refused this film."
        st.html(f'<div class="empty"><b>Nothing to explain here</b><br>{why}</div>')
        return
    found = service.explanations(actor, film.sha256)
    policy = service.policy
    with st.container(key="explain-ask", horizontal=True, vertical_alignment="bottom", gap="small"):
        label, method = _choice(film, analysis, policy)
        made = picked(found, label, method)
        if _asked(actor, made):
            service.explain(actor, film.sha256, label, method)
            st.rerun()
    st.html(already_html(found, policy))
    shown = films.shown(service, actor, film)
    if not shown.payload:
        st.html('<div class="empty"><b>No picture here</b><br>Nothing of the file could be shown.</div>')
        return
    left, right = st.columns(2)
    with left:
        st.html(title_html(NAMES[Method.GRAD_CAM], came_with(analysis.timings_ms)))
        _picture(shown.analysis, policy, label, Method.GRAD_CAM, film.heatmaps[label])
    with right:
        st.html(title_html(NAMES[method], took(made)))
        if made is None:
            _not_asked(actor, method)
        elif made.progress.waits:
            _until_made(service, actor, film.sha256, label, method)
        elif made.heatmap is None:
            st.warning(_WHY.get(made.error, "It could not be made."), icon=":material/warning:")
        else:
            _picture(shown.analysis, policy, label, method, made.heatmap)


def picked(found: tuple[ExplanationView, ...], label: str, method: Method) -> ExplanationView | None:
    """Return the explanation of a finding by a method, if anybody has asked for it."""
    return next((each for each in found if (each.label, each.method) == (label, method)), None)


def title_html(name: str, told: str) -> str:
    """Return the heading of a picture: its method, and how long that took."""
    return (
        f'<div class="beside" style="--tier:#98a2ad"><b>{escape(name)}</b><span>{escape(told)}</span></div>'
    )


def came_with(timings_ms: Mapping[str, float]) -> str:
    """Return how long Grad-CAM took: it comes out of the pass of the network that answered."""
    asked = timings_ms.get("classify")
    return "came with the answer" + (f", which took {seconds(asked)}" if asked else "")


def took(made: ExplanationView | None) -> str:
    """Return how long it took and how many films the network was shown for it."""
    if made is None or made.heatmap is None:
        return ""
    films_shown = f"{made.films} films shown" if made.films > 1 else "one film shown"
    return f"{seconds(made.ms)} · {films_shown} to the network · asked by {made.asked_by}"


def seconds(ms: float) -> str:
    """Return a duration as `38 ms` or `1.9 s`."""
    return f"{ms:.0f} ms" if ms < 995 else f"{ms / 1000:.1f} s"


def already_html(found: tuple[ExplanationView, ...], policy: Policy) -> str:
    """Return which explanations of this film there are."""
    done = [each for each in found if each.progress is Progress.DONE]
    if not done:
        return '<div class="muted">What raised the answer for a finding, by two methods.</div>'
    names = ", ".join(f"{name_of(each.label, policy)} by {NAMES[each.method]}" for each in done)
    return f'<div class="muted">Made for this film: {escape(names)}.</div>'


def _choice(film: FilmView, analysis: Analysis, policy: Policy) -> tuple[str, Method]:
    """Return the finding and the method that are to be seen beside Grad-CAM."""
    overall = (analysis.abnormal,) if analysis.abnormal else ()
    labels = [each.label for each in (*ordered(analysis), *overall) if each.label in film.heatmaps]
    label = st.selectbox(
        "Finding",
        labels,
        format_func=lambda label: name_of(label, policy),
        key=f"explain-finding-{film.sha256[:16]}",
        width=260,
    )
    method = st.segmented_control(
        "Method",
        list(OTHERS),
        default=OTHERS[0],
        format_func=NAMES.__getitem__,
        key="explain-method",
        required=True,
    )
    return label or labels[0], method or OTHERS[0]


def _asked(actor: Actor, made: ExplanationView | None) -> bool:
    """Return whether the person asks for it now; offered where it is neither there nor on its way."""
    if not actor.may(Action.EXPLAIN) or (made is not None and made.progress is not Progress.FAILED):
        return False
    return st.button("Explain" if made is None else "Try again", key="explain-go", type="primary")


def _not_asked(actor: Actor, method: Method) -> None:
    ask = "Press Explain." if actor.may(Action.EXPLAIN) else "A clinician can ask for it."
    st.html(
        f'<div class="empty"><b>Not made yet</b><br>Shows {escape(MEANS[method])}.<br>'
        f"{ask} It takes {_TAKES[method]}; films that come in go first.</div>"
    )


@st.fragment(run_every=LOOK_S)
def _until_made(service: Service, actor: Actor, sha256: str, label: str, method: Method) -> None:
    """Say how far it is, and show the page anew once there is more to see."""
    with services.plainly():
        made = picked(service.explanations(actor, sha256), label, method)
        if made is None or not made.progress.waits:
            services.anew()
        waited_s = (service.clock() - made.asked).total_seconds()
        st.html(waiting_html(made, waited_s))
        if made.progress is Progress.QUEUED:
            intake.say_silence(service, actor, waited_s)


def waiting_html(made: ExplanationView, waited_s: float) -> str:
    """Return what is said while an explanation is on its way."""
    how = "Being worked out" if made.progress is Progress.RUNNING else "Waits until no film does"
    return (
        '<div class="panel assessing" role="status"><h3>BEING EXPLAINED</h3>'
        f"<p>{how}; asked by {escape(made.asked_by)} {max(waited_s, 0):.0f} s ago. "
        f"As a rule it takes {_TAKES[made.method]}. The picture appears here by itself, and stays.</p></div>"
    )


def _picture(
    analysis: Analysis, policy: Policy, label: str, method: Method, heatmap: NDArray[np.float32]
) -> None:
    """Show the film with one map over it, or the sentence that no region stands out."""
    viewer.show(drawn(analysis, policy, label, method, heatmap), key=f"explain-{method.value}-{label}")


def drawn(
    analysis: Analysis, policy: Policy, label: str, method: Method, heatmap: NDArray[np.float32]
) -> dict[str, Any]:
    """Return what the viewer draws: one finding, captioned with what a bright place of this method says."""
    given = viewer.payload(analysis, policy, {label: heatmap}, {}, max_side=SIDE)
    (finding,) = given["findings"]
    if finding["tile"] is not None:
        caption = f"{finding['name']}: {MEANS[method]}. {policy.texts.heatmap}"
        finding = finding | {"caption": caption}
    return given | {
        "id": f"{given['id']}-{method.value}-{label}",
        "label": f"Chest film, {NAMES[method]}",
        "findings": [finding],
        "start": 0,
        "opacity": 0.5,
    }
