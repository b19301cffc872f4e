"""The process that takes a film's identity away: secret and film from stdin, a line of JSON and the file out.

It holds no settings and no database connection, and writes no file.
"""

from __future__ import annotations

import json
import resource
import signal
import sys

from cxr_core.domain import Correction
from cxr_core.errors import Conflict, Rejected
from cxr_core.imaging.deidentify import KEY_BYTES, Text, deidentified
from cxr_core.imaging.limits import Limits
from cxr_core.worklist.supervisor import die_with


def main(parent: str, text: str, correction: str, memory_mb: str) -> None:
    """Answer and end.

    Args:
        parent: process id of the asker, without which this one ends at once.
        text: a `Text`.
        correction: key of a `Correction`.
        memory_mb: address space.
    """
    die_with(int(parent), signal.SIGKILL)
    memory = int(memory_mb) << 20
    for limit, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),  # a core dump would hold the film
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    given, made = sys.stdin.buffer.read(), b""
    try:
        film = deidentified(
            given[KEY_BYTES:],
            given[:KEY_BYTES],
            Limits(),
            text=Text(text),
            correction=Correction.of(correction),
        )
    except Conflict as exc:
        said: dict[str, str | int] = {"conflict": str(exc)}
    except Rejected as exc:
        said = {"code": exc.code, "message": exc.message, "hint": exc.hint}
    else:
        said, made = {"name": film.name, "blanked": film.blanked}, film.raw
    sys.stdout.buffer.write(json.dumps(said).encode() + b"\n" + made)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
