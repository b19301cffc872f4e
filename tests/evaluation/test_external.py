"""Another population: numbered films, truth where kinds mean a label, figures that are never a headline."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxr_core.domain import State
from cxr_core.errors import DataError, ModelError
from cxr_core.evaluation import external
from cxr_core.evaluation.elsewhere import elsewhere
from cxr_core.evaluation.populations import COVID_SET, KERMANY, POPULATIONS
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.inference.manifest import read_manifest
from cxr_core.training.gate_films import collection

FOLDER = Path(__file__).parents[2] / "models" / "cxr14-mobilenetv2"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def films(tmp_path):
    """A set in the layout of the children's films: two of one patient, one of nobody, one that is no film."""
    root = tmp_path / "kermany"
    (root / "images").mkdir(parents=True)
    rows = [
        ("SMITH_JOHN.png", "NORMAL", "smith"),
        ("b.png", "PNEUMONIA|bacteria", "smith"),
        ("c.png", "PNEUMONIA|virus", ""),
        ("d.png", "PNEUMONIA|virus", ""),
    ]
    lines = [f"{file},{said},{patient},,,AP,A set: CC BY 4.0" for file, said, patient in rows]
    (root / "labels.csv").write_text("\n".join(["file,labels,patient_id,age,sex,view,licence", *lines, ""]))
    for k, (file, _, _) in enumerate(rows):
        raw = phantom_png(make_phantom(seed=k)) if k < 3 else b"no film"
        (root / "images" / file).write_bytes(raw)
    return tmp_path


def test_films_are_numbered_and_a_refused_one_has_no_answer(films, kit):
    table = external.ask(films, KERMANY, kit, now=NOW)
    assert set(table["film"]) == {f"kermany-{k:05d}" for k in (1, 2, 3, 4)}
    assert not table.astype(str).apply(lambda column: column.str.contains("SMITH|smith")).any(axis=None)
    by_film = table.set_index("film")
    one, two, three, four = (by_film.loc[f"kermany-{k:05d}"] for k in (1, 2, 3, 4))
    assert one["patient"] == two["patient"]
    assert len({one["patient"], three["patient"], four["patient"]}) == 3
    assert (one["kind"], two["kind"], three["kind"]) == ("normal", "bacterial pneumonia", "viral pneumonia")
    assert four["state"] == State.REFUSED
    assert four["refusal"]
    labels = list(kit.classifier.manifest.labels)
    assert by_film.loc["kermany-00004", labels].isna().all()
    assert by_film.loc["kermany-00001", labels].between(0, 1).any()


def test_a_table_says_from_whose_films_the_gate_learned(films, kit):
    names = ("SMITH_JOHN.png", "b.png", "c.png", "d.png")
    learned = set(collection(films / "kermany", held_out=False).names)
    assert learned == set(names[:3]), "of smith, c and d in the order of names; d is no film"
    table = external.ask(films, KERMANY, kit, now=NOW).set_index("film")
    said = {name: table.loc[f"kermany-{k:05d}", "gate"] for k, name in enumerate(names, start=1)}
    assert {name for name, each in said.items() if each == external.LEARNED} == learned
    assert said["d.png"] == external.HELD_OUT


def test_fewer_films_are_the_beginning_of_more(films, kit):
    most = external.ask(films, KERMANY, kit, now=NOW, most=2)
    assert list(most["film"]) == list(external.ask(films, KERMANY, kit, now=NOW)["film"])[:2]


def test_a_kind_that_nobody_named_is_refused(films, kit):
    path = films / "kermany" / "labels.csv"
    path.write_text(path.read_text().replace("PNEUMONIA|virus", "TUBERCULOSIS"))
    with pytest.raises(DataError, match="TUBERCULOSIS"):
        external.ask(films, KERMANY, kit, now=NOW)
    with pytest.raises(DataError):
        external.ask(films, COVID_SET, kit, now=NOW)


def test_states_are_of_patients_that_the_gate_did_not_learn_from_where_the_table_says_it(tmp_path):
    folder = tmp_path / FOLDER.name
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.onnx", "*.safetensors"))
    labels = read_manifest(FOLDER).labels
    table = external.read(FOLDER, "covid", labels).drop(columns=external.GATE)
    external.write(folder, "covid", table)
    before = elsewhere(folder, "covid", resamples=5)
    assert before.held_out is None
    assert "does not say from which" in str(before)
    held_out = table["patient"].str[-1].isin(list("13579"))
    table["gate"] = np.where(held_out, external.HELD_OUT, external.LEARNED)
    external.write(folder, "covid", table)
    found = elsewhere(folder, "covid", resamples=5)
    assert found.held_out == held_out.sum() == sum(kind.films for kind in found.kinds)
    for kind in found.kinds:
        ours = table[held_out & (table["kind"] == kind.name)]
        assert kind.states[State.REFUSED].value == pytest.approx((ours["state"] == "refused").mean())
    assert f"of the {held_out.sum():,} films of patients that the gate did not learn from" in str(found)
    assert (found.films, found.refused, found.told) == (before.films, before.refused, before.told)


@pytest.mark.parametrize("population", POPULATIONS)
def test_the_default_models_figures_are_those_of_scikit_learn_on_its_tables(population):
    labels = read_manifest(FOLDER).labels
    table = external.read(FOLDER, population, labels)
    found = elsewhere(FOLDER, population, resamples=50)
    assert found.population.warning in str(found)
    assert found.films == len(table)
    unseen = table[table[external.GATE] == external.HELD_OUT]
    assert found.held_out == len(unseen) == sum(kind.films for kind in found.kinds) < len(table)
    for kind in found.kinds:
        shares = [share.value for share in kind.states.values()]
        assert sum(shares) == pytest.approx(1)
        flagged = (unseen.loc[unseen["kind"] == kind.name, "state"] == "flagged").mean()
        assert kind.states[State.FLAGGED].value == pytest.approx(flagged)
    answered = table[table["refusal"] == ""]
    for each in found.told:
        of = answered[answered["kind"].isin((*each.contrast.positive, *each.contrast.negative))]
        truth = of["kind"].isin(each.contrast.positive)
        assert each.auc.value == pytest.approx(roc_auc_score(truth, of[each.contrast.label]))
        assert each.auc.low <= each.auc.value <= each.auc.high


def test_a_population_stands_beside_the_splits_with_truth_where_its_kinds_mean_a_label():
    scored = external.scored(FOLDER, "kermany")
    assert (scored.split, scored.data) == ("kermany", KERMANY.name)
    assert scored.members.shape == (len(scored.table), 1, len(scored.labels))
    known = {label for k, label in enumerate(scored.labels) if not np.isnan(scored.truth[:, k]).all()}
    assert known == {"abnormal", "Pneumonia"}
    truth = scored.truth[:, scored.labels.index("abnormal")]
    assert set(np.unique(truth)) == {0, 1}
    assert scored.table["abnormal"].to_numpy() == pytest.approx(truth)
    with pytest.raises(ModelError):
        external.scored(FOLDER.parent, "kermany")


def test_no_covid_figure_is_made_against_normal_films_of_another_set():
    kinds = set(COVID_SET.kinds.values())
    assert kinds == {"COVID-19", "COVID-19, no abnormality visible"}
    for contrast in COVID_SET.contrasts:
        assert {*contrast.positive, *contrast.negative} <= kinds
    assert "shortcut" in COVID_SET.warning
    assert pd.read_csv(external.table_of(FOLDER, "covid"))["film"].str.fullmatch(r"covid-\d{5}").all()
