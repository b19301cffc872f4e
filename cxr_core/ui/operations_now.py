"""How it stands at this moment; read again every few seconds without touching what one types elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

import streamlit as st
from plotly.graph_objects import Figure

from cxr_core.access import Action, Actor
from cxr_core.domain import Urgency
from cxr_core.errors import CxrError
from cxr_core.triage.order import max_wait
from cxr_core.ui import plots, services
from cxr_core.ui.moments import waited
from cxr_core.ui.operations_lights import Light, fell_silent, lights_of, many, size
from cxr_core.worklist.operations import Health, Heard, Hour, Queue
from cxr_core.worklist.service import Service

EVERY_S = 3.0
FLOW_EVERY_S = 30.0
HOURS = 24
WORKERS_SHOWN = 12


@st.fragment(run_every=EVERY_S)
def lights(service: Service, actor: Actor) -> None:
    """Show the page's head and its lights; what cannot be read is said, and tried again."""
    head = st.container(key="ops-head")
    try:
        health = service.health(actor)
    except CxrError as exc:
        head.html('<div class="wl-head"><h1>Operations</h1><span class="live late">not live</span></div>')
        services.say(exc)
        return
    turn = st.session_state["ops-turn"] = 1 - st.session_state.get("ops-turn", 0)
    head.html(
        '<div class="wl-head"><h1>Operations</h1>'
        f'<span class="live t{turn}" title="Read again every {EVERY_S:.0f} s">live · updated</span></div>'
    )
    st.html(lights_html(lights_of(health, max_wait(service.policy, Urgency.CRITICAL))))


def show(service: Service, actor: Actor) -> None:
    """Show what works on the queue, what goes through it, and what is in force."""
    left, right = st.columns((1.25, 1), gap="medium")
    with left:
        _flow(service, actor)
        _decides(service, actor)
    with right:
        _live(service, actor)


@st.fragment(run_every=EVERY_S)
def _live(service: Service, actor: Actor) -> None:
    with services.plainly():
        health = service.health(actor)
        st.html(queue_html(health.queue) + workers_html(health) + disk_html(health))


@st.fragment(run_every=FLOW_EVERY_S)
def _decides(service: Service, actor: Actor) -> None:
    with services.plainly():
        service.check(actor, Action.HEALTH, look=True)
        st.html(in_force_html(service))


@st.fragment(run_every=FLOW_EVERY_S)
def _flow(service: Service, actor: Actor) -> None:
    with services.plainly():
        hours = service.flow(actor, HOURS)
        received, answered, given_up = (
            sum(each) for each in zip(*((h.received, h.answered, h.given_up) for h in hours), strict=True)
        )
        said = f"{many(received, 'film')} in, {answered:,} answered, {given_up:,} given up in {HOURS} hours"
        st.html(f'<div class="panel ops-flow"><h3>LAST {HOURS} HOURS</h3><p>{said}</p></div>')
        plots.show(flow_figure(hours), "ops-flow", said, 330)


def lights_html(lights: Sequence[Light]) -> str:
    """Return one tile a light: name, figure, shape and word, why."""
    tiles = "".join(
        f'<div class="tile light {light.level.name.lower()}"><b>{escape(light.name)}</b>'
        f"<strong>{escape(light.figure)}</strong>"
        f"<em><i>{light.level.shape}</i>{light.level.value}</em><span>{escape(light.why)}</span></div>"
        for light in lights
    )
    return f'<div class="lights" role="status">{tiles}</div>'


def queue_html(queue: Queue) -> str:
    """Return what waits by why it waits, as figures over a bar."""
    parts = (("somebody waits", queue.interactive), ("batch", queue.batch), ("asked again", queue.again))
    total = max(1, sum(number for _, number in parts))
    figures = "".join(f"<div><strong>{number:,}</strong><span>{name}</span></div>" for name, number in parts)
    bar = "".join(
        f'<i class="q{n}" style="width:{100 * each / total:.1f}%"></i>' for n, (_, each) in enumerate(parts)
    )
    rest = f"{queue.leased:,} with a worker"
    rest += f" · {queue.delayed:,} left alone for a while after a failure" if queue.delayed else ""
    return (
        '<div class="panel"><h3>QUEUE, IN STUDIES</h3>'
        f'<div class="ops-figures">{figures}</div><div class="ops-bar">{bar}</div>'
        f'<p class="muted">{rest} · {many(queue.films, "film")}, {queue.first:,} for the first time</p></div>'
    )


def workers_html(health: Health) -> str:
    """Return a row a worker: alive or not, last heard of, answered, studies in hand."""
    if not health.workers:
        return (
            '<div class="panel"><h3>WORKERS</h3><p>None was heard of today. '
            "Run <code>cxr worker</code>.</p></div>"
        )
    rows = "".join(_worker(each, health.at) for each in health.workers[:WORKERS_SHOWN])
    more = len(health.workers) - WORKERS_SHOWN
    foot = f'<p class="muted">and {more} that stopped earlier today</p>' if more > 0 else ""
    return (
        '<div class="panel"><h3>WORKERS</h3><table class="ops-table"><tr><th>worker</th><th>state</th>'
        f"<th>last heard</th><th>answered</th><th>in hand</th></tr>{rows}</table>{foot}</div>"
    )


def _worker(worker: Heard, now: datetime) -> str:
    if worker.alive:
        state = '<span class="well">✓ alive</span>'
    elif worker.stopped:
        state = '<span class="muted">○ stopped</span>'
    else:
        level = "act" if fell_silent(worker, now) else "muted"
        state = f'<span class="{level}">✕ silent</span>'
    heard = (now - worker.seen).total_seconds()
    ago = f"{max(heard, 0):.0f} s" if heard < 60 else waited(heard)
    name = escape(worker.id)
    return (
        f'<tr><td class="id" title="{name}">{name}</td><td>{state}</td><td>{ago}</td>'
        f"<td>{worker.answered:,}</td><td>{worker.studies:,}</td></tr>"
    )


def disk_html(health: Health) -> str:
    """Return how much of the disk is used, with the limit below which no film is taken in."""
    used = 1 - health.free_bytes / max(1, health.total_bytes)
    limit = 100 * (1 - health.reserve_bytes / max(1, health.total_bytes))
    return (
        '<div class="panel"><h3>DISK OF CXR_HOME</h3>'
        f'<div class="ops-bar disk"><i class="q1" style="width:{100 * used:.1f}%"></i>'
        f'<b style="left:{max(0.0, limit):.1f}%"></b></div><p class="muted">{size(health.free_bytes)} free '
        f"of {size(health.total_bytes)} · the mark: no film is taken in beyond it</p></div>"
    )


def in_force_html(service: Service) -> str:
    """Return the model, gate and policy that decide now, and who approved the policy."""
    policy = service.policy
    approved = f"approved by {escape(policy.approver)}"
    if not policy.signed:
        approved = f'<span class="act">! {escape(policy.approver)}</span>'
    faults = (service.in_force.fault, service.model_in_force.fault, service.gate_in_force.fault)
    fault = "".join(f'<p class="act">✕ {escape(each)}</p>' for each in faults if each)
    return (
        '<div class="panel"><h3>IN FORCE</h3>'
        f"<p><b>Model</b> {escape(service.model)}</p><p><b>Gate</b> {escape(service.gate)}</p>"
        f"<p><b>Policy</b> {escape(policy.version)} of {policy.date:%d %b %Y} · "
        f"{approved}</p>{fault}</div>"
    )


def flow_figure(hours: Sequence[Hour]) -> Figure:
    """Return films in and answers of each hour, side by side, on this machine's clock."""
    figure = plots.blank("Films an hour")
    starts = [each.start.astimezone().replace(tzinfo=None) for each in hours]
    for name, colour, pattern, values in (
        ("came in", "#5D6B78", "", [each.received for each in hours]),
        ("answered", "#56B4E9", "", [each.answered for each in hours]),
        ("given up", "#E8702A", "x", [each.given_up for each in hours]),
    ):
        if name != "given up" or any(values):
            figure.add_bar(
                name=name,
                x=starts,
                y=values,
                marker={"color": colour, "pattern": {"shape": pattern}},
                hovertemplate=f"%{{x|%H:%M}}<br>{name} %{{y}}<extra></extra>",
            )
    figure.update_xaxes(type="date", tickformat="%H:%M")
    figure.update_yaxes(rangemode="tozero", tickformat=",d")
    figure.update_layout(bargap=0.25, title=None, margin={"t": 10}, legend={"y": -0.14})
    return figure
