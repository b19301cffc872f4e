"""What many people look at is read once a second, not once for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Alert, Page, Query, Tier

FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The list at one moment.

    Attributes:
        workers: how many were heard of lately.
        at: when it was read.
    """

    page: Page
    tiers: tuple[Tier, ...]
    workers: int
    at: datetime


@st.cache_resource(ttl=FRESH_S, max_entries=64, show_spinner=False)
def _snapshot(asked: str, _service: Service, _actor: Actor, _query: Query) -> Snapshot:
    at = _service.clock()
    page, tiers = _service.page(_actor, _query), _service.tiers(_actor)
    return Snapshot(page, tiers, _service.workers(_actor), at)


@st.cache_resource(ttl=FRESH_S, max_entries=4, show_spinner=False)
def _alerts(where: int, _service: Service, _actor: Actor) -> tuple[Alert, ...]:
    return _service.alerts(_actor)


def snapshot(service: Service, actor: Actor, query: Query) -> Snapshot:
    """Return the list at most a second old; raises as `Service.page`."""
    actor.check(Action.VIEW_LIST)
    return _snapshot(f"{id(service)} {_asked(query)}", service, actor, query)


def alerts(service: Service, actor: Actor) -> tuple[Alert, ...]:
    """Return the alerts at most a second old; raises as `Service.alerts`."""
    actor.check(Action.VIEW_LIST)
    return _alerts(id(service), service, actor)


def forget() -> None:
    """Read anew next time: the person has just changed something and looks for it."""
    _snapshot.clear()
    _alerts.clear()


def _asked(query: Query) -> str:
    sets = sorted(query.urgencies), sorted(query.statuses)
    rest = query.finding, query.since, query.until, query.text, query.offset, query.limit
    return repr((sets, rest))
