"""L1: 25 people read the same list of 5,000 studies and nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cxr_core.domain import FINDINGS, Urgency
from cxr_core.settings import Settings
from cxr_core.worklist.service import open_service
from tests import films
from tests.browser.app import Server, running
from tests.ui.sessions import read_on, told
from tests.worklist.rows import identity, image, put, study

USERS, SECONDS, STUDIES = 25, 60, 5_000
MOST_STOLEN = 0.2
"""Share of the processors beyond which a try that was too slow says nothing of the server."""
PICTURES = [films.png(seed, 96) for seed in range(100)]


def fill(home: Path, studies: int = STUDIES) -> None:
    """Write a worklist in which every tier has its share, half of it overdue, every study with a picture."""
    now = datetime.now(UTC)
    tiers = [Urgency.CRITICAL, *[Urgency.URGENT] * 4, *[Urgency.REVIEW] * 2, *[Urgency.SIGNIFICANT] * 6]
    tiers += [Urgency.ROUTINE] * 12
    rows = [
        study(
            number,
            tiers[number % len(tiers)],
            now - timedelta(minutes=number),
            findings=f"|{FINDINGS[number % 14]}|{FINDINGS[(number + 3) % 14]}|",
            cover=f"{number:064x}",
            sex="F",
            age_years=40.0,
            view="PA",
            status="acknowledged" if tiers[number % len(tiers)] is Urgency.CRITICAL and number else "new",
        )
        for number in range(studies)
    ]
    with closing(open_service(Settings(home=home))) as service:
        put(
            service.database,
            rows,
            [identity(number, patient_id=f"004-{number:05}") for number in range(studies)],
            [image(number, number, thumbnail=PICTURES[number % len(PICTURES)]) for number in range(studies)],
        )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    fill(tmp_path)
    with running(tmp_path) as started:
        yield started


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_promise_l1_25_users_on_5000_studies_have_a_p95_under_1500_ms_and_no_errors(server: Server) -> None:
    tries, void = 3, 0  # whatever else this machine does counts against the server
    while tries:
        before = processors()
        with ThreadPoolExecutor(1) as apart:  # where no browser of an earlier test keeps an event loop
            seen = apart.submit(asyncio.run, read_on(server.address, USERS, SECONDS)).result()
        kept_up = len(seen.actions) >= USERS * (SECONDS / 10 - 1) and seen.refreshes >= USERS * SECONDS / 10
        if kept_up and not seen.errors and seen.percentile(0.95) < 1.5:
            return
        stolen, spent = (now - then for now, then in zip(processors(), before, strict=True))
        if stolen > MOST_STOLEN * spent and not seen.errors:
            void += 1
            if void > 5:
                pytest.skip(f"other machines of this host took {stolen / spent:.0%}: nothing can be measured")
        else:
            tries -= 1
    raise AssertionError("\n".join(told(seen)))


def processors() -> tuple[int, int]:
    """Return the ticks of all processors that went to other machines of the host, and all ticks."""
    ticks = [
        int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    ]
    return ticks[7], sum(ticks)
