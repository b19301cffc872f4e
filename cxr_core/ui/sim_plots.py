"""What a simulation says as figures and words: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from cxr_core.domain import Urgency
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.triage.budget import FEW_POSITIVES
from cxr_core.triage.policy import Policy
from cxr_core.triage.reading_room import Floats
from cxr_core.triage.simulate import Discipline, Passage
from cxr_core.triage.simulated import By, Spread, Waits, pooled
from cxr_core.ui.perf_tables import Table
from cxr_core.ui.plots import blank

COLOURS = {Discipline.FIRST_COME: "#8A949F", Discipline.URGENCY: "#E8702A", Discipline.LIMITED: "#56B4E9"}
DASHES = {Discipline.FIRST_COME: "dot", Discipline.URGENCY: "dash", Discipline.LIMITED: "solid"}
PATTERNS = {Discipline.FIRST_COME: "", Discipline.URGENCY: "/", Discipline.LIMITED: "x"}
"""Disciplines are told apart by more than colour."""

POINTS = np.linspace(0.0, 1.0, 201)
MEASURES = ("mean", "p90", "worst")
TITLES = ("Mean", "9 in 10 within", "Worst")

Curves = Mapping[tuple[By, Urgency, Discipline], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """A simulation as the page keeps it: figures, and 201 quantiles of each distribution, not every film."""

    waits: Mapping[By, tuple[Waits, ...]]
    curves: Curves

    def of(self, by: By, urgency: Urgency, discipline: Discipline) -> Waits | None:
        """Return a tier's figures, None where no film was of it."""
        same = (each for each in self.waits[by] if (each.urgency, each.discipline) == (urgency, discipline))
        return next(same, None)

    def tiers(self, by: By) -> tuple[Urgency, ...]:
        """Return the tiers with enough films, most urgent first."""
        return tuple(dict.fromkeys(each.urgency for each in self.waits[by] if not each.few))


def curves_of(passages: Sequence[Passage], waits: Mapping[By, tuple[Waits, ...]]) -> Curves:
    """Return minutes at which each share of a tier's films has been read."""
    return {
        (by, each.urgency, each.discipline): np.quantile(
            pooled(passages, each.urgency, each.discipline, by), POINTS
        )
        for by, found in waits.items()
        for each in found
    }


def bars(ran: Ran, by: By) -> Figure:
    """Return mean, p90 and worst of each tier and discipline, whiskers over replications."""
    figure = make_subplots(1, 3, subplot_titles=TITLES, horizontal_spacing=0.07)
    figure.update_layout(blank("Arrival to the end of reading").layout)
    tiers = ran.tiers(by)
    for column, measure in enumerate(MEASURES, 1):
        for discipline in Discipline:
            found = [getattr(ran.of(by, urgency, discipline), measure) for urgency in tiers]
            figure.add_bar(
                row=1,
                col=column,
                name=discipline.value,
                legendgroup=discipline.value,
                showlegend=column == 1,
                x=[urgency.value for urgency in tiers],
                y=[each.value for each in found],
                error_y={
                    "type": "data",
                    "array": [each.high - each.value for each in found],
                    "color": "#E6E9ED",
                    "thickness": 1,
                },
                marker={
                    "color": COLOURS[discipline],
                    "pattern": {"shape": PATTERNS[discipline], "size": 6, "solidity": 0.2},
                },
                hovertemplate=f"%{{x}}<br>{discipline.value}<br>%{{y:.0f}} min<extra></extra>",
            )
    figure.update_xaxes(gridcolor="#222B34")
    figure.update_yaxes(gridcolor="#222B34", rangemode="tozero", title={"text": "minutes"}, col=1)
    figure.update_yaxes(gridcolor="#222B34", rangemode="tozero")
    return figure


def cumulative(ran: Ran, by: By, urgency: Urgency, limit_min: float) -> Figure:
    """Return which share of a tier's films has been read after how long."""
    figure = blank(f"{urgency.value.capitalize()}: read within")
    for discipline in Discipline:
        figure.add_scatter(
            name=discipline.value,
            x=np.maximum(ran.curves[by, urgency, discipline], 1.0),
            y=POINTS,
            mode="lines",
            line={"color": COLOURS[discipline], "dash": DASHES[discipline], "width": 2},
            hovertemplate="%{y:.0%} within %{x:.0f} min",
        )
    figure.add_vline(x=limit_min, line={"color": "#C3CAD1", "width": 1, "dash": "dash"})
    figure.update_xaxes(
        type="log",
        title="minutes from arrival",
        tickvals=[1, 5, 15, 60, 240, 1440, 4320],
        ticktext=["1", "5", "15", "1 h", "4 h", "1 d", "3 d"],
    )
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
    figure.update_layout(legend={"y": -0.3})
    return figure


def said(ran: Ran, policy: Policy) -> str:
    """Return in words what the disciplines do to films that truly are critical."""
    first, urgent, limited = (ran.of(By.TRUE, Urgency.CRITICAL, each) for each in Discipline)
    if first is None or urgent is None or limited is None or first.few:
        if first is not None and first.real < FEW_POSITIVES:
            return (
                f"Only {first.real} of the films drawn from truly are critical: not enough data to say "
                "anything of them, however many days are simulated."
            )
        return "Too few critical films came to say anything of them: not enough data. Simulate more days."
    sentences = [
        f"A film that truly is critical is read after {_min(urgent.mean)} on average when the most urgent is "
        f"read first, and after {_min(first.mean)} when the first that came is.",
        f"The one that waits longest, which the model missed or which came when nobody read, waits "
        f"{_min(urgent.worst)} instead of {_min(first.worst)}",
    ]
    changed = abs(limited.worst.value - urgent.worst.value) >= 0.5
    if changed:
        sentences[-1] += f", and {_min(limited.worst)} with the longest waits tried here."
    else:
        sentences[-1] += (
            "; the longest waits tried here change nothing of that: they are hardly ever reached."
        )
    allowed = policy.tiers.critical.max_wait_minutes
    sentences.append(
        f"{100 * limited.over.value:.0f} % of them are read later than the {allowed} minutes that the policy "
        f"allows (first come, first served: {100 * first.over.value:.0f} %)."
    )
    return " ".join(sentences)


def table(ran: Ran, by: By) -> Table:
    """Return all figures in minutes; a tier with few films says so instead."""
    rows: list[tuple[object, ...]] = []
    for each in ran.waits[by]:
        figures = [_interval(each.mean), _interval(each.p90), _interval(each.worst), 100 * each.over.value]
        if each.few:
            figures = ["not enough data", *[float("nan")] * 3]
        rows.append((each.urgency.value, each.discipline.value, round(each.films), each.real, *figures))
    heads = (
        "tier",
        "order",
        "films",
        "real films",
        "mean, min",
        "p90, min",
        "worst, min",
        "over longest wait, %",
    )
    return Table("Waits", heads, tuple(rows))


def flat(ran: Ran) -> Table:
    """Return the same for a spreadsheet, a number a cell, by both words on a film's tier."""
    heads = ["sorted by", "tier", "order", "films", "real films"]
    heads += [f"{name}{end}" for name in (*MEASURES, "over") for end in ("", "_low", "_high")]
    rows = []
    for by, found in ran.waits.items():
        for each in found:
            spreads = (each.mean, each.p90, each.worst, each.over)
            figures = [value for its in spreads for value in (its.value, its.low, its.high)]
            shown = [float("nan")] * len(figures) if each.few else figures
            counts = round(each.films), each.real
            rows.append((by.value, each.urgency.value, each.discipline.value, *counts, *shown))
    return Table("Simulated waits", tuple(heads), tuple(rows))


def _interval(found: Spread) -> Interval:
    return Interval(found.value, max(found.low, 0.0), found.high)


def _min(found: Spread) -> str:
    minutes = found.value
    return f"{minutes:.0f} min" if minutes < 180 else f"{minutes / 60:.1f} h"
