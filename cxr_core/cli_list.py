"""`cxr worklist`: the list as people see it, or one JSON object a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_core.cli_models import failures
from cxr_core.cli_service import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxr_core.access import Actor
    from cxr_core.worklist.service import Service
    from cxr_core.worklist.values import Line

PAGE = 500
STYLES = {
    "critical": "bold red",
    "urgent": "bold yellow",
    "review": "bold cyan",
    "significant": "yellow",
    "routine": "dim",
}


def worklist(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line instead of a table.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Read studies too, the newest first.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, metavar="N", help="Only the first N; default all.")
    ] = None,
) -> None:
    """Show the worklist: critical, then overdue, then by tier; the longest wait first."""
    with failures(), opened() as (service, actor):
        lines = _lines(service, actor, everything=everything, limit=limit)
        if as_json:
            for line in lines:
                typer.echo(json.dumps(as_object(line), allow_nan=False))
        else:
            _print_table(list(lines))


def as_object(line: Line) -> dict[str, Any]:
    """Return a line of the list as a JSON object; keys and order are fixed, who it is is left out."""
    return {
        "study": line.study_id,
        "file": line.file,
        "status": line.status.value,
        "state": line.state.value if line.state else None,
        "urgency": line.urgency.value,
        "waiting_s": round(line.waiting_s, 1),
        "overdue": line.overdue,
        "findings": list(line.findings),
    }


def _lines(service: Service, actor: Actor, *, everything: bool, limit: int | None) -> Iterator[Line]:
    """Yield the lines page by page, each once, also while other people move studies about.

    A page begins with the last line of the one before: where it does not, studies above have left the list
    and others have moved up past its end, so it goes back a page.
    """
    from cxr_core.worklist.values import Query, Status

    statuses = frozenset(Status) if everything else frozenset()
    seen: set[str] = set()
    offset = 0
    while limit is None or len(seen) < limit:
        left = PAGE if limit is None else min(PAGE, limit - len(seen))
        page = service.page(actor, Query(statuses=statuses, offset=offset, limit=left + 1))
        if offset and not (page.lines and page.lines[0].study_id in seen):
            offset = max(0, offset - PAGE)
            continue
        new = [line for line in page.lines if line.study_id not in seen][:left]
        yield from new
        seen |= {line.study_id for line in new}
        if offset + len(page.lines) >= page.total:
            return
        offset += len(page.lines) - 1


def _print_table(lines: list[Line]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from cxr_core.files import printable
    from cxr_core.worklist.values import Status

    table = Table("urgency", "waits", "status", "state", Column("file", overflow="fold"), "findings, or why")
    for line in lines:
        state = line.state.value.replace("_", " ") if line.state else "waiting for an answer"
        wait = duration(line.waiting_s) + (" overdue" if line.overdue else "")
        who = line.acknowledged_by if line.status is Status.ACKNOWLEDGED else line.claimed_by
        status = line.status.value + (f" by {who}" if who else "")
        why = ", ".join(line.findings) or line.reason
        cells = [Text(printable(cell)) for cell in (line.urgency.value, wait, status, state, line.file, why)]
        cells[0].stylize(STYLES[line.urgency.value])
        table.add_row(*cells)
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)


def duration(seconds: float) -> str:
    """Return a wait as people say it: "2 d 4 h", "3 h 05 min", "12 min"."""
    minutes = int(seconds // 60)
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60:02} min" if hours else f"{minutes} min"
