"""How much the answer hangs on the seed, and what it costs to say "unable to classify" less often."""

from __future__ import annotations

import numpy as np
import streamlit as st
from plotly.graph_objects import Figure

from cxr_core.access import Actor
from cxr_core.domain import ABNORMAL
from cxr_core.evaluation import metrics
from cxr_core.evaluation.doubt import Doubt, doubt_of, nearness
from cxr_core.evaluation.metrics import Curve
from cxr_core.evaluation.scored import Scored
from cxr_core.triage.budget import FEW_POSITIVES
from cxr_core.triage.policy import Policy
from cxr_core.ui import literal, plots
from cxr_core.ui.models_curves import LOOKS
from cxr_core.ui.perf_choice import Chosen, kept
from cxr_core.ui.perf_numbers import MOST_POINTS, named, sorted_by
from cxr_core.ui.perf_tables import NONE, Table, percent, show, with_csv
from cxr_core.ui.plots import blank
from cxr_core.worklist.service import Service


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the members' spread beside the curve of what is left to a person."""
    left, right = st.columns(2, gap="small")
    with left:
        _members(chosen)
    with right:
        _unable(service, chosen)
    _states(service, chosen)


def _members(chosen: Chosen) -> None:
    scored = chosen.scored
    many = scored.members.shape[1]
    if many < 2:
        st.html(
            '<div class="empty">This model is one network: how much a seed changes was not measured.</div>'
        )
        return
    spread = kept(chosen, "spread", lambda: metrics.seed_spread(scored.members))
    flips = kept(chosen, "flips", lambda: metrics.flip_rate(scored.members, scored.rules.thresholds))
    rows = tuple((label, float(spread[k]), float(flips[k])) for k, label in enumerate(scored.labels))
    words = "; ".join(f"{named(a)} {b:.0%} and {c:.0%}" for a, b, c in rows if not np.isnan(c))
    plots.with_downloads(
        members_figure(rows),
        "perf-members",
        f"Spread between {many} members and share of films on which their calls differ, by finding: {words}.",
        f"members-{chosen.model.id}-{chosen.split}",
        480,
    )
    st.caption(
        f"{many} networks answer every film. Spread: standard deviation by mean of a film's probabilities, "
        "averaged over films. Flips: films that some members would call at the threshold and others not."
    )
    table = Table("Spread of the members", ("finding", "spread", "flips"), rows)
    with_csv(table, f"{chosen.model.id}-{chosen.split}-members", "perf-members")


def members_figure(rows: tuple[tuple[str, float, float], ...]) -> Figure:
    """Return both shares a finding a line."""
    plot = blank("How far the members lie apart")
    for nth, name in enumerate(("spread of a film's probability", "films on which calls flip")):
        colour, symbol = LOOKS[nth]
        plot.add_scatter(
            name=name,
            x=[row[nth + 1] for row in rows],
            y=[named(row[0]) for row in rows],
            mode="markers",
            marker={"symbol": symbol, "size": 10, "color": colour},
            hovertemplate=f"%{{y}}: {name} %{{x:.1%}}<extra></extra>",
        )
    plot.update_xaxes(tickformat=".0%", rangemode="tozero")
    plot.update_yaxes(autorange="reversed", automargin=True)
    plot.update_layout(legend={"y": -0.1})
    return plot


def _unable(service: Service, chosen: Chosen) -> None:
    found = kept(
        chosen, f"unable {service.policy.version}", lambda: left_to_people(chosen.scored, service.policy)
    )
    if found is None:
        st.html(
            '<div class="empty">This model has no abnormal score, so none is left to a person by it.</div>'
        )
        return
    curve, coverage, risk = found
    plots.with_downloads(
        risk_figure(curve, coverage, risk),
        "perf-risk",
        f"Of films without a positive finding, {coverage:.0%} read “No disease detected” at the model's "
        f"threshold and {risk:.0%} of those are diseased by the labels.",
        f"risk-coverage-{chosen.model.id}-{chosen.split}",
        480,
    )
    st.caption(
        "Films without a positive finding. Doubt is how near a film comes to any threshold; where the "
        "abnormal score reaches its own, or members disagree, the film is “unable to classify”. Along the "
        "line more doubt is allowed from left to right: how many films are cleared then, and how many of "
        "those are diseased. Where it is flat, doubt does not tell them apart."
    )
    thin = curve.thinned(MOST_POINTS)
    rows = tuple(zip(map(float, thin.x), map(float, thin.y), map(float, thin.thresholds), strict=True))
    table = Table(
        "Risk and coverage", ("share cleared", "of those diseased", "largest share of a threshold"), rows
    )
    with_csv(table, f"{chosen.model.id}-{chosen.split}-risk-coverage", "perf-risk")


def _states(service: Service, chosen: Chosen) -> None:
    policy = service.policy
    found = kept(chosen, f"states {policy.version}", lambda: doubt_of(chosen.scored, policy))
    if found is None:
        return
    show(states_table(found), f"{chosen.model.id}-{chosen.split}-states", "perf-states")
    literal.caption(
        f"{'. '.join(found.said)}. By policy {policy.version}; several reasons may hold of one film. 95 % "
        "limits by Wilson on the effective number of films, none below 20 films of 10 patients."
    )


def states_table(found: Doubt) -> Table:
    """Return films and diseased ones of each state, and of each reason to be unable to classify."""
    rows = tuple(
        (
            name.replace("  ", "– "),
            each.films.count,
            NONE if each.share is None else percent(each.share),
            each.diseased.count,
            "not enough data" if each.risk is None else percent(each.risk),
        )
        for name, each in found.rows()
    )
    heads = ("state", "films", "share of all", "diseased", "share of these")
    return Table("What each state holds", heads, rows)


def left_to_people(scored: Scored, policy: Policy) -> tuple[Curve, float, float] | None:
    """Return share cleared against share of those diseased as doubt rises, and where the model stands.

    Only films without a positive finding: the others are flagged anyhow. Doubt is how near a film comes to
    any threshold, the largest ratio of probability to threshold; from 1 it is `abnormal` that is reached.
    None where the model has no such score, or too few such films are known to be diseased.
    """
    found = sorted_by(scored, policy)
    if found is None or ABNORMAL not in scored.labels or found.flagged.all():
        return None
    rest = ~found.flagged
    doubt = nearness(scored)[rest]
    wrong = scored.diseased[rest]
    if np.nansum(wrong) < FEW_POSITIVES:
        return None
    cleared = found.cleared[rest]
    known = wrong[cleared & ~np.isnan(wrong)]
    risk = float(known.mean()) if len(known) else float("nan")
    return metrics.risk_coverage(doubt, wrong), float(cleared.mean()), risk


def risk_figure(curve: Curve, coverage: float, risk: float) -> Figure:
    """Return the curve, and the model's own place on it."""
    thin = curve.thinned(MOST_POINTS)
    plot = blank("Risk and coverage of “No disease detected”")
    colour, symbol = LOOKS[0]
    plot.add_scatter(
        name="as less doubt is allowed",
        x=thin.x,
        y=thin.y,
        customdata=thin.thresholds,
        mode="lines",
        line={"color": colour, "width": 2},
        hovertemplate="up to %{customdata:.2f} of a threshold<br>%{x:.1%} cleared, %{y:.1%} of those diseased"
        "<extra></extra>",
    )
    plot.add_scatter(
        name="the model's threshold, with disagreement",
        x=[coverage],
        y=[risk],
        mode="markers",
        marker={"symbol": "diamond", "size": 12, "color": LOOKS[1][0]},
        hovertemplate="%{x:.1%} cleared, %{y:.1%} of those diseased<extra></extra>",
    )
    plot.update_xaxes(
        title="of films without a finding, share cleared", tickformat=".0%", range=[-0.02, 1.02]
    )
    plot.update_yaxes(title="of those, share diseased", tickformat=".0%", rangemode="tozero")
    plot.update_layout(legend={"y": -0.2})
    return plot
