"""Decoded films at the size a network sees, in one memory-mapped file that is made once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache as once
from pathlib import Path

import numpy as np
import PIL
import pydicom
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cxr_core import imaging
from cxr_core.data.index import Index, Problem
from cxr_core.errors import DataError, Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.preprocess import Recipe, network_input

_CHUNK = 256
"""Films between two lines of the journal: what a kill can cost."""


@dataclass(frozen=True, slots=True)
class _Files:
    """Where one set of inputs lies."""

    films: Path
    unfinished: Path
    journal: Path
    lock: Path


@dataclass(slots=True)
class _Done:
    """How far the journal says that the films were written."""

    read: int = 0
    written: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def network_inputs(
    index: Index, preprocessing: Recipe, cache: Path, *, workers: int = 0
) -> tuple[Index, NDArray[np.float32]]:
    """Return the films that could be read and their (N, 1, S, S) float32 inputs, memory-mapped, read-only.

    Each film goes through the very functions that serving calls. Killed on the way, the next call
    goes on where the last left off; a second process waits for the first. Made anew when a file's
    path, size or time, the recipe or the decoder changes.

    Args:
        index: films in the order of the inputs.
        preprocessing: the model's preprocessing table.
        cache: folder for the files: 4 · S² bytes a film.
        workers: threads that decode; 0: as many as there are processors for this process.

    Raises:
        DataError: no film could be read, or the disk has no room for them.
    """
    paths = [Path(path) for path in index.table["path"]]
    stem = f"inputs-{_key(paths, preprocessing)}"
    files = _Files(*(cache / f"{stem}.{ending}" for ending in ("f32", "part", "journal", "lock")))
    cache.mkdir(parents=True, exist_ok=True)
    with alone(files.lock):
        if not (files.films.exists() and files.journal.exists()):
            _write(paths, preprocessing, files, workers or len(os.sched_getaffinity(0)))
    done = _journal(files.journal)
    if not done.written:
        raise DataError(f"{index.name}: none of {len(paths)} films could be read")
    shape = (done.written, 1, preprocessing.network_px, preprocessing.network_px)
    films: NDArray[np.float32] = np.memmap(files.films, dtype=np.float32, mode="r", shape=shape)
    unreadable = index.table["path"].isin(done.refused).to_numpy()
    problems = [
        Problem("unreadable_film", str(file), f"{done.refused[str(path)]}: left out")
        for file, path in index.table.loc[unreadable, ["file", "path"]].itertuples(index=False)
    ]
    return index.where(~unreadable).noted(problems), films


def _key(paths: list[Path], recipe: Recipe) -> str:
    """Return a name that changes with anything that could change an input."""
    digest = hashlib.sha256(repr((recipe, _decoder())).encode())
    for path in paths:
        try:
            stat = path.stat()
            digest.update(f"{path}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{path}|missing\n".encode())
    return digest.hexdigest()[:16]


@once
def _decoder() -> str:
    """Return what stands for the decoder's version: its sources and the libraries that it calls."""
    folder = Path(imaging.__path__[0])
    sources = [path for path in sorted(folder.glob("*.py")) if not path.name.startswith("phantom")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return f"{digest} Pillow {PIL.__version__} pydicom {pydicom.__version__} numpy {np.__version__}"


def _write(paths: list[Path], recipe: Recipe, files: _Files, workers: int) -> None:
    """Append inputs in order, a chunk and its journal line at a time, from where the journal ends."""
    film_bytes = 4 * recipe.network_px**2
    done = _resumed(files, film_bytes)
    needed, room = film_bytes * (len(paths) - done.read), shutil.disk_usage(files.films.parent).free
    if needed > room:
        raise DataError(
            f"the decoded films need {needed / 1e9:.1f} GB, the cache's disk has {room / 1e9:.1f} GB"
        )
    limits = Limits()

    def read(path: Path) -> bytes | str:
        try:
            return network_input(decode(path.read_bytes(), limits).pixels, recipe).tobytes()
        except Rejected as exc:
            return str(exc)
        except OSError as exc:
            return f"cannot be read ({type(exc).__name__})"

    with (
        files.unfinished.open("ab") as films,
        files.journal.open("a", encoding="utf-8") as journal,
        ThreadPoolExecutor(workers) as pool,
        _bar() as bar,
    ):
        films.truncate(done.written * film_bytes)
        task = bar.add_task("decoding films", total=len(paths), completed=done.read)
        for start in range(done.read, len(paths), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            results = list(pool.map(read, chunk))
            refused = {
                str(p): result for p, result in zip(chunk, results, strict=True) if isinstance(result, str)
            }
            films.writelines(result for result in results if isinstance(result, bytes))
            films.flush()
            os.fsync(films.fileno())
            line = {"read": len(chunk), "written": len(chunk) - len(refused), "refused": refused}
            journal.write(json.dumps(line) + "\n")
            journal.flush()
            bar.advance(task, len(chunk))
    files.unfinished.rename(files.films)


def _resumed(files: _Files, film_bytes: int) -> _Done:
    """Return how far an earlier call came, the journal cut after its last whole line; else begin anew."""
    done = _journal(files.journal)
    if not files.unfinished.exists() or files.unfinished.stat().st_size < done.written * film_bytes:
        files.journal.unlink(missing_ok=True)
        return _Done()
    if files.journal.exists():
        with files.journal.open("r+b") as journal:
            journal.truncate(journal.read().rfind(b"\n") + 1)
    return done


def _journal(path: Path) -> _Done:
    """Return the sum of the journal's whole lines; a last line cut short by a kill does not count."""
    done = _Done()
    if not path.exists():
        return done
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        entry = json.loads(line)
        done.read += entry["read"]
        done.written += entry["written"]
        done.refused |= entry["refused"]
    return done


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock; it goes with the process, however that ends."""
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
