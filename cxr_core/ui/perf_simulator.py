"""The reading-room simulator: what this model's order would do to the waits of a room like yours."""

from __future__ import annotations

import streamlit as st

from cxr_core.access import Actor
from cxr_core.domain import Urgency
from cxr_core.evaluation.tiers import films_of
from cxr_core.triage.budget import FEW_POSITIVES
from cxr_core.triage.order import max_wait
from cxr_core.triage.policy import Policy
from cxr_core.triage.simulate import Films, simulate
from cxr_core.triage.simulated import By, waits
from cxr_core.ui import perf_tables, plots, sim_asked, sim_plots
from cxr_core.ui.perf_choice import Chosen, kept
from cxr_core.ui.sim_asked import Asked
from cxr_core.ui.sim_plots import Ran
from cxr_core.worklist.service import Service

RAN, BY, TIER = "sim-ran", "sim-by", "sim-tier"

ASSUMES = (
    "Assumed: films come at random (Poisson) with the profile above; reading takes a log-normal time (sigma "
    "0.5), is never interrupted and takes as long whatever the film shows; a reader who is there reads the "
    "next film of the order at once, and finishes one begun before leaving; the model answers at once; no "
    "film is lost, and nobody phones. Films are drawn by patient from those that the model answered, with "
    "what it said of them. A film's true tier is the most urgent of its labels, which are text-mined. Waits "
    "run from arrival to the end of reading. Patients may gain nothing from it: measure your own turnaround "
    "(see Operations)."
)


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the form, run what is asked (at first the usual), show what came of it."""
    policy = service.policy
    films = kept(chosen, f"simulated {policy.version}", lambda: films_of(chosen.scored, policy))
    share = 100 * float((films.true == Urgency.CRITICAL.rank).mean())
    if not share:
        st.html('<div class="empty">None of these films shows a critical finding: nothing to simulate.</div>')
        return
    asked, pressed = sim_asked.form(policy, Asked(critical=round(min(max(share, 0.1), 50.0), 1)))
    if why := asked.too_much:
        st.warning(why)
        return
    tried, key = asked.policy(policy), (chosen.stamp, policy.version, asked)
    if pressed or st.session_state.get(RAN, (None, None))[0] != key:
        st.session_state[RAN] = (key, _run(asked, films, tried))
    _show(chosen, asked, tried, st.session_state[RAN][1])


def _run(asked: Asked, films: Films, policy: Policy) -> Ran:
    bar = st.progress(0.0, "Reading every film three times")
    passages = simulate(
        asked.room,
        films,
        policy,
        replications=asked.replications,
        shares={Urgency.CRITICAL: asked.critical / 100},
        on_progress=bar.progress,
    )
    bar.empty()
    found = {by: waits(passages, films, policy, by) for by in By}
    return Ran(found, sim_plots.curves_of(passages, found))


def _show(chosen: Chosen, asked: Asked, policy: Policy, ran: Ran) -> None:
    load = asked.room.load
    if load >= 1:
        st.warning(
            f"More comes in than these readers can read ({load:.0%} of their time): the pile only grows, and "
            "the waits below are those of the days simulated."
        )
    # Words and figures of ours alone.
    busy = f"Readers are busy {min(load, 1):.0%} of their time."
    st.html(f'<div class="panel" id="sim-said"><p>{sim_plots.said(ran, policy)} {busy}</p></div>')
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = st.segmented_control("Tier of a film", list(By), default=By.TRUE, key=BY, required=True)
        by = by or By.TRUE
        tiers = ran.tiers(by)
        if not tiers:
            st.caption("Not enough data for any tier: simulate more days, or films that show more.")
            return
        if st.session_state.get(TIER) not in tiers:
            st.session_state[TIER] = tiers[0]
        tier = st.selectbox("Distribution of", tiers, key=TIER, width=200)
    left, right = st.columns((1.5, 1), gap="small")
    with left:
        name = f"simulated-{chosen.model.id}-{chosen.split}"
        plots.with_downloads(
            sim_plots.bars(ran, by), "sim-bars", sim_plots.said(ran, policy), f"{name}-waits", 380
        )
    with right:
        limit = max_wait(policy, tier).total_seconds() / 60
        alt = f"Share of {tier.value} films read by minutes since arrival, for each order"
        plots.with_downloads(
            sim_plots.cumulative(ran, by, tier, limit), "sim-curve", alt, f"{name}-{tier}", 380
        )
    perf_tables.show(sim_plots.table(ran, by), f"{name}-shown", "sim-shown", digits=0)
    perf_tables.with_csv(sim_plots.flat(ran), name, "sim-all")
    st.text(
        f"{asked.replications} repeats of {asked.days} days with the same films, minutes and readers for "
        f"each order; whiskers and brackets are 95 % intervals over repeats. A tier of which fewer than "
        f"{FEW_POSITIVES} real films are drawn from is not enough data, however often they come. "
        f"{chosen.scored.model} on {len(chosen.scored.table):,} films of {chosen.scored.data} "
        f"({chosen.split}). {ASSUMES}"
    )
