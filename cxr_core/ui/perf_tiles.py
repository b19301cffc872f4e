"""The five figures above the overview. Pure; every text is escaped."""

from __future__ import annotations

import math
from html import escape

import numpy as np

from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.rates import Share, share
from cxr_core.evaluation.reference import NAME, Comparison
from cxr_core.triage.policy import Policy
from cxr_core.ui.perf_choice import Chosen, kept
from cxr_core.ui.perf_numbers import Numbers, named, sorted_by
from cxr_core.ui.perf_tables import NONE, limits, percents

WORST = "Pneumothorax"
"""Must not wait: how many of them were called "No disease detected" is always said."""


def tiles_html(chosen: Chosen, found: Numbers, policy: Policy, beside: Comparison | None) -> str:
    """Return the tiles."""
    parts = (
        _macro(found),
        _micro(found, beside),
        _ece(found),
        _missed(chosen, policy),
        _among(chosen, policy),
    )
    return f'<div class="perf-tiles">{"".join(parts)}</div>'


def _macro(found: Numbers) -> str:
    between = limits(found.macro_auc)
    many = f"{len(found.averaged)} finding{'s' if len(found.averaged) > 1 else ''}"
    return _tile("Macro AUC", _two(found.macro_auc.value), f"{between} · {many}" if between else many)


def _micro(found: Numbers, beside: Comparison | None) -> str:
    both = (limits(found.micro_auc), limits(found.micro_ap))
    said = " / ".join(both) if all(both) else "all findings' answers as one"
    if beside is not None and beside.mean is not None:
        gap = beside.mean.difference
        said += f" · macro AUC against {NAME} on {beside.films:,} shared films: {_signed(gap)}"
    return _tile("Micro AUC / AP", f"{_two(found.micro_auc.value)} / {_two(found.micro_ap.value)}", said)


def _ece(found: Numbers) -> str:
    worst = found.worst
    said = "not enough data of any" if worst is None else f"worst: {named(worst.label)} {_three(worst.ece)}"
    return _tile("ECE", _three(found.ece), f"mean over findings · {said}")


def _missed(chosen: Chosen, policy: Policy) -> str:
    title = "Diseased, called “No disease detected”"
    found = kept(chosen, f"missed {policy.version}", lambda: missed(chosen, policy))
    if found is None:
        return _tile(title, NONE, "this model sorts no worklist by itself")
    whole, worst = found
    if not whole.of:
        return _tile(title, NONE, "no diseased film here")
    value, between = percents(whole.interval)
    said = f"{whole.count:,} of {whole.of:,} films · {between} %"
    if worst is not None and worst.of:
        said += f" · {worst.count:,} of {worst.of:,} with {WORST.lower()}"
    return _tile(title, value, said, "watch" if whole.count else "")


def _among(chosen: Chosen, policy: Policy) -> str:
    title = "Diseased among “No disease detected”"
    found = kept(chosen, f"among {policy.version}", lambda: among(chosen, policy))
    if found is None:
        return _tile(title, NONE, "this model sorts no worklist by itself")
    if not found.of:
        return _tile(title, NONE, "no film is called so here")
    value, between = percents(found.interval)
    said = f"{found.count:,} of {found.of:,} films called so · {between} %"
    return _tile(title, value, said, "watch" if found.count else "")


def missed(chosen: Chosen, policy: Policy) -> tuple[Share, Share | None] | None:
    """Return how many diseased films, and films with a pneumothorax, the policy calls clear."""
    scored = chosen.scored
    found = sorted_by(scored, policy)
    if found is None:
        return None
    patients = np.unique(scored.patients, return_inverse=True)[1]
    diseased = (scored.truth == 1).any(axis=1)
    whole = share(found.cleared, diseased, patients)
    if WORST not in scored.labels:
        return whole, None
    return whole, share(found.cleared, scored.truth[:, scored.labels.index(WORST)] == 1, patients)


def among(chosen: Chosen, policy: Policy) -> Share | None:
    """Return how many of the films that the policy calls clear are diseased, where that is known."""
    scored = chosen.scored
    found = sorted_by(scored, policy)
    if found is None:
        return None
    patients = np.unique(scored.patients, return_inverse=True)[1]
    return share(scored.diseased == 1, found.cleared & ~np.isnan(scored.diseased), patients)


def _tile(title: str, value: str, said: str, level: str = "") -> str:
    return (
        f'<div class="perf-tile {level}"><b>{escape(title)}</b><strong>{escape(value)}</strong>'
        f"<span>{escape(said)}</span></div>"
    )


def _two(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:.2f}"


def _three(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:.3f}"


def _signed(gap: Interval) -> str:
    def one(value: float) -> str:
        return f"{value:+.2f}".replace("-", "−")

    return f"{one(gap.value)} ({one(gap.low)} to {one(gap.high)})"
