"""`cxr data …`: whether a folder of films is fit to learn from."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core.cli_models import REFUSED_EXIT, failures, progress

if TYPE_CHECKING:
    from cxr_core.data.check import Check
    from cxr_core.data.index import Problem

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Films to learn from.")

_LISTED = 5
"""Problems of one kind that are printed; --json and --html list more."""


@app.callback()
def data() -> None:
    """Keep `check` a command of its own."""


@app.command("check")
def check_data(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="NIH ChestX-ray14 as published, a folder for each class, or a CSV file.",
            show_default=False,
        ),
    ],
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write plots and example films there, as one page."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    small_films: Annotated[
        bool, typer.Option("--small-films", help="Also the training films listed as 64 pixels only.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not open the films: no copies, nothing unreadable.")
    ] = False,
    min_count: Annotated[
        int, typer.Option(min=1, metavar="N", help="Training films that a label needs.")
    ] = 2,
) -> None:
    """Count, and find leaks, copies, shortcuts.

    Exit status: 0 if sound, 3 if faults were found, 1 if it cannot be read.
    """
    from cxr_core.data.check import as_record, check
    from cxr_core.data.pixels import look
    from cxr_core.data.readers import read

    with failures():
        index = read(folder, small_films=small_films, checked=False)
        with progress() as bar:
            task = bar.add_task("looking at films", total=len(index))
            pixels = None if quick else look(index, progress=lambda done: bar.advance(task, done))
        result = check(index, pixels, min_count=min_count)
        if page is not None:
            _write(page, result)
    if as_json:
        typer.echo(json.dumps(as_record(result), allow_nan=False, ensure_ascii=False))
    else:
        for line in _lines(result):
            typer.echo(line)
    raise typer.Exit(REFUSED_EXIT if result.faults else 0)


def _write(path: Path, result: Check) -> None:
    from cxr_core.data.check_page import page
    from cxr_core.errors import StoreError

    try:
        path.write_text(page(result), encoding="utf-8")
    except OSError as exc:
        raise StoreError(f"{path}: cannot be written ({type(exc).__name__})") from exc


def _lines(result: Check) -> Iterator[str]:
    """Yield what a person reads in the terminal."""
    from cxr_core.data.index import SPLITS

    index = result.index
    yield f"{index.name}: {len(index):,} films of {index.patients:,} patients"
    for split in SPLITS:
        part = index.of(split)
        yield f"  {split:6}{len(part):>9,} films of {part.patients:,} patients"
    yield f"{'label':22}" + "".join(f"{split:>9}" for split in SPLITS)
    for label, row in result.labels.iterrows():
        counts = "".join(f"{int(row[split, 'positive']):>9,}" for split in SPLITS)
        unknown = sum(len(index.of(split)) - int(row[split, "known"]) for split in SPLITS)
        yield f"  {label!s:20}{counts}" + (f"   unknown on {unknown:,}" if unknown else "")
    for name, table in result.groups.items():
        films = table.sum(axis=1)
        yield f"{name:8}" + ", ".join(f"{value} {count:,}" for value, count in films.items())
    for tie in result.ties:
        if tie.strong:
            yield f"tied    {tie.fact} alone tells {tie.label} with an AUC of {tie.auc:.2f}"
    for title, problems in (("worth knowing", result.notes), ("faults", result.faults)):
        yield f"{title}: {len(problems):,}" if problems else f"{title}: none"
        yield from _listed(problems)


def _listed(problems: Iterable[Problem]) -> Iterator[str]:
    by_code: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_code[problem.code].append(problem)
    for code, each in by_code.items():
        for problem in each[:_LISTED]:
            yield f"  {code}  {problem.where}: {problem.message}"
        if len(each) > _LISTED:
            yield f"  {code}  and {len(each) - _LISTED:,} more"
