"""Dropped files become a batch: zips opened, films stored, refusals noted; on disk before a word is said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from cxr_core.access import Actor
from cxr_core.domain import Notice
from cxr_core.errors import CxrError, Rejected
from cxr_core.worklist import handing
from cxr_core.worklist.service import Service
from cxr_core.worklist.unpack import Archive, Turned, is_zip
from cxr_core.worklist.values import Incoming, Item, Source


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of dropped files.

    Attributes:
        items: of every file that was dealt with, in order.
        announced: how many files there were, those within zips counted.
        trouble: why it stopped before the last file, or None.
    """

    items: tuple[Item, ...]
    announced: int
    trouble: CxrError | None


def summary(taken: Taken) -> str:
    """Return how many files were taken in before it stopped, and what to do."""
    return (
        f"{len(taken.items)} of {taken.announced} files were taken in. Hand them all in again later: "
        "what is stored already is not stored twice."
    )


def take(service: Service, actor: Actor, dropped: Sequence[Incoming], *, priority: int) -> Taken:
    """Return what became of the files once all are on disk, or once no more can be taken.

    Nothing is shown meanwhile: whoever calls this from a page and is then reloaded away does not
    interrupt it, and sees its progress among the actor's batches.
    """
    items: list[Item] = []
    with ExitStack() as stack:
        parts = [_opened(each, stack) for each in dropped]
        announced = sum(part.films if isinstance(part, _Zip) else 1 for part in parts)
        try:
            batch = service.start_batch(actor, announced, Source.PAGE)
            for group in handing.groups(each for part in parts for each in _films(part)):
                items += service.add_to_batch(actor, batch, group, priority=priority)
            service.finish_batch(actor, batch)
        except CxrError as exc:
            return Taken(tuple(items), announced, exc)
    return Taken(tuple(items), announced, None)


@dataclass(frozen=True, slots=True)
class _Zip:
    name: str
    archive: Archive

    @property
    def films(self) -> int:
        return self.archive.films


def _opened(file: Incoming, stack: ExitStack) -> Incoming | Turned | _Zip:
    """Return the file itself, or the zip that it is, or why that zip cannot be opened."""
    if not is_zip(file.name, file.raw[:4]):
        return file
    try:
        return _Zip(file.name, stack.enter_context(Archive(file.raw)))
    except Rejected as exc:
        return Turned(file.name, Notice(exc.code, exc.message, exc.hint))


def _films(part: Incoming | Turned | _Zip) -> Iterator[Incoming | Turned]:
    if isinstance(part, _Zip):
        yield from handing.inside(part.name, part.archive)
    else:
        yield part
