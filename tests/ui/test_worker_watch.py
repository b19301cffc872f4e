"""The app's own worker: one for each CXR_HOME, started again when it dies, gone with its server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxr_core import settings
from cxr_core.settings import ROOT
from cxr_core.ui import worker_watch
from cxr_core.ui.worker_watch import LEAST_S, LOCK, LOG, OLD_LOG, Watch

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("CXR_HOME", str(folder))
    monkeypatch.setenv("CXR_MODEL", tiny_model.name)
    monkeypatch.setenv("CXR_MODELS_DIR", str(tiny_model.parent))
    return folder


@pytest.fixture
def watch(home: Path) -> Iterator[Watch]:
    made = Watch(home)
    yield made
    made.stop()


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 90
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether the process still runs; one that nobody waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_there_is_one_worker_however_many_servers_watch(watch: Watch, home: Path) -> None:
    watch.ensure()
    first = watch.pid
    watch.ensure()
    other = Watch(home)
    other.ensure()
    assert first is not None
    assert watch.pid == first
    assert other.pid is None
    watch.stop()
    other.ensure()
    assert other.pid is not None
    other.stop()


def test_a_worker_that_was_killed_is_replaced(watch: Watch) -> None:
    watch.ensure()
    first = watch.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: watch.pid is None, "the worker is gone")
    until(lambda: watch.ensure() or watch.pid is not None, "another worker runs")
    assert watch.pid != first


def test_a_long_log_becomes_the_old_one_and_a_short_one_goes_on(
    watch: Watch, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / LOG).write_text("before\n", encoding="utf-8")
    watch.ensure()
    watch.stop()
    assert (home / LOG).read_text(encoding="utf-8").startswith("before\n")
    assert not (home / OLD_LOG).exists()
    monkeypatch.setattr(worker_watch, "LOG_BYTES", 3)
    other = Watch(home)
    other.ensure()
    other.stop()
    assert (home / OLD_LOG).read_text(encoding="utf-8").startswith("before\n")
    assert not (home / LOG).read_text(encoding="utf-8").startswith("before\n")


def test_a_worker_that_cannot_run_is_not_started_over_and_over(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: set[int | None] = set()
    end = time.monotonic() + 2.5 * LEAST_S
    with monkeypatch.context() as wrong:
        wrong.setenv("CXR_LOCAL_ROLE", "emperor")
        while time.monotonic() < end:
            watch.ensure()
            started.add(watch.pid)
            time.sleep(0.02)
    assert 1 <= len(started - {None}) <= 3


def test_a_disk_that_takes_no_lock_leaves_the_page_and_its_alert_alone(watch: Watch, home: Path) -> None:
    (home / LOCK).mkdir()
    watch.ensure()
    assert watch.pid is None


def test_the_worker_goes_when_its_server_is_killed_and_the_lock_is_free_again(home: Path) -> None:
    code = (
        "import time\nfrom cxr_core import settings\nfrom cxr_core.ui.worker_watch import Watch\n"
        "watch = Watch(settings.load().home)\nwatch.ensure()\nprint(watch.pid, flush=True)\ntime.sleep(600)"
    )
    server = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    worker = int(server.stdout.readline())
    assert alive(worker)
    server.kill()
    server.wait()
    server.stdout.close()
    until(lambda: not alive(worker), "the worker is gone too")
    other = Watch(settings.load().home)
    until(lambda: other.ensure() or other.pid is not None, "its last thread frees the lock")
    other.stop()
