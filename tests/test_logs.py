from __future__ import annotations

import json
import logging
import subprocess
import sys
from threading import Thread

import pytest

from cxr_core import logs
from cxr_core.logs import JsonLines, Log
from cxr_core.settings import ROOT


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture):
    """What has been said, as it would be written; another test may have set the package's own level."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, "cxr_core")
    return lambda: [json.loads(JsonLines().format(record)) for record in caplog.records]


def test_a_line_says_when_what_and_for_which_request(lines) -> None:
    asked = logs.begin()
    Log("cxr_core.x").info("group", studies=3, worker="w")
    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "info", "request": asked, "event": "group", "studies": 3, "worker": "w"}


def test_how_long_it_took_and_how_it_ended_is_said(lines) -> None:
    with pytest.raises(KeyError), Log("cxr_core.x").timed("page", page="worklist"):
        raise KeyError("Quaggamire^Zelda")
    (line,) = lines()
    assert (line["page"], line["error"]) == ("worklist", "KeyError")
    assert line["ms"] >= 0
    assert "Quaggamire" not in json.dumps(line)


def test_of_a_librarys_line_the_arguments_and_of_an_error_the_message_are_left_out(lines) -> None:
    try:
        raise ValueError("Quaggamire^Zelda")
    except ValueError:
        logging.getLogger("streamlit.error_util").exception("cannot show %s", "Quaggamire")
    logging.getLogger("uvicorn.error").warning("port %d is taken", 8501)
    first, second = lines()
    assert first["text"] == "cannot show %s"
    assert first["error"] == "ValueError"
    assert first["at"].startswith("test_logs.py:")
    assert "Quaggamire" not in json.dumps(first)
    assert second["text"] == "port 8501 is taken"


def test_an_error_is_told_with_what_caused_it_but_no_words_of_either(lines) -> None:
    try:
        try:
            raise KeyError("Quaggamire^Zelda")
        except KeyError as missing:
            raise ValueError("Quaggamire") from missing
    except ValueError as exc:
        exc.__cause__.__cause__ = OSError("Quaggamire")  # type: ignore[union-attr]  # never raised: no place
        exc.__cause__.__cause__.__cause__ = exc  # type: ignore[union-attr]  # a ring has an end too
        logging.getLogger("streamlit").exception("failed")
    (line,) = lines()
    assert line["error"] == "ValueError"
    first, second, *more = line["causes"]
    assert first.startswith("KeyError test_logs.py:")
    assert second == "OSError"
    assert len(more) == logs.CAUSES - 2
    assert "Quaggamire" not in json.dumps(line)


def test_a_line_stays_one_line_whatever_is_in_it(caplog) -> None:
    caplog.set_level(logging.INFO, "cxr_core")
    Log("cxr_core.x").info("odd", value='a\nb\r\x1b[31m"\u2028')
    written = JsonLines().format(caplog.records[0])
    assert written.isascii()
    assert written.isprintable()
    assert json.loads(written)["value"] == 'a\nb\r\x1b[31m"\u2028'


def test_each_thread_has_its_own_request() -> None:
    mine, other = logs.begin(), []
    thread = Thread(target=lambda: other.append(logs.request()))
    thread.start()
    thread.join()
    assert other[0] != mine == logs.request()


def test_a_command_writes_json_to_stderr_only() -> None:
    code = (
        "from cxr_core import logs; logs.to_stderr(); logs.to_stderr(); logs.Log('cxr_core.x').info('began')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert json.loads(done.stderr)["event"] == "began"
