"""The web server around the pages: health, faults, logs; and no film for who is not signed in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from threading import Lock
from time import monotonic

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import cli_util, config
from streamlit import logger as streamlit_logs
from streamlit.web.server.server_util import get_url

from cxr_core import logs
from cxr_core.errors import CxrError, ModelError, PolicyError
from cxr_core.logs import Log
from cxr_core.ui import services, sign_in, worker_watch
from cxr_core.worklist import readiness
from cxr_core.worklist.service import Service

FRESH_S = 2.0
"""For how long an answer about readiness is given again: whoever asks need not be signed in."""
OPENS_AFTER_S = 0.5
"""By then the server takes requests."""
GUARDED = ("/media/", "/_stcore/upload_file/")
"""Paths beneath which films and reports go out and in, beside the pages."""
SILENT = (
    "streamlit.error_util",  # faults of pages, which `say_fault` says
    "streamlit.runtime.scriptrunner_utils.script_run_context",  # that `/readyz` is no page
    "uvicorn.access",  # addresses hold codes of sign-ins
)

_log = Log(__name__)


class Readiness:
    """What `/readyz` answers."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._parts = {"database": "unknown", "worker": "unknown", "model": "unknown"}
        self._until = 0.0

    def parts(self) -> dict[str, str]:
        """Return part → word, at most two seconds old, or the last ones while somebody else is asking.

        So a database that does not answer keeps one thread waiting, however many ask.
        """
        if monotonic() >= self._until and self._lock.acquire(blocking=False):
            try:
                self._parts = self._asked()
                self._until = monotonic() + FRESH_S
            finally:
                self._lock.release()
        return self._parts

    def _asked(self) -> dict[str, str]:
        try:
            return readiness.parts(_opened())
        except (ModelError, PolicyError):
            return {"database": "unknown", "worker": "unknown", "model": "unsound"}
        except CxrError:
            return {"database": "unusable", "worker": "unknown", "model": "unknown"}


def _opened() -> Service:
    """Return the service, and see that somebody works for it."""
    service = services.opened()
    worker_watch.ensure(service.settings)
    return service


_readiness = Readiness()


async def _alive(request: Request) -> Response:
    return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})


async def _ready(request: Request) -> Response:
    parts = await run_in_threadpool(_readiness.parts)
    status = 200 if set(parts.values()) == {readiness.OK} else 503
    return JSONResponse(parts, status, headers={"Cache-Control": "no-store"})


class Guarded:
    """Answers 401 where films and reports go in or out and the browser's sign-in does not hold."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        base = config.get_option("server.baseUrlPath").strip("/")
        self._paths = tuple(f"/{base}{path}" if base else path for path in GUARDED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is not guarded, or what comes from a person whose sign-in holds."""
        asked = scope["type"] == "http" and scope["path"].startswith(self._paths)
        if asked and not await run_in_threadpool(sign_in.holds, Request(scope)):
            await PlainTextResponse("Sign in first.\n", 401)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


ROUTES = [Route("/healthz", _alive), Route("/readyz", _ready)]
MIDDLEWARE = [Middleware(Guarded)]


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    """Say when the app is there and when it goes; films are answered also while nobody looks."""
    with suppress(CxrError):  # pages say what is the matter, and try again
        await run_in_threadpool(_opened)
    url = get_url(config.get_option("browser.serverAddress") or "localhost")
    _log.info("serving", url=url)
    if not config.get_option("server.headless"):  # somebody sits at this machine
        asyncio.get_running_loop().call_later(OPENS_AFTER_S, cli_util.open_browser, url)
    yield
    _log.info("stopped")


def say_fault(exc: Exception) -> bool:
    """Say that the page failed, and what to quote; the error's own words may quote the patient."""
    st.error("This page has a fault. Nothing that was stored is lost.", icon=":material/error:")
    services.quote("page_fault", exc)
    return True


def one_way_of_logging() -> None:
    """Let what Streamlit and its web server say go out as our own lines do."""
    logs.to_stderr()

    def ours(theirs: logging.Logger) -> None:
        theirs.handlers[:] = []
        theirs.propagate = True

    streamlit_logs.setup_formatter = ours  # type: ignore[assignment]  # there is no other way in
    streamlit_logs.update_formatter()
    for name in ("uvicorn", "uvicorn.error"):  # a line for every page that is opened
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in SILENT:
        logging.getLogger(name).disabled = True
