from __future__ import annotations

import hashlib
import os
import stat
import threading
import time

import pytest

from cxr_core.errors import StoreError
from cxr_core.worklist.blobs import Blobs


def named(*raws: bytes) -> dict[str, bytes]:
    return {hashlib.sha256(raw).hexdigest(): raw for raw in raws}


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "home" / "blobs")


def leftovers(blobs):
    return list((blobs.folder / "tmp").iterdir())


def test_what_was_put_comes_back(blobs):
    ((sha256, raw),) = named(b"film").items()
    assert not blobs.has(sha256)
    blobs.put(raw, sha256)
    blobs.put(raw, sha256)
    assert blobs.has(sha256)
    assert blobs.get(sha256) == raw
    assert leftovers(blobs) == []
    assert (blobs.folder / sha256[:2] / sha256).is_file()


def test_many_at_once(blobs):
    films = named(*(bytes([i]) * 1000 for i in range(200)))
    blobs.put_many(films)
    assert {sha256: blobs.get(sha256) for sha256 in films} == films
    assert leftovers(blobs) == []


def test_many_writers_of_the_same_films(blobs):
    films = named(*(bytes([i]) * 1000 for i in range(20)))
    threads = [threading.Thread(target=blobs.put_many, args=(films,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {sha256: blobs.get(sha256) for sha256 in films} == films
    assert leftovers(blobs) == []


def test_only_the_owner_reads_films(blobs):
    old = os.umask(0)
    try:
        blobs.put_many(named(b"film"))
    finally:
        os.umask(old)
    for path in (blobs.folder, *blobs.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_film_that_is_missing_or_changed_is_not_handed_out_and_can_be_put_again(blobs):
    ((sha256, raw),) = named(b"film").items()
    with pytest.raises(StoreError, match="is missing"):
        blobs.get(sha256)
    blobs.put(raw, sha256)
    (blobs.folder / sha256[:2] / sha256).write_bytes(b"fiIm")
    with pytest.raises(StoreError, match="has changed"):
        blobs.get(sha256)
    blobs.put(raw, sha256)
    assert blobs.get(sha256) == raw


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "AB" * 32, "0" * 63])
def test_a_name_that_is_no_hash_is_refused(blobs, name):
    with pytest.raises(StoreError, match="expected a SHA-256"):
        blobs.put(b"film", name)


def test_sweeping_removes_old_leftovers_only(blobs):
    blobs.sweep()
    blobs.put_many(named(b"film"))
    for name, age_s in (("old", 3700), ("young", 3500)):
        path = blobs.folder / "tmp" / name
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_s,) * 2)
    blobs.sweep()
    assert [path.name for path in leftovers(blobs)] == ["young"]
