"""A process that hands films in and says each receipt it got; made to be killed."""

from __future__ import annotations

import random
from multiprocessing.connection import Connection
from typing import Any

from cxr_core.settings import Settings
from cxr_core.worklist.service import open_service
from cxr_core.worklist.values import Incoming, Source
from tests.worklist.work import NURSE


def film(number: int) -> bytes:
    """Bytes like no other number's; whether they can be decoded does not matter here."""
    return b"film %d " % number + random.Random(number).randbytes(20_000)  # noqa: S311


def write(settings: Settings, first: int, pipe: Connection) -> None:
    """Hand in films from number `first` on, for ever; say each SHA-256 once its receipt is there."""
    service = open_service(settings)
    number = first
    while True:
        receipt = service.submit(NURSE, Incoming("film", film(number)), source=Source.CLI)
        pipe.send(receipt.sha256)
        number += 1


def hand_in(settings: Settings, raws: list[bytes], seed: int, start: Any, out: Any) -> None:  # noqa: ANN401
    """Hand all films in, in an order of one's own, some together; put how many were new."""
    service = open_service(settings)
    rng = random.Random(seed)  # noqa: S311
    order = raws[:]
    rng.shuffle(order)
    start.wait()
    new = 0
    while order:
        size = rng.choice((1, 1, 2, 7))
        some, order = order[:size], order[size:]
        receipts = service.submit_many(NURSE, [Incoming("film", raw) for raw in some], source=Source.CLI)
        new += sum(receipt.new for receipt in receipts)  # type: ignore[union-attr]
    out.put(new)
