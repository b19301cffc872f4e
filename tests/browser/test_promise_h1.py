"""Promise H1 on the page: hostile files dropped in a real browser are refused, and the page goes on."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from playwright.sync_api import Page, expect

from cxr_core.access import Actor, Role
from cxr_core.files import name
from cxr_core.imaging.refusals import REFUSALS
from cxr_core.worklist import queue
from cxr_core.worklist.service import Service
from tests import make_hostile
from tests.browser import app
from tests.browser.app import Server
from tests.corpus.seeds import Hostile
from tests.films import png
from tests.worklist.processes import family, wait_for

pytestmark = pytest.mark.browser
PERSON = Actor("local user", Role.LEAD)
FILMS, ZIPS, SLOW_MS = 24, 6, 120_000
MEGABYTES = 2048


def sample() -> list[Hostile]:
    """Return some of the films and zips, none larger than a browser's message may be here."""
    random = Random(20261122)  # noqa: S311 -- nothing secret
    films = [each for each in make_hostile.films() if len(each.raw) < 10 * 2**20]
    zips = [each for each in make_hostile.archives() if len(each.raw) < 10 * 2**20]
    return [*random.sample(films, FILMS), *random.sample(zips, ZIPS)]


def drop(page: Page, files: list[tuple[str, bytes]]) -> None:
    page.locator("input[type=file]").first.set_input_files(
        [{"name": each, "mimeType": "application/octet-stream", "buffer": raw} for each, raw in files]
    )


def peak_mb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def test_h1_hostile_files_dropped_on_the_page_are_refused_and_sound_ones_answered(
    browser, server: Server, service: Service
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail("a name ran as a script"))
    page.goto(server.address)
    page.get_by_text("Drop a chest X-ray").wait_for(timeout=SLOW_MS)
    hostile = sample()
    dropped = [(name(Path(each.name)), each.raw) for each in hostile]
    drop(page, [("first.png", png(1)), *dropped, ("last.png", png(2))])

    def done() -> bool:
        batches = service.batches(PERSON)
        return bool(batches) and not queue.waiting(service) and batches[0].answered == batches[0].stored > 0

    wait_for(done, SLOW_MS / 1000, "all are answered")
    (batch,) = service.batches(PERSON)
    codes = {file: notice.code for file, notice in batch.refused}
    assert not batch.broken_off
    assert codes.keys().isdisjoint({"first.png", "last.png"})
    assert set(codes.values()) <= REFUSALS.keys() - {"internal", "given_up", "decoder_failed"}
    for each in hostile[:FILMS]:
        assert each.passes or name(Path(each.name)) in codes, each.name
    expect(page.locator(".st-key-films button").first).to_be_visible(timeout=SLOW_MS)
    assert max(peak_mb(pid) for pid in family(server.pid)) < MEGABYTES
    assert not [url for url in asked if not url.startswith((server.address, "ws", "data:", "blob:"))]
    drop(page, [("another.png", png(3))])
    wait_for(lambda: len(service.batches(PERSON)) == 2 and done(), SLOW_MS / 1000, "the next is answered")
    app.ready(page)
    page.context.close()
