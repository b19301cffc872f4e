"""Promise H4: no patient data in logs, errors, temp files; in the database only where it belongs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from cxr_core.access import Actor, Role
from cxr_core.domain import Study
from cxr_core.errors import Conflict, CxrError
from cxr_core.imaging.deidentify import Text
from cxr_core.settings import Settings
from cxr_core.worklist.schema import ImageRow
from cxr_core.worklist.service import open_service
from cxr_core.worklist.values import Incoming, Query, Source
from tests.worklist.hooks import ABORT
from tests.worklist.processes import environment
from tests.worklist.tokens import (
    COMMENT,
    FILE,
    NAME,
    PATIENT,
    REFERRER,
    assert_database_is_clean,
    files,
    leaks,
    renamed,
    tagged,
)

LEAD = Actor("lead", Role.LEAD)

CRASHING_WORKER = """
import logging, threading
from cxr_core import settings
from cxr_core.worklist.service import open_service
from cxr_core.worklist.worker import Worker, open_pool
logging.basicConfig(level=logging.DEBUG)
service = open_service(settings.load())
with open_pool(service, hook="tests.worklist.hooks:fail") as pool:
    Worker(service, pool, threading.Event()).work(once=True)
"""


@pytest.fixture
def handed_in(tmp_path, films) -> Path:
    """Films that succeed, are refused by tags, cannot be read, kill their decoder; and a hostile zip."""
    folder = tmp_path / "in"
    folder.mkdir()
    raws = {
        "good.dcm": tagged(films, 1),
        "same-uid.dcm": tagged(films, 1, pixels=2),
        "lateral.dcm": tagged(films, 3, ViewPosition="LL"),
        "knee.dcm": tagged(films, 4, BodyPartExamined="KNEE"),
        "report.dcm": tagged(films, 5, Modality="SR"),
        "odd-uid.dcm": tagged(films, 6, SOPInstanceUID=None, StudyInstanceUID=None),
        "odd-age.dcm": tagged(films, 7, PatientAge="999Y"),
        "cut.dcm": tagged(films, 8)[:9000],
        "cut-early.dcm": tagged(films, 9)[:700],
        "torn.dcm": tagged(films, 10).replace(b"DX", b"\xff\xff", 1),
        "crash.dcm": tagged(films, 11, ImageComments=ABORT.decode()),
        "picture.png": films.png(12),
        "cut.png": films.png(13)[:900],
        "empty.png": b"",
    }
    for name, raw in raws.items():
        (folder / f"{FILE}-{name}").write_bytes(raw)
    with zipfile.ZipFile(tmp_path / f"{FILE}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{FILE}-inside.dcm", tagged(films, 14))
        archive.writestr(f"../{FILE}-slip.dcm", tagged(films, 15))
        archive.writestr(f"{FILE}-more.zip", tagged(films, 16))
        archive.writestr(f"{FILE}-bomb.dcm", tagged(films, 17) + bytes(48 * 2**20))
    (tmp_path / f"{FILE}-broken.zip").write_bytes((tmp_path / f"{FILE}.zip").read_bytes()[:-40])
    return folder


class Machine:
    """Commands in a folder and with temporary files of their own; keeps all they say beside their answer."""

    def __init__(self, settings: Settings, place: Path) -> None:
        self.settings = replace(settings, local_role="lead", attempts=1)
        self.work, self.temp = place / "cwd", place / "temp"
        self.work.mkdir()
        self.temp.mkdir()
        self.said = ""
        self.answered = ""

    def run(self, *command: object, **changes) -> int:
        variables = environment(replace(self.settings, **changes)) | {"TMPDIR": str(self.temp)}
        variables["PYTHONPATH"] = str(Path(__file__).parents[2])
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=self.work,
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.said += done.stderr
        self.answered = done.stdout
        return done.returncode

    def cxr(self, *arguments: object, **changes) -> int:
        return self.run("-m", "cxr_core.cli", *arguments, **changes)


def assert_disk_is_clean(machine: Machine) -> None:
    """Neither names nor contents of files give a token away, but for database and blobs."""
    home = machine.settings.home
    for path in (*files(machine.work), *files(machine.temp), *files(home)):
        assert not leaks(str(path.relative_to(home.parent)))
        if path.parent == home and path.name.startswith("neuraray.sqlite3"):
            continue
        if home / "blobs" in path.parents:
            continue
        assert not leaks(path.read_bytes()), path


@pytest.mark.slow
def test_h4_a_patients_name_is_found_nowhere_but_where_identity_belongs(store_settings, handed_in, tmp_path):
    machine = Machine(store_settings, tmp_path)
    archives = (tmp_path / f"{FILE}.zip", tmp_path / f"{FILE}-broken.zip")
    assert machine.cxr("submit", handed_in, *archives) == 3
    assert "zip_ratio" in machine.answered
    assert leaks(machine.answered) == {FILE}
    assert machine.run("-c", CRASHING_WORKER) == 0
    assert machine.cxr("submit", handed_in, "--json", "--wait") == 3
    assert machine.cxr("worklist", "--all") == 0
    assert machine.cxr("worklist", "--json") == 0
    assert leaks(machine.answered) <= {FILE}
    assert machine.cxr("audit", "verify") == 0
    assert not leaks(machine.answered)
    assert machine.cxr("audit", "export") == 0
    assert '"event":"dead_letter"' in machine.answered.replace('": "', '":"')
    assert not leaks(machine.answered)
    assert not leaks(machine.said), machine.said
    service = open_service(machine.settings)
    with service.database.read() as session:
        statuses = set(session.scalars(select(ImageRow.status)))
    assert statuses == {"assessed", "refused", "dead", "conflict"}
    assert_database_is_clean(service)
    assert_disk_is_clean(machine)
    service.close()


@pytest.mark.slow
def test_h4_films_without_identity_name_nobody_and_nobody_says_who_they_were(
    store_settings, handed_in, tmp_path
):
    machine, out = Machine(store_settings, tmp_path), tmp_path / "given away"
    assert machine.cxr("deidentify", handed_in, "--out", out, "--blank-text", "--key", tmp_path / "key") == 3
    assert leaks(machine.answered) == {FILE}  # which film became which
    given = list(files(out))
    assert len(given) >= 5
    assert not any(leaks(path.read_bytes()) | leaks(path.name) for path in given)
    assert not leaks(machine.said.replace(FILE, "")), machine.said
    assert machine.cxr("submit", handed_in / f"{FILE}-good.dcm") == 0
    service = open_service(machine.settings)
    with service.database.read() as session:
        sha256 = session.scalars(select(ImageRow.sha256)).one()
    for text in (Text.BLANK, Text.CHECKED):
        made = service.deidentify(LEAD, sha256, text)
        assert not leaks(made.raw) | leaks(made.name) | leaks(repr(made))
    with pytest.raises(Conflict) as refused:
        service.deidentify(LEAD, sha256, Text.REFUSE)
    assert not leaks(str(refused.value))
    assert machine.cxr("audit", "export") == 0
    assert '"deidentify"' in machine.answered
    assert not leaks(machine.answered)
    assert_disk_is_clean(machine)
    service.close()


@pytest.mark.slow
def test_h4_errors_of_a_store_that_fails_name_nobody(store_settings, handed_in, tmp_path):
    machine = Machine(store_settings, tmp_path)
    good = handed_in / f"{FILE}-good.dcm"
    assert machine.cxr("submit", handed_in / f"{FILE}-lateral.dcm") == 0
    assert machine.cxr("submit", good, queue_limit=1) == 1
    assert machine.cxr("submit", good, min_free_mb=2**30) == 1
    service = open_service(machine.settings)
    with renamed(
        service, "identity RENAME COLUMN referrer TO gone", "identity RENAME COLUMN gone TO referrer"
    ):
        assert machine.cxr("submit", good) == 1
        assert machine.cxr("worklist") in (0, 1)
    with renamed(service, "identity RENAME TO gone", "gone RENAME TO identity"):
        assert machine.cxr("submit", good) == 1
        assert machine.cxr("submit", handed_in) == 1
    service.close()
    shutil.rmtree(machine.settings.home / "blobs")
    (machine.settings.home / "blobs").write_text("a file where the folder should be")
    assert machine.cxr("submit", good) == 1
    assert "are stored" in machine.said
    assert not leaks(machine.said), machine.said
    assert "Traceback" not in machine.said
    assert_disk_is_clean(machine)


def test_h4_errors_raised_by_the_service_name_nobody(service, films, tmp_path):
    raw = tagged(films, 1)
    receipt = service.submit(LEAD, Incoming(f"{FILE}.dcm", raw), source=Source.PAGE)
    typed = Study(patient_name=NAME, patient_id=PATIENT, referrer=REFERRER, question=COMMENT)
    service.blobs.put(b"other", "ab" * 32)
    calls = (
        lambda: service.submit(LEAD, Incoming(f"{FILE}.dcm", b""), source=Source.PAGE),
        lambda: service.submit(
            LEAD, Incoming(f"{FILE}.dcm", tagged(films, 2)), source=Source.PAGE, typed=typed
        ),
        lambda: service.complete(LEAD, receipt.study_id, typed, 99),
        lambda: service.complete(LEAD, receipt.study_id, typed, 1),
        lambda: service.study(LEAD, receipt.study_id),
        lambda: service.study(LEAD, NAME),
        lambda: service.film_bytes(LEAD, NAME),
        lambda: service.film_bytes(LEAD, "ab" * 32),
        lambda: service.deidentify(LEAD, receipt.sha256, Text.REFUSE),
        lambda: service.deidentify(LEAD, NAME, Text.CHECKED),
        lambda: service.deidentify(LEAD, "ab" * 32, Text.CHECKED),
        lambda: service.retry(LEAD, NAME),
        lambda: service.claim(LEAD, NAME, 1),
        lambda: service.batch(LEAD, NAME),
        lambda: service.page(LEAD, Query(text=NAME)),
    )
    raised = []
    with renamed(
        service, "identity RENAME COLUMN referrer TO gone", "identity RENAME COLUMN gone TO referrer"
    ):
        for call in calls:
            try:
                call()
            except CxrError as exc:
                raised += [str(exc), repr(exc)]
    assert len(raised) >= 20
    assert not leaks("".join(raised))
    assert not leaks(repr(Incoming(f"{FILE}.dcm", raw)))
