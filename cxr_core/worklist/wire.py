"""What goes between a process and its decoding children: JSON and raw bytes, no pickles.

A decoder that a film has taken over must not be able to run anything in the process that asked it, so
every answer is read key for key into frozen values and every size is checked.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import AS_SENT, Correction, Gate, Notice, Radiograph, Study
from cxr_core.errors import StoreError
from cxr_core.imaging.gate import INPUT
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.preprocess import Recipe
from cxr_core.pipeline import Film, Unfit
from cxr_core.strict import build

MAX_HEAD = 1 << 20
MAX_PARTS = 4
MAX_PART = 128 << 20
NO_PIXELS: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Request:
    """What a child is to do with the bytes that follow.

    Attributes:
        recipe: how the network wants the film; None: only show it.
        now: ISO 8601 with offset; see `pipeline.analyse`.
        max_side: None: answer without pixels; else with pixels no finer than this.
        correction: how the film is to hang.
    """

    limits: Limits
    now: str
    recipe: Recipe | None = None
    max_side: int | None = None
    correction: Correction = AS_SENT


@dataclass(frozen=True, slots=True)
class Head:
    """An answer without its arrays; absent values are None."""

    sha256: str
    timings_ms: dict[str, float]
    source: str | None = None
    study: Study | None = None
    spacing_mm: tuple[float, ...] | None = None
    burned_in: bool = False
    notes: tuple[Notice, ...] = ()
    warnings: tuple[Notice, ...] = ()
    orientation: str = ""
    gate: Gate | None = None
    notice: Notice | None = None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What a child made of a file.

    Attributes:
        film: ready for the network, or why not; its radiograph has no pixels, or shrunken ones.
        thumbnail: PNG, at most 96 pixels a side; None where nothing could be decoded.
    """

    film: Film | Unfit
    thumbnail: bytes | None = field(repr=False)


def request_parts(request: Request, raw: bytes) -> tuple[bytes, list[bytes]]:
    """Return a request as it is sent."""
    return _dump(request), [raw]


def read_request(head: bytes) -> Request:
    """Return the request in a head."""
    return build(Request, json.loads(head), "request", StoreError)


def answer_parts(decoded: Decoded) -> tuple[bytes, list[bytes]]:
    """Return an answer as it is sent: head; then the two networks' inputs or nothing, thumbnail, pixels."""
    film, radiograph = decoded.film, decoded.film.radiograph
    fit = film if isinstance(film, Film) else None
    array, small = (fit.array, fit.small) if fit else (NO_PIXELS, NO_PIXELS)
    unfit = film if isinstance(film, Unfit) else None
    pixels = radiograph.pixels if radiograph else NO_PIXELS
    head = Head(
        sha256=film.radiograph.sha256 if isinstance(film, Film) else film.sha256,
        timings_ms=film.timings_ms,
        gate=fit.gate if fit else None,
        notice=unfit.notice if unfit else None,
        shape=pixels.shape,
    )
    if radiograph:
        head = replace(
            head,
            source=radiograph.source,
            study=radiograph.study,
            spacing_mm=radiograph.spacing_mm,
            burned_in=radiograph.burned_in,
            notes=radiograph.notes,
            warnings=radiograph.warnings,
            orientation=radiograph.orientation,
        )
    return _dump(head), [array.tobytes(), small.tobytes(), decoded.thumbnail or b"", pixels.tobytes()]


def read_answer(head: bytes, parts: Sequence[bytes], side: int) -> Decoded:
    """Return the answer of a child.

    Args:
        head: as received.
        parts: as received.
        side: of the network's input; the array is (1, side, side).

    Raises:
        StoreError: it does not have the form of an answer.
        ValueError: it is not even JSON, or arrays and sizes differ.
    """
    document = json.loads(head)
    if acquired := (document.get("study") or {}).get("acquired"):
        document["study"]["acquired"] = datetime.fromisoformat(acquired)
    said = build(Head, document, "answer", StoreError)
    array, small, thumbnail, pixels = parts
    radiograph = None
    if said.source is not None and said.study is not None:
        radiograph = Radiograph(
            pixels=np.frombuffer(pixels, np.float32).reshape(said.shape),
            sha256=said.sha256,
            source=said.source,
            study=said.study,
            spacing_mm=(said.spacing_mm[0], said.spacing_mm[1]) if said.spacing_mm else None,
            burned_in=said.burned_in,
            notes=said.notes,
            warnings=said.warnings,
            orientation=said.orientation,
        )
    if said.notice is not None:
        return Decoded(Unfit(said.notice, said.sha256, radiograph, said.timings_ms), thumbnail or None)
    if radiograph is None or said.gate is None:
        raise ValueError("neither film nor refusal")
    network = np.frombuffer(array, np.float32).reshape(1, side, side)
    looked = np.frombuffer(small, np.float32).reshape(1, INPUT.network_px, INPUT.network_px)
    return Decoded(Film(radiograph, said.gate, network, looked, said.timings_ms), thumbnail or None)


def send(channel: socket.socket, head: bytes, parts: Sequence[bytes]) -> None:
    """Send a message; the channel's own timeout holds for the whole of it."""
    lengths = [len(head), *map(len, parts)]
    channel.sendall(struct.pack(f"!B{len(lengths)}I", len(lengths), *lengths) + head)
    for part in parts:
        channel.sendall(part)


def receive(channel: socket.socket, until: float | None = None) -> tuple[bytes, list[bytes]]:
    """Return head and parts of a message.

    Args:
        channel: a stream socket.
        until: by `time.monotonic`; None waits for ever.

    Raises:
        TimeoutError: it has not come by then.
        EOFError: the other side is gone.
        ValueError: it states sizes that no message has.
    """
    (count,) = _exactly(channel, 1, until)
    if not 1 <= count <= 1 + MAX_PARTS:
        raise ValueError("a message of too many parts")
    head, *parts = struct.unpack(f"!{count}I", _exactly(channel, 4 * count, until))
    if head > MAX_HEAD or max(parts, default=0) > MAX_PART:
        raise ValueError("a message that is too long")
    return _exactly(channel, head, until), [_exactly(channel, size, until) for size in parts]


def _exactly(channel: socket.socket, size: int, until: float | None) -> bytes:
    got = bytearray(size)
    view, filled = memoryview(got), 0
    while filled < size:
        if until is not None:
            left = until - monotonic()
            if left <= 0:
                raise TimeoutError
            channel.settimeout(left)
        number = channel.recv_into(view[filled:])
        if not number:
            raise EOFError
        filled += number
    view.release()
    return bytes(got)


def _dump(value: Request | Head) -> bytes:
    """Return the JSON of a value, absent ones left out, as `strict.build` reads it."""
    plain = asdict(value, dict_factory=lambda items: {k: v for k, v in items if v is not None})
    return json.dumps(plain, default=datetime.isoformat).encode()
