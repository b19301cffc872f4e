"""Recipes: every file of the repository reads, and what contradicts itself is refused by name."""

from pathlib import Path

import pytest

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.errors import RecipeError
from cxr_core.settings import Settings
from cxr_core.training.card import how_made
from cxr_core.training.describe import card_of
from cxr_core.training.recipes import COPY, parse_recipe, read_recipe
from cxr_core.triage.policy import load_policy
from tests.training.made import TEXT

RECIPES = Path(__file__).parents[2] / "recipes"
FINDINGS_RECIPES = [path for path in RECIPES.glob("*.toml") if path.stem != "gate"]
"""The gate's network answers other questions and has a recipe of its own form."""
MODELS = [path.parent for path in (RECIPES.parent / "models").glob("*/*_*.toml")]
ASKED = {
    "effusion_balanced", "effusion_resnet18", "abnormal_resnet50", "cxr14_simple_cnn", "cxr14_resnet50",
    "single_disease_multiclass", "healthy_vs_finding", "cxr14_densenet121", "cxr14_efficientnet_b0",
    "cxr14_vit", "cxr14_mobilenetv2",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(FINDINGS_RECIPES), ids=lambda path: path.stem)
def test_every_recipe_reads_and_says_for_what_it_is(path):
    recipe = read_recipe(path)
    assert {*recipe.labels} <= {*FINDINGS, ABNORMAL}
    assert recipe.card.intended
    assert recipe.card.avoid
    assert recipe.preprocessing.film_px == 128, (
        "what the films hold; enlarged for the network, not for detail"
    )


def test_the_whole_list_is_there():
    assert {path.stem for path in FINDINGS_RECIPES} == ASKED


def test_what_starts_from_a_run_names_a_recipe():
    for path in FINDINGS_RECIPES:
        start = read_recipe(path).network.start
        assert start in ("", "init", "imagenet") or (RECIPES / f"{start}.toml").exists()


def test_the_default_is_served_by_networks_of_all_films_and_calibrated_by_one_of_the_others():
    recipe = read_recipe(RECIPES / "cxr14_mobilenetv2.toml")
    assert sorted(member.fold for member in recipe.members) == [-1, -1, 0]
    assert [recipe.members[k].fold for k in recipe.served] == [-1, -1]


PHASE = "[[fit.phases]]\nepochs = 1\nrate = 1e-3"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('task = "multilabel"', 'task = "binary"', "holds the one finding"),
        ('task = "multilabel"', 'task = "multiclass"', "multiclass: softmax"),
        ('output = "sigmoid"', 'output = "softmax"', "multilabel: sigmoid"),
        ("batch = 4", 'loss = "cross_entropy"', "does not fit sigmoid"),
        ("batch = 4", "batch = 4\nvertical_flip = true", "unknown key vertical_flip"),
        ("batch = 4", 'optimiser = "lion"', "unknown 'lion'"),
        ("rate = 1e-2", "rate = 0.0", "rate > 0"),
        ("noise = 0.02", "noise = -0.02", "no number below 0"),
        ("seed = 3", "seed = 3\nfold = 4", "members.fold"),
        ("seed = 3", "seed = 3\nepochs = -1", "members.epochs: not below 0"),
        ("rate = 1e-2", f"rate = 1e-2\n{PHASE}\n[[members]]\nseed = 4\nepochs = 3", "one of fit.phases"),
        ("seed = 3", "seed = 3\n[[members]]\nseed = 3", "distinct seeds"),
        ('labels = ["Effusion", "Mass"]', 'labels = ["Mass", "Mass"]', "distinct"),
        ('output = "sigmoid"', 'output = "sigmoid"\nblind = ["Hernia"]', "of labels"),
        ('output = "sigmoid"', 'output = "sigmoid"\nblind = ["Mass"]', "has a source of"),
        ("batch = 4", 'loss = "weighted_bce"\nsampler = "weighted"', "rarity twice"),
        ('name = "made"', 'name = "../made"', "small letters"),
    ],
)
def test_contradictions_are_refused(old, new, message):
    assert old in TEXT
    with pytest.raises(RecipeError, match=message):
        parse_recipe(TEXT.replace(old, new), "made.toml")


def test_the_name_is_the_file_s_or_the_run_folder_s(tmp_path):
    (tmp_path / "made").mkdir()
    for path in (tmp_path / "made.toml", tmp_path / "made" / COPY):
        path.write_text(TEXT, encoding="utf-8")
        assert read_recipe(path).name == "made"
    (tmp_path / "other.toml").write_text(TEXT, encoding="utf-8")
    with pytest.raises(RecipeError, match="expected 'other'"):
        read_recipe(tmp_path / "other.toml")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")


def test_a_card_says_what_was_frozen_and_which_films_an_epoch_meets():
    said = {
        name: how_made(read_recipe(RECIPES / f"{name}.toml"))
        for name in ("cxr14_resnet50", "single_disease_multiclass", "healthy_vs_finding", "cxr14_mobilenetv2")
    }
    assert (
        "In 2 phases: 2 epochs with all but the head frozen at a rate of 0.001, then 5 epochs with "
        in said["cxr14_resnet50"]
    )
    assert (
        "met 11 times an epoch where it has a label that fewer than 50 films have"
        in said["single_disease_multiclass"]
    )
    assert "as often as its rarest label asks" in said["healthy_vs_finding"]
    balanced = how_made(read_recipe(RECIPES / "effusion_balanced.toml"))
    assert "For each film of train with the finding it learned from 1 without it" in balanced
    assert not any(
        word in said["cxr14_mobilenetv2"]
        for word in ("phases", "times an epoch", "rarest", "with the finding")
    )


@pytest.mark.parametrize("folder", sorted(MODELS), ids=lambda folder: folder.name)
def test_a_model_s_card_is_what_its_tables_and_its_recipe_say_today(folder):
    assert card_of(folder, load_policy(Settings().policy)) == (folder / "card.md").read_text(encoding="utf-8")
