"""Promise H1: hundreds of hostile files through every entry. See tests/make_hostile.py for what they are.

Each gets a code or an answer, within 5 seconds and 2 GB, and the sound films among them get theirs.
Processes run with CXR_DECODE_TIMEOUT_S at the promise's own figure: a film that took longer would be
refused with decoder_failed or be given up, which no film may be.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from cxr_core.access import Actor, Role
from cxr_core.files import name
from cxr_core.imaging.refusals import REFUSALS
from cxr_core.local import local_actor
from cxr_core.settings import ROOT, Settings
from cxr_core.ui.taking import take
from cxr_core.worklist import queue
from cxr_core.worklist.schema import AuditRow, ImageRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import INTERACTIVE, Incoming
from tests import make_hostile
from tests.corpus.others import make_no_files
from tests.films import png
from tests.worklist.processes import environment, family

SECONDS, MEGABYTES = 5, 2048
SENDER = Actor("a sender", Role.LEAD)
SOUND = 6
CODES = REFUSALS.keys() - {"internal", "decoder_failed", "given_up"}
"""What a hostile file may be refused with: a fault of ours, or a decoder that died, is not among them."""

ZIP = "two-zip-then-png.png"
"""To the worklist it is a zip, which holds a film of its own; to `cxr triage` it is no film."""

ZIP_CODES = {code for code in REFUSALS if code.startswith("zip_")} | {"broken_zip", "too_many_bytes"}


@pytest.fixture
def settings(home) -> Settings:
    return replace(home, decode_timeout_s=SECONDS, decode_memory_mb=MEGABYTES)


@pytest.fixture
def folder(tmp_path) -> Path:
    """All hostile files, what is no file, and sound films that come first and last."""
    made = tmp_path / "hostile"
    make_hostile.write(made)
    make_no_files(made)
    for number in range(SOUND):
        (made / sound(number)).write_bytes(png(number))
    return made


def sound(number: int) -> str:
    return f"{'!' if number % 2 else '~~~'}-sound-{number}.png"


def expected() -> dict[str, bool]:
    """Return by printed name whether a film of the folder may be assessed; hidden files are no films."""
    films = [each for each in make_hostile.films() if not each.name.startswith(".")]
    found = {name(Path(each.name)): each.passes for each in films}
    found |= {f"no-file-{each}.png": False for each in ("pipe", "endless", "nowhere", "itself")}
    return found | {sound(number): True for number in range(SOUND)}


@contextmanager
def watched(settings: Settings, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run `cxr …`; fail if one of its processes takes more memory than is promised."""
    command = [sys.executable, "-m", "cxr_core.cli", *map(str, arguments)]
    peaks: dict[int, int] = {}
    over = threading.Event()

    def watch(pid: int) -> None:
        while not over.wait(0.05):
            peaks.update({each: peak_mb(each) or peaks.get(each, 0) for each in family(pid)})

    with subprocess.Popen(
        command, env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watcher = threading.Thread(target=watch, args=(process.pid,))
        watcher.start()
        try:
            yield process
        finally:
            over.set()
            watcher.join()
            process.kill()
    assert max(peaks.values()) < MEGABYTES, peaks
    # Of every process that was waited for, those before and beside this one included.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 < MEGABYTES


def peak_mb(pid: int) -> int:
    """Return the most resident memory that a process ever had, 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def judge(said: dict[str, str], may_pass: dict[str, bool], codes: set[str] = CODES) -> None:
    """Compare what was said of each file, "" if it was assessed, with what may be."""
    assert said.keys() == may_pass.keys()
    assert {file: code for file, code in said.items() if code and code not in codes} == {}
    assert [file for file, code in said.items() if not code and not may_pass[file]] == []
    assert [said[sound(number)] for number in range(SOUND)] == [""] * SOUND


def test_h1_there_are_hundreds_of_hostile_files_the_same_every_time(tmp_path):
    films = make_hostile.films()
    assert len({each.raw for each in films}) >= 600
    assert len({each.name for each in films}) == len(films)
    script = ROOT / "tests" / "make_hostile.py"
    made = subprocess.run(
        [sys.executable, script, tmp_path / "x"], capture_output=True, text=True, check=True
    )
    assert made.stdout.split() == [str(len(films) + len(make_hostile.archives())), "files"]
    for each in films:
        assert (tmp_path / "x" / each.name).read_bytes() == each.raw, each.name
    for each in make_hostile.archives():
        assert (tmp_path / "x" / make_hostile.ZIPS / each.name).read_bytes() == each.raw, each.name


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_h1_cxr_triage_answers_or_refuses_each_and_lives(folder, settings):
    with watched(settings, "triage", folder, "--json") as process:
        out, errors = process.communicate()
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    records = [json.loads(line) for line in out.splitlines()]
    said = {
        each["file"].removeprefix(f"{folder}/"): each.get("error", {}).get("code", "") for each in records
    }
    assert len(said) == len(records)
    judge(said, expected())


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_h1_cxr_deidentify_writes_or_leaves_out_each_and_lives(folder, settings, tmp_path):
    """One in twelve of them: each has a process of its own."""
    for number, each in enumerate(make_hostile.films()):
        if number % 12:
            (folder / each.name).unlink()
    out = tmp_path / "out"
    with watched(settings, "deidentify", folder, "--out", out, "--text-checked") as process:
        printed, errors = process.communicate()
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    written = [line.split("\t") for line in printed.splitlines()]
    left = [
        re.match(r"(.*): left out: (\w+)", line) for line in errors.splitlines() if ": left out: " in line
    ]
    said = {file: "" for file, _ in written} | {each[1]: each[2] for each in left if each}
    said = {file.removeprefix(f"{folder}/"): code for file, code in said.items()}
    assert len(said) == len(written) + len(left) > 60
    assert set(said.values()) - {""} <= CODES | {"name_taken"}
    assert [said[sound(number)] for number in range(SOUND)] == [""] * SOUND
    assert all((out / made).is_file() for _, made in written)


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["broken", "pipe", "sound"])
def test_h1_cxr_explain_refuses_or_explains_and_lives(tmp_path, settings, kind):
    file = tmp_path / "film.png"
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.write_bytes(png(1) if kind == "sound" else png(1)[:-60])
    with watched(settings, "explain", file, "--method", "grad_cam") as process:
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == {"broken": 3, "pipe": 1, "sound": 0}[kind], errors
    assert "Traceback" not in errors


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_h1_cxr_submit_and_a_worker_answer_or_refuse_each_and_live(folder, settings):
    zips = sorted((folder / make_hostile.ZIPS).iterdir())
    with watched(settings, "submit", folder, *zips, "--json") as process:
        out, errors = process.communicate()
    assert process.returncode == 3, errors
    said = {each["file"].removeprefix(f"{folder}/"): each for each in map(json.loads, out.splitlines())}
    stored = {file for file, each in said.items() if "error" not in each}
    wanted = {file: passes for file, passes in expected().items() if file != ZIP}
    assert wanted.keys() <= said.keys()
    assert f"{ZIP}/film.png" in stored
    turned = {file: each["error"]["code"] for file, each in said.items() if file not in stored}
    inside = {file: code for file, code in turned.items() if file.startswith(f"{make_hostile.ZIPS}/")}
    assert set(inside.values()) <= ZIP_CODES
    assert set(inside.values()) >= ZIP_CODES - {"too_many_bytes", "zip_bytes"}
    assert {code for file, code in turned.items() if file not in inside} <= {
        *("empty_file", "unreadable_file", "broken_zip")
    }
    with watched(settings, "worker", "--once") as process:
        errors = process.communicate()[1]
    assert process.returncode == 0, errors
    with closing(open_service(settings)) as service:
        refused = answers(service, folder)
        judge({file: refused.get(file, "") for file in wanted}, wanted, CODES | ZIP_CODES)
        assert queue.waiting(service) == 0
        with service.database.read() as session:
            number = dict(
                session.execute(select(ImageRow.status, func.count()).group_by(ImageRow.status)).all()
            )
            results = session.scalar(select(func.count()).where(AuditRow.event == "result"))
    assert number.keys() <= {"assessed", "refused", "conflict"}, "none is given up, none waits"
    assert number.get("conflict", 0) < 10, "cut off in the middle of their UID"
    assert results == number["assessed"] + number["refused"]


def answers(service: Service, folder: Path) -> dict[str, str]:
    """Return by name the code of each file of the only batch that was refused."""
    (view,) = service.batches(local_actor(service.settings))
    assert view.answered == view.stored
    return {file.removeprefix(f"{folder}/"): notice.code for file, notice in view.refused}


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_h1_the_pages_intake_takes_or_refuses_each_and_lives(settings):
    """By the function that the page calls, one file after the other."""
    files = [Incoming(name(Path(each.name)), each.raw) for each in make_hostile.films()]
    files += [Incoming(each.name, each.raw) for each in make_hostile.archives()]
    slowest = 0.0
    with closing(open_service(settings)) as service:
        for file in [*files, Incoming("sound.png", png(1))]:
            started = time.monotonic()
            taken = take(service, SENDER, [file], priority=INTERACTIVE)
            slowest = max(slowest, time.monotonic() - started)
            assert taken.trouble is None, file.name
            assert len(taken.items) == taken.announced
            assert all(item.receipt or item.refusal for item in taken.items)
            codes = {item.refusal.code for item in taken.items if item.refusal}
            assert codes <= ZIP_CODES | {"empty_file"}, file.name
        again = take(service, SENDER, files, priority=INTERACTIVE)
        assert again.trouble is None
        assert not any(item.receipt and item.receipt.new for item in again.items), (
            "known, and not stored twice"
        )
    assert slowest < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 < MEGABYTES
    assert not list(Path("/tmp").glob("slip*")), "no name was used as a path"  # noqa: S108
