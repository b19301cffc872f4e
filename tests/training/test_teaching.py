"""A teacher: what it says is mixed into what is known, and into nothing else."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch

from cxr_core.errors import RecipeError
from cxr_core.training import ablate, teaching
from cxr_core.training.recipes import COPY, FILMS, parse_recipe, read_recipe
from cxr_core.training.run import Machine
from cxr_core.training.sampling import FilmSet
from cxr_core.training.starts import Places
from cxr_core.training.teaching import softened, taught_labels, teacher_of
from tests.training.made import TEXT, made_films, made_recipe
from tests.training.made_run import make_run, network_of

TEACHER = "teacher"


@pytest.fixture(scope="module")
def films():
    store = np.random.default_rng(0).normal(-0.3, 0.2, (6, 1, 32, 32)).astype(np.float32)
    truth = np.array([[1, 0], [0, 1], [np.nan, 1], [1, 0], [0, 0], [0, np.nan]], dtype=np.float32)
    numbers = np.arange(6)
    return FilmSet(store, numbers, truth, np.full(6, 128), numbers.astype(str))


@pytest.fixture
def runs(tmp_path):
    """A finished run: two networks that saw all films, two that left folds 1 and 2 out."""
    make_run(tmp_path, name=TEACHER, folds=(-1, 1, -1, 2))
    return tmp_path


@pytest.fixture
def recipe(runs):
    made = read_recipe(runs / TEACHER / COPY)
    return replace(made, name="pupil", fit=replace(made.fit, teacher=TEACHER, taught=0.25))


def taught(recipe, films, runs, fold=-1):
    return softened(recipe, teacher_of(recipe, fold, runs / recipe.name, runs), films, runs / "cache")


def answers(recipe, films, seeds):
    with torch.inference_mode():
        logits = [network_of(recipe, seed)(torch.from_numpy(films.store)) for seed in seeds]
    return torch.sigmoid(torch.stack(logits).mean(0)).numpy()


@pytest.mark.parametrize(("fold", "seeds"), [(-1, (0, 2)), (1, (1,)), (2, (3,))])
def test_a_quarter_of_what_is_learned_is_of_those_who_left_the_same_fold_out(
    films, recipe, runs, fold, seeds
):
    told = taught(recipe, films, runs, fold).truth
    expected = 0.75 * films.truth + 0.25 * answers(recipe, films, seeds)
    np.testing.assert_allclose(told, expected, rtol=1e-4)
    assert np.isnan(told[2, 0])


def test_nobody_teaches_a_member_whose_fold_all_have_seen(recipe, runs):
    with pytest.raises(RecipeError, match="has seen fold 3"):
        teacher_of(recipe, 3, runs / recipe.name, runs)


def test_answers_are_asked_once_for_the_same_films_and_again_for_others(films, recipe, runs):
    first = taught(recipe, films, runs)
    (kept,) = (runs / "cache").glob("*.npy")
    np.save(kept, np.zeros_like(np.load(kept)))
    assert taught(recipe, films, runs).truth[0, 0] == pytest.approx(0.75 + 0.25 * 0.5)
    fewer = taught(recipe, films.where(np.arange(3)), runs)
    np.testing.assert_allclose(fewer.truth, first.truth[:3], rtol=1e-4)
    others = taught(recipe, replace(films, store=films.store[::-1].copy()), runs)
    assert not np.allclose(others.truth, first.truth, equal_nan=True)
    taught(recipe, films, runs, fold=1)
    assert len(list((runs / "cache").glob("*.npy"))) == 4


def test_without_a_teacher_nobody_is_asked(runs):
    assert teacher_of(made_recipe(), -1, runs / "made", runs) is None


def test_two_at_once_ask_once_and_read_the_same(films, recipe, runs, monkeypatch):
    asked, ask = [], teaching._asked
    monkeypatch.setattr(teaching, "_asked", lambda *a: asked.append(1) or sleep(0.2) or ask(*a))
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: taught(recipe, films, runs).truth, range(2)))
    assert len(asked) == 1
    np.testing.assert_array_equal(*both)


def test_a_label_that_is_tied_to_a_source_is_left_to_the_truth(films, recipe, runs):
    assert taught_labels(recipe) == ["Effusion", "Mass"]
    within = replace(recipe, films=replace(recipe.films, known_within={"Effusion": "enriched"}))
    for tied in (replace(recipe, blind=("Effusion",)), within):
        assert taught_labels(tied) == ["Mass"]
        told = taught(tied, films, runs).truth
        np.testing.assert_array_equal(told[:, 0], films.truth[:, 0])
        assert not np.array_equal(told[:, 1], films.truth[:, 1], equal_nan=True)


def test_a_teacher_that_cannot_teach_is_refused(recipe, runs):
    def refused(why, recipe=recipe):
        with pytest.raises(RecipeError, match=f"^teacher .*{why}"):
            teacher_of(recipe, -1, runs / recipe.name, runs)

    refused("another preprocessing", replace(recipe, preprocessing=replace(recipe.preprocessing, film_px=17)))
    refused("other labels", replace(recipe, labels=("Effusion", "Nodule")))
    refused("none of the labels", replace(recipe, blind=recipe.labels))
    refused("no such run", replace(recipe, fit=replace(recipe.fit, teacher="nobody")))
    make_run(runs, name="one_of", task="multiclass", output="softmax")
    refused("which one of several", replace(recipe, fit=replace(recipe.fit, teacher="one_of")))
    (runs / recipe.name).mkdir()
    for run, noted in ((TEACHER, "one"), (recipe.name, "other")):
        (runs / run / FILMS).write_text(noted)
    refused("other films, labels or splits")
    (runs / recipe.name / FILMS).write_text("one")
    own = runs / TEACHER / "member-2" / "run.json"
    facts = json.loads(own.read_text())
    own.write_text(json.dumps(facts | {"finished": False}))
    refused("member 2 has not finished")
    own.write_text(json.dumps(facts | {"fold": 3}))
    refused("member 2 is not the recipe's")


def test_a_teacher_knows_labels_that_no_model_of_the_product_has(runs, recipe):
    path = runs / TEACHER / COPY
    path.write_text(path.read_text().replace('"Mass"', '"Lines"'))
    pupil = replace(recipe, labels=("Effusion", "Lines"))
    assert teacher_of(pupil, -1, runs / pupil.name, runs).name.startswith("the run teacher")
    blindly = path.read_text().replace('loss = "bce"', 'loss = "vicreg"\njudged_by = "loss"')
    path.write_text(blindly)
    with pytest.raises(RecipeError, match="answers nothing"):
        teacher_of(pupil, -1, runs / pupil.name, runs)


@pytest.mark.parametrize("wrong", ['loss = "focal"', 'sampler = "weighted"', "copies_of_rare = 1"])
def test_a_recipe_that_counts_labels_takes_no_teacher(wrong):
    taught = TEXT.replace("[fit]", '[fit]\nteacher = "effusion_balanced"')
    assert parse_recipe(taught, "made").fit.teacher == "effusion_balanced"
    with pytest.raises(RecipeError, match="softens labels"):
        parse_recipe(taught.replace("[fit]", f"[fit]\n{wrong}"), "made")


def test_the_repository_holds_the_recipe_of_every_teacher_and_it_can_teach():
    recipes = {
        path.stem: read_recipe(path) for path in Path("recipes").rglob("*.toml") if path.stem != "gate"
    }
    pupils = [recipe for recipe in recipes.values() if recipe.fit.teacher]
    assert pupils
    for pupil in pupils:
        teacher = recipes[pupil.fit.teacher]
        assert (teacher.labels, teacher.preprocessing) == (pupil.labels, pupil.preprocessing)
        assert {member.fold for member in pupil.members} - {-1} <= {member.fold for member in teacher.members}


def test_spoiled_films_are_never_taught(recipe, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(ablate, "train_member", lambda brief, *rest: seen.append(brief) or FACTS)
    ablate.ablate(recipe, made_films(4), made_films(4), tmp_path, Places(tmp_path), Machine())
    assert len(seen) == 5
    assert {brief.fit.teacher for brief in seen} == {""}


FACTS = {"val_mean_auc": 0.5, "minutes": 0.0}
