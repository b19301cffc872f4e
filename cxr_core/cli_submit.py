"""`cxr submit`: files, folders and zips into the worklist; a line says "stored" once it is on disk."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_core.cli_models import REFUSED_EXIT, failures, progress
from cxr_core.cli_service import opened

if TYPE_CHECKING:
    from cxr_core.access import Actor
    from cxr_core.domain import Notice
    from cxr_core.worklist.service import Service
    from cxr_core.worklist.values import Item

    Refused = tuple[str, Notice]
    """Name of a file, and why it was not taken or not assessed."""

POLL_S = 0.5

Paths = Annotated[
    list[Path],
    typer.Argument(
        help="Files, zip files, or folders to walk for image and DICOM files.",
        show_default=False,
        metavar="PATH",
    ),
]


def submit(
    paths: Paths,
    wait: Annotated[bool, typer.Option("--wait", help="Return when all of them are answered.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Put films on the worklist.

    A line on stdout says that its file is stored, on disk and in the database, or why it was refused.
    Run it again after an interruption: what is stored is known and not stored twice. Exit status: 0, 3 if
    any file was refused (with --wait also by the model's gate), 1 if it had to stop, see stderr.
    """
    from cxr_core.files import find

    with failures():
        found = find(paths)
        if found.others:
            typer.echo(f"{found.others} other files left out: neither image nor DICOM", err=True)
        with opened() as (service, actor):
            batch_id, refused = _store(service, actor, found.films, as_json=as_json)
            if wait:
                refused += _await(service, actor, batch_id, told=refused, as_json=as_json)
    raise typer.Exit(REFUSED_EXIT if refused else 0)


def _store(
    service: Service, actor: Actor, files: tuple[Path, ...], *, as_json: bool
) -> tuple[str, list[Refused]]:
    """Return the batch of these files, each told of on stdout, and what was refused at the door.

    Raises:
        CxrError: it had to stop; stderr says how many are stored.
    """
    from cxr_core.errors import CxrError
    from cxr_core.worklist import handing
    from cxr_core.worklist.values import Source

    total, stored = handing.count(files), 0
    refused: list[Refused] = []
    try:
        batch_id = service.start_batch(actor, total, Source.CLI)
        with progress() as bar:
            task = bar.add_task("submit", total=total)
            for group in handing.ahead(handing.groups(handing.read(files, service.limits))):
                items = service.add_to_batch(actor, batch_id, group)
                for item in items:
                    _tell(item, as_json=as_json)
                stored += sum(item.receipt is not None for item in items)
                refused += [(item.name, item.refusal) for item in items if item.refusal]
                bar.advance(task, len(items))
        service.finish_batch(actor, batch_id)
    except CxrError:
        typer.echo(
            f"{stored} of {total} files are stored; the same command again goes on from here", err=True
        )
        raise
    typer.echo(f"{stored} stored, {len(refused)} refused", err=True)
    return batch_id, refused


def _await(
    service: Service, actor: Actor, batch_id: str, *, told: list[Refused], as_json: bool
) -> list[Refused]:
    """Return what else was refused once all are answered: by the gate, or given up; each is told of."""
    from collections import Counter

    from cxr_core.worklist.values import Item

    view = service.batch(actor, batch_id)
    if view.answered < view.stored and not service.workers(actor):
        typer.echo("waiting for an answer, but no worker is running: start `cxr worker`", err=True)
    with progress() as bar:
        task = bar.add_task("answer", total=view.stored)
        while view.answered < view.stored:
            sleep(POLL_S)
            view = service.batch(actor, batch_id)
            bar.update(task, completed=view.answered)
    later = list((Counter(view.refused) - Counter(told)).elements())
    for name, notice in later:
        _tell(Item(name, None, notice), as_json=as_json)
    typer.echo(f"{view.answered} answered, {len(later)} of them refused", err=True)
    return later


def _tell(item: Item, *, as_json: bool) -> None:
    """Write what became of one file on stdout."""
    from cxr_core.files import printable

    if as_json:
        typer.echo(json.dumps(_record(item), allow_nan=False))
    elif item.receipt is not None:
        word = "conflict" if item.receipt.conflict else "new" if item.receipt.new else "known"
        typer.echo(f"stored   {word:9} {item.receipt.study_id}  {printable(item.name)}")
    elif item.refusal is not None:
        typer.echo(f"refused  {item.refusal.code}  {printable(item.name)}")


def _record(item: Item) -> dict[str, Any]:
    if item.receipt is None:
        return {"file": item.name, "error": asdict(item.refusal) if item.refusal else None}
    receipt = item.receipt
    return {
        "file": item.name,
        "sha256": receipt.sha256,
        "study": receipt.study_id,
        "new": receipt.new,
        "conflict": receipt.conflict,
    }
