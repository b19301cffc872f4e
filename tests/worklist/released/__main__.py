"""Write the fixtures of the newest revision, once, when it is released: `python -m tests.worklist.released`.

Never again after that: they are what an older version of this program left on disk.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from pathlib import Path

from sqlalchemy import insert

from cxr_core.settings import Settings
from cxr_core.worklist import audit, migrations
from cxr_core.worklist.backup import backup
from cxr_core.worklist.blobs import Blobs
from cxr_core.worklist.database import BLOBS_FOLDER, SQLITE_FILE, Database, open_database
from cxr_core.worklist.schema import BatchItemRow, BatchRow, ReviewRow, WorkerRow
from tests.worklist import rows

FOLDER = Path(__file__).parent
THEN = rows.THEN


def main() -> None:
    revision = migrations.head()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        database, blobs = open_database(Settings(home=home)), Blobs(home / BLOBS_FOLDER)
        fill(database, blobs)
        backup(database, blobs, home, FOLDER / revision)
        database.close()
        with sqlite3.connect(home / SQLITE_FILE) as connection:
            dump = "\n".join(connection.iterdump())
        connection.close()
    (FOLDER / f"{revision}.sql").write_text(dump + "\n", encoding="utf-8")


def fill(database: Database, blobs: Blobs) -> None:
    """A row in every table, at least."""
    films = {hashlib.sha256(raw).hexdigest(): raw for raw in (b"first film", b"second film")}
    blobs.put_many(films)
    first, second = films
    hung = {"correction": "turn=2"}
    made = {"gate": "1.0.0+0badcafe", "body": {"p": 0.125}, "heatmaps": bytes(8)}
    rows.put(
        database,
        studies=[rows.study(1, "critical", age_years=54.0, reasons=["Pneumothorax 0.91"]), rows.study(2)],
        identities=[rows.identity(1, patient_id="SYNTHETIC-1", patient_name="Ågren^Synthetic")],
        images=[
            rows.image(1, 1, sha256=first, sop_uid="2.25.1", thumbnail=b"\x89PNG", result_id=1, **hung),
            rows.image(2, 2, sha256=second, status="waiting"),
        ],
        results=[rows.result(1, 1, "tiny 1", "1", sha256=first, **made, **hung)],
    )
    rows.put_people(database)
    rows.put_models(database, 1, first)
    batch = {"created_utc": THEN, "seen_utc": THEN, "actor": "local user", "source": "cli", "total": 1}
    worker = {"started_utc": THEN, "seen_utc": THEN, "answered": 1}
    with database.write() as session:
        session.add(ReviewRow(study_id=f"{1:032x}", at_utc=THEN, actor="a", kind="claim", data={}))
        session.execute(insert(WorkerRow), {"id": "worker-1", **worker})
        session.execute(insert(BatchRow), {"id": "batch-1", **batch})
        session.flush()
        session.add(BatchItemRow(batch_id="batch-1", position=0, name="film.png", sha256=first))
        for event, actor in (("submit", "local user"), ("result", "worker-1"), ("claim", "local user")):
            audit.append(session, at=THEN, actor=actor, event=event, subject=first, detail={"n": 1})


if __name__ == "__main__":
    main()
