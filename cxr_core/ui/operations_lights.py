"""Whether somebody must do something, and why: pure, from the service's figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cxr_core.ui.moments import waited
from cxr_core.worklist.operations import Health, Heard

LATELY = timedelta(minutes=10)
"""A worker that fell silent longer ago was replaced, or is missed by nobody."""

FULL = 0.8
"""Share of the queue's limit from which somebody should look."""

SMALL_SHARE = 0.05
"""Of the disk: so little above the limit, and somebody should look."""


class Level(StrEnum):
    """The word of a light; it has a shape and a colour too."""

    WELL = "well"
    WATCH = "watch"
    ACT = "act now"

    @property
    def shape(self) -> str:
        """Return the sign that tells it from the others without colour."""
        return {Level.WELL: "✓", Level.WATCH: "!", Level.ACT: "✕"}[self]


@dataclass(frozen=True, slots=True)
class Light:
    """One thing that works or does not: a name, the figure that matters, and one sentence."""

    name: str
    level: Level
    figure: str
    why: str


def lights_of(health: Health, critical_wait: timedelta) -> tuple[Light, ...]:
    """Return the lights of queue, workers, disk and dead letters.

    Args:
        health: the figures.
        critical_wait: the longest wait that the policy allows a critical study; what has waited so long for
            its first answer may be one.
    """
    return _queue(health, critical_wait), _workers(health), _disk(health), _given_up(health.given_up)


def _queue(health: Health, critical_wait: timedelta) -> Light:
    queue = health.queue
    age = health.at - queue.oldest if queue.oldest else timedelta()
    oldest = f"oldest {waited(age.total_seconds())}" if queue.oldest else "nobody waits"
    level = Level.WELL
    if queue.first >= queue.limit:
        level, oldest = Level.ACT, f"full: {queue.limit:,} films; more are refused"
    elif age >= critical_wait:
        level = Level.ACT
    elif age >= critical_wait / 3 or queue.first >= FULL * queue.limit:
        level = Level.WATCH
    return Light("Queue", level, f"{queue.films:,}", f"{oldest} · room for {_room(health):,} more")


def _room(health: Health) -> int:
    return max(0, health.queue.limit - health.queue.first)


def _workers(health: Health) -> Light:
    alive = [each for each in health.workers if each.alive]
    silent = [each for each in health.workers if fell_silent(each, health.at)]
    last = max((each.seen for each in health.workers), default=None)
    if health.policy_fault:
        return Light(
            "Workers", Level.ACT, f"{len(alive)}", "decide nothing: the policy in force cannot be read"
        )
    if health.model_fault:
        return Light(
            "Workers", Level.ACT, f"{len(alive)}", "answer nothing: the model in force is not usable"
        )
    if not alive:
        why = f"last heard of {waited((health.at - last).total_seconds())} ago" if last else "none today"
        return Light("Workers", Level.ACT, "0", why)
    heard = max((health.at - each.seen).total_seconds() for each in alive)
    if health.models_away:
        why = (
            f"studies wait for {', '.join(health.models_away)}, which cannot be opened: restore the folder, "
        )
        return Light("Workers", Level.WATCH, f"{len(alive)}", f"{why}or ask for the model in force")
    if silent:
        return Light("Workers", Level.WATCH, f"{len(alive)}", f"{len(silent)} fell silent lately")
    return Light("Workers", Level.WELL, f"{len(alive)}", f"heard of {heard:.0f} s ago")


def fell_silent(worker: Heard, now: datetime) -> bool:
    """Return whether the worker went lately without having stopped in order."""
    return not worker.alive and worker.stopped is None and worker.seen > now - LATELY


def _disk(health: Health) -> Light:
    above = health.free_bytes - health.reserve_bytes
    level = Level.WELL
    if not health.takes_in:
        level = Level.ACT
    elif above < max(health.reserve_bytes, SMALL_SHARE * health.total_bytes):
        level = Level.WATCH
    kept = f"no film is taken in below {size(health.reserve_bytes)}"
    return Light("Disk free", level, size(health.free_bytes), kept)


def _given_up(films: int) -> Light:
    if not films:
        return Light("Given up", Level.WELL, "0", "every film has its answer or waits for it")
    return Light("Given up", Level.WATCH, f"{films:,}", "a person must look at them")


def many(number: int, what: str) -> str:
    """Return a number of things: `1 film`, `1,200 films`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def size(bytes_: int) -> str:
    """Return a size as disks are sold: `12.3 GB`, `500 MB`."""
    return f"{bytes_ / 1e9:.1f} GB" if bytes_ >= 1e9 else f"{bytes_ / 1e6:.0f} MB"
