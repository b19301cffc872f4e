"""What the web server around the pages says, and to whom."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

from starlette.requests import Request
from starlette.responses import Response

from cxr_core.settings import ROOT
from cxr_core.ui import server, sign_in
from tests.ui.conftest import Home

FAULTY = """
from streamlit.error_util import handle_user_script_exception
from streamlit.logger import get_logger
from cxr_core import logs
from cxr_core.ui import server
server.one_way_of_logging()
try:
    raise KeyError("Quaggamire^Zelda")
except KeyError as exc:
    handle_user_script_exception(exc, server.say_fault)
    get_logger("streamlit.later").warning("cannot show %s", "Quaggamire", exc_info=exc)
get_logger("uvicorn.access").info("GET /oauth2callback?code=Quaggamire")
"""


def test_a_fault_of_a_page_is_logged_without_its_words_and_with_what_a_person_quotes() -> None:
    environ = {"STREAMLIT_LOGGER_ENABLE_RICH": "false", "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", FAULTY], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Quaggamire" not in done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    fault, later = [line for line in lines if "error" in line]
    assert (fault["event"], fault["error"], fault["at"]) == ("page_fault", "KeyError", "<string>:8")
    assert fault["request"] == later["request"]
    assert (later["logger"], later["error"]) == ("streamlit.later", "KeyError")


def asked() -> Response:
    return asyncio.run(server._ready(Request({"type": "http"})))


def test_readiness_answers_on_the_apps_own_worklist(tiny_app: Home) -> None:
    server._readiness._until = 0.0
    waiting = asked()
    assert waiting.status_code == 503
    assert json.loads(waiting.body) == {"database": "ok", "worker": "silent", "model": "ok"}
    assert waiting.headers["Cache-Control"] == "no-store"
    (tiny_app.settings.home / "neuraray.sqlite3").rename(tiny_app.settings.home / "elsewhere")
    assert asked().body == waiting.body, "for two seconds nobody is asked again"
    server._readiness._until = 0.0
    assert json.loads(asked().body)["database"] != "ok"


def test_claims_make_one_key_a_sign_in_whatever_streamlit_adds() -> None:
    said = {"iss": "https://login", "sub": "1", "name": "Ana", "nonce": "a", "iat": 1_800_000_000}
    claims = sign_in.claims_of(said)
    assert claims.key == sign_in.claims_of({**said, "is_logged_in": True, "tokens": {}, "origin": "x"}).key
    assert claims.key != sign_in.claims_of({**said, "nonce": "b"}).key
    assert (claims.issuer, claims.subject, claims.name, claims.email) == ("https://login", "1", "Ana", "")
    assert claims.issued is not None
    assert claims.issued.year == 2027
    assert sign_in.claims_of({}).subject == ""
