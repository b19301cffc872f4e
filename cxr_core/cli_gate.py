"""`cxr gate …`: the network that decides which films a model may judge."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from cxr_core import settings
from cxr_core.cli_models import failures

app = typer.Typer(no_args_is_help=True, help="The network that decides which films a model may judge.")

Data = Annotated[Path | None, typer.Option(help="Folder of films and other pictures; default CXR_DATA.")]


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="`recipes/gate.toml`.", metavar="RECIPE")],
    data: Data = None,
    runs: Annotated[Path, typer.Option(help="Where the run is kept; a stopped one goes on.")] = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="Folder of the gate; default CXR_GATE.")] = None,
    version: Annotated[str, typer.Option(help="Version of the new gate.")] = "1.0.0",
    resume: Annotated[
        bool, typer.Option("--resume/--anew", help="Go on with a stopped run, or discard it.")
    ] = True,
) -> None:
    """Train the gate's network and write it; `cxr gate check --write` then measures it."""
    with failures():
        from cxr_core.training import gate_export, gate_films, gate_fit
        from cxr_core.training.gate_recipe import read_gate_recipe

        followed, folder = read_gate_recipe(recipe), _data(data)
        if not resume:
            shutil.rmtree(runs / "gate", ignore_errors=True)
        pictures = gate_fit.to_learn_from(folder, followed)
        typer.echo(f"{len(pictures)} pictures to learn from", err=True)
        network = gate_fit.train(followed, pictures, runs / "gate", bar=True)
        val = gate_films.chest_films(folder / "nih", "val", "val").inputs
        target = out or settings.load().gate
        gate_export.save(network, val, target, version=version, recipe=recipe)
    typer.echo(f"wrote {target}; `cxr gate check --write` measures it and writes its card")


@app.command()
def check(
    data: Data = None,
    write: Annotated[
        bool, typer.Option("--write", help="Keep the figures and the card beside the network.")
    ] = False,
) -> None:
    """Say how many films pass and how many faults are caught, on pictures that it was not fitted on."""
    with failures():
        from cxr_core.inference import gate_network
        from cxr_core.training import gate_export

        folder = settings.load().gate
        lines = gate_export.measure(gate_network.load(folder), _data(data))
        if write:
            gate_export.keep(folder, lines)
    typer.echo(gate_export.as_markdown(lines))


def _data(data: Path | None) -> Path:
    from cxr_core.errors import DataError

    chosen = data or settings.load().data
    if chosen is None:
        raise DataError("no films: name their folder with --data DIR or set CXR_DATA")
    return chosen
