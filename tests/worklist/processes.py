"""Workers as real processes: how tests start them, look at them and find what they have forked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from cxr_core.settings import PREFIX, Settings, environment_name


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment in which a command reads these settings."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    for row in fields(Settings):
        value = getattr(settings, row.name)
        if value not in (None, "", frozenset()):
            plain[environment_name(row.name)] = str(value)
    return plain


_started: list[subprocess.Popen[bytes]] = []


def start_worker(settings: Settings, *options: str, log: Path) -> subprocess.Popen[bytes]:
    """Return `cxr worker` at work; what it says is added to `log`. See `end_workers`."""
    with log.open("ab") as sink:
        worker = subprocess.Popen(
            [sys.executable, "-m", "cxr_core.cli", "worker", *options],
            env=environment(settings),
            stdout=sink,
            stderr=sink,
        )
    _started.append(worker)
    return worker


def end_workers() -> None:
    """Kill what a failed test has left running."""
    while _started:
        worker = _started.pop()
        worker.kill()
        worker.wait()


def children(pid: int) -> list[int]:
    """Return the living processes that a process has started."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        found = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [child for child in found if alive(child)]


def family(pid: int) -> list[int]:
    """Return the process and everything below it."""
    return [pid, *(each for child in children(pid) for each in family(child))]


def alive(pid: int) -> bool:
    """Return whether the process exists and is more than a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def rss_mb(pid: int) -> float:
    """Return resident memory of the process and everything below it."""
    return sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family(pid)) * 4096 / 2**20


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once it holds; fail after some time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"still not after {seconds} s: {what}"
        time.sleep(0.02)
