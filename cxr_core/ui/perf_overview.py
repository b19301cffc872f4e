"""How well the model does, on one screen: five figures, the curves, every finding's area."""

from __future__ import annotations

from functools import partial
from html import escape

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.evaluation import reference
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.metrics import naive_ap
from cxr_core.evaluation.reference import Comparison
from cxr_core.evaluation.scored import Scored
from cxr_core.ui import perf_beside, perf_curves, perf_forest, perf_operating, perf_tiles, plots
from cxr_core.ui.models_curves import LOOKS
from cxr_core.ui.perf_choice import Chosen, kept
from cxr_core.ui.perf_forest import Beside
from cxr_core.ui.perf_numbers import named, numbers, numbers_of, usable
from cxr_core.ui.perf_tables import Table, with_csv
from cxr_core.worklist.service import Service

FINDINGS, PUBLISHED, COMPUTE = "perf-findings", "perf-published", "perf-compute"
FIRST = ("Effusion", "Pneumothorax", "Cardiomegaly", "Nodule")
"""Findings whose curves are drawn before anybody chooses."""


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the overview."""
    if chosen.evaluation is None:
        _no_intervals(service, actor, chosen)
    beside = kept(chosen, "reference", lambda: reference.compare(chosen.scored, resamples=1000))
    st.html(perf_tiles.tiles_html(chosen, numbers(chosen), service.policy, beside))
    with st.container(key="perf-main"):
        left, right = st.columns((1.42, 1), gap="small")
        with left:
            _curves(service, actor, chosen)
        with right:
            _forest(service, actor, chosen, beside)
    if chosen.others:
        perf_beside.draw(service, actor, chosen)
    with_csv(_table(chosen, beside), f"{chosen.model.id}-{chosen.split}", "perf-figures")


def _no_intervals(service: Service, actor: Actor, chosen: Chosen) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("The intervals of these figures are not stored with the model.")
        if actor.may(Action.MEASURE) and st.button("Compute intervals", key=COMPUTE):
            with st.spinner("Drawing patients 2,000 times"):
                bar = st.progress(0.0)
                service.measure(actor, chosen.model.id, chosen.split, on_progress=bar.progress)
            st.rerun()


def _picked(chosen: Chosen) -> list[str]:
    """Let the person choose findings; those that cannot be drawn are not offered."""
    able = list(kept(chosen, "usable", lambda: usable(chosen.scored)))
    if FINDINGS not in st.session_state or not set(st.session_state[FINDINGS]) <= set(able):
        first = [label for label in FIRST if label in able]
        st.session_state[FINDINGS] = first or able[:4]
    return st.multiselect(
        "Curves of",
        able,
        key=FINDINGS,
        format_func=named,
        max_selections=len(LOOKS),
        placeholder="Curves of …",
        label_visibility="collapsed",
    )


def _curves(service: Service, actor: Actor, chosen: Chosen) -> None:
    labels = _picked(chosen)
    models = []
    for nth, (stamp, scored) in enumerate(_all(service, actor, chosen)):
        able = set(usable(scored))
        curves = {
            label: kept(chosen, f"curves {stamp} {label}", partial(perf_curves.curves_of, scored, label))
            for label in labels
            if label in able
        }
        micro = kept(chosen, f"micro {stamp}", partial(perf_curves.micro_of, scored))
        models.append((scored, curves, micro if nth == 0 or len(scored.labels) > 1 else None))
    band = (
        kept(chosen, f"band {labels[0]}", partial(perf_curves.band_of, chosen.scored, labels[0]))
        if labels
        else None
    )
    plots.with_downloads(
        perf_curves.figure(models, labels, band),
        "perf-curves",
        perf_curves.said(chosen.scored, numbers(chosen), labels),
        f"curves-{chosen.model.id}-{chosen.split}",
        350,
    )
    if labels:
        st.html(perf_operating.strip_html(chosen, labels[0]))


def _forest(service: Service, actor: Actor, chosen: Chosen, beside: Comparison | None) -> None:
    with_published = st.toggle(
        "Published figures",
        key=PUBLISHED,
        help="As others published them, on other films: no ranking. The kind of split stands in the legend.",
    )
    found = numbers(chosen)
    others = [Beside(scored.model, _areas(scored)) for _, scored in list(_all(service, actor, chosen))[1:]]
    theirs, ours = _on_same_films(chosen, beside)
    published = [
        Beside(f"{each.name} ({each.split} split)", {k: _alone(v) for k, v in each.auc.items()}, each.source)
        for each in (reference.published().models if with_published else ())
    ]
    plots.with_downloads(
        perf_forest.figure(chosen.scored.model, found, others, theirs, published, same=ours),
        "perf-forest",
        perf_forest.said(chosen.scored.model, found),
        f"auc-{chosen.model.id}-{chosen.split}",
        530 + 20 * len(published),
    )


def _areas(scored: Scored) -> dict[str, Interval]:
    return {row.label: row.auc for row in numbers_of(scored, None).rows if not row.few}


def _on_same_films(chosen: Chosen, beside: Comparison | None) -> tuple[Beside | None, Beside | None]:
    """Return the reference model and this one on the films that both answered."""
    if beside is None or not beside.pairs:
        return None, None
    note = f"{beside.films:,} films of {beside.patients:,} patients, the same for both"
    theirs = {label: pair.theirs for label, pair in beside.pairs.items()}
    ours = {label: pair.ours for label, pair in beside.pairs.items()}
    return (
        Beside(f"{reference.NAME}, on {beside.films:,} of the films", theirs, note),
        Beside(f"{chosen.model.id} on those same films", ours, note),
    )


def _all(service: Service, actor: Actor, chosen: Chosen) -> list[tuple[str, Scored]]:
    """Return the model looked at and those beside it that have tables of the same split."""
    found = [("", chosen.scored)]
    for other in chosen.others:
        if chosen.split in service.splits(actor, other.id):
            found.append((other.sha256, service.scored(actor, other.id, chosen.split)))
    return found


def _alone(value: float) -> Interval:
    return Interval(value, float("nan"), float("nan"))


def _table(chosen: Chosen, beside: Comparison | None) -> Table:
    heads = (
        "finding", "films", "with it", "AUC", "AUC low", "AUC high", "AP", "AP low", "AP high", "naive AP",
        "ECE", "Brier",
        "reference AUC on shared films", "this model's AUC on shared films",
        "this model minus reference", "minus low", "minus high",
    )  # fmt: skip
    rows = []
    for row in numbers(chosen).rows:
        pair = beside.pairs.get(row.label) if beside else None
        figures: tuple[object, ...] = (
            row.auc.value,
            row.auc.low,
            row.auc.high,
            row.ap.value,
            row.ap.low,
            row.ap.high,
        )
        figures = (row.why,) + ("",) * 5 if row.few else figures
        shared: tuple[object, ...] = ("",) * 5
        if pair:
            apart = pair.difference
            shared = (pair.theirs.value, pair.ours.value, apart.value, apart.low, apart.high)
        naive = naive_ap(row.films, row.positives)
        rows.append((row.label, row.films, row.positives, *figures, naive, row.ece, row.brier, *shared))
    return Table(escape("All figures as a table"), heads, tuple(rows))
