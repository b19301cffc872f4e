from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_core.errors import StoreError
from cxr_core.ledger import Ledger, check_maker, whole_rows

COLUMNS = ("file", "value")
ODD = ['plain.png,"quoted"', "line\nbreak.png", "carriage\rreturn", "umlaut-ü", "=1+1", ""]


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.reader(handle))


def test_cut_anywhere_it_goes_on_to_the_same_file(tmp_path):
    """A kill may leave any prefix of the file; going on must end with every row once."""
    whole = tmp_path / "whole.csv"
    with Ledger(whole, COLUMNS) as ledger:
        ledger.append([(name, "1") for name in ODD])
    expected = [list(COLUMNS), *([name, "1"] for name in ODD)]
    assert rows_of(whole) == expected
    data = whole.read_bytes()
    for end in range(len(data) + 1):
        cut = tmp_path / "cut.csv"
        cut.write_bytes(data[:end])
        with Ledger(cut, COLUMNS) as ledger:
            ledger.append([(name, "1") for name in ODD if name not in ledger.done])
        assert rows_of(cut) == expected, end


@given(st.lists(st.text(alphabet='ab",\n\r', max_size=5), min_size=1, max_size=6), st.text(alphabet='a,\n"'))
def test_whole_rows_are_never_cut(fields, tail):
    """Reference: the csv module itself reads every row that was written whole."""
    import io

    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([field, "x"] for field in fields)
    data = text.getvalue().encode()
    assert whole_rows(data) == len(data)
    assert whole_rows(data + tail.replace("\n", "").encode()) == len(data)


def test_other_columns_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("file,other\na,1\n")
    with pytest.raises(StoreError, match="expected the columns file, value"), Ledger(path, COLUMNS):
        pass
    assert path.read_text() == "file,other\na,1\n"


def test_two_writers_at_once_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    with Ledger(path, COLUMNS), pytest.raises(StoreError, match="another run"), Ledger(path, COLUMNS):
        pass


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"), Ledger(tmp_path / "no" / "a.csv", COLUMNS):
        pass


def test_rows_of_another_model_are_not_mixed(tmp_path):
    out = tmp_path / "a.csv"
    check_maker(out, {"model": "one"})
    out.write_text("file\n")
    check_maker(out, {"model": "one"})
    with pytest.raises(StoreError, match="another model"):
        check_maker(out, {"model": "two"})
