"""`cxr …`: data on stdout, progress and messages on stderr. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_core import (
    cli_activate,
    cli_data,
    cli_deidentify,
    cli_distance,
    cli_evaluate,
    cli_explain,
    cli_export,
    cli_fit,
    cli_gate,
    cli_list,
    cli_models,
    cli_policy,
    cli_store,
    cli_submit,
    cli_train,
    cli_users,
    cli_worker,
    logs,
    settings,
)
from cxr_core.cli_list import STYLES
from cxr_core.cli_models import REFUSED_EXIT, failures, progress
from cxr_core.errors import StoreError

if TYPE_CHECKING:
    from cxr_core.domain import Analysis
    from cxr_core.pipeline import Kit

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Chest X-ray triage. Not a medical device: it suggests, a clinician decides.",
)
app.add_typer(cli_models.app, name="models")
cli_models.app.command("list")(cli_activate.list_models)
cli_models.app.command("activate")(cli_activate.activate)
cli_models.app.command("strip")(cli_activate.strip_model)
app.command()(cli_explain.explain)
app.command()(cli_submit.submit)
app.command()(cli_worker.worker)
app.command()(cli_deidentify.deidentify)
app.command()(cli_list.worklist)
app.add_typer(cli_store.audit_app, name="audit")
app.add_typer(cli_users.app, name="users")
app.add_typer(cli_policy.app, name="policy")
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_gate.app, name="gate")
app.command()(cli_train.train)
app.command()(cli_evaluate.evaluate)
app.command()(cli_export.export)
app.command()(cli_fit.fit_site)
cli_models.app.command("figures")(cli_export.figures)
cli_models.app.command("distance")(cli_distance.distance)
cli_models.app.command("import")(cli_export.import_model)
app.command()(cli_store.backup)
app.command()(cli_store.restore)


@app.callback()
def begin() -> None:
    """Give the command an id by which its lines in a log are known."""
    logs.to_stderr(logging.WARNING)
    logs.begin()


Paths = Annotated[
    list[Path],
    typer.Argument(
        help="Files, or folders to walk for image and DICOM files.", show_default=False, metavar="PATH"
    ),
]


@app.command()
def triage(
    paths: Paths,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line instead of a table.")
    ] = False,
    heatmap: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each film with its heatmap there, as PNG.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a one-page PDF of each film there.")
    ] = None,
    correct: Annotated[
        bool, typer.Option("--correct", help="Turn or invert films that are refused for it, and go on.")
    ] = False,
) -> None:
    """Say what the model found, how urgent, what to do.

    A film that its decoder does not survive is refused; all others are answered. Exit status: 0, or 3 if
    any film was refused.
    """
    from cxr_core.batch import analyse_files, corrected
    from cxr_core.cli_decode import apart
    from cxr_core.files import name
    from cxr_core.reports.record import as_record

    with failures():
        files = _found(paths)
        pictures = heatmap is not None or report is not None
        records: list[dict[str, Any]] = []
        any_refused = False
        chosen, now = settings.load(), datetime.now(UTC)
        with apart(chosen, pictures=pictures) as prepare, progress() as bar:
            kit = _kit()
            task = bar.add_task("triage", total=len(files))
            for file, analysis in analyse_files(
                files,
                kit,
                now=now,
                threads=chosen.threads,
                batch=4 if pictures else 16,
                keep_pixels=pictures,
                prepare=prepare,
            ):
                if correct:
                    analysis = corrected(file, analysis, kit, now=now, prepare=prepare)
                record = as_record(analysis, name(file))
                any_refused = any_refused or analysis.refusal is not None
                if as_json:
                    typer.echo(json.dumps(record, allow_nan=False))
                else:
                    records.append(record)
                if pictures:
                    _save_pictures(analysis, file, kit, heatmap, report)
                bar.advance(task)
        if records:
            _print_table(records)
    raise typer.Exit(REFUSED_EXIT if any_refused else 0)


@app.command()
def predict(
    paths: Paths,
    out: Annotated[Path, typer.Option("--out", metavar="CSV", help="File to write, or to go on with.")],
    model: Annotated[
        str | None, typer.Option("--model", metavar="ID", help="Model that answers; default CXR_MODEL.")
    ] = None,
) -> None:
    """Write calibrated probabilities of every label, one row a film.

    Run it again after an interruption: what OUT holds is not done again. Refused films are listed
    beside it in `*.refused.csv`. Exit status: 0, or 3 if any film was refused.
    """
    from cxr_core import batch
    from cxr_core.cli_decode import apart

    with failures():
        files = _found(paths)
        chosen = settings.load()
        with apart(chosen) as prepare, progress() as bar:
            kit = _kit(model)
            task = bar.add_task("predict", total=len(files))
            tally = batch.predict(
                files,
                kit,
                out,
                now=datetime.now(UTC),
                threads=chosen.threads,
                progress=lambda done: bar.advance(task, done),
                prepare=prepare,
            )
    typer.echo(
        f"{tally.answered} answered, {tally.refused} refused, {tally.skipped} done in an earlier run",
        err=True,
    )
    raise typer.Exit(REFUSED_EXIT if tally.refused or tally.skipped_refused else 0)


@app.command("settings")
def show_settings() -> None:
    """List every setting: its value now, type, default and meaning."""
    with failures():
        now = settings.load()
    for name, kind, default, help_ in settings.rows():
        value = default if default == settings.HIDDEN else getattr(now, settings.field_name(name))
        typer.echo(f"{name} = {value}\n    {help_} ({kind}; default: {default or 'unset'})")


def _found(paths: list[Path]) -> tuple[Path, ...]:
    from cxr_core.files import find

    found = find(paths)
    if found.others:
        typer.echo(f"{found.others} other files left out: neither image nor DICOM", err=True)
    if not found.films:
        typer.echo("no image or DICOM file found", err=True)
    return found.films


def _kit(model: str | None = None) -> Kit:
    from dataclasses import replace

    from cxr_core.pipeline import load_kit

    chosen = settings.load()
    return load_kit(replace(chosen, model=model) if model else chosen)


def _save_pictures(
    analysis: Analysis, file: Path, kit: Kit, heatmap: Path | None, report: Path | None
) -> None:
    """Write the annotated PNG and the PDF of one film; what could not be decoded has no picture."""
    from cxr_core.pipeline import heatmaps
    from cxr_core.reports import page, picture

    maps = {} if analysis.refusal else heatmaps(analysis, kit)
    stem = f"{file.stem}-{analysis.sha256[:8]}"
    if heatmap is not None and analysis.radiograph is not None:
        _write(heatmap / f"{stem}.png", picture.annotated(analysis, kit.policy, maps))
    if report is not None:
        evaluation = kit.classifier.manifest.evaluation
        sheet = page.report(analysis, kit.policy, maps, evaluation=evaluation, now=datetime.now(UTC))
        _write(report / f"{stem}.pdf", sheet)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as exc:
        raise StoreError(f"{path.parent}: cannot be written to ({exc.strerror})") from exc


def _print_table(records: list[dict[str, Any]]) -> None:
    """Print the most urgent films first, as the worklist does."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from cxr_core.domain import Urgency
    from cxr_core.files import printable

    table = Table("urgency", "state", Column("file", overflow="fold"), "findings, or why not")
    for record in sorted(records, key=lambda record: Urgency(record["urgency"]).rank):
        cells = (record["urgency"], record["state"].replace("_", " "), record["file"], _summary(record))
        texts = [Text(printable(cell)) for cell in cells]
        texts[0].stylize(STYLES[record["urgency"]])
        table.add_row(*texts)
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)


def _summary(record: dict[str, Any]) -> str:
    from cxr_core.imaging.gate import CORRECTIONS

    how = f"corrected ({record['correction']}) · " if record["correction"] else ""
    if "error" in record:
        code, message = record["error"]["code"], record["error"]["message"]
        way = " If that is so: --correct." if code in CORRECTIONS and not how else ""
        return f"{how}{code}: {message}{way}"
    positive = [
        f"{each['label']} {each['probability']:.2f}" for each in record["findings"] if each["positive"]
    ]
    return how + (", ".join(positive) or record["reasons"][0])


if __name__ == "__main__":
    app()
