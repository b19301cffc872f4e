"""Models laid over one another: differences on films that both answered, the same patients drawn for both."""

from __future__ import annotations

from functools import partial

import streamlit as st

from cxr_core.access import Actor
from cxr_core.errors import ModelError
from cxr_core.evaluation.bootstrap import Interval, column_aucs
from cxr_core.evaluation.paired import compare
from cxr_core.evaluation.scored import Scored
from cxr_core.ui import literal
from cxr_core.ui.perf_choice import Chosen, kept
from cxr_core.ui.perf_numbers import named
from cxr_core.ui.perf_tables import Table, show
from cxr_core.worklist.service import Service

RESAMPLES = 500


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show a column of paired differences for each model beside the one looked at."""
    columns: list[dict[str, Interval]] = []
    heads = ["finding", f"AUC of {chosen.model.id}"]
    notes = []
    for other in chosen.others:
        if chosen.split not in service.splits(actor, other.id):
            notes.append(f"{other.id} has no tables of these films' split")
            continue
        theirs = service.scored(actor, other.id, chosen.split)
        paired = kept(chosen, f"paired {other.sha256}", partial(pairs, chosen.scored, theirs))
        if not paired[1]:
            notes.append(f"{other.id} answered none of these films, so it does not compare")
            continue
        heads.append(f"minus {other.id}, {paired[1]:,} films")
        columns.append(paired[0])
    if columns:
        st.caption(
            "Difference in AUC on identical films, with its 95 % interval; the same patients drawn for both."
        )
        own = column_aucs(chosen.scored.probabilities, chosen.scored.truth)
        rows = tuple(
            (named(label), float(own[k]), *(each.get(label, "not enough data") for each in columns))
            for k, label in enumerate(chosen.scored.labels)
            if any(label in each for each in columns)
        )
        show(Table("Differences", tuple(heads), rows), f"{chosen.model.id}-differences", "perf-beside")
    for note in notes:
        literal.caption(f"{note}.")


def pairs(ours: Scored, theirs: Scored) -> tuple[dict[str, Interval], int]:
    """Return ours minus theirs by label, on the films that both answered, and how many those are.

    Labels that one of them does not have, or with too few films, are left out.
    """
    try:
        found = compare(ours, theirs, resamples=RESAMPLES)
    except ModelError:  # no film, or no label, in common
        return {}, 0
    return {label: each.auc for label, each in found.findings.items() if each.auc is not None}, found.n
