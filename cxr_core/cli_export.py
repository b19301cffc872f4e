"""`cxr export`, `cxr models figures`, `cxr models import`: from networks to model folders and their cards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_core import settings
from cxr_core.cli_models import failures, name_problems
from cxr_core.cli_service import refuse_in_force

Version = Annotated[str, typer.Option(help="Version of the model, as its card and every result name it.")]

_IN_FORCE = (
    "Name another folder of models with --out, or activate another model, export, and activate this one again"
)


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run of `cxr train`, by name or folder.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The films it was trained on; default CXR_DATA.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of model folders; default CXR_MODELS_DIR.")
    ] = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of runs.")] = Path("runs"),
    version: Annotated[
        str,
        typer.Option(
            help="Version of the model, as its card and every result name it; 1.0.0 where there is none yet."
        ),
    ] = "",
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "Apache-2.0",
    baseline: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Another model's answers on val, to compare with.")
    ] = None,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Leave the test list unlooked at, as while still choosing.")
    ] = False,
) -> None:
    """Make a model folder of a finished run: calibrate, set thresholds, measure, describe.

    Refuses if torch and ONNX Runtime differ in a logit. A model of the same id and version that answers
    otherwise is not replaced, nor is one that a lead activated.
    """
    with failures():
        from cxr_core.training.export import Job, export_run, model_id, version_of
        from cxr_core.training.prepare import CACHE
        from cxr_core.training.recipes import COPY, read_recipe
        from cxr_core.triage.policy import load_policy

        chosen = settings.load()
        folder = Path(run) if (Path(run) / COPY).is_file() else runs / run
        models, own = out or chosen.models_dir, model_id(read_recipe(folder / COPY))
        if models.resolve() == chosen.models_dir.resolve():
            refuse_in_force(chosen, own, _IN_FORCE)
        version = version_of(models / own, version)
        job = Job(
            run=folder,
            data=_films(data, chosen.data),
            models=models,
            cache=folder.resolve().parent / CACHE,
            policy=load_policy(chosen.policy),
            version=version,
            test=not no_test,
            baseline=baseline,
            licence=licence,
            tell=name_problems,
        )
        made = export_run(job)
    typer.echo(f"{made.name} {version}: sound, in {made}")


def figures(
    model_id: Annotated[str | None, typer.Argument(metavar="ID", help="Default CXR_MODEL.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Another model's answers on val, to compare with.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write card, figures and hashes into the folder instead.")
    ] = False,
    recipe: Annotated[
        Path | None, typer.Option(metavar="TOML", help="With --write: the recipe, where the folder lacks it.")
    ] = None,
    version: Annotated[
        str, typer.Option(help="With --write: the model's version from now on; default as before.")
    ] = "",
) -> None:
    """Print a model's card with its figures computed anew from the tables in its folder; needs no films."""
    with failures():
        from cxr_core.errors import RecipeError
        from cxr_core.training.describe import card_of, write_anew
        from cxr_core.triage.policy import load_policy

        if not write and (version or recipe):
            raise RecipeError("--version and --recipe say what --write writes: add it, or leave them out")
        chosen = settings.load()
        folder, policy = chosen.models_dir / (model_id or chosen.model), load_policy(chosen.policy)
        if write:
            refuse_in_force(chosen, folder.name)
            write_anew(folder, policy, recipe=recipe, baseline=baseline, version=version)
        else:
            typer.echo(card_of(folder, policy, baseline=baseline))


def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Weights: safetensors, or a state_dict.")],
    kind: Annotated[str, typer.Option(help="torchxrayvision or chexnet.")],
    model_id: Annotated[str, typer.Option("--id", help="Of the model, and name of its folder.")],
    labels: Annotated[
        str, typer.Option(help="Names of the outputs in order, by commas; default those of the kind.")
    ] = "",
    licence: Annotated[str, typer.Option(help="Of the weights, as whoever trained them states it.")] = (
        "not stated"
    ),
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of model folders; default CXR_MODELS_DIR.")
    ] = None,
    version: Version = "1.0.0",
) -> None:
    """Make a model folder of a DenseNet-121 that others trained.

    Nothing in the file is run: pickled objects are refused. It is not calibrated and has no thresholds, so
    every finding reads "not assessed" until they are fitted.
    """
    with failures():
        from cxr_core.training.importing import Source, import_checkpoint, kind_of

        chosen = settings.load()
        names = tuple(name.strip() for name in labels.split(",")) if labels else ()
        source = Source(file, kind_of(kind), model_id, names, licence, version)
        made = import_checkpoint(source, out or chosen.models_dir)
    typer.echo(f"{made.name} {version}: sound, not calibrated, in {made}")


def _films(given: Path | None, data: Path | None) -> Path:
    from cxr_core.errors import DataError
    from cxr_core.training.prepare import data_root

    chosen = given or data
    if chosen is None:
        raise DataError("no films: name their folder with --data DIR or set CXR_DATA")
    return data_root(chosen)
