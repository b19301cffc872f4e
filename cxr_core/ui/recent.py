"""What many people look at is read once a second, not once for each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd
import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.ui import listed
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Alert, BatchView, Page, Query, Tier

FRESH_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The list at one moment.

    Attributes:
        table: the page's lines as the browser gets them; shared, not to be written to.
        tiers, workers: open studies by urgency, and how many workers were heard of lately; the same for
            every query, and so perhaps read up to a second before the page.
        at: when the page was read.
    """

    page: Page
    table: pd.DataFrame = field(repr=False)
    tiers: tuple[Tier, ...]
    workers: int
    at: datetime


@st.cache_resource(ttl=FRESH_S, max_entries=64, show_spinner=False)
def _snapshot(asked: str, _service: Service, _actor: Actor, _query: Query) -> Snapshot:
    at = _service.clock()
    page, (tiers, workers) = _service.page(_actor, _query), _whole(id(_service), _service, _actor)
    return Snapshot(page, listed.table(page.lines, _service.policy, at), tiers, workers, at)


@st.cache_resource(ttl=FRESH_S, max_entries=4, show_spinner=False)
def _whole(where: int, _service: Service, _actor: Actor) -> tuple[tuple[Tier, ...], int]:
    return _service.tiers(_actor), _service.workers(_actor)


@st.cache_resource(ttl=FRESH_S, max_entries=64, show_spinner=False)
def _batches(where: int, actor: str, limit: int, _service: Service, _actor: Actor) -> tuple[BatchView, ...]:
    return _service.batches(_actor, limit)


@st.cache_resource(ttl=FRESH_S, max_entries=4, show_spinner=False)
def _alerts(where: int, _service: Service, _actor: Actor) -> tuple[Alert, ...]:
    return _service.alerts(_actor)


def snapshot(service: Service, actor: Actor, query: Query) -> Snapshot:
    """Return the list at most a second old; raises as `Service.page`."""
    service.permit(actor, Action.VIEW_LIST)
    return _snapshot(f"{id(service)} {_asked(query)}", service, actor, query)


def alerts(service: Service, actor: Actor) -> tuple[Alert, ...]:
    """Return the alerts at most a second old; raises as `Service.alerts`."""
    service.permit(actor, Action.VIEW_LIST)
    return _alerts(id(service), service, actor)


def batches(service: Service, actor: Actor, limit: int) -> tuple[BatchView, ...]:
    """Return the actor's batches at most a second old; raises as `Service.batches`."""
    service.permit(actor, Action.SUBMIT)
    return _batches(id(service), actor.name, limit, service, actor)


def forget() -> None:
    """Read anew next time: the person has just changed something and looks for it."""
    _snapshot.clear()
    _whole.clear()
    _alerts.clear()
    _batches.clear()


def _asked(query: Query) -> str:
    sets = sorted(query.urgencies), sorted(query.statuses)
    rest = query.finding, query.since, query.until, query.text, query.offset, query.limit
    return repr((sets, rest))
