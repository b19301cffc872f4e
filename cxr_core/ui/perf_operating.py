"""One finding at one threshold: counts, rates with limits, flags a day. Nothing here asks or draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from cxr_core.domain import Urgency
from cxr_core.evaluation import metrics
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.metrics import Confusion
from cxr_core.evaluation.operating import NOBODY, rates_at
from cxr_core.evaluation.scored import Scored
from cxr_core.reports.words import MARKS
from cxr_core.triage.budget import FEW_POSITIVES
from cxr_core.triage.policy import Policy
from cxr_core.triage.sorting import TIERS
from cxr_core.ui.listed import tier_word
from cxr_core.ui.perf_choice import Chosen, kept
from cxr_core.ui.perf_numbers import named, sorted_by
from cxr_core.ui.perf_tables import Table, between, limits

A_DAY = 200
"""Films, until somebody says how many there are."""
STEPS = 500
"""Of the slider, at least; an arrow key goes one."""


@dataclass(frozen=True, slots=True)
class Point:
    """A label at a threshold, each figure with limits that know of patients."""

    counts: Confusion
    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval
    f1: Interval


def model_threshold(scored: Scored, label: str) -> float:
    """Return the model's own threshold of a label; above 1 cannot be reached."""
    return scored.rules.thresholds[scored.labels.index(label)]


def scale(highest: float) -> tuple[float, float, int]:
    """Return the slider's top, step and decimals for probabilities up to `highest`.

    >>> scale(0.0318)
    (0.0319, 0.0001, 4)
    """
    step = 10.0 ** math.floor(math.log10(max(highest, 1e-6) / STEPS) + 0.3)
    digits = max(0, -round(math.log10(step)))
    top = round((math.floor(highest / step) + 1) * step, digits)
    return min(top, 1.0), round(step, digits), max(digits, 4)


def point_of(scored: Scored, label: str, threshold: float) -> Point:
    """Return a label's figures at a threshold."""
    column = scored.labels.index(label)
    truth, scores = scored.truth[:, column], scored.probabilities[:, column]
    patients = np.unique(scored.patients, return_inverse=True)[1]
    rates = rates_at(scores, truth, threshold, patients)
    some, others = ((truth == side).sum() >= FEW_POSITIVES for side in (1, 0))
    return Point(
        counts=metrics.confusion(scores, truth, threshold),
        sensitivity=rates.sensitivity if some else NOBODY,
        specificity=rates.specificity if others else NOBODY,
        ppv=rates.ppv if some and others else NOBODY,
        npv=rates.npv if some and others else NOBODY,
        f1=rates.f1 if some and others else NOBODY,
    )


def strip_html(chosen: Chosen, label: str) -> str:
    """Return one finding at the model's own threshold, as a panel for the overview."""
    own = model_threshold(chosen.scored, label)
    if own > 1:
        return _strip(f"{named(label)}: NOT ASSESSED BY THIS MODEL", "", "")
    point = kept(chosen, f"point {label}", lambda: point_of(chosen.scored, label, own))
    counts = point.counts
    positives = counts.tp + counts.fn
    shares = (
        ("sensitivity", point.sensitivity),
        ("specificity", point.specificity),
        ("PPV", point.ppv),
        ("NPV", point.npv),
    )
    cells = [_cell(name, _value(its), limits(its)) for name, its in shares]
    cells.append(_cell("flags a day", f"{A_DAY * counts.flagged_share:.0f}", f"of {A_DAY} such films"))
    share_said = f"{100 * positives / max(counts.films, 1):.0f} %"
    return _strip(
        f"{named(label)} AT THRESHOLD {own:.3f}",
        f"prevalence here {share_said} · {positives:,} of {counts.films:,} films",
        "".join(cells),
    )


def _strip(title: str, beside: str, cells: str) -> str:
    head = f'<h3>{escape(title.upper())}</h3><span class="muted">{escape(beside)}</span>'
    return f'<div class="panel perf-strip"><div class="head">{head}</div><div>{cells}</div></div>'


def _value(interval: Interval) -> str:
    return between(Interval(interval.value, float("nan"), float("nan")))


def _cell(name: str, value: str, beneath: str) -> str:
    return f"<p>{escape(name)} <b>{escape(value)}</b><small>{escape(beneath)}</small></p>"


def counts_html(counts: Confusion, label: str) -> str:
    """Return called and passed films with and without the finding."""
    rows = (
        ("called", counts.tp, counts.fp),
        ("passed", counts.fn, counts.tn),
        ("all", counts.tp + counts.fn, counts.fp + counts.tn),
    )
    body = "".join(
        f"<tr><td>{what}</td><td>{has:,}</td><td>{has_not:,}</td><td>{has + has_not:,}</td></tr>"
        for what, has, has_not in rows
    )
    name = escape(named(label))
    return _panel("FILMS", f"<th></th><th>with {name}</th><th>without</th><th>all</th>", body)


def figures_html(point: Point, prevalence: float) -> str:
    """Return the rates with limits, then what PPV and NPV would be at another prevalence."""
    rows = [(name, between(value)) for name, value in rates(point)]
    share_said = f"at {100 * prevalence:.2f} % prevalence"
    rows += [(f"{name} {share_said}", _number(value)) for name, value in at_prevalence(point, prevalence)]
    body = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return _panel("FIGURES", "", body)


def _panel(title: str, heads: str, body: str) -> str:
    head = f"<thead><tr>{heads}</tr></thead>" if heads else ""
    table = f'<table class="ops-table">{head}<tbody>{body}</tbody></table>'
    return f'<div class="panel perf-table"><h3>{escape(title)}</h3>{table}</div>'


def rates(point: Point) -> tuple[tuple[str, Interval], ...]:
    """Return every rate by its name."""
    return (
        ("Sensitivity", point.sensitivity),
        ("Specificity", point.specificity),
        ("PPV on these films", point.ppv),
        ("NPV on these films", point.npv),
        ("F1", point.f1),
    )


def at_prevalence(point: Point, prevalence: float) -> tuple[tuple[str, float], ...]:
    """Return PPV and NPV where so large a share of films has the finding."""
    both = point.sensitivity.value, point.specificity.value
    return ("PPV", metrics.ppv_at(*both, prevalence)), ("NPV", metrics.npv_at(*both, prevalence))


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def flags_html(scored: Scored, label: str, threshold: float, films: int) -> str:
    """Return how many films a day would be called for the finding."""
    called = float(np.mean(scored.probabilities[:, scored.labels.index(label)] >= threshold))
    said = (
        f"<strong>{films * called:,.0f}</strong> flags a day for {escape(named(label))}, of {films:,} films"
    )
    return f'<div class="panel"><h3>EXPECTED FLAGS</h3><p class="perf-flags">{said} such as these</p></div>'


def tiers(
    chosen: Chosen, policy: Policy, label: str, threshold: float, films: int
) -> tuple[tuple[Urgency, float, float], ...] | None:
    """Return tiers with films a day as the model stands and with a threshold moved; None if it sorts none."""
    scored = chosen.scored
    now = kept(chosen, f"tiers {policy.version}", lambda: sorted_by(scored, policy))
    points = list(scored.rules.thresholds)
    points[scored.labels.index(label)] = threshold
    then = sorted_by(scored, policy, points)
    if now is None or then is None:
        return None
    before, after = now.shares(), then.shares()
    return tuple((tier, films * before[tier], films * after[tier]) for tier in TIERS)


def tiers_html(rows: Sequence[tuple[Urgency, float, float]], policy: Policy) -> str:
    """Return the tiers as a table."""
    body = ""
    for tier, before, after in rows:
        gap = after - before
        change = "" if abs(gap) < 0.05 else f"{gap:+.1f}".replace("-", "−")
        body += (
            f'<tr><td style="--tier:{MARKS[tier].colour}" class="tier">{escape(tier_word(tier))}</td>'
            f"<td>{before:.1f}</td><td>{after:.1f}</td><td>{change}</td></tr>"
        )
    heads = "<th>tier</th><th>as the model stands</th><th>with this threshold</th><th>change</th>"
    return _panel(f"FILMS A DAY BY TIER, POLICY {policy.version}", heads, body)


def table(label: str, threshold: float, prevalence: float, point: Point) -> Table:
    """Return the operating point, to take away."""
    rows: list[tuple[object, ...]] = [
        ("finding", label, "", ""),
        ("threshold", threshold, "", ""),
        *((name, getattr(point.counts, name), "", "") for name in ("tp", "fp", "fn", "tn")),
        *((name, its.value, its.low, its.high) for name, its in rates(point)),
        ("prevalence", prevalence, "", ""),
        *((f"{name} at that prevalence", value, "", "") for name, value in at_prevalence(point, prevalence)),
    ]
    return Table("This operating point", ("what", "value", "low", "high"), tuple(rows))
