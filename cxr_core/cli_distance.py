"""`cxr models distance`: what a model has seen, told by its features, and how often that is mistaken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core import settings
from cxr_core.cli_models import failures, progress
from cxr_core.cli_service import refuse_in_force

if TYPE_CHECKING:
    from rich.table import Table

    from cxr_core.evaluation.outside import Unlike
    from cxr_core.training.outside import Told


def distance(
    model_id: Annotated[str | None, typer.Argument(metavar="ID", help="Default CXR_MODEL.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Holds nih, not_chest, …; default CXR_DATA.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Keep it in the model folder.")] = False,
    version: Annotated[
        str, typer.Option(help="With --write: of the model from now on, as it answers otherwise.")
    ] = "",
    most: Annotated[
        int, typer.Option(min=0, metavar="N", help="Films of each other population; 0: all.")
    ] = 500,
) -> None:
    """Fit what a model has seen on films that it learned from; print how many others would be warned of.

    With --write limits, figures and card go into the folder. The model then refuses films, so it needs
    another version, and one in force must be activated again.
    """
    with failures():
        from cxr_core.errors import DataError
        from cxr_core.evaluation.outside import counted
        from cxr_core.inference import registry
        from cxr_core.training import outside
        from cxr_core.training.describe import recipe_of
        from cxr_core.triage.policy import load_policy

        chosen = settings.load()
        folder = chosen.models_dir / (model_id or chosen.model)
        root = data or chosen.data
        if root is None:
            raise DataError("no films: name their folder with --data DIR or set CXR_DATA")
        if write != bool(version):
            raise DataError("say both --write and --version, or neither")
        if write:
            refuse_in_force(chosen, folder.name)
            outside.check_version(registry.verify(folder), version)
        classifier = registry.load(folder, threads=chosen.threads)
        with _bar() as told:
            fitted = outside.fit(classifier, recipe_of(folder), root, told, most=most)
        if write:
            outside.keep(folder, fitted, load_policy(chosen.policy), version)
        _say(_shown(counted(fitted.distances, fitted.table)))
        typer.echo(f"warned beyond {fitted.table.warn:.4f}, refused beyond {fitted.table.refuse:.4f}")


def _shown(rows: Iterator[Unlike]) -> Table:
    from rich.table import Table

    from cxr_core.evaluation.outside import said

    table = Table("set", "films", "how many", "warned or refused", "of these refused")
    for each in rows:
        table.add_row(each.set, each.kind, f"{each.warned.of:,}", said(each.warned), said(each.refused))
    return table


def _say(table: Table) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 150
    console.print(table)


@contextmanager
def _bar() -> Iterator[Told]:
    with progress() as bar:
        tasks: dict[str, int] = {}

        def told(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=of)
            bar.update(tasks[what], completed=done)  # type: ignore[arg-type]  # rich's TaskID is an int

        yield told
