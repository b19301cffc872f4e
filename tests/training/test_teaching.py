"""A teacher: what it says is mixed into what is known, and into nothing else."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from cxr_core.domain import FINDINGS
from cxr_core.errors import RecipeError
from cxr_core.inference import registry
from cxr_core.training import ablate, teaching
from cxr_core.training.recipes import parse_recipe, read_recipe
from cxr_core.training.run import Machine
from cxr_core.training.sampling import FilmSet
from cxr_core.training.starts import Places
from cxr_core.training.teaching import shared_labels, softened, teacher_of
from tests.training.made import TEXT, made_films, made_recipe

MODELS = Path("models")
TEACHER = "effusion-balanced"


@pytest.fixture(scope="module")
def films():
    side = registry.verify(MODELS / TEACHER).preprocessing.network_px
    store = np.random.default_rng(0).normal(-0.3, 0.2, (6, 1, side, side)).astype(np.float32)
    truth = np.array([[1, 0], [0, 1], [np.nan, 1], [1, 0], [0, 0], [0, np.nan]], dtype=np.float32)
    numbers = np.arange(6)
    return FilmSet(store, numbers, truth, np.full(6, 128), numbers.astype(str))


@pytest.fixture(scope="module")
def recipe():
    made = made_recipe(teacher=TEACHER, taught=0.25)
    return replace(made, preprocessing=registry.verify(MODELS / TEACHER).preprocessing)


def taught(recipe, films, cache):
    return softened(recipe, teacher_of(recipe, MODELS), films, cache)


def test_a_quarter_of_what_is_learned_is_the_teachers_where_both_know(films, recipe, tmp_path):
    teacher = registry.load(MODELS / TEACHER)
    answers = teacher.calibration.probability(teacher.run(films.store).logits.mean(axis=1))
    told = taught(recipe, films, tmp_path).truth
    expected = 0.75 * films.truth[:, 0] + 0.25 * answers[:, 0]
    np.testing.assert_allclose(told[:, 0], expected, rtol=1e-5)
    assert np.isnan(told[2, 0])
    np.testing.assert_array_equal(told[:, 1], films.truth[:, 1])


def test_answers_are_asked_once_for_the_same_films_and_again_for_others(films, recipe, tmp_path):
    first = taught(recipe, films, tmp_path)
    (kept,) = tmp_path.glob("*.npy")
    told = np.load(kept)
    np.save(kept, np.full_like(told, 0.5))
    half = registry.load(MODELS / TEACHER).calibration.probability(np.array([[0.5]]))[0, 0]
    assert taught(recipe, films, tmp_path).truth[0, 0] == pytest.approx(0.75 + 0.25 * half)
    fewer = taught(recipe, films.where(np.arange(3)), tmp_path)
    np.testing.assert_allclose(fewer.truth, first.truth[:3], rtol=1e-5)
    others = taught(recipe, replace(films, store=films.store[::-1].copy()), tmp_path)
    assert not np.allclose(others.truth, first.truth, equal_nan=True)
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_without_a_teacher_nobody_is_asked(recipe):
    assert teacher_of(made_recipe(), None) is None
    assert teacher_of(recipe, MODELS).manifest.id == TEACHER


def test_a_teacher_has_seen_every_fold_so_no_member_leaves_one_out():
    taught = TEXT.replace("[fit]", '[fit]\nteacher = "effusion-balanced"')
    with pytest.raises(RecipeError, match="no member leaves one out"):
        parse_recipe(taught.replace("seed = 3", "seed = 3\nfold = 1"), "made")


def test_two_at_once_ask_once_and_read_the_same(films, recipe, tmp_path, monkeypatch):
    asked, ask = [], teaching._asked
    monkeypatch.setattr(teaching, "_asked", lambda *a: asked.append(1) or sleep(0.2) or ask(*a))
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: taught(recipe, films, tmp_path).truth, range(2)))
    assert len(asked) == 1
    np.testing.assert_array_equal(*both)


def test_a_blind_label_is_left_to_the_truth(recipe):
    teacher = registry.load(MODELS / TEACHER)
    assert shared_labels(recipe, teacher) == ["Effusion"]
    assert shared_labels(replace(recipe, blind=("Effusion",)), teacher) == []
    within = replace(recipe.films, known_within={"Effusion": "enriched"})
    assert shared_labels(replace(recipe, films=within), teacher) == []
    default = registry.load(MODELS / "cxr14-mobilenetv2")
    assert "Pneumonia" not in shared_labels(replace(recipe, labels=FINDINGS), default)


def test_a_teacher_that_cannot_teach_is_refused(recipe, tmp_path):
    other = replace(recipe, preprocessing=replace(recipe.preprocessing, film_px=17))
    with pytest.raises(RecipeError, match="another preprocessing"):
        teacher_of(other, MODELS)
    with pytest.raises(RecipeError, match="none of the labels"):
        teacher_of(replace(recipe, blind=("Effusion",)), MODELS)
    several = replace(recipe, fit=replace(recipe.fit, teacher="single-disease-multiclass"))
    with pytest.raises(RecipeError, match="which one of several"):
        teacher_of(several, MODELS)
    with pytest.raises(RecipeError, match="no folder of models"):
        teacher_of(recipe, None)
    shutil.copytree(MODELS / TEACHER, tmp_path / TEACHER)
    (tmp_path / TEACHER / "model.onnx").write_bytes(b"none")
    with pytest.raises(RecipeError, match=f"teacher {TEACHER}"):
        teacher_of(recipe, tmp_path)


@pytest.mark.parametrize("wrong", ['loss = "focal"', 'sampler = "weighted"', "copies_of_rare = 1"])
def test_a_recipe_that_counts_labels_takes_no_teacher(wrong):
    taught = TEXT.replace("[fit]", '[fit]\nteacher = "effusion-balanced"')
    assert parse_recipe(taught, "made").fit.teacher == "effusion-balanced"
    with pytest.raises(RecipeError, match="softens labels"):
        parse_recipe(taught.replace("[fit]", f"[fit]\n{wrong}"), "made")


def test_no_recipe_of_the_repository_names_a_model_that_is_not_there():
    paths = [path for path in Path("recipes").rglob("*.toml") if path.stem != "gate"]
    teachers = {read_recipe(path).fit.teacher for path in paths} - {""}
    assert teachers
    assert all((MODELS / teacher).is_dir() for teacher in teachers)


def test_spoiled_films_are_never_taught(films, recipe, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(ablate, "train_member", lambda brief, *rest: seen.append(brief) or FACTS)
    ablate.ablate(recipe, made_films(4), made_films(4), tmp_path, Places(tmp_path), Machine())
    assert len(seen) == 5
    assert {brief.fit.teacher for brief in seen} == {""}


FACTS = {"val_mean_auc": 0.5, "minutes": 0.0}
