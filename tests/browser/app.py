"""The app as a person meets it: a fresh server with its worker, and a real Chromium."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Browser, Download, Page, TimeoutError, expect, sync_playwright

from cxr_core.ui.worker_watch import LOCK

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@dataclass
class Server:
    """A server on a CXR_HOME of its own; it can be killed and started again at the same address."""

    home: Path
    environ: dict[str, str]
    port: int = field(default_factory=lambda: _free_port())
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return once it answers."""
        command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
        command += ["--server.port", str(self.port), "--server.headless", "true"]
        with self.log.open("ab") as sink:
            environ = os.environ | {"CXR_HOME": str(self.home)} | self.environ
            self.process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=sink, stderr=sink)
        self._wait()

    def kill(self) -> None:
        """End the server and its worker with SIGKILL, as a power cut would."""
        assert self.process is not None
        workers = self.workers()
        self.process.kill()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end; return once its worker is gone too."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)
        if (self.home / LOCK).exists():
            with (self.home / LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)

    def workers(self) -> list[int]:
        """Return the ids of the workers that this server started."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = {int(pid) for each in children for pid in each.read_text(encoding="ascii").split()}
        return [pid for pid in pids if b"cxr_core.ui.embedded" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    def _wait(self) -> None:
        assert self.process is not None
        for _ in range(300):
            if self.process.poll() is not None:
                break
            try:
                with urlopen(f"{self.address}/_stcore/health", timeout=2) as reply:  # noqa: S310 -- our own
                    if reply.status == 200:
                        return
            except (URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError(f"the app did not start: {self.log.read_text(encoding='utf-8', errors='replace')}")


@contextmanager
def running(home: Path, **environ: str) -> Iterator[Server]:
    """Yield a server on this CXR_HOME; it ends with the block."""
    server = Server(home, environ)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def served(**environ: str) -> Iterator[str]:
    """Yield the address of a fresh server; it ends with the block."""
    with TemporaryDirectory() as home, running(Path(home), **environ) as server:
        yield server.address


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def ready(page: Page) -> None:
    """Wait until the film is drawn and the script rests."""
    page.locator("canvas[data-ready=yes]").wait_for(timeout=60_000)
    page.locator("[data-testid=stStatusWidget]").wait_for(state="detached", timeout=30_000)


def press(page: Page, key: str, button: str) -> None:
    """Press the key once the button that it stands for, named by its Streamlit key, can be pressed."""
    expect(page.locator(f".st-key-{button} button")).to_be_enabled(timeout=60_000)
    page.keyboard.press(key)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def choose(page: Page, label: str, option: str) -> None:
    """Choose in a list; a page that shows itself anew just then may close what was opened."""
    for _ in range(10):
        page.get_by_label(label, exact=True).click()
        try:
            page.get_by_role("option", name=option).click(timeout=5_000)
        except TimeoutError:
            continue
        return
    raise AssertionError(f"{option} could not be chosen in {label}")


def download(page: Page, label: str) -> Download:
    """Return what this button downloads; a click while the page shows itself anew may be lost."""
    for _ in range(6):
        page.locator("[data-testid=stStatusWidget]").wait_for(state="detached", timeout=60_000)
        try:
            with page.expect_download(timeout=15_000) as taken:
                page.get_by_role("button", name=label, exact=True).click(timeout=60_000)
        except TimeoutError:
            continue
        return taken.value
    raise AssertionError(f"{label} gave no file")
