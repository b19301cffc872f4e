"""Groups of films: the borders of decades, what is not known, and no film lost or twice."""

import numpy as np
import pandas as pd
import pytest

from cxr_core.evaluation.subgroups import By, subgroups

TABLE = pd.DataFrame(
    {
        "sex": ["F", "M", "", "F", "M", "F"],
        "age": [0.0, 9.9, 10.0, 89.0, 104.0, np.nan],
        "view": ["AP", "PA", "PA", "LATERAL", "PA", "AP"],
    }
)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (By.SEX, {"women": [0, 3, 5], "men": [1, 4], "sex unknown": [2]}),
        (
            By.AGE,
            {
                "0–9 years": [0, 1],
                "10–19 years": [2],
                "80–89 years": [3],
                "90 years and over": [4],
                "age unknown": [5],
            },
        ),
        (By.VIEW, {"AP": [0, 5], "PA": [1, 2, 4], "view unknown": [3]}),
        (
            By.SEX_VIEW,
            {
                "women, AP": [0, 5],
                "women, view unknown": [3],
                "men, PA": [1, 4],
                "sex unknown, PA": [2],
            },
        ),
    ],
)
def test_every_film_is_in_the_one_group_it_belongs_to(by, groups):
    found = subgroups(TABLE, by)
    assert {group.name: np.flatnonzero(group.mask).tolist() for group in found} == groups
    assert list(groups) == [group.name for group in found]
    assert [group.known for group in found] == ["unknown" not in name for name in groups]


@pytest.mark.parametrize("by", By)
def test_no_film_is_lost_or_twice(by):
    assert np.array_equal(np.sum([group.mask for group in subgroups(TABLE, by)], axis=0), np.ones(6))


def test_no_films_make_no_groups():
    assert subgroups(TABLE[:0], By.SEX_AGE) == ()
