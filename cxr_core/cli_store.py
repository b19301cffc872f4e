"""`cxr audit …`, `cxr backup`, `cxr restore`: what the worklist keeps, proved and kept twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core import settings
from cxr_core.access import Action
from cxr_core.cli_models import FAILED_EXIT, failures
from cxr_core.local import local_actor

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from cxr_core.settings import Settings
    from cxr_core.worklist.audit import Verdict
    from cxr_core.worklist.backup import Report
    from cxr_core.worklist.database import Database

audit_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Who did what and when, and whether that was touched."
)


@audit_app.command("verify")
def verify() -> None:
    """Check that no event was edited, removed, reordered or cut off.

    Prints how many there are and the digest of the last one; whoever keeps that elsewhere can prove later
    that the trail was not written anew. Looking is itself an event, after that one. Needs the role lead.
    Exit status: 0, or 1 if it is broken.
    """
    from cxr_core.worklist import trail

    with failures(), _allowed(settings.load(), Action.AUDIT) as (database, actor):
        verdict = trail.verify(database, _now, actor)
    typer.echo(_said(verdict))
    raise typer.Exit(0 if verdict.broken_at is None else FAILED_EXIT)


@audit_app.command("export")
def export(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="New file to write; default stdout.")
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="CSV that no spreadsheet takes for formulas, instead of JSON.")
    ] = False,
) -> None:
    """Write every event, one JSON object a line, with its digest. The export is itself an event.

    Needs the role lead.
    """
    from cxr_core.worklist import disk, trail

    form = trail.Form.CSV if as_csv else trail.Form.JSON_LINES
    with (
        failures(),
        _allowed(settings.load(), Action.AUDIT) as (database, actor),
        disk.refusals("the file to write"),
        out.open("x", encoding="utf-8", newline="") if out else nullcontext(sys.stdout) as file,
    ):
        trail.write(database, trail.EVERYTHING, form, file, at=_now(), actor=actor, most=None)


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder, best on another disk.")],
) -> None:
    """Copy all studies, films, results and the audit trail to DIR, and verify the copy.

    The app and its workers may go on meanwhile. Needs the role lead, as every export. Exit status: 0, or 1
    if films were missing or the audit trail is broken; the rest has been copied even then.
    """
    from cxr_core.worklist import backup as copying
    from cxr_core.worklist.blobs import Blobs
    from cxr_core.worklist.database import BLOBS_FOLDER

    with failures(), _allowed(chosen := settings.load(), Action.EXPORT) as (database, actor):
        report = copying.backup(database, Blobs(chosen.home / BLOBS_FOLDER), chosen.home, folder)
        with database.write() as session:
            _note(session, actor, "backup", report)
    _tell("copied and verified", report)


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `cxr backup` wrote.")],
) -> None:
    """Bring a backup of this or an older version back into an empty CXR_HOME and database, and verify it.

    The backup of one kind of database goes into the other kind too. No role is asked for: whoever holds the
    backup holds all of it already. Everybody must sign in anew. Exit status: 0, or 1 if it was not whole when
    it was made.
    """
    from cxr_core.errors import StoreError
    from cxr_core.worklist import accounts, faults
    from cxr_core.worklist import backup as copying

    with failures():
        chosen = settings.load()
        actor = local_actor(chosen).name

        def also(session: Session, report: Report) -> None:
            # Who signed out, or was signed out, after the backup was made must not be back.
            accounts.end(session, _now(), accounts.REVOKED)
            broken = report.trail.broken_at is not None  # its head may be gone, which hinders no restore
            with suppress(StoreError) if broken else nullcontext(), faults.told(), session.begin_nested():
                _note(session, actor, "restore", report)

        report = copying.restore(folder, chosen, also)
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
def _allowed(chosen: Settings, action: Action) -> Iterator[tuple[Database, str]]:
    """Yield the database and the name of the person at this machine, who may do it."""
    actor = local_actor(chosen)
    actor.check(action)
    with _opened(chosen) as database:
        yield database, actor.name


def _note(session: Session, actor: str, event: str, report: Report) -> None:
    from cxr_core.worklist import audit

    detail = {"films": report.films, "studies": report.studies}
    audit.append(session, at=_now(), actor=actor, event=event, detail=detail)


def _now() -> datetime:
    return datetime.now(UTC)


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
