"""`cxr submit` as a person calls it, and what it promises when it is killed or called many times at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from cxr_core.settings import Settings
from cxr_core.worklist import audit
from cxr_core.worklist.schema import AuditRow, BatchRow, ImageRow, ResultRow, StudyRow
from cxr_core.worklist.service import open_service
from cxr_core.worklist.values import Source
from tests.worklist.processes import environment, start_worker
from tests.worklist.writer import film

MIB = 2**20
KILLS, PROCESSES, FILES = 20, 8, 50


def start(settings: Settings, *arguments: object, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cxr_core.cli", "submit", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, env=environment(settings), **pipes)


def submit(settings: Settings, *arguments: object) -> tuple[int, list[dict], str]:
    """Return exit status, the JSON lines of stdout, and stderr."""
    process = start(settings, *arguments, "--json")
    out, err = process.communicate(timeout=120)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def count(settings: Settings, *tables: type) -> list[int]:
    service = open_service(settings)
    with service.database.read() as session:
        found = [session.scalar(select(func.count()).select_from(table)) for table in tables]
    service.close()
    return found


@pytest.fixture
def folder(tmp_path, films) -> Path:
    """Two films, a zip named by itself, a broken film, an empty one, and what is no film."""
    folder = tmp_path / "films"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.png").write_bytes(films.png(1))
    (folder / "deep" / "IM0001").write_bytes(films.dicom(2))
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no film")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("one.png", films.png(3))
        archive.writestr("../slip.png", films.png(4))
        archive.writestr("readme.txt", "no film")
    return folder


def test_files_folders_and_zips_are_stored_and_each_is_told_of_in_order(store_settings, folder, tmp_path):
    status, lines, err = submit(store_settings, folder, tmp_path / "more.zip", folder / "a.png")
    assert status == 3
    expected = [folder / "a.png", folder / "deep" / "IM0001", folder / "empty.png"]
    expected += [tmp_path / "more.zip" / "one.png", f"{tmp_path}/more.zip/../slip.png"]
    assert [line["file"] for line in lines] == [str(path) for path in expected]
    assert [line.get("new") for line in lines] == [True, True, None, True, None]
    assert [line["error"]["code"] for line in lines if "error" in line] == ["empty_file", "zip_name"]
    assert list(lines[0]) == ["file", "sha256", "study", "new", "conflict"]
    assert list(lines[2]) == ["file", "error"]
    assert "1 other files left out" in err
    service = open_service(store_settings)
    with service.database.read() as session:
        for line in lines:
            if "sha256" in line:
                image = session.get(ImageRow, line["sha256"])
                assert (image.file_name, image.study_id, image.source) == (
                    line["file"],
                    line["study"],
                    Source.CLI,
                )
                assert service.blobs.get(line["sha256"])
        batch = session.scalars(select(BatchRow)).one()
        assert (batch.total, batch.finished_utc is not None) == (5, True)
    service.close()
    status, again, _ = submit(store_settings, folder / "a.png")
    assert status == 0
    assert [(line["sha256"], line["new"]) for line in again] == [(lines[0]["sha256"], False)]


def test_another_film_under_a_known_uid_is_stored_and_said_to_be_a_conflict(home, films, tmp_path):
    (tmp_path / "1.dcm").write_bytes(films.dicom(1))
    (tmp_path / "2.dcm").write_bytes(films.dicom(1, pixels=9))
    _, lines, _ = submit(home, tmp_path / "1.dcm", tmp_path / "2.dcm")
    assert [(line["new"], line["conflict"]) for line in lines] == [(True, False), (True, True)]


def test_the_table_names_codes_and_shows_names_literally(home, films, tmp_path):
    odd = tmp_path / "\x1b[31m=1+1.png"
    odd.write_bytes(films.png(1))
    (tmp_path / "empty.png").write_bytes(b"")
    process = start(home, odd, tmp_path / "empty.png")
    out, err = process.communicate(timeout=120)
    first, second = out.splitlines()
    assert first.startswith("stored   new ")
    assert first.endswith(r"\x1b[31m=1+1.png")
    assert second.startswith("refused  empty_file ")
    assert "1 stored, 1 refused" in err


def test_what_is_no_regular_file_or_cannot_be_read_is_refused(home, films, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "z.png").write_bytes(films.png(1))
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    status, lines, _ = submit(home, tmp_path, tmp_path / "broken.zip")
    said = {Path(line["file"]).name: line["error"]["code"] for line in lines if "error" in line}
    assert said == {"pipe.png": "unreadable_file", "gone.png": "unreadable_file", "broken.zip": "broken_zip"}
    assert [line["new"] for line in lines if "new" in line] == [True]
    assert status == 3


def test_a_path_that_is_not_there_stores_nothing(home, tmp_path):
    status, lines, err = submit(home, tmp_path / "none")
    assert (status, lines) == (1, [])
    assert "no such file or folder" in err


def test_a_full_queue_stops_it_with_what_is_stored_and_the_next_call_goes_on(home, tmp_path):
    (tmp_path / "films").mkdir()
    for number in range(100):
        (tmp_path / "films" / f"{number:03}.png").write_bytes(film(number))
    status, lines, err = submit(replace(home, queue_limit=70), tmp_path / "films")
    assert status == 1
    assert len(lines) == 64
    assert "64 of 100 files are stored" in err
    assert "70 may" in err
    assert count(home, ImageRow) == [64]
    status, lines, err = submit(home, tmp_path / "films")
    assert status == 0
    assert [line["new"] for line in lines] == [False] * 64 + [True] * 36
    assert count(home, ImageRow) == [100]


@pytest.mark.slow
def test_wait_returns_when_all_are_answered_and_tells_of_what_the_gate_refused(
    store_settings, films, tmp_path
):
    (tmp_path / "good.png").write_bytes(films.png(1))
    (tmp_path / "bad.png").write_bytes(films.png(2)[:600])
    worker = start_worker(store_settings, log=tmp_path / "worker.log")
    status, lines, err = submit(store_settings, tmp_path / "bad.png", tmp_path / "good.png", "--wait")
    assert status == 3
    assert [line["file"] for line in lines] == [
        str(tmp_path / name) for name in ("bad.png", "good.png", "bad.png")
    ]
    assert lines[2]["error"]["code"] == "broken_image"
    assert "2 answered, 1 of them refused" in err
    assert submit(store_settings, tmp_path / "good.png", "--wait")[0] == 0
    worker.terminate()
    assert worker.wait(60) == 0


@pytest.mark.slow
def test_memory_stays_flat_however_many_films_there_are(home, tmp_path):
    (tmp_path / "films").mkdir()
    rng = random.Random(7)  # noqa: S311
    for number in range(40):
        (tmp_path / "films" / f"{number:03}.dcm").write_bytes(rng.randbytes(16 * MIB))
    program = (
        "import re, sys; from pathlib import Path; from cxr_core.cli import app\n"
        "try: app(['submit', sys.argv[1], '--json'])\n"
        "except SystemExit: pass\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "films"],
        env=environment(home),
        capture_output=True,
        text=True,
    )
    *lines, peak_kib = done.stdout.splitlines()  # ru_maxrss would be that of whoever forked it
    assert len(lines) == 40
    assert int(peak_kib) < 400 * 1024


@pytest.mark.slow
def test_r2_twenty_kills_of_cxr_submit_lose_no_film_that_it_said_was_stored(store_settings, tmp_path):
    """Each call begins anew with all the files: what is stored is known, so it also shows that it goes on."""
    (tmp_path / "films").mkdir()
    total = 3000
    for number in range(total):
        (tmp_path / "films" / f"{number:04}.png").write_bytes(film(number)[:3000])
    rng = random.Random(2)  # noqa: S311
    told: dict[str, str] = {}
    for kill in range(KILLS):
        told |= killed(store_settings, tmp_path / "films", after=rng.randrange(1, 100 * (kill + 1)))
        service = open_service(store_settings)
        with service.database.read() as session:
            images = {row.sha256: row.study_id for row in session.scalars(select(ImageRow))}
            studies = set(session.scalars(select(StudyRow.id)))
        assert told.items() <= images.items()
        assert set(images.values()) <= studies
        for sha256 in told:
            service.blobs.get(sha256)
        service.close()
    status, lines, _ = submit(store_settings, tmp_path / "films")
    assert (status, len(lines)) == (0, total)
    assert told.keys() <= {line["sha256"] for line in lines if not line["new"]}
    service = open_service(store_settings)
    with service.database.read() as session:
        assert session.scalar(select(func.count()).select_from(ImageRow)) == total
        assert audit.verify(session).broken_at is None
        submitted = set(session.scalars(select(AuditRow.subject).where(AuditRow.event == "submit")))
        assert len(submitted) == total
    service.close()


def killed(settings: Settings, folder: Path, after: int) -> dict[str, str]:
    """Return study by SHA-256 of all that was said to be stored; it is killed after so many lines."""
    with start(settings, folder, "--json", stderr=subprocess.DEVNULL) as process:
        said = [process.stdout.readline() for _ in range(after)]
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.read().splitlines()
    assert process.returncode == -signal.SIGKILL
    told = {}
    for line in said:
        with suppress(ValueError):  # the last line may have been cut off
            record = json.loads(line)
            told[record["sha256"]] = record["study"]
    assert told
    return told


@pytest.mark.slow
def test_r3_eight_calls_of_cxr_submit_with_the_same_fifty_files_make_fifty_images_and_fifty_results(
    store_settings, films, tmp_path
):
    (tmp_path / "films").mkdir()
    for number in range(FILES):
        raw = films.png(number) if number < 25 else films.dicom(number, study=number // 2)
        (tmp_path / "films" / f"{number}").with_suffix(".png" if number < 25 else ".dcm").write_bytes(raw)
    calls = [start(store_settings, tmp_path / "films", "--json") for _ in range(PROCESSES)]
    answers = [call.communicate(timeout=240) for call in calls]
    assert [call.returncode for call in calls] == [0] * PROCESSES, [err for _, err in answers]
    lines = [json.loads(line) for out, _ in answers for line in out.splitlines()]
    assert len(lines) == PROCESSES * FILES
    assert Counter(line["new"] for line in lines) == {True: FILES, False: (PROCESSES - 1) * FILES}
    assert not any(line["conflict"] for line in lines)
    assert len({(line["file"], line["sha256"], line["study"]) for line in lines}) == FILES
    worker = start_worker(store_settings, "--once", log=tmp_path / "worker.log")
    assert worker.wait(240) == 0
    assert count(store_settings, ImageRow, ResultRow, StudyRow) == [FILES, FILES, 25 + 13]
