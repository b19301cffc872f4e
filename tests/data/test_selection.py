"""Which films a recipe gets, worked by hand on eight of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxr_core.data.films import Films, Only
from cxr_core.data.index import Index
from cxr_core.data.selection import choose
from cxr_core.errors import DataError

TRUTH = {  # Effusion, Mass, Pneumonia
    "none0": (0, 0, 0),
    "none1": (0, 0, 0),
    "none2": (0, 0, 0),
    "eff0": (1, 0, 0),
    "eff1": (1, 0, 0),
    "both0": (1, 1, 0),
    "mass0": (0, 1, 0),
    "pneu0": (0, 0, 1),
}


def index(split="train", source="a", copies=1):
    rows = []
    for copy in range(copies):
        for number, (file, found) in enumerate(TRUTH.items()):
            facts = (
                f"{file}.{copy}",
                f"/{file}.{copy}",
                f"{copy}-{number}",
                split,
                np.nan,
                "",
                "",
                source,
                0,
            )
            rows.append((*facts, *found, float(any(found))))
    columns = ["file", "path", "patient", "split", "age", "sex", "view", "source", "side_px"]
    labels = ("Effusion", "Mass", "Pneumonia", "abnormal")
    table = pd.DataFrame(rows, columns=[*columns, *labels]).astype(dict.fromkeys(labels, np.float32))
    return Index("made", "", "", "", labels, table)


def names(chosen):
    return {file.split(".")[0] for file in chosen.table["file"]}


def test_all_films_are_the_default():
    assert len(choose(index(), Films(min_count=1))) == len(TRUTH)


def test_single_label_means_that_one_and_nothing_else():
    chosen = choose(
        index(), Films(only=Only.SINGLE_LABEL, min_count=1, drop_rare=False), ["Effusion", "Mass"]
    )
    assert names(chosen) == {"eff0", "eff1", "mass0"}


def test_label_or_normal_leaves_out_films_with_other_findings_only():
    chosen = choose(index(), Films(only=Only.LABEL_OR_NORMAL), ["Effusion"])
    assert names(chosen) == {"eff0", "eff1", "both0", "none0", "none1", "none2"}


@pytest.mark.parametrize("ratio", [1, 0.5, 10])
def test_negatives_per_positive_thins_train_and_nothing_else(ratio):
    train, val = index(copies=20), index("val", copies=3)
    both = Index("made", "", "", "", train.labels, pd.concat([train.table, val.table], ignore_index=True))
    films = Films(only=Only.LABEL_OR_NORMAL, negatives_per_positive=ratio, drop_rare=False)
    chosen = choose(both, films, ["Effusion"])
    positive = chosen.of("train").truth(["Effusion"])[:, 0] == 1
    assert positive.sum() == 60
    assert (~positive).sum() == min(60 * ratio, 60)
    assert len(chosen.of("val")) == 18


def test_the_choice_does_not_depend_on_the_order_of_rows():
    whole = index(copies=20)
    turned = whole.where(np.arange(len(whole))[::-1].copy())
    films = Films(negatives_per_positive=0.5, most=40)
    one, other = choose(whole, films, ["Effusion"]), choose(turned, films, ["Effusion"])
    assert set(one.table["file"]) == set(other.table["file"])
    assert len(one) == 40


def test_a_label_is_known_within_its_source_only():
    a, b = index(source="a"), index(source="b")
    b.table["patient"] = "b" + b.table["patient"]
    both = Index("made", "", "", "", a.labels, pd.concat([a.table, b.table], ignore_index=True))
    chosen = choose(both, Films(known_within={"Pneumonia": "a"}, min_count=1))
    known = ~np.isnan(chosen.truth(["Pneumonia"])[:, 0])
    np.testing.assert_array_equal(known, chosen.table["source"] == "a")
    assert not np.isnan(chosen.truth(["Effusion", "Mass"])).any()
    assert not both.table["Pneumonia"].isna().any(), "the index given is not changed"


def test_a_source_that_no_film_has_is_an_error_and_none_at_all_is_said():
    with pytest.raises(DataError, match="'c'"):
        choose(index(), Films(known_within={"Pneumonia": "c"}))
    chosen = choose(index(source=""), Films(known_within={"Pneumonia": "c"}, min_count=1))
    assert [problem.code for problem in chosen.problems] == ["no_sources"]
    assert not np.isnan(chosen.truth()).any()


def test_rare_labels_are_always_reported_and_left_out_if_told_so():
    dropped = choose(index(), Films(min_count=2))
    assert dropped.labels == ("Effusion", "Mass", "abnormal")
    assert "Pneumonia" not in dropped.table
    kept = choose(index(), Films(min_count=2, drop_rare=False))
    assert "Pneumonia" in kept.labels
    for chosen in (dropped, kept):
        assert [(p.code, p.where) for p in chosen.problems] == [("rare_label", "Pneumonia")]


def test_a_finding_that_no_film_has_is_a_rare_label_with_none():
    films = Films(only=Only.LABEL_OR_NORMAL, known_within={"Hernia": "b", "Pneumonia": "a"}, min_count=1)
    chosen = choose(index(), films, ["Effusion", "Pneumonia", "Hernia"])
    without = choose(index(), replace(films, known_within={"Pneumonia": "a"}), ["Effusion", "Pneumonia"])
    pd.testing.assert_frame_equal(chosen.table, without.table)
    assert chosen.labels == without.labels == index().labels
    assert [(p.code, p.where) for p in chosen.problems] == [("rare_label", "Hernia")]
    assert chosen.problems[0].message == "0 training films, below 1: left out"
    assert "Hernia" not in choose(index(), Films(), ["Hernia"]).labels


@pytest.mark.parametrize("films", [Films(drop_rare=False), Films(min_count=0)])
def test_a_finding_that_no_film_has_cannot_be_kept(films):
    with pytest.raises(DataError, match="0 training films of Hernia.*drop_rare"):
        choose(index(), films, ["Effusion", "Hernia"])


def test_a_label_that_nobody_knows_or_no_film_left_is_an_error():
    with pytest.raises(DataError, match="no label Hernja"):
        choose(index(), Films(), ["Effusion", "Hernia", "Hernja"])
    with pytest.raises(DataError, match="no label Hernja"):
        choose(index(), Films(known_within={"Hernja": "a"}), ["Effusion"])
    with pytest.raises(DataError, match="no training film"):
        choose(index("val"), Films(), ["Mass"])
    with pytest.raises(DataError, match="no training film is left for Hernia"):
        choose(index(), Films(only=Only.SINGLE_LABEL), ["Hernia"])
