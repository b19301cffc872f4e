"""What tables say of films that nobody published: numbers that are the same in every split, and no names."""

import numpy as np
import pandas as pd
import pytest

from cxr_core.data.readers import read
from cxr_core.evaluation import tables
from cxr_core.evaluation.leaks import in_tables
from tests.films import png

SPLITS = ("train", "train", "val", "val", "test", "test")


def local(folder, sources=("",) * 6, patients=("SMITH", "JONES", "DOE", "DOE", "ROE", "POE")):
    """Write six films of a hospital: no address, so nothing that names a patient may travel."""
    folder.mkdir()
    rows = []
    for number, (split, patient, source) in enumerate(zip(SPLITS, patients, sources, strict=True)):
        (folder / f"{patient}-{number}.png").write_bytes(png(number))
        rows.append((f"{patient}-{number}.png", patient, split, source, number % 2))
    columns = ["file", "patient", "split", "source", "Mass"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "labels.csv", index=False)
    return read(folder, checked=False)


def written(folder, index):
    """Write the tables of val and test as an export does."""
    (folder / tables.FOLDER).mkdir(parents=True)
    for split in ("val", "test"):
        facts = tables.facts_of(index.of(split), index)
        answers = np.full((len(facts), 1), 0.5)
        tables.write(folder, split, ("Mass",), tables.Answers(facts, answers, answers[:, None]))
    return folder


def test_films_and_patients_of_two_splits_are_not_taken_for_one_another(tmp_path):
    index = local(tmp_path / "films")
    assert in_tables(written(tmp_path / "model", index)) == ()


def test_a_patient_in_two_splits_is_seen_though_nobody_is_named(tmp_path):
    index = local(tmp_path / "films", patients=("SMITH", "JONES", "DOE", "DOE", "DOE", "POE"))
    folder = written(tmp_path / "model", index)
    assert [each.code for each in in_tables(folder)] == ["patient_in_two_splits"]
    said = "".join(path.read_text() for path in (folder / tables.FOLDER).glob("*.csv"))
    assert "DOE" not in said
    assert "film-000003" in said


@pytest.mark.parametrize("told", [(), ("ward",)])
def test_a_source_keeps_its_name_only_where_the_manifest_says_it(tmp_path, told):
    index = local(tmp_path / "films", sources=("ward", "clinic", "clinic", "ward", "clinic", "ward"))
    test = tables.facts_of(index.of("test"), index, told=told)
    assert list(test["source"]) == (["source-1", "ward"] if told else ["source-2", "source-1"])


def test_an_unknown_source_stays_unknown(tmp_path):
    index = local(tmp_path / "films")
    assert set(tables.facts_of(index, told=("enriched",))["source"]) == {""}


def test_films_of_a_published_set_keep_their_names(tmp_path):
    index = local(tmp_path / "films", sources=("ward",) * 6)
    (tmp_path / "films" / "dataset.toml").write_text('name = "A set"\nurl = "https://example.org"\n')
    published = read(tmp_path / "films")
    facts = tables.facts_of(published.of("val"), published)
    assert list(facts["file"]) == list(index.of("val").table["file"])
    assert set(facts["source"]) == {"ward"}
