"""`cxr fit-site`: a model fitted to a site by its own labelled films."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core.cli_models import failures, progress
from cxr_core.cli_service import opened
from cxr_core.errors import DataError
from cxr_core.files import find, printable

if TYPE_CHECKING:
    from cxr_core.evaluation.site import SiteFit
    from cxr_core.evaluation.site_cases import Cases, Choice
    from cxr_core.worklist.site_films import Reading

SHOWN = 10
"""Refused films listed by name."""


def fit_site(
    listing: Annotated[Path, typer.Argument(metavar="CSV", help="The list: docs/data.md says its columns.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Where the films lie, zips too.")],
    sensitivity: Annotated[
        float | None, typer.Option(help="Share of films with a finding that its threshold lets through.")
    ] = None,
    budget: Annotated[
        bool, typer.Option("--budget", help="Spend the policy's alert budget instead.")
    ] = False,
    name: Annotated[str, typer.Option(help="Of the new model, after the id of the old one.")] = "",
    model: Annotated[
        str | None, typer.Option("--model", metavar="ID", help="To be fitted; default the one in force.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="LABEL", help="Gets a new threshold; may be given again.")
    ] = None,
    prevalence: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=SHARE", help="Where the films were chosen: how frequent it is here."),
    ] = None,
    films_a_day: Annotated[float, typer.Option(help="For the expected flags.")] = 100.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; save nothing.")] = False,
) -> None:
    """Recalibrate a model by local films and set its thresholds, judged on patients held out; save it.

    No film is stored. The new model answers nothing before it is activated (`cxr models activate`).
    """
    from cxr_core.evaluation.site_cases import Aim, Choice
    from cxr_core.evaluation.site_listing import read_listing
    from cxr_core.worklist import handing, site

    with failures():
        if budget == (sensitivity is not None):
            raise DataError("say either --sensitivity or --budget")
        if not (dry_run or name):
            raise DataError("say --name for the new model, or --dry-run to save nothing")
        choice = Choice(
            aim=Aim.BUDGET if budget else Aim.SENSITIVITY,
            sensitivity=Choice().sensitivity if sensitivity is None else sensitivity,
            only=tuple(only or ()),
            films_a_day=films_a_day,
            prevalence=dict(_share(each) for each in prevalence or ()),
        )
        try:
            said = listing.read_bytes()
        except OSError as exc:
            raise DataError(f"{printable(listing.name)}: cannot be read ({type(exc).__name__})") from exc
        with opened() as (service, actor):
            model_id = model or service.model_in_force.id
            lines = read_listing(said, printable(listing.name), site.manifest_of(service, model_id).labels)
            choice.checked(site.manifest_of(service, model_id).labels)
            paths = _films(data)
            reading = service.read_site(actor, model_id, lines, handing.read(paths, service.limits))
            cases = _answered(reading, handing.count(paths))
            for line in _read(reading, cases, lines.remarks):
                typer.echo(printable(line), err=True)
            fit = service.fit_site(actor, model_id, cases, choice)
            _tell(fit, choice)
            if not dry_run:
                saved = service.save_site_model(actor, model_id, fit, name)
                typer.echo(
                    f"{saved.name}: saved, not in force; `cxr models activate {saved.id}` brings it there"
                )


def _films(folder: Path) -> list[Path]:
    """Return films and zips of a folder, or the one file."""
    found = list(find([folder]).films)
    zips = sorted(folder.rglob("*.zip")) if folder.is_dir() else []
    return [*found, *zips]


def _answered(reading: Reading, films: int) -> Cases:
    try:
        with progress() as bar:
            task = bar.add_task("films", total=films)
            while reading.step():
                bar.update(task, completed=reading.read.films)
    finally:
        reading.close()
    return reading.cases()


def _read(reading: Reading, cases: Cases, remarks: Sequence[str]) -> Iterator[str]:
    read = reading.read
    yield (
        f"{len(cases)} films of {cases.number_of_patients()} patients answered; {len(read.refused)} refused, "
        f"{reading.missing} of the list not found, {read.unlisted} not in the list, {read.copies} copies, "
        f"{len(read.unclear)} lines that several films fit"
    )
    yield from remarks
    for each in read.refused[:SHOWN]:
        yield f"refused {each.name}: {each.notice.code}: {each.notice.message}"
    if (more := len(read.refused) - SHOWN) > 0:
        yield f"and {more} more"


def _tell(fit: SiteFit, choice: Choice) -> None:
    from rich.console import Console
    from rich.table import Table

    from cxr_core.domain import Urgency
    from cxr_core.evaluation.site_card import asked, comparison, number

    typer.echo(
        f"{fit.films[0]} films of {fit.patients[0]} patients to fit by, {fit.films[1]} of {fit.patients[1]} "
        f"others to judge by; asked for {asked(choice)}"
    )
    console = Console()
    if not console.is_terminal:
        console.width = 240
    head, rows = comparison(fit)
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for each in fit.labels:
        if each.counts.positives:
            typer.echo(f"{each.label}: {each.verdict.enough}. {each.verdict.why}")
    tiers = ", ".join(
        f"{urgency} {number(fit.tiers_before[urgency])} → {number(fit.tiers_after[urgency])}"
        for urgency in Urgency
    )
    typer.echo(f"films a day by urgency: {tiers}")
    typer.echo(f"verdict: {fit.verdict.enough}. {fit.verdict.why}")


def _share(said: str) -> tuple[str, float]:
    label, _, share = said.partition("=")
    try:
        return label.strip(), float(share)
    except ValueError as exc:
        raise DataError(
            f"--prevalence: expected LABEL=SHARE such as Mass=0.02, got {printable(said)}"
        ) from exc
