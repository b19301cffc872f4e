"""The model on films of other populations, and beside labels that radiologists agreed on."""

from __future__ import annotations

import math

import streamlit as st

from cxr_core.access import Actor
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.elsewhere import STATES, Elsewhere
from cxr_core.evaluation.noise import WITHOUT, Noise
from cxr_core.ui.perf_choice import Chosen
from cxr_core.ui.perf_numbers import named
from cxr_core.ui.perf_tables import Table, percent, show
from cxr_core.worklist.service import Service

FEW = "not enough data"


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show each other population with its warning, then label noise."""
    with st.spinner("Counting on these films"):
        evidence = service.evidence(actor, chosen.model.id)
        external, noise = evidence.external, evidence.noise
    if not external and not noise:
        st.html(
            '<div class="empty"><b>What this model does on other films was not measured.</b><br>'
            "Nothing says that its figures hold at another hospital.</div>"
        )
        return
    for name, found in external.items():
        _population(chosen, name, found)
    if noise:
        _noise(chosen, noise)


def _population(chosen: Chosen, name: str, found: Elsewhere) -> None:
    its = found.population
    st.subheader(its.name)
    st.warning(f"Another population: {its.who}. {its.warning}")
    st.caption(
        f"{found.films:,} films of {found.patients:,} patients, {found.refused:,} refused. "
        f"{found.of_the_gate} {its.attribution} ({its.licence})."
    )
    stem = f"{chosen.model.id}-{name}"
    states = tuple(state.value.replace("_", " ") for state in STATES)
    rows = tuple(
        (kind.name, kind.films, kind.patients, *(percent(kind.states[state]) for state in STATES))
        for kind in found.kinds
    )
    show(
        Table("What it said", ("films of", "films", "patients", *states), rows),
        f"{stem}-states",
        f"perf-{name}-s",
        digits=2,
    )
    if found.told:
        told = tuple(
            (
                each.contrast.name,
                named(each.contrast.label),
                each.positives,
                each.negatives,
                _or_few(each.auc),
            )
            for each in found.told
        )
        heads = ("told apart", "by its answer for", "films with", "without", "AUC")
        show(Table("What it tells apart", heads, told), f"{stem}-auc", f"perf-{name}-a", digits=2)
    if found.shifts:
        shifts = tuple(
            (named(each.label), each.ece, *each.home.values(), each.mean, each.observed)
            for each in found.shifts
        )
        home = tuple(f"ECE on {split}" for split in found.shifts[0].home)
        kinds = ("finding", "ECE here", *home, "mean probability", "observed share")
        show(Table("Calibration", kinds, shifts), f"{stem}-calibration", f"perf-{name}-c")


def _noise(chosen: Chosen, noise: dict[str, Noise]) -> None:
    st.subheader("Label noise")
    st.caption(
        "The labels that this model learned from and is measured by were mined from reports by a program. On "
        "films of the same data set several radiologists agreed on what is there (Majkowska 2020). No "
        f"label of ours stands for {', '.join(WITHOUT).lower()}."
    )
    rows = tuple(
        (
            each.finding,
            each.films,
            each.adjudicated,
            each.mined,
            each.both,
            f"{each.kappa:.2f}",
            _or_few(each.sensitivity),
            _or_few(each.specificity),
            each.scored,
            _or_few(each.auc_adjudicated),
            _or_few(each.auc_mined),
        )
        for each in noise.values()
    )
    heads = (
        "finding", "films", "with it: radiologists", "mined", "both", "kappa", "mined label's sensitivity",
        "specificity", "films scored", "AUC by radiologists", "AUC by mined label",
    )  # fmt: skip
    show(Table("Label noise", heads, rows), f"{chosen.model.id}-noise", "perf-noise", digits=2)


def _or_few(interval: Interval) -> Interval | str:
    """Return an interval, or that there is not enough data where it has no limits."""
    return FEW if math.isnan(interval.low) else interval
