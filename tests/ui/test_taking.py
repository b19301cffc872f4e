"""Dropped files become a batch on disk."""

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from cxr_core.errors import Busy
from cxr_core.ui import taking
from cxr_core.worklist import handing
from cxr_core.worklist.schema import ImageRow, ResultRow
from cxr_core.worklist.service import open_service
from cxr_core.worklist.values import BATCH, Incoming, Query, Source
from tests.ui.conftest import Home
from tests.worklist.films import Films


def packed(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, raw in entries.items():
            archive.writestr(name.replace("__", "/"), raw)
    return buffer.getvalue()


def test_films_zips_and_refusals_keep_their_order_and_are_all_in_the_batch(
    tiny_app: Home, films: Films
) -> None:
    dropped = [
        Incoming("a.png", films.png(1)),
        Incoming("b.zip", packed(**{"one.png": films.png(2), "..__two.png": films.png(3)})),
        Incoming("broken.zip", b"PK\x03\x04 nothing"),
        Incoming("empty.png", b""),
        Incoming("again.png", films.png(1)),
    ]
    taken = taking.take(tiny_app.service, tiny_app.actor, dropped, priority=BATCH)
    assert taken.trouble is None
    assert [item.name for item in taken.items] == [
        "a.png", "b.zip/one.png", "b.zip/../two.png", "broken.zip", "empty.png", "again.png",
    ]  # fmt: skip
    assert [item.receipt is not None for item in taken.items] == [True, True, False, False, False, True]
    batch = tiny_app.service.batches(tiny_app.actor, 1)[0]
    assert (batch.total, batch.stored, batch.known, len(batch.refused)) == (6, 3, 1, 3)
    assert tiny_app.service.page(tiny_app.actor, Query()).total == 2


def test_when_the_queue_is_full_half_way_the_rest_is_said_and_what_was_stored_stays(
    tiny_app: Home, films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing, "GROUP_FILES", 2)
    narrow = replace(tiny_app.settings, queue_limit=3)
    dropped = [Incoming(f"{number}.png", films.png(number)) for number in range(5)]
    with closing(open_service(narrow)) as service:
        taken = taking.take(service, tiny_app.actor, dropped, priority=BATCH)
    assert isinstance(taken.trouble, Busy)
    assert len(taken.items) == 2
    assert taking.summary(taken).startswith("2 of 5 files were taken in.")
    assert tiny_app.service.page(tiny_app.actor, Query()).total == 2
    again = taking.take(tiny_app.service, tiny_app.actor, dropped, priority=BATCH)
    assert again.trouble is None
    assert tiny_app.service.page(tiny_app.actor, Query()).total == 5


def test_the_same_files_from_two_sessions_and_the_service_at_once_are_stored_once(
    tiny_app: Home, films: Films
) -> None:
    dropped = [Incoming(f"{number}.dcm", films.dicom(number)) for number in range(6)]

    def hand_in(way: int) -> None:
        if way % 2:
            tiny_app.service.submit_many(tiny_app.actor, dropped, source=Source.CLI)
        else:
            taken = taking.take(tiny_app.service, tiny_app.actor, dropped, priority=BATCH)
            assert taken.trouble is None

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(hand_in, range(6)))
    tiny_app.answer()
    with tiny_app.service.database.read() as session:
        assert session.scalar(select(func.count()).select_from(ImageRow)) == 6
        assert session.scalar(select(func.count()).select_from(ResultRow)) == 6
    assert tiny_app.service.page(tiny_app.actor, Query()).total == 6
