"""`cxr audit …`, `cxr backup`, `cxr restore`: what the worklist keeps, proved and kept twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core import settings
from cxr_core.access import Action
from cxr_core.cli_models import FAILED_EXIT, failures
from cxr_core.local import local_actor

if TYPE_CHECKING:
    from cxr_core.settings import Settings
    from cxr_core.worklist.audit import Detail, Verdict
    from cxr_core.worklist.backup import Report
    from cxr_core.worklist.database import Database

audit_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Who did what and when, and whether that was touched."
)


@audit_app.command("verify")
def verify() -> None:
    """Check that no event was edited, removed, reordered or cut off.

    Prints how many there are and the digest of the last one; whoever keeps that elsewhere can prove later
    that the trail was not written anew. Needs the role lead. Exit status: 0, or 1 if it is broken.
    """
    from cxr_core.worklist import audit

    with failures(), _audited(settings.load()) as database, database.read() as session:
        verdict = audit.verify(session)
    typer.echo(_said(verdict))
    raise typer.Exit(0 if verdict.broken_at is None else FAILED_EXIT)


@audit_app.command("export")
def export(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="New file to write; default stdout.")
    ] = None,
) -> None:
    """Write every event, one JSON object a line, with its digest. The export is itself an event.

    Needs the role lead.
    """
    from cxr_core.worklist import audit, disk

    with failures(), _audited(chosen := settings.load()) as database:
        _note(database, chosen, "export", {"what": "audit"})
        with database.read() as session, disk.refusals("the file to write"):
            lines = (f"{audit.as_json(link)}\n" for link in audit.links(session))
            if out is None:
                for line in lines:
                    typer.echo(line, nl=False)
                return
            with out.open("x", encoding="ascii") as file:
                file.writelines(lines)


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder, best on another disk.")],
) -> None:
    """Copy all studies, films, results and the audit trail to DIR, and verify the copy.

    The app and its workers may go on meanwhile. Exit status: 0, or 1 if films were missing or the audit
    trail is broken; the rest has been copied even then.
    """
    from cxr_core.worklist import backup as copying
    from cxr_core.worklist.blobs import Blobs
    from cxr_core.worklist.database import BLOBS_FOLDER

    with failures(), _opened(chosen := settings.load()) as database:
        report = copying.backup(database, Blobs(chosen.home / BLOBS_FOLDER), chosen.home, folder)
        _note(database, chosen, "backup", {"films": report.films, "studies": report.studies})
    _tell("copied and verified", report)


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `cxr backup` wrote.")],
) -> None:
    """Bring a backup of this or an older version back into an empty CXR_HOME and database, and verify it.

    The backup of one kind of database goes into the other kind too. Exit status: 0, or 1 if it was not
    whole when it was made.
    """
    from cxr_core.worklist import backup as copying

    with failures():
        report = copying.restore(folder, chosen := settings.load())
        with _opened(chosen) as database:
            _note(database, chosen, "restore", {"films": report.films, "studies": report.studies})
    _tell("restored and verified", report)


@contextmanager
def _opened(chosen: Settings) -> Iterator[Database]:
    from cxr_core.worklist.database import open_database

    database = open_database(chosen)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _audited(chosen: Settings) -> Iterator[Database]:
    """Yield the database to whoever may see the audit trail."""
    local_actor(chosen).check(Action.AUDIT)
    with _opened(chosen) as database:
        yield database


def _note(database: Database, chosen: Settings, event: str, detail: Detail) -> None:
    from cxr_core.worklist import audit

    with database.write() as session:
        audit.append(session, at=datetime.now(UTC), actor=chosen.local_user, event=event, detail=detail)


def _said(verdict: Verdict) -> str:
    if verdict.broken_at is not None:
        return (
            f"BROKEN at event {verdict.broken_at}: {verdict.why}; {verdict.events} events before it are sound"
        )
    return f"whole: {verdict.events} events, the last one {verdict.digest}"


def _tell(what: str, report: Report) -> None:
    typer.echo(
        f"{what}: {report.studies} studies, {report.films} films ({report.size_bytes / 1e6:.1f} MB), "
        f"{report.results} results"
    )
    typer.echo(f"audit trail {_said(report.trail)}")
    for sha256 in report.missing:
        typer.echo(f"MISSING: film {sha256}")
    raise typer.Exit(0 if report.sound else FAILED_EXIT)
