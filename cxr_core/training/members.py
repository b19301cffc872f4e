"""The finished networks of a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from cxr_core.errors import ModelError
from cxr_core.training import served
from cxr_core.training.networks import Classifier, build
from cxr_core.training.progress import KEPT, read_facts
from cxr_core.training.recipes import TrainingRecipe


def load_members(run: Path, recipe: TrainingRecipe) -> list[Classifier]:
    """Return the networks of a run, see `load_member`."""
    return [load_member(run, recipe, number) for number in range(len(recipe.members))]


def load_member(run: Path, recipe: TrainingRecipe, number: int) -> Classifier:
    """Return a network of a run in evaluation mode, on the GPU if there is one, with L logits.

    Raises:
        ModelError: the member is missing, unfinished, of another network, or was trained with another seed,
            fold or number of epochs than the recipe says: it may have seen the fold that it answers.
    """
    own = run / f"member-{number}"
    facts = read_facts(own)
    if not facts.get("finished") or not (own / KEPT).is_file():
        raise ModelError(f"{run.name}: member {number} has not finished; go on with cxr train")
    if strange := _strange(facts, recipe, number):
        raise ModelError(
            f"{run.name}: member {number} is not the recipe's ({strange}); move it away and train it anew"
        )
    member = build(recipe.network, recipe.outputs)
    served.load_weights(member, own / KEPT)
    if recipe.outputs > len(recipe.labels):
        served.one_logit(member)
    return member.to("cuda" if torch.cuda.is_available() else "cpu")


def _strange(facts: Mapping[str, object], recipe: TrainingRecipe, number: int) -> str:
    """Return in words where a member was trained otherwise than the recipe says."""
    asked = recipe.members[number]
    wanted = {"seed": asked.seed, "fold": asked.fold, "of_epochs": recipe.epochs_of(number)}
    other = {name: value for name, value in wanted.items() if facts.get(name) != value}
    return ", ".join(f"{name} {facts.get(name)} instead of {value}" for name, value in other.items())
