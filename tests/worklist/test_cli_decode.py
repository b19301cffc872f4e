"""`cxr triage` and `cxr predict` outlive every film, and answer as one's own process would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cxr_core.batch import analyse_files
from cxr_core.cli_decode import WHY, apart
from cxr_core.settings import Settings
from cxr_core.worklist.decoder import CRASHED, KILLED, MEMORY, TIMEOUT, VIEW_PX
from tests.films import png
from tests.worklist.hostile import large_png, slow_png
from tests.worklist.processes import children, environment, wait_for

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten films with one between them that its decoder does not survive; see each test."""
    made = tmp_path / "films"
    made.mkdir()
    for seed in range(10):
        (made / f"{seed}.png").write_bytes(png(seed))
    return made


def run(home: Settings, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cxr_core.cli", *(str(each) for each in arguments)]
    return subprocess.Popen(
        command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def answers(process: subprocess.Popen[str]) -> dict[str, tuple[str, str]]:
    """Return by name of each file what was said: the code and message of its refusal, or nothing."""
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    records = [json.loads(line) for line in out.splitlines()]
    said = {Path(each["file"]).name: each.get("error", {"code": "", "message": ""}) for each in records}
    return {name: (each["code"], each["message"]) for name, each in said.items()}


def alone_refused(found: dict[str, tuple[str, str]], name: str) -> str:
    """Return why this film was refused; all others must have been answered."""
    assert len(found) == 11
    assert [each for each, (code, _) in found.items() if code] == [name]
    code, message = found[name]
    assert code == "decoder_failed"
    return message


def test_every_way_a_decoder_dies_has_words():
    assert set(WHY) == {CRASHED, TIMEOUT, MEMORY, KILLED}


def test_a_film_that_crashes_its_decoder_is_refused_and_all_others_are_answered(folder, home):
    (folder / "4x.png").write_bytes(slow_png())
    process = run(replace(home, threads=1), "triage", folder, "--json")

    def decoder() -> int | None:
        found = [child for nursery in children(process.pid) for child in children(nursery)]
        return next((child for child in found if rss_of(child) > 400), None)

    wait_for(lambda: decoder() is not None, 60, "the slow film in its decoder")
    os.kill(decoder() or 0, signal.SIGSEGV)
    assert "crashed" in alone_refused(answers(process), "4x.png")


def rss_of(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_a_film_that_stalls_its_decoder_is_refused_and_all_others_are_answered(folder, home):
    (folder / "4x.png").write_bytes(slow_png())
    process = run(replace(home, decode_timeout_s=1), "triage", folder, "--json")
    assert "too long" in alone_refused(answers(process), "4x.png")


def test_a_film_that_needs_too_much_memory_is_refused_and_all_others_are_answered(folder, home):
    (folder / "4x.png").write_bytes(large_png())
    process = run(replace(home, decode_memory_mb=256), "triage", folder, "--json")
    assert "memory" in alone_refused(answers(process), "4x.png")


def test_predict_writes_such_a_film_among_the_refused(folder, home, tmp_path):
    (folder / "4x.png").write_bytes(large_png())
    out = tmp_path / "p.csv"
    process = run(replace(home, decode_memory_mb=256), "predict", folder, "--out", out)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 3, errors
    assert len(out.read_text().splitlines()) == 1 + 10
    assert "decoder_failed" in (tmp_path / "p.refused.csv").read_text()


def test_what_is_no_regular_file_is_refused_and_not_waited_for(folder, home):
    os.mkfifo(folder / "pipe.png")
    (folder / "endless.png").symlink_to("/dev/zero")
    (folder / "gone.png").symlink_to("nowhere")
    found = answers(run(home, "triage", folder, "--json"))
    refused = {name for name, (code, _) in found.items() if code}
    assert refused == {"pipe.png", "endless.png", "gone.png"}
    assert {found[name][0] for name in refused} == {"unreadable_file"}


def test_films_decoded_apart_have_the_answers_of_films_decoded_here(folder, home, kit):
    (folder / "broken.png").write_bytes(png(1)[:-60])
    files = sorted(folder.iterdir())
    here = [answer for _, answer in analyse_files(files, kit, now=NOW)]
    with apart(home) as prepare:
        there = [answer for _, answer in analyse_files(files, kit, now=NOW, prepare=prepare)]
    for one, other in zip(here, there, strict=True):
        assert replace(one, radiograph=None, features=None, timings_ms={}) == replace(
            other, radiograph=None, features=None, timings_ms={}
        )


def test_films_that_are_to_be_shown_keep_pixels_as_fine_as_a_display(tmp_path, home, kit):
    (tmp_path / "a.png").write_bytes(png(1, 2 * VIEW_PX))
    (tmp_path / "b.png").write_bytes(png(2))
    with apart(home, pictures=True) as prepare:
        found = analyse_files(
            [tmp_path / "a.png", tmp_path / "b.png"], kit, now=NOW, keep_pixels=True, prepare=prepare
        )
        large, small = (answer.radiograph.pixels for _, answer in found)
    assert large.shape == (VIEW_PX, VIEW_PX)
    assert small.shape == (192, 192)
    assert large.dtype == np.float32
