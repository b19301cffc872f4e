from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from cxr_core.errors import Busy, StoreError
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


def test_whoever_puts_a_film_sweeps_what_a_killed_writer_left_at_most_once_an_hour(blobs, monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for sha256, raw in named(b"first").items():
        blobs.put(raw, sha256)
    old = blobs.folder / "tmp" / "old"
    for moment, left in ((0.0, True), (3599.0, True), (3601.0, False)):
        now = moment
        old.write_bytes(b"half a film")
        os.utime(old, (0, 0))
        for sha256, raw in named(b"first").items():
            blobs.put(raw, sha256)
        assert old.exists() == left


class Trace:
    """Write down what is asked of the operating system, while it is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.calls: list[tuple[str, str]] = []
        self._folder = folder
        self._open: dict[int, str] = {}
        for name in ("open", "write", "fsync", "rename", "mkdir"):
            monkeypatch.setattr(os, name, partial(self._call, name, getattr(os, name)))

    def _call(self, name, function, first, *rest, **options):
        done = function(first, *rest, **options)
        if name == "open":
            self._open[done] = self._short(first)
        elif name == "rename":
            self.calls.append((name, self._short(rest[0])))
        else:
            self.calls.append((name, self._open[first] if isinstance(first, int) else self._short(first)))
        return done

    def _short(self, path: str | Path) -> str:
        """Return the path below the folder; drafts have random names."""
        inside = Path(path).relative_to(self._folder)
        return "tmp/draft" if inside.parent.name == "tmp" else inside.as_posix()


def test_r2_a_film_is_written_synced_renamed_and_its_folder_synced_in_this_order(tmp_path, monkeypatch):
    folder = tmp_path / "blobs"
    trace = Trace(monkeypatch, tmp_path)
    Blobs(folder).put(b"film", "ab" * 32)
    assert trace.calls == [
        *(("mkdir", "blobs"), ("fsync", ".")),
        *(("mkdir", "blobs/tmp"), ("fsync", "blobs")),
        *(("mkdir", "blobs/ab"), ("fsync", "blobs"), ("fsync", "blobs")),
        *(("write", "tmp/draft"), ("fsync", "tmp/draft")),
        *(("rename", f"blobs/ab/{'ab' * 32}"), ("fsync", "blobs/ab")),
    ]


def test_r2_a_film_that_is_there_already_is_made_durable_too(tmp_path, monkeypatch):
    """Whoever wrote it, or made its folder, may have been killed before the name was on disk."""
    blobs = Blobs(tmp_path)
    ((sha256, raw),) = named(b"film").items()
    blobs.put(raw, sha256)
    trace = Trace(monkeypatch, tmp_path)
    blobs.put(raw, sha256)
    assert trace.calls == [("fsync", "."), ("fsync", sha256[:2])]


def test_r2_each_of_many_films_is_synced_before_its_name_and_its_folder_after(tmp_path, monkeypatch):
    trace = Trace(monkeypatch, tmp_path)
    Blobs(tmp_path).put_many({f"{i:02x}" * 32: bytes([i]) for i in (1, 2, 3)})
    renamed = [place for place, (name, _) in enumerate(trace.calls) if name == "rename"]
    synced = [place for place, call in enumerate(trace.calls) if call == ("fsync", "tmp/draft")]
    assert (len(renamed), len(synced)) == (3, 3)
    assert max(synced) < min(renamed)
    assert sorted(trace.calls[max(renamed) + 1 :]) == [("fsync", f"{i:02x}") for i in (1, 2, 3)]


def test_r2_a_failing_fsync_is_busy_and_leaves_no_name(tmp_path, monkeypatch):
    def fails(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    blobs = Blobs(tmp_path)
    blobs.put(b"first", "cd" * 32)
    blobs.put(b"second", f"ab{'00' * 31}")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(Busy, match="Input/output error"):
            blobs.put(b"film", "ab" * 32)
    assert not blobs.has("ab" * 32)
    assert leftovers(blobs) == []
