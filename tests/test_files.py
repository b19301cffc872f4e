from __future__ import annotations

import os
from pathlib import Path

import pytest

from cxr_core.errors import StoreError
from cxr_core.files import find, name, printable

DICOM = b"\0" * 128 + b"DICM" + b"rest"


def make(folder: Path, names: dict[str, bytes]) -> None:
    for path, content in names.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def test_a_folder_is_walked_for_films_by_ending_and_by_magic(tmp_path):
    films = {"a.PNG": b"", "b/c.jpeg": b"", "b/d.dcm": b"", "e": DICOM, "f.txt": DICOM, "g.tif": b""}
    others = {"h.txt": b"hello", "i": b"DICM", "DICOMDIR": DICOM, "._a.png": b"x", "b/j.csv": b""}
    make(tmp_path, films | others)
    found = find([tmp_path])
    assert {str(film.relative_to(tmp_path)) for film in found.films} == set(films)
    assert list(found.films) == sorted(found.films)
    assert found.others == len(others)


def test_a_named_file_is_taken_whatever_it_is_and_once(tmp_path):
    make(tmp_path, {"a.png": b"", "notes.txt": b""})
    found = find([tmp_path / "notes.txt", tmp_path / "a.png", tmp_path, tmp_path / "a.png"])
    assert [film.name for film in found.films] == ["notes.txt", "a.png"]
    assert found.others == 1


def test_links_to_folders_and_pipes_do_not_hang_it(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    assert find([tmp_path]).films == ()


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        find([tmp_path / "none.png"])


def test_odd_names_become_text_that_can_be_written():
    assert name(Path(os.fsdecode(b"a\xff.png"))) == "a\\xff.png"
    assert printable("a\x1b[31mred\nü") == "a\\x1b[31mred\\nü"
