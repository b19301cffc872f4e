"""A real PostgreSQL server of its own for the tests: on a socket in a temporary folder, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

USER = "neuraray"
START_S = 120


def find_programs() -> Path | None:
    """Return the folder of the newest server's programs, where Debian keeps them, or None."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


class Cluster:
    """Start with `start`, end with `remove`. The server refuses root, so root starts it as another user."""

    def __init__(self, programs: Path, *, durable: bool = False) -> None:
        """Make it; only a durable one waits for the disk at each commit."""
        self._programs = programs
        self._fsync = "on" if durable else "off"
        self._server: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="neuraray-pg-", dir="/tmp"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            user = next(pwd.getpwnam(name) for name in ("postgres", "nobody") if _exists(name))
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as_user = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self._run(
            "initdb", "-D", self._data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"
        )

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def start(self) -> None:
        """Return when the server answers. It dies with the tests, even if they are killed."""
        options = {
            "listen_addresses": "",
            "fsync": self._fsync,
            "shared_buffers": "32MB",
            "max_connections": "80",
        }
        self._server = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig=INT", *self._as_user, "--"),
                *(str(self._programs / "postgres"), "-D", self._data, "-k", str(self.folder)),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + START_S
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT cuts connections and ends in order, SIGQUIT is a crash."""
        assert self._server is not None
        self._server.send_signal(how)
        self._server.wait(timeout=START_S)

    def remove(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, name: str, template: str = "template1") -> str:
        """Return the address of a new database."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, name: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        command = ["setpriv", *self._as_user, "--", str(self._programs / program), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
