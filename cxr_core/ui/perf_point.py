"""A finding at a threshold that a person moves: who is called, who is missed, how many flags a day."""

from __future__ import annotations

import numpy as np
import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.ui import perf_operating, services
from cxr_core.ui.perf_choice import Chosen
from cxr_core.ui.perf_numbers import named
from cxr_core.ui.perf_operating import A_DAY, model_threshold, scale
from cxr_core.ui.perf_tables import with_csv
from cxr_core.worklist.service import Service

FINDING, FILMS = "perf-point-finding", "perf-films"
BY = "95 % limits by Wilson on the effective number of films: several films of a patient count as fewer."


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the controls and what follows from them."""
    unknown = np.asarray(np.isnan(chosen.scored.truth).all(axis=0))
    labels = [label for k, label in enumerate(chosen.scored.labels) if not unknown[k]]
    if not labels:
        st.html('<div class="empty">Nothing is known of these films.</div>')
        return
    _moved(service, actor, chosen, labels)


@st.fragment
def _moved(service: Service, actor: Actor, chosen: Chosen, labels: list[str]) -> None:
    with services.plainly():
        service.check(actor, Action.PERFORMANCE)
        label, threshold, prevalence, films = _controls(chosen, labels)
        point = perf_operating.point_of(chosen.scored, label, threshold)
        left, right = st.columns(2, gap="small")
        with left:
            st.html(perf_operating.counts_html(point.counts, label))
            st.html(perf_operating.figures_html(point, prevalence))
        with right:
            st.html(perf_operating.flags_html(chosen.scored, label, threshold, films))
            tiers = perf_operating.tiers(chosen, service.policy, label, threshold, films)
            if tiers is not None:
                st.html(perf_operating.tiers_html(tiers, service.policy))
        table = perf_operating.table(label, threshold, prevalence, point)
        with_csv(table, f"{chosen.model.id}-{chosen.split}-{label}", "perf-point")
        st.caption(
            f"{BY} Counts and PPV are of these films, whose mix is no ward's; PPV and NPV at "
            "another prevalence follow by Bayes, if sensitivity and specificity hold there. Moving the "
            "slider changes no threshold in use."
        )


def _controls(chosen: Chosen, labels: list[str]) -> tuple[str, float, float, int]:
    if st.session_state.get(FINDING) not in labels:
        st.session_state[FINDING] = "Effusion" if "Effusion" in labels else labels[0]
    with st.container(horizontal=True, vertical_alignment="bottom", key="perf-point-bar"):
        label = st.selectbox("Finding", labels, key=FINDING, format_func=named, width=210)
        scores, truth = chosen.scored.column(label)
        own = model_threshold(chosen.scored, label)
        top, step, digits = scale(float(max(scores.max(), own if own <= 1 else 0.0)))
        key = f"perf-threshold-{chosen.model.sha256[:12]}-{chosen.split}-{label}"
        st.session_state.setdefault(key, min(own, top))
        threshold = st.slider(
            "Threshold: a film at or above it is called",
            0.0,
            top,
            step=step,
            format=f"%.{digits}f",
            key=key,
            help=_own_said(own),
        )
        st.button(
            "Model's own",
            on_click=_back,
            args=(key, min(own, top)),
            key="perf-point-own",
            help=_own_said(own),
        )
        share_here = f"perf-prevalence-{chosen.split}-{label}"
        st.session_state.setdefault(share_here, round(100 * float(truth.mean()), 2))
        prevalence = st.number_input(
            "Prevalence, %",
            0.01,
            99.99,
            step=0.5,
            key=share_here,
            width=130,
            help="Share of your films with it.",
        )
        films = st.number_input("Films a day", 1, 100_000, value=A_DAY, step=10, key=FILMS, width=130)
    return label, threshold, prevalence / 100, int(films)


def _back(key: str, own: float) -> None:
    st.session_state[key] = own


def _own_said(own: float) -> str:
    if own > 1:
        return "The model does not assess this finding: no threshold of its own can be reached."
    return f"The model's own threshold is {own:.4f}."
