"""How fast the worklist is: one table from one run. `python benchmarks/worklist.py`, or `make bench`.

The list is measured on 100,000 invented studies, on SQLite and, where Debian keeps its programs, on a
PostgreSQL server of its own with the settings it comes with; the plans of the first page are printed after
the table. Files go in by `submit_many` in the groups that `cxr submit` makes. The worker is
`cxr worker --once`, compared in turns with `predict` on the same files, both from their first batch's end to
their last's.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from latency import REPEATS, ROOT, Row
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, insert, select
from sqlalchemy.engine.interfaces import DBAPICursor

sys.path.insert(0, str(ROOT))

from cxr_core import settings
from cxr_core.access import Actor, Role
from cxr_core.batch import batched, predict
from cxr_core.domain import FINDINGS, Urgency
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.pipeline import Kit, load_kit
from cxr_core.settings import Settings
from cxr_core.worklist.aggregate import tier_of
from cxr_core.worklist.database import SQLITE_FILE, Database
from cxr_core.worklist.handing import GROUP_FILES
from cxr_core.worklist.schema import IdentityRow, ImageRow, ResultRow, StudyRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Query, Receipt, Source, Status
from tests.worklist.cluster import Cluster, find_programs

STUDIES = 100_000
PAGE = 50
SUBMITTED = 1024
ANSWERED = 128
ROUNDS = 3
LEAD = Actor("bench", Role.LEAD)
NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
SHARES = {"critical": 5, "urgent": 25, "review": 10, "significant": 30, "routine": 30}


def main() -> None:
    """Measure everything and print it."""
    load = os.getloadavg()[0]
    rows: list[Row] = []
    plans: list[str] = []
    for row in measured(plans):
        print(f"{row.what}: {row.value:,.1f} {row.unit}", file=sys.stderr)
        rows.append(row)
    table = Table(
        "what",
        "value",
        "ratio",
        "aim",
        title=f"{STUDIES:,} studies, {os.cpu_count()} processors, load {load:.1f} at the start",
    )
    for row in rows:
        table.add_row(row.what, f"{row.value:,.1f} {row.unit}", row.ratio, row.aim)
    console = Console(width=130)
    console.print(table)
    console.print("\n".join(plans), markup=False, highlight=False, soft_wrap=True)


def measured(plans: list[str]) -> Iterator[Row]:
    """Measure everything, one thing after the other."""
    films = [distinct(number) for number in range(SUBMITTED)]
    with tempfile.TemporaryDirectory() as folder:
        for name, chosen in databases(Path(folder)):
            yield from listing(name, chosen, plans)
            yield submitting(name, replace(chosen, home=chosen.home / "submit"), films)
            yield written(name, chosen.home, films)
        yield from answering(Path(folder), films[:ANSWERED])


def databases(folder: Path) -> Iterator[tuple[str, Settings]]:
    """Yield the name and the settings of each database there is, with room for every film."""
    chosen = replace(settings.load(), home=folder / "sqlite", database_url="", queue_limit=10**6)
    yield "SQLite", chosen
    programs = find_programs()
    if programs is None:
        print("PostgreSQL left out: /usr/lib/postgresql/*/bin is not there", file=sys.stderr)
        return
    cluster = Cluster(programs, durable=True)
    try:
        cluster.start()
        yield "PostgreSQL", replace(chosen, home=folder / "postgresql", database_url=cluster.create("bench"))
    finally:
        cluster.remove()


@contextmanager
def opened(chosen: Settings, now: Callable[[], datetime] = lambda: NOW) -> Iterator[Service]:
    """Give the service of these settings, closed afterwards."""
    service = open_service(chosen, clock=now)
    try:
        yield service
    finally:
        service.close()


def listing(name: str, chosen: Settings, plans: list[str]) -> Iterator[Row]:
    """Measure reading the list, and note the plans of its first page, tiers and alert."""
    with opened(chosen) as service:
        fill(service.database)
        total = service.page(LEAD, Query()).total
        queries = {
            "first page": Query(),
            "page 100": Query(offset=99 * PAGE),
            f"deepest page, of {total // PAGE + 1:,}": Query(offset=total // PAGE * PAGE),
            "first page of the read": Query(statuses=frozenset({Status.READ})),
            "first page, urgent and new only": Query(
                urgencies=frozenset({Urgency.URGENT}), statuses=frozenset({Status.NEW})
            ),
            "first page of one finding": Query(finding="Pneumothorax"),
            "first page received in the last hour": Query(since=NOW - timedelta(hours=1)),
            "first page by part of a patient id": Query(text="P00012"),
        }
        for what, query in queries.items():
            aim = "< 50 ms" if what == "first page" else ""
            yield timed(f"{name}: {what}", lambda q=query: service.page(LEAD, q), aim)
        yield timed(f"{name}: counts per tier", lambda: service.tiers(LEAD))
        alerts = len(service.alerts(LEAD))
        yield timed(f"{name}: the alert, {alerts} studies", lambda: service.alerts(LEAD))
        plans.append(f"\n{name}: plans of the first page, the counts per tier and the alert")
        plans += explained(service)


def timed(what: str, work: Callable[[], object], aim: str = "") -> Row:
    """Measure the median wall time in ms, after one run that is not counted; the fastest stands beside it."""
    work()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return Row(what, statistics.median(times), ratio=f"fastest {min(times):.1f} ms", aim=aim)


def fill(database: Database) -> None:
    """Write STUDIES invented studies of one film each, a tenth of them read, most criticals acknowledged."""
    rng = random.Random(20260105)  # noqa: S311 -- invented studies
    with database.write() as session:
        for start in range(0, STUDIES, 2_000):
            rows = [invented(number, rng) for number in range(start, min(start + 2_000, STUDIES))]
            for place, table in enumerate((StudyRow, IdentityRow, ImageRow)):
                session.execute(insert(table), [row[place] for row in rows])
    if database.name == "postgresql":  # as it does by itself within minutes
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")


def invented(number: int, rng: random.Random) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the rows of a study: itself, who it is, its film."""
    study_id, sha256 = f"{rng.getrandbits(128):032x}", f"{rng.getrandbits(256):064x}"
    urgency = rng.choices(list(SHARES), list(SHARES.values()))[0]
    since = NOW - timedelta(minutes=rng.expovariate(1 / 1440))
    read, acknowledged = rng.random() < 0.1, urgency == "critical" and rng.random() < 0.98
    labels = rng.sample(FINDINGS, rng.choice((0, 0, 1, 1, 2)))
    study = {
        "id": study_id,
        "key": sha256,
        "study_uid": f"2.25.{number}",
        "source": "cli",
        "received_utc": since + timedelta(seconds=30),
        "acquired_utc": since,
        "since_utc": since,
        "age_years": float(rng.randrange(1, 95)),
        "sex": rng.choice("FM"),
        "view": rng.choice(("PA", "AP")),
        "typed": None,
        "state": "flagged" if labels else "no_disease_detected",
        "urgency": urgency,
        "tier": tier_of(Urgency(urgency)),
        "findings": "".join(f"|{label}" for label in labels) + "|" * bool(labels),
        "action": "Radiologist to read now. Compare with earlier films.",
        "reasons": [f"{label}: 0.71, at or above its threshold 0.42" for label in labels],
        "cover": sha256,
        "is_open": not read,
        "status": "read" if read else "acknowledged" if acknowledged else "new",
        "acknowledged_utc": since if acknowledged or (read and urgency == "critical") else None,
        "read_utc": NOW if read else None,
        "version": 2,
        "priority": 1,
        "lost_leases": 0,
    }
    identity = {
        "study_id": study_id,
        "patient_id": f"P{rng.randrange(10**7):07}",
        "patient_name": "Phantom^Synthetic",
        "accession": f"A{number:07}",
        "referrer": "",
        "referrer_phone": "",
        "question": "",
    }
    image = {
        "sha256": sha256,
        "study_id": study_id,
        "received_utc": since + timedelta(seconds=30),
        "source": "cli",
        "file_name": f"{number:07}.dcm",
        "size_bytes": 400_000,
        "status": "assessed",
        "attempts": 0,
        "thumbnail": rng.randbytes(5_000),
    }
    return study, identity, image


def explained(service: Service) -> list[str]:
    """Return, for each statement of the first page, the tiers and the alert, how it is carried out."""
    postgresql = service.database.name == "postgresql"
    found: list[str] = []

    def explain(
        _: object, cursor: DBAPICursor, statement: str, parameters: tuple[object, ...], *__: object
    ) -> None:
        how = "EXPLAIN (COSTS OFF)" if postgresql else "EXPLAIN QUERY PLAN"
        steps = cursor.connection.execute(f"{how} {statement}", parameters).fetchall()
        lines = [str(step[-1]) for step in steps]
        kept = [
            line
            for line in lines
            if any(word in line for word in ("Index", "INDEX", "SCAN ", "Scan", "Sort", "TEMP"))
        ]
        found.append(f"  {' '.join(statement.split())[:100]} …")
        found.extend(f"    {count} x {line.strip()[:110]}" for line, count in Counter(kept).items())

    engine = service.database.engine
    event.listen(engine, "before_cursor_execute", explain)
    service.page(LEAD, Query())
    service.tiers(LEAD)
    service.alerts(LEAD)
    event.remove(engine, "before_cursor_execute", explain)
    return found


def submitting(name: str, chosen: Settings, films: list[bytes]) -> Row:
    """Measure taking files in, as durable as the databases come."""
    with opened(chosen, lambda: datetime.now(UTC)) as service:
        groups = list(
            batched([Incoming(f"{number}.png", raw) for number, raw in enumerate(films)], GROUP_FILES)
        )
        warm, rest = groups[: len(groups) // 2], groups[len(groups) // 2 :]
        for group in warm:  # a young store makes a folder for nearly every film, an old one has all 256
            service.submit_many(LEAD, group, source=Source.CLI)
        begin = time.perf_counter()
        receipts = [each for group in rest for each in service.submit_many(LEAD, group, source=Source.CLI)]
        elapsed = time.perf_counter() - begin
        if not all(isinstance(each, Receipt) and each.new for each in receipts):
            raise SystemExit("a film was not taken in")
    size = statistics.mean(map(len, films)) / 1e3
    return Row(f"{name}: submit, files of {size:,.0f} kB", len(receipts) / elapsed, "files/s", aim=">= 200")


def written(name: str, home: Path, films: list[bytes]) -> Row:
    """Measure what the disk alone allows: each file written and synchronised, one after the other."""
    begin = time.perf_counter()
    for number, raw in enumerate(films):
        with (home / f"{number}.raw").open("wb") as handle:
            handle.write(raw)
            handle.flush()
            os.fsync(handle.fileno())
    rate = len(films) / (time.perf_counter() - begin)
    return Row(f"{name}, right after: the same files written and synchronised, nothing else", rate, "files/s")


def answering(folder: Path, films: list[bytes]) -> Iterator[Row]:
    """Measure the worker beside `predict`, and what a study takes on disk once it is answered."""
    files = [folder / f"{number}.png" for number in range(len(films))]
    for file, raw in zip(files, films, strict=True):
        file.write_bytes(raw)
    kit = load_kit(settings.load())
    turns: list[tuple[float, float]] = []
    for turn in range(ROUNDS):
        chosen = replace(settings.load(), home=folder / f"turn{turn}", database_url="")
        turns.append((worked(chosen, files), predicted(files, kit, folder / f"{turn}.csv")))
    worker, alone = (statistics.median(each) for each in zip(*turns, strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs in turns)
    yield Row("cxr predict, with CSV on disk", alone, "films/s")
    yield Row(
        "cxr worker, one process",
        worker,
        "films/s",
        f"{ratio:.0%} of predict, median of {ROUNDS} turns",
        ">= 90 %",
    )
    home = chosen.home
    rows = (home / SQLITE_FILE).stat().st_size / len(films) / 1e3
    blobs = (
        sum(path.stat().st_size for path in (home / "blobs").rglob("*") if path.is_file()) / len(films) / 1e3
    )
    yield Row(
        "disk per study, SQLite: rows, heatmaps, thumbnail", rows, "kB", f"and its film of {blobs:,.0f} kB"
    )


def worked(chosen: Settings, files: list[Path]) -> float:
    """Return films a second of `cxr worker --once`, by the times at which it recorded its answers."""
    with opened(chosen, lambda: datetime.now(UTC)) as service:
        service.submit_many(
            LEAD, [Incoming(file.name, file.read_bytes()) for file in files], source=Source.CLI
        )
    environ = {name: value for name, value in os.environ.items() if name != "CXR_DATABASE_URL"}
    environ["CXR_HOME"] = str(chosen.home)
    command = [sys.executable, "-m", "cxr_core.cli", "worker", "--once"]
    subprocess.run(command, cwd=ROOT, env=environ, check=True, stderr=subprocess.DEVNULL)
    with opened(chosen) as service, service.database.read() as session:
        times = list(session.scalars(select(ResultRow.created_utc)))
    if len(times) < len(files):
        raise SystemExit("the worker left films without answer")
    return steady(Counter(time.timestamp() for time in times))


def predicted(files: list[Path], kit: Kit, out: Path) -> float:
    """Return films a second of `predict`, by the times at which its batches were on disk."""
    done: Counter[float] = Counter()

    def progress(number: int) -> None:
        done[time.perf_counter()] += number

    predict(files, kit, out, now=NOW, threads=settings.load().threads, progress=progress)
    return steady(+done)


def steady(done: Counter[float]) -> float:
    """Return how many a second were done after the first batch, from how many were done at each time."""
    first, last = min(done), max(done)
    return (done.total() - done[first]) / (last - first)


def distinct(number: int) -> bytes:
    """Return one film of 1024 x 1024 whose bytes, but not its pixels, differ by the number."""
    if not _FILM:
        _FILM.append(phantom_png(make_phantom(1, ("Effusion",), size=1024)))
    body = b"tEXt" + f"Comment\0{number}".encode()
    chunk = (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    return _FILM[0][:-12] + chunk + _FILM[0][-12:]


_FILM: list[bytes] = []

if __name__ == "__main__":
    main()
