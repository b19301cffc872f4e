"""`cxr train`: from a recipe and films to a run folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cxr_core import settings
from cxr_core.cli_models import failures, name_problems

if TYPE_CHECKING:
    from cxr_core.data.index import Index
    from cxr_core.training.ablate import Ablated
    from cxr_core.training.recipes import TrainingRecipe
    from cxr_core.training.run import Machine
    from cxr_core.training.sampling import FilmSet
    from cxr_core.training.starts import Places


def train(
    recipe: Annotated[Path, typer.Argument(help="A file of recipes/.", metavar="RECIPE")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of films in one of the layouts of docs/data.md; default CXR_DATA."),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders and decoded films go.")] = Path("runs"),
    init: Annotated[
        Path | None, typer.Option(help="Weights to start from: safetensors, or a torch file of tensors only.")
    ] = None,
    member: Annotated[int, typer.Option(help="Train only this member, counted from 0.", min=-1)] = -1,
    label: Annotated[str, typer.Option(help="Another finding for a recipe of one label.")] = "",
    epochs: Annotated[int, typer.Option(help="Fewer or more epochs than the recipe's.", min=0)] = 0,
    overfit: Annotated[
        int, typer.Option(metavar="N", help="Learn N films by heart, or say what is broken.", min=0)
    ] = 0,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Train shortly on spoiled films: what the score rests on.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--anew", help="Go on with a stopped run, or discard it.")
    ] = True,
    workers: Annotated[int, typer.Option(help="Processes that read films beside the trainer.", min=0)] = 0,
) -> None:
    """Train the members of a recipe; a stopped run goes on from its last epoch.

    Exit status: 0, or 1 if it cannot be done or --overfit finds something broken.
    """
    with failures():
        from cxr_core.errors import RecipeError
        from cxr_core.training import prepare
        from cxr_core.training.recipes import Loss, parse_recipe
        from cxr_core.training.run import Machine, start_anew
        from cxr_core.training.starts import Places

        folder_of_films, pretrained = _data(data)
        text, index = prepare.chosen(prepare.adapted(recipe, epochs=epochs, label=label), folder_of_films)
        if not resume and (overfit or ablate):
            raise RecipeError("--anew discards a run that was trained; --overfit and --ablate go without it")
        anew = not resume and not _started_by_another()
        if anew and member < 0:
            start_anew(runs / prepare.name_in(text))
        followed, folder = prepare.settle(text, index, runs)
        if anew and member >= 0:
            start_anew(folder, member)
        asked = parse_recipe(recipe.read_text(encoding="utf-8"), recipe.name).labels
        name_problems([each for each in index.problems if each.code != "rare_label" or each.where in asked])
        if followed.not_for_export:
            typer.echo(f"note: {followed.not_for_export}", err=True)
        if followed.fit.loss is Loss.VICREG and (overfit or ablate):
            raise RecipeError(
                f"{followed.name} learns without labels: --overfit and --ablate ask what they do"
            )
        places = Places(runs, pretrained, init)
        if overfit:
            _overfit(followed, index.of("train"), overfit, places)
        films, val, lost = prepare.films_of(followed, index, runs)
        name_problems(lost)
        typer.echo(f"{followed.name}: {len(films)} films to learn from, {len(val)} to judge by", err=True)
        machine = Machine(workers=workers, bar=_terminal())
        if ablate:
            _ablate(followed, films, val, folder, places, machine)
        else:
            _train(followed, member, films, val, folder, places, machine)


def _started_by_another() -> bool:
    """Say whether this is a further process of a run on several GPUs, which the first one has begun."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def _train(
    recipe: TrainingRecipe,
    member: int,
    films: FilmSet,
    val: FilmSet,
    folder: Path,
    places: Places,
    machine: Machine,
) -> None:
    from cxr_core.errors import RecipeError
    from cxr_core.training.run import train_member

    if member >= len(recipe.members):
        raise RecipeError(f"{recipe.name} has {len(recipe.members)} members, counted from 0")
    for number in range(len(recipe.members)) if member < 0 else [member]:
        facts = train_member(recipe, number, films, val, folder, places, machine)
        judged = f"val_{recipe.fit.judged_by}"
        figure = "none" if facts[judged] is None else f"{facts[judged]:.4f}"
        typer.echo(
            f"member {number}: {facts['epochs']} epochs in {facts['minutes']:.1f} min "
            f"from {facts['init']}; {judged} {figure}"
        )
    if not recipe.not_for_export:
        typer.echo(f"next: cxr export {folder}", err=True)


def _overfit(recipe: TrainingRecipe, train: Index, count: int, places: Places) -> NoReturn:
    from cxr_core.training.overfit import handful, learn_by_heart
    from cxr_core.training.prepare import CACHE, film_set

    few = train.where(handful(train.truth(recipe.labels), count))
    films, lost = film_set(recipe, few, places.runs / CACHE)
    name_problems(lost)
    verdict = learn_by_heart(recipe, films, places)
    typer.echo(verdict.sentence)
    raise typer.Exit(0 if verdict.learned else 1)


def _ablate(
    recipe: TrainingRecipe, films: FilmSet, val: FilmSet, folder: Path, places: Places, machine: Machine
) -> None:
    from cxr_core.training.ablate import TABLE, ablate

    lines: list[Ablated] = ablate(recipe, films, val, folder, places, machine)
    for line in lines:
        typer.echo(f"{line.what:16} val_{recipe.fit.judged_by} {line.judged:.4f}   {line.meaning}")
    typer.echo(f"wrote {folder / TABLE}", err=True)


def _data(data: Path | None) -> tuple[Path, Path | None]:
    """Return the folder of films and that of ImageNet weights, which may lie in either data folder."""
    from cxr_core.errors import DataError

    standing = settings.load().data
    chosen = data or standing
    if chosen is None:
        raise DataError("no films: name their folder with --data DIR or set CXR_DATA")
    places = [folder / "pretrained" for folder in (chosen, standing) if folder is not None]
    return chosen, next((place for place in places if place.is_dir()), None)


def _terminal() -> bool:
    from rich.console import Console

    return Console(stderr=True).is_terminal
