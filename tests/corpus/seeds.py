"""Sound films of an invented patient, small, in every format: what hostile files are made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from cxr_core.imaging.phantom import make_phantom, phantom_png
from tests.imaging.dicom_files import as_bytes, compressed_file, dataset

SIDE = 192


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file, and whether it may be assessed instead of being refused with a code."""

    name: str
    raw: bytes = field(repr=False)
    passes: bool = False


@cache
def grey() -> np.ndarray:
    """(SIDE, SIDE) uint8, an invented chest."""
    film = Image.open(BytesIO(phantom_png(make_phantom(7, ("Effusion",), size=256))))
    return np.asarray(film.convert("L").resize((SIDE, SIDE)))


def saved(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(stream, kind, **options)
    return stream.getvalue()


def twelve_bit() -> np.ndarray:
    return grey().astype(np.uint16) << 4


@cache
def seeds() -> dict[str, bytes]:
    """Return a sound film in each format, by a name with its extension."""
    made = {
        "grey.png": saved(grey()),
        "deep.png": saved(twelve_bit() << 4),
        "plain.jpg": saved(grey(), "JPEG", quality=85),
        "steps.jpg": saved(grey(), "JPEG", quality=85, progressive=True),
        "jpeg.dcm": compressed_file(grey(), saved(grey(), "JPEG"), JPEGBaseline8Bit),
    }
    plain = {"plain": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "big": ExplicitVRBigEndian}
    for name, syntax in plain.items():
        made[f"{name}.dcm"] = as_bytes(dataset(twelve_bit(), syntax=syntax, BitsStored=12, **WINDOW))
    packed = {"jpegls": JPEGLSLossless, "j2k": JPEG2000Lossless, "rle": RLELossless}
    for name, syntax in packed.items():
        film = dataset(twelve_bit(), BitsStored=12, **WINDOW)
        film.compress(syntax, generate_instance_uid=False)
        made[f"{name}.dcm"] = as_bytes(film)
    return made


WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096, "PatientName": "Nobody^Ever", "PatientID": "N-1"}


def truncated() -> Iterator[Hostile]:
    """Yield each seed cut off at many places; only what lacks the very last bytes may pass."""
    for name, raw in seeds().items():
        size = len(raw)
        early = (1, 3, 8, 20, 40, 131, 135, 200, 330, 420)
        late = (size * part // 100 for part in (30, 50, 70, 90, 99))
        for cut in (*early, *late, size - 13, size - 2):
            yield Hostile(f"cut-{cut:06}-{name}", raw[:cut], passes=cut >= size - 13)


def flipped() -> Iterator[Hostile]:
    """Yield each seed with one bit turned over, at places all over it; most still are films."""
    for number, (name, raw) in enumerate(seeds().items()):
        rng = np.random.default_rng(number)
        places = [*rng.integers(0, min(600, len(raw)), 8), *rng.integers(0, len(raw), 5)]
        for place in sorted({int(each) for each in places}):
            data = bytearray(raw)
            data[place] ^= 1 << int(rng.integers(8))
            yield Hostile(f"bit-{place:06}-{name}", bytes(data), passes=True)


def spliced() -> Iterator[Hostile]:
    """Yield seeds whose middle is that of another, missing, doubled or blank."""
    names = list(seeds())
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        raw, third = seeds()[name], len(seeds()[name]) // 3
        middles = {"other": seeds()[other][third : 2 * third], "none": b"", "zero": bytes(third)}
        for kind, middle in middles.items():
            yield Hostile(f"middle-{kind}-{name}", raw[:third] + middle + raw[2 * third :], passes=True)
