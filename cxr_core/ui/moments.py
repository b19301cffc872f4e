"""Times and waits as a reading room writes them."""

from __future__ import annotations

from datetime import datetime

from cxr_core.reports.words import local, when_short


def waited(seconds: float) -> str:
    """Return a wait in words: `under 1 min`, `12 min`, `1 h 38`, `3 d 4 h`."""
    minutes = max(0, int(seconds)) // 60
    hours, days = minutes // 60, minutes // 1440
    if minutes < 1:
        return "under 1 min"
    if hours < 1:
        return f"{minutes} min"
    if days < 3:
        return f"{hours} h {minutes % 60:02}"
    return f"{days} d {hours % 24} h"


def moment(value: datetime | None, now: datetime) -> str:
    """Return a time on this machine's clock: `21 Nov 02:41`, with the year where it is not this year's."""
    if value is None:
        return "–"
    here = local(value)
    return when_short(here, with_year=here.year != now.astimezone().year)
