"""The app as a person meets it: a fresh server and a real Chromium."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def served(**environ: str) -> Iterator[str]:
    """Yield the address of a fresh server; it ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(port)]
    with TemporaryDirectory() as home:
        log = Path(home) / "log"
        with log.open("wb") as sink:
            settings = {"CXR_HOME": home, **environ}
            server = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=sink, stderr=sink)
        try:
            _wait(address, server, log)
            yield address
        finally:
            server.terminate()
            server.wait(20)


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            with urlopen(f"{address}/_stcore/health", timeout=2) as reply:  # noqa: S310 -- our own server
                if reply.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the app did not start: {log.read_text(encoding='utf-8', errors='replace')}")


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
    page.locator("canvas[data-ready=yes]").wait_for(timeout=30_000)
    page.locator("[data-testid=stStatusWidget]").wait_for(state="detached", timeout=30_000)
