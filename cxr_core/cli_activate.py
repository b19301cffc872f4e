"""`cxr models list`, `activate` and `strip`: which model answers the worklist's films, and which cannot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core import settings
from cxr_core.cli_models import failures
from cxr_core.cli_service import in_force, opened
from cxr_core.errors import CxrError

if TYPE_CHECKING:
    from cxr_core.settings import Settings


def list_models() -> None:
    """List the models in CXR_MODELS_DIR; * marks the one that answers the worklist's films."""
    from cxr_core.errors import ModelError
    from cxr_core.files import printable
    from cxr_core.inference.manifest import read_manifest
    from cxr_core.inference.registry import list_models as ids
    from cxr_core.inference.stripped import elsewhere

    with failures():
        chosen = settings.load()
        ours = _in_force(chosen)
        for model_id in ids(chosen.models_dir):
            mark = "*" if model_id == ours else " "
            try:
                model = read_manifest(chosen.models_dir / model_id).model
                only = " [figures only]" if elsewhere(chosen.models_dir / model_id) else ""
            except ModelError as error:
                typer.echo(f"{mark} {printable(model_id)}  NOT SOUND: {printable(str(error))}")
            else:
                typer.echo(f"{mark} {model.id} {model.version}{only}  {printable(model.summary)}")


def activate(
    model_id: Annotated[str, typer.Argument(metavar="ID", help="As `cxr models list` names it.")],
    note: Annotated[str, typer.Option("--note", help="Why; kept with the change.")],
) -> None:
    """Have the worklist's films answered by a model from now on, in every process, once it is checked.

    Answers that are there stay until they are analysed again.
    """
    with failures(), opened() as (service, actor):
        before = service.models(actor).in_force
        service.activate_model(actor, model_id, note, seen=before.change)
        typer.echo(f"{before.model} → {service.model}: in force")
        if otherwise := service.models(actor).otherwise:
            typer.echo(
                f"open studies answered otherwise: {otherwise}; a lead has them analysed again on the page"
            )


def strip_model(
    model_id: Annotated[str, typer.Argument(metavar="ID", help="As `cxr models list` names it.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Where its network goes: DIR/ID/.")],
    where: Annotated[
        str, typer.Option(help="For people: where the network is, or how to make it again.")
    ] = "",
) -> None:
    """Move a model's network out of its folder; card, figures and recipe stay, as for a repository.

    It then answers no film, and its figures are still shown. Lay the files back and it answers again. Refused
    for the model in force, and where nobody can tell which that is.
    """
    from cxr_core.errors import ModelError
    from cxr_core.inference.manifest import MANIFEST
    from cxr_core.inference.registry import load
    from cxr_core.inference.stripped import strip
    from cxr_core.training.recipes import read_recipe

    with failures():
        chosen = settings.load()
        folder = chosen.models_dir / model_id
        if model_id in (chosen.model, in_force(chosen).id):
            raise ModelError(
                f"{model_id} is in force or named by CXR_MODEL; without network it answers no film"
            )
        manifest = load(folder).manifest
        recipes = [read_recipe(path) for path in folder.glob("*.toml") if path.name != MANIFEST]
        again = [
            f"make it again: {each.command}, cxr export {each.name} --version VERSION" for each in recipes
        ]
        place = strip(folder, manifest, to, where or "; ".join(again))
    typer.echo(f"{model_id} {manifest.version}: figures only; its network is in {place}")


def _in_force(chosen: Settings) -> str:
    """Return the id of the model in force, that of the settings where it cannot be read."""
    from cxr_core.files import printable

    try:
        return in_force(chosen).id
    except CxrError as error:  # what is listed below may be just what has to be seen
        typer.echo(f"cxr: which model is in force is not known: {printable(str(error))}", err=True)
        return chosen.model
