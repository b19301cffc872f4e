"""Decoded once, the same as served, after a kill too."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cxr_core.data import cache
from cxr_core.data.cache import network_inputs
from cxr_core.data.readers import read
from cxr_core.errors import DataError
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.preprocess import Recipe, network_input
from tests.data.made import csv, nih

RECIPE = Recipe(film_px=64, network_px=32, low_percentile=1.0, high_percentile=99.0)
ROOT = Path(__file__).parents[2]


def expected(index):
    films = [decode(Path(path).read_bytes(), Limits()).pixels for path in index.table["path"]]
    return np.stack([network_input(film, RECIPE) for film in films])


def test_inputs_are_those_that_serving_makes(tmp_path):
    index = read(nih(tmp_path / "nih"))
    kept, films = network_inputs(index, RECIPE, tmp_path / "cache", workers=2)
    assert isinstance(films, np.memmap)
    assert (films.shape, films.dtype, films.flags.writeable) == ((24, 1, 32, 32), np.float32, False)
    np.testing.assert_array_equal(films, expected(index))
    assert kept.problems == ()


def test_a_second_call_decodes_nothing_and_a_changed_film_or_recipe_does(tmp_path, monkeypatch):
    index = read(nih(tmp_path / "nih", patients=6))
    decoded = []
    monkeypatch.setattr(cache, "decode", lambda raw, limits: decoded.append(1) or decode(raw, limits))
    for _ in range(2):
        network_inputs(index, RECIPE, tmp_path / "cache")
    assert len(decoded) == len(index) == 12
    first = Path(index.table["path"].iloc[0])
    os.utime(first, ns=(1, 1))
    network_inputs(index, RECIPE, tmp_path / "cache")
    assert len(decoded) == 24
    network_inputs(index, Recipe(64, 48, 1.0, 99.0), tmp_path / "cache")
    assert len(decoded) == 36
    monkeypatch.setattr(cache, "_decoder", lambda: "another")
    network_inputs(index, RECIPE, tmp_path / "cache")
    assert len(decoded) == 48


def test_unreadable_films_are_left_out_and_listed(tmp_path):
    index = read(nih(tmp_path / "nih", patients=6))
    broken, gone = Path(index.table["path"].iloc[2]), Path(index.table["path"].iloc[5])
    broken.write_bytes(broken.read_bytes()[:90])
    gone.unlink()
    kept, films = network_inputs(index, RECIPE, tmp_path / "cache")
    assert len(kept) == len(films) == 10
    np.testing.assert_array_equal(films, expected(kept))
    assert [(p.code, p.where) for p in kept.problems] == [
        ("unreadable_film", broken.name),
        ("unreadable_film", gone.name),
    ]
    again, _ = network_inputs(index, RECIPE, tmp_path / "cache")
    assert again.problems == kept.problems


def test_no_film_at_all_and_no_room_are_errors(tmp_path, monkeypatch):
    index = read(csv(tmp_path / "set", [dict(file="a.png", labels="Mass", patient=1)]))
    Path(index.table["path"].iloc[0]).write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of 1 films"):
        network_inputs(index, RECIPE, tmp_path / "cache")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(DataError, match="GB"):
        network_inputs(index, Recipe(64, 64, 1.0, 99.0), tmp_path / "cache")


KILLED = """
import sys, time
from pathlib import Path
from cxr_core.data import cache
from cxr_core.data.readers import read
from cxr_core.imaging.preprocess import Recipe
real, cache._CHUNK = cache.decode, 4
def slow(raw, limits):
    time.sleep(0.05)
    return real(raw, limits)
cache.decode = slow
root = Path(sys.argv[1])
cache.network_inputs(read(root / "nih"), Recipe(64, 32, 1.0, 99.0), root / "cache", workers=1)
"""


def test_after_a_kill_it_goes_on_where_it_was(tmp_path, monkeypatch):
    index = read(nih(tmp_path / "nih", patients=60))
    broken = Path(index.table["path"].iloc[1])
    broken.write_bytes(broken.read_bytes()[:90])
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not (journals := list(tmp_path.glob("cache/*.journal"))) or not journals[0].stat().st_size:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("cache/*.f32"))
    with journals[0].open("a") as journal:
        journal.write('{"read": 4, "wri')  # as a kill in the middle of a line leaves it
    with next(tmp_path.glob("cache/*.part")).open("ab") as part:
        part.write(b"half a film")
    decoded = []
    monkeypatch.setattr(cache, "decode", lambda raw, limits: decoded.append(1) or decode(raw, limits))
    kept, films = network_inputs(index, RECIPE, tmp_path / "cache")
    assert 0 < len(decoded) < len(index)
    assert len(kept) == len(index) - 1
    np.testing.assert_array_equal(films, expected(kept))
