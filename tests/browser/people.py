"""People who sign in: a real identity provider on loopback, and a server that asks it."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response

from cxr_core.access import Actor, Role
from cxr_core.settings import Settings
from cxr_core.worklist.service import Service, open_service
from tests.browser.app import Server

SLOW_MS = 90_000
ADMIN = Actor("the one who set it up", Role.ADMIN)
SUBJECTS = {role: f"{role}@hospital.example" for role in Role}


@dataclass
class Provider:
    """An identity provider in a process of its own; whoever is asked for there, it vouches for."""

    people: dict[str, str]
    log: Path
    port: int = field(default_factory=lambda: _free_port())
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(self.port), "--require-nonce"]
        for subject, name in self.people.items():
            command += ["--user-claims", json.dumps({"sub": subject, "name": name, "email": subject})]
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(command, stdout=sink, stderr=sink)
        for _ in range(300):
            try:
                with urlopen(f"{self.address}/.well-known/openid-configuration", timeout=2):  # noqa: S310
                    return
            except (URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError(self.log.read_text(encoding="utf-8", errors="replace"))

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)


@dataclass
class Department:
    """A server on which people sign in, its provider, and the same worklist from outside."""

    server: Server
    provider: Provider
    service: Service

    @property
    def address(self) -> str:
        return self.server.address

    def sign_in(self, context: BrowserContext, subject: str) -> Page:
        """Return a page on which this person has signed in through the provider."""
        page = context.new_page()
        page.goto(self.address)
        self.through_the_provider(page, subject)
        return page

    def through_the_provider(self, page: Page, subject: str) -> None:
        page.get_by_role("button", name="Sign in").click(timeout=SLOW_MS)
        page.locator("input[name=sub]").fill(subject, timeout=SLOW_MS)
        page.get_by_role("button", name="Authorize").click()
        page.wait_for_url(f"{self.address}/**", timeout=SLOW_MS)
        page.locator("[data-testid=stApp]").wait_for(timeout=SLOW_MS)

    def name(self, subject: str, role: Role | None) -> str:
        """Give a person an account before their first sign-in; return their handle."""
        known = self.provider.people[subject]
        return self.service.name_account(ADMIN, self.provider.address, subject, known, role).handle

    def account(self, subject: str) -> str:
        """Return the id of a person's account."""
        (found,) = [each.id for each in self.service.accounts(ADMIN) if each.subject == subject]
        return found


@contextmanager
def department(home: Path, people: dict[str, str], **environ: str) -> Iterator[Department]:
    """Yield a running app with its provider; subject → name of all whom that knows."""
    home.mkdir(mode=0o700, exist_ok=True)
    provider = Provider(people, home.parent / f"{home.name}-provider.log")
    server = Server(home, {"CXR_SIGN_IN": "oidc"} | environ)
    server.environ["STREAMLIT_SECRETS_FILES"] = str(_secrets(home.parent, server, provider))
    named = {key.removeprefix("CXR_").lower(): value for key, value in environ.items()}
    if "models_dir" in named:
        named["models_dir"] = Path(named["models_dir"])  # type: ignore[assignment]
    try:
        provider.start()
        server.start()
        with closing(open_service(Settings(home=home, **named))) as service:  # type: ignore[arg-type]
            yield Department(server, provider, service)
    finally:
        server.stop()
        provider.stop()


def _secrets(folder: Path, server: Server, provider: Provider) -> Path:
    values = {
        "redirect_uri": f"{server.address}/oauth2callback",
        "cookie_secret": secrets.token_hex(32),
        "client_id": "neuraray",
        "client_secret": secrets.token_hex(8),
        "server_metadata_url": f"{provider.address}/.well-known/openid-configuration",
    }
    lines = [f'{key} = "{value}"' for key, value in values.items()]
    file = folder / f"secrets-{server.port}.toml"
    file.write_text("\n".join(["[auth]", *lines, 'client_kwargs = { prompt = "login" }', ""]))
    return file


class Ears:
    """All that a page's server tells it, and what goes wrong on it; the provider's own pages do not count."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.heard: list[bytes] = []
        self.errors: list[str] = []
        self._address = address
        context.on("page", self._listen)

    def told(self, *words: str) -> set[str]:
        """Return those of the words that the server said, whether they were shown or not."""
        said = b"\n".join(self.heard)
        return {word for word in words if word.encode() in said}

    def _listen(self, page: Page) -> None:
        page.on("websocket", lambda socket: socket.on("framereceived", self._hear))
        page.on("response", self._read)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._said)

    def _hear(self, frame: str | bytes) -> None:
        self.heard.append(frame.encode() if isinstance(frame, str) else frame)

    def _read(self, response: Response) -> None:
        if response.url.startswith(self._address) and "/static/" not in response.url:
            self.heard.append(response.url.encode())

    def _said(self, said: ConsoleMessage) -> None:
        # At the address of a page Streamlit's client first asks for its server beneath that page.
        place = said.location.get("url", "")
        probing = place.count("/") > 4 and "/_stcore/" in place
        if said.type == "error" and place.startswith(self._address) and not probing:
            self.errors.append(f"{said.text} at {place}")


def new_context(browser: Browser) -> BrowserContext:
    return browser.new_context(viewport={"width": 1280, "height": 800})


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
