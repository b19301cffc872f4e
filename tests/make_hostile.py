"""Hundreds of hostile files, the same every time: `python tests/make_hostile.py DIR` writes them all.

Made from an invented chest alone. Zips go into a folder of their own, `zips`; what is no file at all is
left out unless asked for.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path

from pydicom.uid import generate_uid

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.corpus import dicoms, others, rasters, seeds
from tests.corpus.seeds import Hostile

ZIPS = "zips"
UID = generate_uid(entropy_srcs=["film"]).encode()
"""Of all films that `dicom_files` makes: the worklist judges only the first film of one UID."""


@cache
def films() -> tuple[Hostile, ...]:
    """Return the files that claim to be films."""
    made = (
        *(seeds.truncated, seeds.flipped, seeds.spliced, rasters.pngs, rasters.jpegs),
        *(dicoms.tags, dicoms.tables, dicoms.structures, dicoms.streams),
        *(others.kinds, others.polyglots, others.names),
    )
    all_ = chain.from_iterable(each() for each in made)
    return tuple(replace(each, raw=_numbered(each.raw, number)) for number, each in enumerate(all_))


def _numbered(raw: bytes, number: int) -> bytes:
    """Return the file with a SOPInstanceUID of its own, if it had the seeds'."""
    return raw.replace(UID, UID[:-6] + f"{number:06}".encode())


@cache
def archives() -> tuple[Hostile, ...]:
    """Return the zips."""
    return tuple(others.zips())


def write(folder: Path) -> int:
    """Return how many files were written into a folder, which is made."""
    (folder / ZIPS).mkdir(parents=True, exist_ok=True)
    for each in films():
        (folder / each.name).write_bytes(each.raw)
    for each in archives():
        (folder / ZIPS / each.name).write_bytes(each.raw)
    return len(films()) + len(archives())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/make_hostile.py DIR")
    sys.stdout.write(f"{write(Path(sys.argv[1]))} files\n")
