"""Files handed in together: zips opened, read ahead of the store, stored in groups of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from cxr_core.domain import Notice
from cxr_core.errors import Rejected
from cxr_core.files import name
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.refusals import reject
from cxr_core.worklist.unpack import Archive, Turned, is_zip
from cxr_core.worklist.values import Incoming

GROUP_FILES, GROUP_BYTES = 32, 32 * 2**20
"""Stored in one transaction: others who write do not wait long, and what is lost to a kill is small."""

Handed = Incoming | Turned
Each = TypeVar("Each")


def count(paths: Iterable[Path]) -> int:
    """Return how many films and refusals `read` will give for these files, as they are now."""
    return sum(_films_in(path) for path in paths)


def read(paths: Iterable[Path], limits: Limits) -> Iterator[Handed]:
    """Yield the bytes of each file and of each film in each zip, or why there are none.

    Args:
        paths: files; a zip is told by its first bytes or its name.
        limits: of a larger file no more is read than shows that it is too large.
    """
    for path in paths:
        try:
            if not is_zip(path.name, _bytes(path, 4)):
                yield Incoming(name(path), _bytes(path, limits.max_bytes + 1))
                continue
            with Archive(path) as archive:
                yield from inside(name(path), archive)
        except Rejected as exc:
            yield Turned(name(path), Notice(exc.code, exc.message, exc.hint))


def inside(zip_name: str, archive: Archive) -> Iterator[Handed]:
    """Yield the films of a zip under names that begin with the zip's own."""
    for each in archive:
        full = f"{zip_name}/{each.name}"
        yield Incoming(full, each.raw) if isinstance(each, Incoming) else Turned(full, each.notice)


def groups(films: Iterable[Handed]) -> Iterator[list[Handed]]:
    """Yield the films in lists of up to GROUP_FILES, which end where they reach GROUP_BYTES."""
    group: list[Handed] = []
    size = 0
    for film in films:
        group.append(film)
        size += len(film.raw) if isinstance(film, Incoming) else 0
        if len(group) >= GROUP_FILES or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def ahead(items: Iterator[Each]) -> Iterator[Each]:
    """Yield the items while a thread is getting the next one."""
    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item


def _films_in(path: Path) -> int:
    try:
        if not is_zip(path.name, _bytes(path, 4)):
            return 1
        with Archive(path) as archive:
            return archive.films
    except Rejected:
        return 1


def _bytes(path: Path, most: int) -> bytes:
    """Return the first bytes of a file.

    Raises:
        Rejected: unreadable_file, also for what is no regular file: a pipe would never end.
    """
    try:
        if not path.is_file():
            raise OSError
        with path.open("rb") as handle:
            return handle.read(most)
    except OSError as exc:
        raise reject("unreadable_file") from exc
