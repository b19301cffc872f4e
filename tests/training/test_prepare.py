"""What a run is told before its first step: labels that the source tells, and the command that makes it."""

import pandas as pd
import pytest

from cxr_core.errors import RecipeError
from cxr_core.training.export import chosen as asked_for
from cxr_core.training.prepare import adapted, chosen, learned_from, settle
from cxr_core.training.recipes import COPY, FILMS, parse_recipe, read_recipe
from tests.training.made import TEXT
from tests.training.made_run import make_films

ONE = TEXT.replace('["Effusion", "Mass"]', '["Mass"]')


@pytest.fixture
def tied(tmp_path):
    """Made films in which nearly all with Effusion come from one source; Mass comes from both."""
    data = make_films(tmp_path / "films")
    table = pd.read_csv(data / "labels.csv")
    elsewhere = (table["source"] == "block") & (table.index % 12 > 1)
    table.loc[elsewhere, "labels"] = table.loc[elsewhere, "labels"].replace(
        {"Effusion|Mass": "Mass", "Effusion": "No Finding"}
    )
    table.loc[table["source"] == "enriched", "labels"] = [
        "Effusion" if number % 3 else labels
        for number, labels in enumerate(table.loc[table["source"] == "enriched", "labels"])
    ]
    table.to_csv(data / "labels.csv", index=False)
    return data


@pytest.fixture
def made(tmp_path):
    path = tmp_path / "made.toml"
    path.write_text(ONE, encoding="utf-8")
    return path


def told(index):
    return {problem.where: problem.message for problem in index.problems if problem.code == "tied_to_source"}


def test_another_label_that_the_source_tells_is_held_to_that_source(tied, made):
    text, index = chosen(adapted(made, label="Effusion"), tied)
    assert parse_recipe(text, "made").films.known_within == {"Effusion": "enriched"}
    assert "so it is known within enriched only" in told(index)["Effusion"]
    outside = index.table["source"] != "enriched"
    assert index.table.loc[outside, "Effusion"].isna().all()
    assert index.table.loc[~outside, "Effusion"].notna().all()


def test_another_label_that_the_source_does_not_tell_stays_as_it_is(made, tmp_path):
    asked = adapted(made, label="Effusion")
    text, index = chosen(asked, make_films(tmp_path / "films"))
    assert text == asked
    assert told(index) == {}


def test_where_that_source_has_no_film_without_it_the_label_is_refused(tied, made):
    table = pd.read_csv(tied / "labels.csv")
    table.loc[table["source"] == "enriched", "labels"] = "Effusion"
    table.to_csv(tied / "labels.csv", index=False)
    with pytest.raises(RecipeError, match="within enriched, where most .* 0 training films are without it"):
        chosen(adapted(made, label="Effusion"), tied)


def test_a_recipe_followed_as_it_is_stays_as_it_is_and_hears_of_the_tie(tied):
    text, index = chosen(TEXT, tied)
    assert text == TEXT
    assert "known_within would hold it to one source" in told(index)["Effusion"]
    held = TEXT.replace("[network]", '[films]\nknown_within = { Effusion = "enriched" }\n\n[network]')
    assert "Effusion" not in told(chosen(held, tied)[1])


def test_a_source_of_another_data_set_holds_no_label_where_films_name_their_own(tied):
    elsewhere = TEXT.replace("[network]", '[films]\nknown_within = { Effusion = "elsewhere" }\n\n[network]')
    elsewhere = elsewhere.replace("[preprocessing]", 'blind = ["Effusion"]\n\n[preprocessing]', 1)
    text, index = chosen(elsewhere, tied)
    recipe = parse_recipe(text, "made")
    assert (recipe.films.known_within, recipe.blind) == ({}, ())
    assert [each.where for each in index.problems if each.code == "foreign_source"] == ["Effusion"]
    assert "known_within would hold it to one source" in told(index)["Effusion"]
    assert index.table["Effusion"].notna().all()
    assert chosen(text, tied)[0] == text


def test_epochs_asked_for_are_those_of_every_member(made):
    own = ONE.replace("seed = 3", "seed = 3\n\n[[members]]\nseed = 4\nepochs = 5")
    made.write_text(own, encoding="utf-8")
    recipe = parse_recipe(own, "made")
    assert [recipe.epochs_of(number) for number in (0, 1)] == [2, 5]
    assert [recipe.of_member(number).fit.epochs for number in (0, 1)] == [2, 5]
    asked = parse_recipe(adapted(made, epochs=3), "made")
    assert [asked.epochs_of(number) for number in (0, 1)] == [3, 3]
    assert asked.card.budget == "Budget: 3 of 5 epochs."


def test_the_command_that_makes_a_run_again_names_its_options(made):
    assert parse_recipe(ONE, "made").command == "cxr train recipes/made.toml"
    recipe = parse_recipe(adapted(made, label="Effusion", epochs=1), "made")
    assert recipe.command == "cxr train recipes/made.toml --label Effusion --epochs 1"
    assert recipe.name == "made-effusion"
    assert parse_recipe(adapted(made, epochs=2), "made").command == "cxr train recipes/made.toml --epochs 2"


def test_title_and_summary_name_the_other_label(tmp_path):
    path = tmp_path / "made.toml"
    said = ONE.replace('title = "Made"', 'title = "Mass or normal"')
    path.write_text(
        said.replace('summary = "Made"', 'summary = "Films with mass, or none"'), encoding="utf-8"
    )
    recipe = parse_recipe(adapted(path, label="Pleural_Thickening"), "made")
    assert (recipe.title, recipe.card.summary) == (
        "Pleural Thickening or normal",
        "Films with pleural thickening, or none",
    )


def test_the_budget_on_the_card_follows_the_epochs(tmp_path):
    path = tmp_path / "made.toml"
    path.write_text(ONE.replace("[card]", '[card]\nbudget = "CPU budget: 2 of 30 epochs."'), encoding="utf-8")
    said = [parse_recipe(adapted(path, epochs=number), "made").card.budget for number in (1, 2, 30)]
    assert said == [
        "CPU budget: 2 of 30 epochs. Budget: 1 of 2 epochs.",
        "CPU budget: 2 of 30 epochs.",
        "Budget: 30 epochs where the recipe has 2.",
    ]


def test_a_run_begun_before_options_were_written_down_goes_on_and_learns_them(made, tmp_path):
    text = adapted(made, epochs=1)
    _, index = chosen(text, make_films(tmp_path / "films"))
    before = text[: text.index("[adapted]")]
    folder = tmp_path / "runs" / "made"
    folder.mkdir(parents=True)
    (folder / COPY).write_text(before, encoding="utf-8")
    settle(text, index, tmp_path / "runs")
    assert read_recipe(folder / COPY).adapted.epochs == 1
    with pytest.raises(RecipeError, match="begun by another recipe"):
        settle(adapted(made, epochs=3), index, tmp_path / "runs")
    (folder / COPY).write_text("name = 3", encoding="utf-8")
    with pytest.raises(RecipeError, match="begun by another recipe"):
        settle(text, index, tmp_path / "runs")


@pytest.mark.parametrize(
    ("column", "value"),
    [("labels", "Mass"), ("patient", "P900"), ("split", "train"), ("file", "film240.png")],
)
def test_a_run_goes_on_with_the_films_it_was_begun_with_and_no_others(made, tmp_path, column, value):
    text, data = adapted(made), make_films(tmp_path / "films")
    _, folder = settle(text, chosen(text, data)[1], tmp_path / "runs")
    table = pd.read_csv(data / "labels.csv")
    table.sample(frac=1, random_state=0).to_csv(data / "labels.csv", index=False)
    settle(text, chosen(text, data)[1], tmp_path / "runs")
    (folder / "member-0").mkdir()
    of_val = table.index[table["split"] == "val"][:2]
    if column == "file":
        (data / table.loc[of_val[0], "file"]).rename(data / value)
        of_val = of_val[:1]
    assert (table.loc[of_val, column] != value).any()
    table.loc[of_val, column] = value
    table.to_csv(data / "labels.csv", index=False)
    with pytest.raises(RecipeError, match="with other films, labels or splits; --anew"):
        settle(text, chosen(text, data)[1], tmp_path / "runs")
    assert not learned_from(folder, parse_recipe(text, "made"), chosen(text, data)[1])
    (folder / FILMS).unlink()
    settle(text, chosen(text, data)[1], tmp_path / "runs")
    assert not (folder / FILMS).is_file(), "a run of before goes on; from which films it learned is not known"
    (folder / "member-0").rmdir()
    settle(text, chosen(text, data)[1], tmp_path / "runs")
    assert learned_from(folder, parse_recipe(text, "made"), chosen(text, data)[1])
    assert (folder / FILMS).is_file(), "nothing was learned yet, so these are its films"
    assert {path.name for path in folder.iterdir()} == {COPY, FILMS}


def test_a_run_goes_on_under_another_title_and_card_but_not_at_another_rate(made, tmp_path):
    text, index = adapted(made), chosen(adapted(made), make_films(tmp_path / "films"))[1]
    settle(text, index, tmp_path / "runs")
    other = text.replace('title = "Made"', 'title = "Other"').replace('avoid = "All else."', 'avoid = "All."')
    recipe, folder = settle(other, index, tmp_path / "runs")
    assert (recipe.title, recipe.card.avoid) == ("Other", "All.")
    assert read_recipe(folder / COPY) == recipe
    with pytest.raises(RecipeError, match="another recipe"):
        settle(text.replace("rate = 1e-2", "rate = 1e-3"), index, tmp_path / "runs")


def test_what_a_run_learned_from_is_what_its_own_recipe_asks_for(tmp_path):
    """Films with a rare label alone are not asked for by the run's copy, so nothing learns from them."""
    data = make_films(tmp_path / "films")
    table = pd.read_csv(data / "labels.csv")
    train = table.index[table["split"] == "train"]
    rare = train[table.loc[train, "labels"] == "Mass"][0]
    table.loc[rare, "labels"] = "Hernia"
    table.to_csv(data / "labels.csv", index=False)
    text = TEXT.replace('["Effusion", "Mass"]', '["Effusion", "Mass", "Hernia"]')
    text = text.replace("[network]", '[films]\nonly = "single_label"\nmin_count = 2\n\n[network]')
    text, index = chosen(text, data)
    assert parse_recipe(text, "made").labels == ("Effusion", "Mass")
    assert [(each.code, each.where) for each in index.problems if each.where == "Hernia"] == [
        ("rare_label", "Hernia")
    ]
    assert table.loc[rare, "file"] not in set(index.table["file"])
    recipe, folder = settle(text, index, tmp_path / "runs")
    assert learned_from(folder, recipe, asked_for(data, recipe))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["Effusion", "Mass"]', '["Effusion", "Nodulus"]', "Nodulus: no label of the product"),
        ('["Effusion", "Mass"]', '["Effusion", "abnormal"]', "abnormal is no finding beside others"),
        ('["Effusion", "Mass"]', '["Effusion", "Hernia"]', ""),
    ],
)
def test_what_can_be_trained_but_not_exported_says_so(old, new, said):
    text = TEXT.replace(old, new).replace('task = "multilabel"', 'task = "multiclass"')
    text = text.replace('"sigmoid"', '"softmax"').replace("batch = 4", 'batch = 4\nloss = "cross_entropy"')
    reason = parse_recipe(text, "made").not_for_export
    assert reason.startswith(said)
    assert bool(reason) == bool(said)
