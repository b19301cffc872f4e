"""What the programs say of themselves: one JSON object a line on stderr, and never a patient.

A line names an event with codes, hashes, counts and milliseconds. It names no person either: who did what
is in the audit trail. `request` is the same on all lines of one run of a page, one command or one group of
a worker, and is what a person quotes who was shown an error.

Libraries' messages may quote what they failed at. Of theirs only the fixed part is written, and of an error
only its type and where it arose; `OPEN` lists those whose arguments say something of the network alone.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from time import perf_counter
from traceback import extract_tb

OPEN = ("uvicorn", "streamlit.web.server.starlette.starlette_auth_routes")
LONGEST = 300
"""Letters of a library's message that are written."""

CAUSES = 5
"""Errors behind an error that are told."""

_request: ContextVar[str] = ContextVar("request", default="")


class Log:
    """The events of one module: `log.info("group", studies=3)`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, /, **fields: object) -> None:
        """Say what went as it should."""
        self._say(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Say what will be tried again."""
        self._say(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Say what a person should look at."""
        self._say(logging.ERROR, event, fields)

    @contextmanager
    def timed(self, event: str, /, **fields: object) -> Iterator[None]:
        """Say how long the block took, and by which error it ended if it did."""
        start, error = perf_counter(), ""
        try:
            yield
        except Exception as exc:
            error = type(exc).__name__
            raise
        finally:
            ended = {"error": error} if error else {}
            self.info(event, **fields, **ended, ms=round((perf_counter() - start) * 1e3))

    def _say(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            plain = " ".join(f"{key}={value}" for key, value in {"event": event, **fields}.items())
            self._logger.log(level, "%s", plain, extra={"said": {"event": event, **fields}})


class JsonLines(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; an error is told by its type and where it arose."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"time": at, "level": record.levelname.lower()}
        if request := _request.get():
            line["request"] = request
        line |= getattr(record, "said", None) or _of_a_library(record)
        if record.exc_info and record.exc_info[1] is not None:
            line |= traced(record.exc_info[1])
        return json.dumps(line, default=str, separators=(",", ":"))


class _Stderr(logging.Handler):
    """Writes to what is stderr at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # nobody reads it any more; the work goes on
            pass


def to_stderr(level: int = logging.INFO) -> None:
    """Write what our own modules say from `level` on, and warnings of libraries, to stderr."""
    if not any(isinstance(each, _Stderr) for each in logging.root.handlers):
        logging.root.addHandler(_Stderr())
    logging.getLogger("cxr_core").setLevel(level)


def begin() -> str:
    """Return the id of a new request, which the lines of this thread bear from now on."""
    _request.set(secrets.token_hex(4))
    return _request.get()


def request() -> str:
    """Return the id that a person quotes; a new one where none has begun."""
    return _request.get() or begin()


def traced(exc: BaseException) -> dict[str, object]:
    """Return the type of an error and where it arose, and the same of what caused it, the nearest first."""
    found: dict[str, object] = {"error": type(exc).__name__, "at": places(exc)}
    causes: list[str] = []
    while (cause := exc.__cause__) is not None and len(causes) < CAUSES:
        causes.append(f"{type(cause).__name__} {places(cause)}".rstrip())
        exc = cause
    return found | ({"causes": causes} if causes else {})


def places(exc: BaseException) -> str:
    """Return where an error arose, `file:line > file:line`, without a word of its message."""
    return " > ".join(
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in extract_tb(exc.__traceback__)
    )


def _of_a_library(record: logging.LogRecord) -> dict[str, object]:
    text = record.getMessage() if record.name.startswith(OPEN) else str(record.msg)
    return {"event": "message", "logger": record.name, "text": text[:LONGEST]}
