"""`cxr models …`: what models there are, what they say of themselves, whether to trust them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core import settings
from cxr_core.errors import CxrError

if TYPE_CHECKING:
    from rich.progress import Progress

    from cxr_core.data.index import Problem
    from cxr_core.inference.manifest import Manifest

FAILED_EXIT = 1
REFUSED_EXIT = 3
SAID = 10
"""Problems of a kind that are named one by one."""

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What models there are, and whether to trust them."
)


@contextmanager
def failures() -> Iterator[None]:
    """Turn our own errors into one line and exit status 1."""
    try:
        yield
    except CxrError as error:
        typer.echo(f"cxr: {error}", err=True)
        raise typer.Exit(FAILED_EXIT) from error


def progress() -> Progress:
    """Return a bar on stderr, silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def name_problems(problems: Sequence[Problem]) -> None:
    """Name what was found, kind by kind, a few of each."""
    for code in dict.fromkeys(each.code for each in problems):
        kind = [each for each in problems if each.code == code]
        for problem in kind[:SAID]:
            typer.echo(f"{code}: {problem.where}: {problem.message}", err=True)
        if len(kind) > SAID:
            typer.echo(f"{code}: and {len(kind) - SAID} more; cxr data check names them all", err=True)


@app.command("show")
def show_model(
    model_id: Annotated[str | None, typer.Argument(metavar="ID", help="Default CXR_MODEL.")] = None,
) -> None:
    """Show what a model's manifest says: labels, thresholds, data, measured figures."""
    from cxr_core.inference.manifest import read_manifest
    from cxr_core.inference.stripped import elsewhere

    with failures():
        chosen = settings.load()
        folder = chosen.models_dir / (model_id or chosen.model)
        manifest = read_manifest(folder)
    for line in _facts(manifest):
        typer.echo(line)
    if where := elsewhere(folder):
        typer.echo(f"figures only  {where}")


@app.command("verify")
def verify_models(
    model_ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Default: all of them.")] = None,
) -> None:
    """Check every file's SHA-256, the labels and the self-test. Exit status: 0, or 1 if any is not sound.

    Of a model whose network is elsewhere, what lies here is checked.
    """
    from cxr_core.errors import ModelError
    from cxr_core.inference.registry import list_models as ids
    from cxr_core.inference.registry import load, verify
    from cxr_core.inference.stripped import NETWORK_FILES, elsewhere

    with failures():
        chosen = settings.load()
    sound = True
    for model_id in model_ids or ids(chosen.models_dir):
        folder = chosen.models_dir / model_id
        try:
            if where := elsewhere(folder):
                manifest = verify(folder)
                count = len(set(manifest.files) - set(NETWORK_FILES))
                said = f"sound, {count} files; figures only, its network is not in this copy ({where})"
                typer.echo(f"{model_id} {manifest.version}: {said}")
                continue
            manifest = load(folder).manifest
            typer.echo(f"{model_id} {manifest.version}: sound, {len(manifest.files)} files and the self-test")
        except ModelError as error:
            sound = False
            typer.echo(f"{model_id}: NOT SOUND: {error}")
    raise typer.Exit(0 if sound else FAILED_EXIT)


def _facts(manifest: Manifest) -> Iterator[str]:
    """Yield the lines of `cxr models show`."""
    model, recipe = manifest.model, manifest.recipe
    yield f"{model.id} {model.version}  {model.summary}"
    yield f"architecture  {model.architecture}, {model.members} members"
    yield f"licence       {model.licence}; made {model.created}"
    yield f"sees          the whole film at {recipe.film_px} px, enlarged to {recipe.network_px} px"
    yield f"learned from  {manifest.data.name} ({manifest.data.licence}): {manifest.data.attribution}"
    for name, size in manifest.data.split.items():
        yield f"  {name:12}{size.films} films of {size.patients} patients"
    yield f"thresholds    {manifest.thresholds.rule}"
    for label, value in zip(manifest.labels, manifest.thresholds.values, strict=True):
        yield f"  {label:20}{value:.4f}"
    if manifest.evaluation:
        yield "measured"
    for name, value in manifest.evaluation.items():
        yield f"  {name:40}{value}"
