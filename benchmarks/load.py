"""How long people wait on a busy list: `python benchmarks/load.py [USERS] [SECONDS]`.

A real server with its worker, 5,000 studies, readers that do something every 10 seconds while their pages
refresh by themselves, all on this machine: what the readers need of the processors counts against the server.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.browser.app import Server, running
from tests.ui.sessions import read_on, told
from tests.ui.test_promise_l1 import STUDIES, fill


def main(users: int = 25, seconds: float = 120) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder))
        with running(Path(folder)) as server:
            alone = asyncio.run(read_on(server.address, 1, 30))
            print(f"{STUDIES:,} studies, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
            print("one reader alone:", *told(alone), sep="\n  ")
            before = processor_seconds(server)
            begin = time.monotonic()
            seen = asyncio.run(read_on(server.address, users, seconds))
            share = (processor_seconds(server) - before) / (time.monotonic() - begin)
            print(f"{users} readers for {seconds:.0f} s:", *told(seen), sep="\n  ")
            print(f"  the server used {share:.0%} of one processor")


def processor_seconds(server: Server) -> float:
    """Return the processor time that the server has used so far."""
    fields = Path(f"/proc/{server.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
